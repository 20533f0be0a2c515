//! One connection, owned: no pool, no spawned task. What hyper would have a runtime poll in the background is
//! polled here, and only while a request is under way; so a future that is dropped closes its socket, and a
//! connection that is kept between the requests of a burst causes no wake-up (I11).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use super::ANSWER_MAX;
use super::failure::Failure;
use super::stream::{Stream, Trail};
use crate::verdict::Cause;

type Body = Full<Bytes>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Answering = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// A connection that is ready for a request.
pub(super) struct Connection {
    sender: Sender,
    driver: Driver,
    trail: Arc<Trail>,
}

impl Connection {
    /// Starts HTTP on the stream: for HTTP/1.1 this writes nothing, for HTTP/2 the connection's preface.
    ///
    /// # Cancel safety
    /// Dropping it closes the stream.
    pub(super) async fn start(stream: Stream) -> hyper::Result<Self> {
        let trail = stream.trail();
        if stream.is_h2() {
            let tasks = Tasks::default();
            let (sender, connection) = http2::Builder::new(tasks.clone())
                // An answer is read to ANSWER_MAX, so a server need not be allowed to send more (I6).
                .initial_stream_window_size(ANSWER_MAX as u32)
                .initial_connection_window_size(2 * ANSWER_MAX as u32)
                .handshake(TokioIo::new(stream))
                .await?;
            Ok(Self {
                sender: Sender::Http2(sender),
                driver: Driver::new(Box::pin(connection), tasks),
                trail,
            })
        } else {
            let (sender, connection) = http1::Builder::new()
                // The answer's head is held to the same bound as its body (I6).
                .max_buf_size(ANSWER_MAX)
                .handshake(TokioIo::new(stream))
                .await?;
            Ok(Self {
                sender: Sender::Http1(sender),
                driver: Driver::new(Box::pin(connection), Tasks::default()),
                trail,
            })
        }
    }

    /// Whether it is HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.trail.received.load(Ordering::Relaxed)
    }

    /// What a failed request came to: TLS's own error, where that is behind it.
    pub(super) fn failure(&self, attempted: &str, error: &hyper::Error, otherwise: Cause) -> Failure {
        match self.trail.tls.get() {
            Some(tls) => Failure::of(attempted, tls, Cause::Tls),
            None => Failure::of(attempted, error, otherwise),
        }
    }

    /// Whether it can take another request now: the server did not close it, as far as is known.
    pub(super) async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.driver.poll(cx);
            let ready = match &mut self.sender {
                Sender::Http1(sender) => sender.poll_ready(cx),
                Sender::Http2(sender) => sender.poll_ready(cx),
            };
            Poll::Ready(matches!(ready, Poll::Ready(Ok(()))) && !self.driver.ended())
        })
        .await
    }

    /// Sends the request and returns the answer's head.
    ///
    /// # Cancel safety
    /// Dropping it leaves the connection in the middle of a request: drop that, too.
    pub(super) async fn request(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        let answering: Answering = match &mut self.sender {
            Sender::Http1(sender) => Box::pin(sender.send_request(request)),
            Sender::Http2(sender) => Box::pin(sender.send_request(request)),
        };
        self.while_driven(answering).await
    }

    /// Awaits `work`, which waits for this connection, while the connection does its part.
    pub(super) async fn while_driven<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.driver.poll(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Ends it with the manners of its protocol (GOAWAY, close_notify) as far as the socket takes them at
    /// once, and closes the socket.
    pub(super) fn close(self) {
        let Self {
            sender,
            mut driver,
            trail: _,
        } = self;
        drop(sender);
        driver.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// What has to be polled for the connection to go on.
struct Driver {
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    /// HTTP/2 only: parts of the connection that hyper hands to its executor.
    running: Vec<Task>,
    tasks: Tasks,
}

impl Driver {
    fn new(connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>, tasks: Tasks) -> Self {
        Self {
            connection: Some(connection),
            running: Vec::new(),
            tasks,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = connection.as_mut().poll(cx)
        {
            if let Err(error) = ended {
                // The request that waits hears of it, too.
                tracing::debug!(%error, "connection ended");
            }
            self.connection = None;
        }
        loop {
            self.running.extend(self.tasks.take());
            self.running
                .retain_mut(|task| task.as_mut().poll(cx).is_pending());
            if self.tasks.is_empty() {
                break;
            }
        }
    }

    fn ended(&self) -> bool {
        self.connection.is_none()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A task holds the list that it stands in: taking it out breaks the circle.
        drop(self.tasks.take());
    }
}

/// An executor that only collects: the driver polls.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<Task>>>);

impl Tasks {
    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::pin(task));
    }
}
