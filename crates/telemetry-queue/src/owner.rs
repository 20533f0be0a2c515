//! Who opened the queue, and closes it (I7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::command::Command;
use crate::types::QueueError;

/// Who opened the queue, and may close it. Dropped without that, the queue lives until its last handle is dropped.
#[derive(Debug)]
pub struct Owner {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) closing: Arc<AtomicBool>,
    pub(crate) thread: JoinHandle<Result<(), QueueError>>,
}

impl Owner {
    /// Closes the queue: commands that were sent before are carried out, later ones are answered with `Closed`;
    /// the WAL is brought into the file, the file marked as closed, the lock released. Blocks the calling thread
    /// until then, and may be called from async code where that is right (the daemon's last act).
    ///
    /// # Errors
    ///
    /// What the last checkpoint said: nothing committed is lost by it.
    pub fn close(self) -> Result<(), QueueError> {
        self.closing.store(true, Ordering::Release);
        // Only wakes the thread: where the channel is full it is awake, and sees the flag.
        let _ = self.commands.try_send(Command::Wake);
        self.thread.join().unwrap_or_else(|_| Err(QueueError::closed()))
    }
}
