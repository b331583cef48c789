//! Work that may never come to an end, such as reading a file of a disk that hangs, on a thread of its own.

use std::time::Duration;

use tokio::sync::oneshot;

/// Does `work` aside and waits for what it gives; `None` if it panicked or no thread could be had. `told` is called
/// once if it takes longer than `patience`.
///
/// Dropping this leaves the thread to itself: nothing can end a thread that waits for a disk, so neither the runtime
/// nor the end of the process may wait for it.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    patience: Duration,
    told: impl FnOnce(),
) -> Option<T> {
    let (gives, mut given) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // Whoever waited may be gone.
        drop(gives.send(work()));
    });
    thread.ok()?;
    match tokio::time::timeout(patience, &mut given).await {
        Ok(given) => given.ok(),
        Err(_) => {
            told();
            given.await.ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_told_once_and_still_waited_for() {
        let (ends, end) = mpsc::channel();
        let mut told = 0;
        let tells = || {
            told += 1;
            ends.send(()).expect("the thread waits");
        };
        assert_eq!(run(move || end.recv().is_ok(), Duration::ZERO, tells).await, Some(true));
        assert_eq!(told, 1);
        let patience = Duration::from_secs(3600);
        assert_eq!(run(|| 7, patience, || unreachable!()).await, Some(7));
        assert_eq!(run(|| panic!("on purpose"), patience, || unreachable!()).await, None::<()>);
    }
}
