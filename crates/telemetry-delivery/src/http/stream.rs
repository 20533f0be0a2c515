//! A byte stream to the endpoint, whatever it goes through, that keeps a trail of what came from it: whether a
//! byte of an answer came decides whether a kept connection's failure may be repaired at once, and an error of
//! TLS is kept as it is, for HTTP/2 passes on no more than its text.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::{failure, tls};

/// TCP, or TLS over it (to a proxy), or TLS over that.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// One of them: what is spoken over it does not depend on which.
pub(super) type Carrier = Box<dyn Bytes>;

/// What came of a stream.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// Bytes received so far, TLS's own not counted.
    pub(super) received: AtomicU64,
    /// Why TLS ended, if it ended badly: above all, what the server says about our certificate.
    pub(super) tls: OnceLock<rustls::Error>,
}

/// See the module's words.
pub(super) struct Stream {
    carrier: Carrier,
    h2: bool,
    trail: Arc<Trail>,
}

impl Stream {
    pub(super) fn plain(carrier: Carrier) -> Self {
        Self {
            carrier,
            h2: false,
            trail: Arc::default(),
        }
    }

    pub(super) fn tls(stream: TlsStream<Carrier>) -> Self {
        Self {
            h2: stream.get_ref().1.alpn_protocol() == Some(tls::H2),
            carrier: Box::new(stream),
            trail: Arc::default(),
        }
    }

    /// What comes of it.
    pub(super) fn trail(&self) -> Arc<Trail> {
        Arc::clone(&self.trail)
    }

    /// Whether the server chose HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        self.h2
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.carrier).poll_read(cx, buf);
        let trail = &this.trail;
        trail
            .received
            .fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        if let Poll::Ready(Err(error)) = &polled
            && let Some(error) = failure::tls(error)
        {
            let _ = trail.tls.set(error.clone());
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().carrier).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().carrier).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().carrier).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().carrier).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }
}
