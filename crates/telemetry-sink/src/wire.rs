//! A server's side of a connection, plain or TLS, that can be told to fail: cut after so many bytes, write
//! something else, close or reset. Hyper writes its answers through it and knows nothing of that.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What happens to what is written next.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fault {
    /// All is written.
    #[default]
    None,
    /// So many bytes more, then the connection closes.
    Cut(u64),
    /// These bytes instead, then the connection closes.
    Instead(Vec<u8>),
    /// Nothing, and the connection closes.
    Close,
    /// Nothing, and the connection is reset.
    Reset,
}

/// The switch of one connection's faults, for the service that decides about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<Mutex<Fault>>);

impl Switch {
    pub(crate) fn set(&self, fault: Fault) {
        *self.lock() = fault;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream underneath.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }
}

/// A connection with its switch.
pub(crate) struct Wire {
    stream: Stream,
    switch: Switch,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            switch: Switch::default(),
        }
    }

    pub(crate) fn switch(&self) -> Switch {
        self.switch.clone()
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the script closed this connection")
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = &mut *self;
        let mut fault = wire.switch.lock();
        match &mut *fault {
            Fault::None => wire.stream.poll_write(context, bytes),
            Fault::Cut(0) => {
                ready!(wire.stream.poll_flush(context))?;
                Poll::Ready(Err(ended()))
            }
            Fault::Cut(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let written = ready!(wire.stream.poll_write(context, &bytes[..most]))?;
                *left -= written as u64;
                Poll::Ready(Ok(written))
            }
            Fault::Instead(own) => {
                while !own.is_empty() {
                    let written = ready!(wire.stream.poll_write(context, own))?;
                    own.drain(..written);
                }
                ready!(wire.stream.poll_flush(context))?;
                Poll::Ready(Err(ended()))
            }
            Fault::Close | Fault::Reset => Poll::Ready(Err(ended())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_flush(context))?;
        // A cut that fell exactly on the end of what hyper had to write still closes.
        match &*self.switch.lock() {
            Fault::Cut(0) => Poll::Ready(Err(ended())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if matches!(*self.switch.lock(), Fault::Reset) {
            // A failure leaves an ordinary close, which the peer also sees as an end without an answer.
            let _ = self.stream.tcp().set_zero_linger();
        }
    }
}
