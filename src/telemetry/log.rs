//! JSON lines on stderr, written by one thread in batches so that a slow reader never stalls a request.
//!
//! A line is complete or absent. When more than [`LOG_BACKLOG_BYTES_MAX`] wait, further lines are
//! dropped and the next line that gets through says how many. Prompt text and keys never come here.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::limits::LOG_BACKLOG_BYTES_MAX;

/// How long lines gather before they are written together.
const BATCH: Duration = Duration::from_millis(20);

/// How long closing waits for a reader that does not read.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// The process's log. Clones share one writer.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    dropped: u64,
    closing: bool,
}

/// The current time in milliseconds since the Unix epoch; 0 before it.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Log {
    /// Starts the writer on stderr.
    pub fn to_stderr() -> Self {
        Self::to(Box::new(std::io::stderr()))
    }

    /// Starts a writer on any sink.
    pub fn to(mut sink: Box<dyn Write + Send>) -> Self {
        let shared = Arc::new(Shared { queue: Mutex::default(), work: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("log".into()).spawn(move || of_thread.write_batches(&mut *sink)).ok();
        Self { shared, writer: Arc::new(Mutex::new(writer)) }
    }

    /// Queues one event as a line: `ts` in milliseconds, `event`, then the fields of `fields`.
    pub fn event<T: Serialize>(&self, event: &'static str, fields: &T) {
        #[derive(Serialize)]
        struct Line<'a, T> {
            ts: i64,
            event: &'static str,
            #[serde(flatten)]
            fields: &'a T,
        }
        self.line(&Line { ts: now_ms(), event, fields });
    }

    /// Queues a value that serialises to one JSON object as a line.
    pub fn line<T: Serialize>(&self, line: &T) {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        // Written down before the lock is taken, so that nobody waits for somebody else's formatting.
        let queue = |buffer: &mut Vec<u8>| {
            buffer.clear();
            if serde_json::to_writer(&mut *buffer, line).is_ok() {
                buffer.push(b'\n');
                self.queue(buffer);
            }
        };
        // A thread that is ending has no thread-local buffer any more.
        let queued = BUFFER.try_with(|buffer| queue(&mut buffer.borrow_mut()));
        if queued.is_err() {
            queue(&mut Vec::new());
        }
    }

    fn queue(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.lines.len() > LOG_BACKLOG_BYTES_MAX {
            queue.dropped += 1;
            return;
        }
        let first = queue.lines.is_empty();
        queue.lines.extend_from_slice(line);
        drop(queue);
        if first {
            self.shared.work.notify_one();
        }
    }

    /// Writes what is queued and stops the writer; a reader that takes nothing for [`CLOSE_PATIENCE`] is not waited
    /// for. Later lines are lost.
    pub fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let patience = Instant::now() + CLOSE_PATIENCE;
        while !writer.is_finished() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_batches(&self, sink: &mut dyn Write) {
        let mut batch = Vec::new();
        loop {
            let mut queue = self.lock();
            while queue.lines.is_empty() && !queue.closing {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.closing {
                queue = self.work.wait_timeout(queue, BATCH).unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::swap(&mut queue.lines, &mut batch);
            let (dropped, closing) = (std::mem::take(&mut queue.dropped), queue.closing);
            drop(queue);
            if dropped > 0 {
                batch
                    .extend_from_slice(format!("{{\"event\":\"log_lines_dropped\",\"count\":{dropped}}}\n").as_bytes());
            }
            drop(sink.write_all(&batch).and_then(|()| sink.flush()));
            batch.clear();
            if closing {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_one_json_object_and_none_is_lost_at_close() {
        let sink = Sink::default();
        let log = Log::to(Box::new(sink.clone()));
        for n in 0..100 {
            log.event("test", &json!({ "n": n, "text": "two\nlines" }));
        }
        log.close();
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = written.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 100);
        assert_eq!((&lines[99]["n"], &lines[99]["event"]), (&json!(99), &json!("test")));
    }
}
