//! Work that may block, beside the runtime: at most one thread at a time for each use.
//!
//! `getaddrinfo` and files on a dead network mount can hang for minutes. On tokio's pool such a call keeps
//! the runtime from shutting down; a plain thread ends with the process, whoever still waits inside it. And
//! since a later attempt waits for the thread that is still out instead of starting another, a hanging
//! name server costs one thread, however often it is tried (I6). Nothing is left when the work is done
//! (I11).

use std::io;

use tokio::sync::{Mutex, oneshot};

/// At most one piece of work that is out.
#[derive(Debug)]
pub(super) struct Aside<T> {
    out: Mutex<Option<oneshot::Receiver<T>>>,
}

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Self {
            out: Mutex::new(None),
        }
    }
}

impl<T: Send + 'static> Aside<T> {
    /// Does `work` on a thread of that name, or waits for the same work of an earlier call that is not done
    /// yet. A result that came when nobody waited any more is not used: it may be old.
    ///
    /// # Errors
    /// No thread could be started, or the work panicked.
    ///
    /// # Cancel safety
    /// The thread goes on; the next call waits for it.
    pub(super) async fn run(&self, name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let mut out = self.out.lock().await;
        let still_out = out
            .as_mut()
            .is_some_and(|result| matches!(result.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        if !still_out {
            let (done, result) = oneshot::channel();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                // Nobody may wait any more: then nobody wants to know.
                let _ = done.send(work());
            })?;
            *out = Some(result);
        }
        let Some(result) = out.as_mut() else {
            unreachable!("it was set above")
        };
        let result = result.await;
        *out = None;
        result.map_err(|_| io::Error::other(format!("the thread {name} ended early")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn work_that_hangs_neither_blocks_nor_gathers_threads_nor_stops_the_shutdown() {
        let runtime = runtime();
        let aside = Arc::new(Aside::<u32>::default());
        let (release, hang) = mpsc::channel::<()>();
        let started = Arc::new(AtomicU32::new(0));
        let hang = Arc::new(std::sync::Mutex::new(hang));
        let attempt = |started: Arc<AtomicU32>| {
            let hang = hang.clone();
            move || {
                let number = started.fetch_add(1, Ordering::SeqCst) + 1;
                let _ = hang.lock().unwrap().recv();
                number
            }
        };
        runtime.block_on(async {
            for _ in 0..3 {
                let work = aside.run("test", attempt(started.clone()));
                assert!(
                    tokio::time::timeout(Duration::from_millis(20), work)
                        .await
                        .is_err()
                );
            }
            until(|| started.load(Ordering::SeqCst) > 0).await;
            // Waiting for the one that is out, the fourth call gets what it finds.
            let work = aside.run("test", attempt(started.clone()));
            let (found, ()) = tokio::join!(biased; work, async { release.send(()).unwrap() });
            assert_eq!(found.unwrap(), 1, "one thread was out, not three");
            // The next starts a thread of its own, which hangs again.
            let work = aside.run("test", attempt(started.clone()));
            assert!(
                tokio::time::timeout(Duration::from_millis(20), work)
                    .await
                    .is_err()
            );
            until(|| started.load(Ordering::SeqCst) > 1).await;
        });
        // Would wait for ever on tokio's pool.
        drop(runtime);
    }

    #[test]
    fn a_result_that_nobody_waited_for_is_not_used_later() {
        runtime().block_on(async {
            let aside = Aside::<u32>::default();
            let (release, hang) = mpsc::channel::<()>();
            let late = aside.run("test", move || {
                let _ = hang.recv();
                1
            });
            assert!(
                tokio::time::timeout(Duration::from_millis(5), late)
                    .await
                    .is_err()
            );
            release.send(()).unwrap();
            // Wait until the old result is there.
            loop {
                let mut out = aside.out.lock().await;
                if out.as_mut().is_some_and(|result| !result.is_empty()) {
                    break;
                }
                drop(out);
                tokio::task::yield_now().await;
            }
            assert_eq!(aside.run("test", || 2).await.unwrap(), 2);
        });
    }

    #[test]
    fn work_that_panics_is_an_error() {
        runtime().block_on(async {
            let aside = Aside::<u32>::default();
            assert!(
                aside
                    .run("test", || panic!("as the test wants it"))
                    .await
                    .is_err()
            );
            assert_eq!(aside.run("test", || 3).await.unwrap(), 3);
        });
    }
}
