//! Recorded agent sessions from a file, sent again turn by turn.
//!
//! A file is JSON lines, gzipped or not, each `{id, messages: […]}` in chat format. Each assistant turn
//! becomes one request with the messages before it, and its recorded answer. Messages leave with the
//! bytes that the file has for them. Errors name the file and the line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::recordings::{Recordings, answer_of};
use super::request::Message;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Why a file of sessions could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file could not be opened or decompressed.
    #[error("cannot read `{}`: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line is no session.
    #[error("{}:{line}: wanted a session {{id, messages: […]}}, found {found}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        found: String,
    },
}

/// The sessions of a file with the answers that were recorded in them.
#[derive(Debug, Default)]
pub struct Replay {
    /// The sessions in file order.
    pub sessions: Vec<ReplaySession>,
    /// What the provider answered.
    pub recordings: Recordings,
}

/// One recorded session.
#[derive(Debug)]
pub struct ReplaySession {
    /// Its name in the file.
    pub id: String,
    messages: Vec<Box<RawValue>>,
    turns: Vec<usize>,
}

#[derive(Deserialize)]
struct SessionLine {
    id: String,
    messages: Vec<Box<RawValue>>,
}

impl Replay {
    /// Reads a `.jsonl` or `.jsonl.gz` file; empty lines are skipped.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Unreadable`] for the file, [`ReplayError::BadLine`] for its first bad line.
    pub fn load(path: &Path) -> Result<Self, ReplayError> {
        let unreadable = |error| ReplayError::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let gzipped = path.extension().is_some_and(|end| end == "gz");
        let source: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut reader = BufReader::new(source);
        let mut replay = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            if !line.trim_ascii().is_empty() {
                let bad = |found| ReplayError::BadLine { path: path.to_owned(), line: number, found };
                replay.add(&line).map_err(bad)?;
            }
        }
        Ok(replay)
    }

    fn add(&mut self, line: &[u8]) -> Result<(), String> {
        let SessionLine { id, messages } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut before: Vec<Message> = Vec::with_capacity(messages.len());
        let mut turns = Vec::new();
        for (index, raw) in messages.iter().enumerate() {
            let message: Message =
                serde_json::from_str(raw.get()).map_err(|error| format!("message {}: {error}", index + 1))?;
            if message.role == "assistant" && index > 0 {
                self.recordings.record(&before, answer_of(&message));
                turns.push(index);
            }
            before.push(message);
        }
        self.sessions.push(ReplaySession { id, messages, turns });
        Ok(())
    }

    /// Requests of all sessions together.
    pub fn requests(&self) -> usize {
        self.sessions.iter().map(|session| session.turns.len()).sum()
    }
}

impl ReplaySession {
    /// What was said, as it was recorded.
    pub(super) fn messages(&self) -> impl Iterator<Item = serde_json::Value> {
        self.messages.iter().map(|message| serde_json::from_str(message.get()).unwrap_or_default())
    }

    /// What had been said before each assistant turn.
    pub(super) fn befores(&self) -> impl Iterator<Item = Vec<serde_json::Value>> {
        let messages: Vec<_> = self.messages().collect();
        self.turns.iter().map(move |turn| messages[..*turn].to_vec())
    }

    /// The request bodies in order, one for each assistant turn, asking for `model`.
    pub fn bodies<'a>(&'a self, model: &'a str) -> impl Iterator<Item = String> + 'a {
        self.turns.iter().map(move |turn| {
            let messages: Vec<_> = self.messages[..*turn].iter().map(|message| message.get()).collect();
            format!("{{\"model\":{},\"messages\":[{}]}}", serde_json::Value::from(model), messages.join(","))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const SESSION: &str = r#"{"id":"s/1","reward":0.5,"messages":[{"role":"user","content":"a"},{"content":null,"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","name":"f","content":"1"},{"role":"assistant","content":"b"}]}"#;

    fn load(name: &str, bytes: &[u8]) -> Result<Replay, ReplayError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a written file");
        Replay::load(&path)
    }

    #[test]
    fn each_assistant_turn_is_a_request_with_its_answer() {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(SESSION.as_bytes()).expect("memory");
        for (name, bytes) in [("s.jsonl", SESSION.into()), ("s.jsonl.gz", gz.finish().expect("memory"))] {
            let replay = load(name, &bytes).expect("a valid file");
            let bodies: Vec<_> = replay.sessions[0].bodies("auto").collect();
            assert_eq!(bodies[0], r#"{"model":"auto","messages":[{"role":"user","content":"a"}]}"#);
            assert_eq!((bodies.len(), replay.requests()), (2, 2));
            let second = super::super::request::ChatRequest::parse(bodies[1].as_bytes()).expect("a request");
            let answer = replay.recordings.find(&second.messages).expect("a recorded answer");
            assert_eq!(answer.text.as_deref(), Some("b"));
        }
    }

    #[test]
    fn a_bad_line_is_named_with_file_and_line() {
        let error = load("s.jsonl", format!("{SESSION}\n\n{{\"id\":1}}\n").as_bytes()).expect_err("line 3 is bad");
        let text = error.to_string();
        assert!(text.contains("s.jsonl:3: wanted a session"), "{text}");
        let error = load("s.jsonl", br#"{"id":"a","messages":[{"content":"x"}]}"#).expect_err("no role");
        assert!(error.to_string().contains("message 1: missing field `role`"), "{error}");
    }
}
