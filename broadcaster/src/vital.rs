//! Threads and tasks that nothing goes on without. If one of them panics, which is a bug of ours, everything ends
//! and says so, so that whoever runs the program can start it again, rather than stand there without
//! pictures.

use std::io;
use std::thread::{self, JoinHandle};

use common::Shutdown;
use tokio::task::JoinSet;

/// Starts one of them.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(
    name: String,
    shutdown: &Shutdown,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let fuse = Fuse(shutdown.clone());
    thread::Builder::new().name(name).spawn(move || {
        let _fuse = fuse;
        run();
    })
}

/// Waits for all of them; the name of one that panicked.
pub fn join(threads: impl Iterator<Item = JoinHandle<()>>) -> Option<String> {
    let mut panicked = None;
    for thread in threads {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            panicked.get_or_insert(name);
        }
    }
    panicked
}

/// Waits for the word to end, and says it when one of these tasks panics. Whether one did.
pub async fn attend(mut tasks: JoinSet<()>, shutdown: &Shutdown) -> bool {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            shutdown.trigger();
            return true;
        }
    }
    shutdown.triggered().await;
    false
}

/// Says the word to end when a panic comes by.
struct Fuse(Shutdown);

impl Drop for Fuse {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.trigger();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_that_panics_ends_the_others_and_is_named() {
        let shutdown = Shutdown::default();
        let others = shutdown.clone();
        let waits = spawn("waits".to_owned(), &shutdown, move || {
            assert!(others.wait(Duration::from_secs(10)), "nobody was told");
        });
        let ends = spawn("ends".to_owned(), &shutdown, || {}).unwrap();
        while !ends.is_finished() {
            thread::yield_now();
        }
        assert!(!shutdown.is_triggered(), "an end is no panic");
        let panics = spawn("panics".to_owned(), &shutdown, || panic!("on purpose"));
        let threads = [waits.unwrap(), ends, panics.unwrap()];
        assert_eq!(join(threads.into_iter()).as_deref(), Some("panics"));
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_others() {
        let shutdown = Shutdown::default();
        let mut tasks = JoinSet::new();
        let others = shutdown.clone();
        tasks.spawn(async move { others.triggered().await });
        tasks.spawn(async { panic!("on purpose") });
        assert!(attend(tasks, &shutdown).await);
        assert!(shutdown.is_triggered());
    }

    #[tokio::test]
    async fn tasks_that_end_at_the_word_are_no_fault() {
        let shutdown = Shutdown::default();
        let mut tasks = JoinSet::new();
        let until = shutdown.clone();
        tasks.spawn(async move { until.triggered().await });
        shutdown.trigger();
        assert!(!attend(tasks, &shutdown).await);
    }
}
