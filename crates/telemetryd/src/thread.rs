//! A thread with a runtime of its own. The flushers': encoding and compressing a batch takes a fraction of a
//! millisecond, in which no client is to wait for its answer; and clients that come without end are not to hold up what
//! leaves (I13). The gateway's, where one listens: what is read, unpacked and refused there holds up no client of the
//! socket. Parked while nothing waits (I11).

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A thread with a runtime of its own, which ends with this.
#[derive(Debug)]
pub struct Thread {
    runtime: Handle,
    /// Dropped first: its receiver is what the thread waits for.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Thread {
    /// Starts it, under a name.
    ///
    /// # Errors
    /// No thread or no runtime could be made.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = runtime.block_on(stopped);
            // A look-up that hangs in the resolver is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs a task there.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It runs nothing but tasks, which are dropped at their next pause.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_there_runs_on_another_thread_and_ends_with_it() {
        let thread = Thread::start("delivery").unwrap();
        let name = thread.spawn(async { thread::current().name().map(str::to_owned) });
        let (alive, ended) = oneshot::channel::<()>();
        let for_ever = thread.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(name).unwrap().as_deref(), Some("delivery"));
        drop(thread);
        assert!(runtime.block_on(ended).is_err());
        assert!(runtime.block_on(for_ever).unwrap_err().is_cancelled());
    }
}
