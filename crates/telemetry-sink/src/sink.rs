//! A sink: its script, memory and certificate, started on a bound listener as often as one likes.
//!
//! It runs on the caller's runtime ([`Sink::start`]) or in a thread of its own ([`Sink::start_in_thread`]).
//! Script position, numbers and memory belong to the sink and not to its listener, so an endpoint can be
//! taken away and given back.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clock;
use crate::memory::{Keep, Memory};
use crate::received::Received;
use crate::script::{Player, Script};
use crate::serve::serve;
use crate::tls::Tls;

/// Called for every request once it is booked and before it is answered, on the sink's thread: it must not
/// block. A bounded channel's `try_send` fits.
pub type OnRequest = dyn Fn(&Arc<Received>) + Send + Sync;

/// What connections share.
pub(crate) struct State {
    pub(crate) memory: Memory,
    pub(crate) tls: Option<Tls>,
    pub(crate) on_request: Arc<OnRequest>,
    player: Mutex<Player>,
    requests: AtomicU64,
    began: OnceLock<Instant>,
}

impl State {
    /// The number of this request, and how long ago the sink began.
    pub(crate) fn next_request(&self) -> (u64, Duration) {
        let elapsed = self
            .began
            .get()
            .map_or(Duration::ZERO, |began| clock::running() - *began);
        (1 + self.requests.fetch_add(1, Ordering::Relaxed), elapsed)
    }

    pub(crate) fn player(&self) -> MutexGuard<'_, Player> {
        self.player.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An endpoint. Cloning it shares it.
#[derive(Clone)]
pub struct Sink {
    state: Arc<State>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("counts", &self.memory().counts())
            .finish_non_exhaustive()
    }
}

impl Sink {
    /// One that plays `script` and remembers `keep`, without TLS.
    #[must_use]
    pub fn new(script: Script, keep: Keep) -> Self {
        Self::with(script, keep, None, |_| {})
    }

    /// One that serves TLS where a certificate is given, and calls `on_request` ([`OnRequest`]) for every request.
    pub fn with(
        script: Script,
        keep: Keep,
        tls: Option<Tls>,
        on_request: impl Fn(&Arc<Received>) + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            memory: Memory::new(keep),
            tls,
            on_request: Arc::new(on_request),
            player: Mutex::new(Player::new(script)),
            requests: AtomicU64::new(0),
            began: OnceLock::new(),
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// What it remembers.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.state.memory
    }

    /// Plays another script from its beginning. Request numbers and times go on.
    pub fn play(&self, script: Script) {
        *self.state.player() = Player::new(script);
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.state.tls.is_some() { "https" } else { "http" }
    }

    /// Serves on a bound listener, as a task of the runtime that it is called in.
    ///
    /// # Errors
    /// When the listener does not tell its address.
    pub fn start(&self, listener: TcpListener) -> io::Result<Handle> {
        let address = listener.local_addr()?;
        self.state.began.get_or_init(clock::running);
        let task = tokio::spawn(serve(listener, Arc::clone(&self.state)));
        Ok(Handle { address, task })
    }

    /// Serves on a bound listener, in a thread of its own with a runtime of its own.
    ///
    /// # Errors
    /// When the listener, the runtime or the thread cannot be had.
    pub fn start_in_thread(&self, listener: std::net::TcpListener) -> io::Result<SinkThread> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        self.state.began.get_or_init(clock::running);
        let state = Arc::clone(&self.state);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("telemetry-sink".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, state) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(SinkThread {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// A sink that runs on the caller's runtime. Dropping it stops it: listener and connections are closed when
/// the runtime comes to it.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and waits until its listener and connections are closed.
    ///
    /// # Cancel safety
    /// Once called it stops, awaited to the end or not.
    pub async fn stop(mut self) {
        self.task.abort();
        // The only way that it ends is the one that was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A sink in a thread of its own. Dropping it stops it, and waits until its thread has ended.
#[derive(Debug)]
pub struct SinkThread {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SinkThread {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SinkThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in `on_request` has been printed by its thread.
            let _ = thread.join();
        }
    }
}
