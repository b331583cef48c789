//! One file of the journal: a header, then frames, written by one process only.
//!
//! Segments stand beside the database as `<database>.journal-000001` and so on; SQLite's own files end
//! in `-journal`, `-wal` and `-shm`. Version 1 of the format, whose frames are neither sealed nor marked
//! (`frame`), is read and no longer written. A write that fails leaves the file as it was: what had been written
//! of it is cut off before anything else is written.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::ledger::error::{LedgerError, file_error};
use crate::ledger::frame::{self, Seal};
use crate::ledger::journal::Position;

const MAGIC: [u8; 8] = *b"FRTHJRNL";
/// Version of header, frames and records together.
pub(super) const VERSION: u32 = 3;
/// Bytes before the first frame: magic, version, segment number, ledger number, checksum of these, zeros.
pub(super) const HEADER_BYTES: u64 = 32;

/// The path of segment `number` of the ledger at `database`.
pub(super) fn path_of(database: &Path, number: u32) -> PathBuf {
    beside(database, &format!(".journal-{number:06}"))
}

/// The file that is named like `database` with `ending` behind it.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A file's name without its folder, for messages about one ledger.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The numbers of all segments that stand beside `database`, in order.
pub(super) fn list(database: &Path) -> Result<Vec<u32>, LedgerError> {
    let folder = folder_of(database);
    let prefix = format!("{}.journal-", database.file_name().unwrap_or_default().to_string_lossy());
    let mut numbers = Vec::new();
    for entry in folder.read_dir().map_err(file_error("list", folder))? {
        let name = entry.map_err(file_error("list", folder))?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(|rest| rest.parse::<u32>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The folder that a file stands in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    file: std::sync::Arc<File>,
    length: u64,
    /// What its frames are sealed with.
    pub(super) seal: Seal,
    /// What is being written.
    sealed: Vec<u8>,
    /// Bytes of a failed write may stand behind `length`.
    torn: bool,
    /// Bytes that the pretended disk of a test still takes.
    #[cfg(test)]
    pub(super) room: Option<u64>,
}

impl Segment {
    /// Creates segment `number`, durably: header and folder are synced.
    ///
    /// A file of that name can only be what a crash left of an earlier try, and is begun anew.
    pub(super) fn create(database: &Path, number: u32, ledger: i64) -> Result<Self, LedgerError> {
        let path = path_of(database, number);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(file_error("create", &path))?;
        let seal = Seal { version: VERSION, ledger, segment: number };
        file.write_all_at(&header(seal), 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(folder_of(database))?.sync_all())
            .map_err(file_error("write", &path))?;
        Ok(Self {
            number,
            path,
            file: std::sync::Arc::new(file),
            length: HEADER_BYTES,
            seal,
            sealed: Vec::new(),
            torn: false,
            #[cfg(test)]
            room: None,
        })
    }

    /// Bytes up to the end of the last whole frame.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The file, for reading and syncing beside the writer.
    pub(super) fn file(&self) -> std::sync::Arc<File> {
        self.file.clone()
    }

    /// Appends a frame, and before it a mark for each of `synced`, with one write; all or, on an error, nothing.
    pub(super) fn append(&mut self, synced: impl Iterator<Item = Position>, frame: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.clear();
        for mark in synced.map(frame::mark) {
            self.seal.push(&mut sealed, &mark, self.length);
        }
        self.seal.push(&mut sealed, frame, self.length);
        let written = self.write(&sealed);
        match written {
            Ok(()) => self.length += sealed.len() as u64,
            Err(_) => self.torn = self.file.set_len(self.length).is_err(),
        }
        self.sealed = sealed;
        written
    }

    #[cfg(not(test))]
    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frames, self.length)
    }

    #[cfg(test)]
    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let Some(room) = self.room.as_mut() else { return self.file.write_all_at(frames, self.length) };
        let fits = frames.len().min(usize::try_from(*room).unwrap_or(usize::MAX));
        *room -= fits as u64;
        self.file.write_all_at(&frames[..fits], self.length)?;
        if fits < frames.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn header(seal: Seal) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&seal.version.to_le_bytes());
    header[12..16].copy_from_slice(&seal.segment.to_le_bytes());
    header[16..24].copy_from_slice(&seal.ledger.to_le_bytes());
    let checksum = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// What the header of a segment says about its frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Frames that we can read may follow.
    Readable(Seal),
    /// The process died while creating it: it holds nothing.
    Unfinished,
    /// Written by another version, whose frames we cannot read.
    OtherVersion(u32),
}

/// Checks the header of a segment that an earlier process left.
///
/// # Errors
///
/// [`LedgerError::ForeignJournal`] if it belongs to another database, [`LedgerError::Unreadable`] if it
/// is no header at all.
pub(super) fn standing(file: &File, path: &Path, number: u32, ledger: i64) -> Result<Standing, LedgerError> {
    let length = file.metadata().map_err(file_error("read", path))?.len();
    if length < HEADER_BYTES {
        return Ok(Standing::Unfinished);
    }
    let mut found = [0; HEADER_BYTES as usize];
    file.read_exact_at(&mut found, 0).map_err(file_error("read", path))?;
    if found == [0; HEADER_BYTES as usize] && length == HEADER_BYTES {
        return Ok(Standing::Unfinished);
    }
    let unreadable = |found| Err(LedgerError::Unreadable { path: path.to_path_buf(), offset: 0, found });
    if found[..8] != MAGIC {
        return unreadable("not a journal's first bytes");
    }
    let version = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
    if version == 0 || version > VERSION {
        return Ok(Standing::OtherVersion(version));
    }
    if crc32fast::hash(&found[..24]).to_le_bytes() != found[24..28] {
        return unreadable("a header with a wrong checksum");
    }
    let seal = Seal { version, ledger, segment: number };
    if found[..24] != header(seal)[..24] {
        return Err(LedgerError::ForeignJournal { path: path.to_path_buf() });
    }
    Ok(Standing::Readable(seal))
}
