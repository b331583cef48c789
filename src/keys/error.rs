//! What goes wrong with keys, in words for whoever asked.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// What was asked for is not what a key can be.
    #[error("{0}")]
    Wrong(String),
    /// A key of this name exists, or did.
    #[error("there is a key `{name}` already{}; names are used once, since the ledger's rows carry them", revoked_note(*.revoked))]
    Exists {
        /// The name.
        name: String,
        /// Whether it was revoked.
        revoked: bool,
    },
    /// No key has this name.
    #[error("there is no key `{name}`{hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// The key does not open the door any more, and cannot again.
    #[error("key `{name}` is {state}; wanted an active one, or `create` a new one")]
    Over {
        /// The name.
        name: String,
        /// `revoked` or `expired`.
        state: &'static str,
    },
    /// An idempotency key came a second time with something else.
    #[error("this `Idempotency-Key` was used for another request; wanted a new one for each")]
    RepeatedOtherwise,
    /// An idempotency key came a second time when its answer was not at hand any more.
    #[error(
        "this request was done before and made the secret of key `{name}`, which is shown once; rotate the key to have a new one"
    )]
    Repeated {
        /// The key that was made or rotated.
        name: String,
    },
    /// There is no more room.
    #[error("there are {} keys already, as many as there may be", crate::limits::STORED_KEYS_MAX)]
    TooMany,
    /// The file is something else.
    #[error("`{}` is no key store of Farthing's", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("the key store `{}` is of version {found}; this program reads version {wanted}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// A row is not what this program writes.
    #[error("the key store `{}` holds what cannot be read: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// A file operation failed.
    #[error("cannot {action} the key store `{}`: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot {action} the key store `{}`: {source}{}", path.display(), hint(source))]
    Database {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

fn revoked_note(revoked: bool) -> &'static str {
    if revoked { ", which was revoked" } else { "" }
}

fn hint(source: &rusqlite::Error) -> &'static str {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => "; another program writes to it",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            "; it belongs to the user that the gateway runs as"
        }
        _ => "",
    }
}

/// Names the action and the file of a database error.
pub(super) fn database(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> KeysError {
    let path = path.to_path_buf();
    move |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => KeysError::NotOurs { path },
        _ => KeysError::Database { action, path, source },
    }
}
