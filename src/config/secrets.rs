//! Secrets by reference: `env:NAME` and `file:path`, resolved at start; values never stand in the file.
//!
//! No message here repeats what a reference resolved to, nor the text of something that is not a
//! reference, since that is most likely the secret itself.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Secret;

/// Largest secret file that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where references lead.
#[derive(Clone, Copy)]
pub(super) struct References<'a> {
    /// Looks an environment variable up.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Relative files start here.
    pub base_dir: &'a Path,
}

impl References<'_> {
    /// What `env:NAME` or `file:path` leads to.
    ///
    /// # Errors
    ///
    /// A whole message about `key`, if the text is no reference, leads nowhere, or leads to
    /// something that cannot travel in a header.
    pub(super) fn resolve(&self, key: &str, text: &str) -> Result<Secret, String> {
        let (origin, value) = self.text(key, text)?;
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || value.trim() != value {
            return Err(format!(
                "`{key}`: {origin} holds a line break, surrounding space or other characters that no header can \
                 carry; wanted printable ASCII"
            ));
        }
        Ok(Secret::new(value))
    }

    /// What a reference leads to, of whatever characters, and where that is.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`], but for what no header can carry.
    pub(super) fn text(&self, key: &str, text: &str) -> Result<(String, String), String> {
        let (origin, value) = if let Some(name) = text.strip_prefix("env:") {
            self.variable(key, name)?
        } else if let Some(path) = text.strip_prefix("file:") {
            self.file(key, path)?
        } else {
            return Err(format!(
                "`{key}` holds a literal value; wanted a reference, `env:NAME` or `file:path`, \
                 so that no secret stands in this file"
            ));
        };
        if value.is_empty() {
            return Err(format!("`{key}`: {origin} is empty; wanted a secret"));
        }
        Ok((origin, value))
    }

    fn variable(&self, key: &str, name: &str) -> Result<(String, String), String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(fits) {
            return Err(format!(
                "`{key}`: what follows `env:` is not a name; wanted letters, digits and `_`, such as `env:OPENAI_API_KEY`"
            ));
        }
        match (self.env)(name) {
            Some(value) => Ok((format!("environment variable `{name}`"), value)),
            None => Err(format!("`{key}`: environment variable `{name}` is not set")),
        }
    }

    fn file(&self, key: &str, path: &str) -> Result<(String, String), String> {
        if path.is_empty() {
            return Err(format!("`{key}`: nothing follows `file:`; wanted a path, such as `file:/run/secrets/openai`"));
        }
        let path = self.base_dir.join(path);
        let origin = format!("file `{}`", path.display());
        if path.is_dir() {
            return Err(format!("`{key}`: {origin} is a directory; wanted a file"));
        }
        let mut value = String::new();
        File::open(&path)
            .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut value))
            .map_err(|error| format!("`{key}`: cannot read {origin}: {}", reason(&error)))?;
        if value.len() as u64 > SECRET_BYTES_MAX {
            return Err(format!("`{key}`: {origin} is larger than {SECRET_BYTES_MAX} bytes; wanted a secret"));
        }
        let end = value.strip_suffix('\n').map_or(value.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
        value.truncate(end);
        Ok((origin, value))
    }
}

/// A mirror that a configuration names, for commands that look its URL up only when they need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorReference {
    text: String,
    base_dir: PathBuf,
}

impl MirrorReference {
    pub(super) fn new(text: String, base_dir: &Path) -> Self {
        Self { text, base_dir: base_dir.to_path_buf() }
    }

    /// What a command line names: `env:NAME` or `file:path`.
    pub fn given(text: &str) -> Self {
        Self::new(text.to_owned(), Path::new(""))
    }

    /// The URL.
    ///
    /// # Errors
    ///
    /// A whole message, if the text is no reference or leads nowhere.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, String> {
        References { env, base_dir: &self.base_dir }.resolve("mirror", &self.text)
    }
}

/// Why a file cannot be read, in our words.
pub(super) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}
