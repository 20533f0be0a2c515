//! A port of the loopback that stays ours while nobody listens on it, so that an endpoint can be taken away
//! and given back without another process getting in between.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use rustix::net::sockopt::set_socket_reuseport;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

/// As many as a daemon of ours and some tests may be waiting with.
const BACKLOG: i32 = 1024;

/// A reserved port.
///
/// It is held by a socket that is bound and never listens. Both it and the listeners have `SO_REUSEPORT`,
/// without which the system would refuse the second; connections only ever go to a socket that listens. They
/// do not have `SO_REUSEADDR`, with which others could bind the port while nobody listens.
#[derive(Debug)]
pub struct Port {
    held: OwnedFd,
}

impl Port {
    /// A free one of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn reserve() -> Self {
        Self {
            held: bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        }
    }

    /// Its address. Connections are refused until somebody listens.
    ///
    /// # Panics
    /// Never: the socket is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let name = getsockname(&self.held).expect("a bound socket has a name");
        SocketAddr::try_from(name).expect("it was bound to an internet address")
    }

    /// Listens. Dropping the listener refuses connections again.
    ///
    /// # Panics
    /// When that is not permitted.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        let socket = bound(self.address());
        listen(&socket, BACKLOG).expect("a bound socket can listen");
        TcpListener::from(socket)
    }

    /// Listens, and serves in a thread of that name until `serve` ends.
    ///
    /// # Panics
    /// When there is no thread.
    pub(crate) fn serve<F: Future<Output = ()>>(
        &self,
        thread: &str,
        serve: impl FnOnce(tokio::net::TcpListener) -> F + Send + 'static,
    ) -> JoinHandle<()> {
        let listener = self.listen();
        listener.set_nonblocking(true).expect("a listener of our own");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let thread = std::thread::Builder::new()
            .name(thread.to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let listener =
                        tokio::net::TcpListener::from_std(listener).expect("a listener of our own");
                    serve(listener).await;
                });
            });
        thread.expect("a thread")
    }
}

fn bound(address: SocketAddr) -> OwnedFd {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::empty(),
        None,
    )
    .expect("a socket can be made");
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).expect("a socket of our own");
    set_socket_reuseport(&socket, true).expect("a socket of our own");
    bind(&socket, &address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
    socket
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_reserved_port_refuses_listens_and_refuses_again() {
        let port = Port::reserve();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let listener = port.listen();
            let stream = TcpStream::connect(port.address()).expect("somebody listens");
            let (other, _) = listener.accept().expect("the connection came");
            assert_eq!(
                other.peer_addr().expect("connected"),
                stream.local_addr().expect("connected")
            );
        }
    }

    #[test]
    fn the_system_gives_a_reserved_port_to_nobody_else() {
        let port = Port::reserve();
        let error = TcpListener::bind(port.address()).expect_err("it is reserved");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}
