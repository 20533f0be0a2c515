//! A watch on the machine's network: it says when an address or a route came. Open only while events wait for a
//! destination that cannot be reached (I11), and never an internet socket (I12): `AF_NETLINK` (rtnetlink(7)).
//!
//! It says no more than "try again": whether the destination can be reached, only a request tells. Where there is
//! no such watch, the wait is simply not cut short.

#[cfg(target_os = "linux")]
pub(super) use self::linux::Watch;
#[cfg(not(target_os = "linux"))]
pub(super) use self::none::Watch;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::unix::net::UnixDatagram as Datagrams;

    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use tokio::net::UnixDatagram;
    use tracing::debug;

    /// Addresses and routes of IPv4 and IPv6: `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR` and
    /// `RTMGRP_IPV6_ROUTE` of Linux's `rtnetlink.h`.
    const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;
    /// `RTM_NEWADDR` and `RTM_NEWROUTE`: something came. What went away brings nothing back.
    const CAME: [u16; 2] = [20, 24];
    /// Bytes of a message's header (`struct nlmsghdr`), and what messages are aligned to.
    const HEADER: usize = 16;
    const ALIGN: usize = 4;
    /// The kernel's messages are at most a page, or 8 KiB (`NLMSG_GOODSIZE`).
    const MOST: usize = 8 * 1024;

    /// The watch. The type stands for any socket of datagrams: nothing is asked of it but `recv`, and no type of
    /// tokio's stands for a netlink socket.
    #[derive(Debug)]
    pub(in crate::flush) struct Watch(UnixDatagram);

    impl Watch {
        /// Begins to watch; `None`: the system has no such watch for us.
        pub(in crate::flush) fn open() -> Option<Self> {
            let open = || -> io::Result<Self> {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                // No protocol is `NETLINK_ROUTE`.
                let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
                bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
                Ok(Self(UnixDatagram::from_std(Datagrams::from(socket))?))
            };
            open()
                .inspect_err(|error| debug!(%error, "cannot watch the network"))
                .ok()
        }

        /// Waits until an address or a route came. Cancel safe: what came meanwhile is said the next time.
        pub(in crate::flush) async fn came_back(&mut self) {
            let mut buffer = [0; MOST];
            loop {
                match self.0.recv(&mut buffer).await {
                    Ok(bytes) if came(&buffer[..bytes]) => return,
                    Ok(_) => {}
                    // So much happened that not all of it could be told.
                    Err(error) if error.raw_os_error() == Some(NOBUFS) => return,
                    Err(_) => return std::future::pending().await,
                }
            }
        }
    }

    const NOBUFS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

    /// Whether one of these messages says that an address or a route came.
    fn came(mut messages: &[u8]) -> bool {
        while let Some((header, _)) = messages.split_first_chunk::<HEADER>() {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            if CAME.contains(&u16::from_ne_bytes([header[4], header[5]])) {
                return true;
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX).max(HEADER);
            let Some(rest) = messages.get(length.next_multiple_of(ALIGN)..) else {
                break;
            };
            messages = rest;
        }
        false
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn message(kind: u16, length: u32) -> Vec<u8> {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.resize(usize::try_from(length).unwrap().next_multiple_of(ALIGN), 0);
            bytes
        }

        #[test]
        fn an_address_or_a_route_that_came_is_news_and_one_that_went_is_none() {
            assert!(came(&message(20, 32)) && came(&message(24, 30)));
            assert!(!came(&message(21, 32)) && !came(&message(25, 32)));
            let both = [message(25, 29), message(24, 30)].concat();
            assert!(came(&both), "behind another one");
        }

        #[test]
        fn nonsense_ends_and_says_nothing() {
            assert!(!came(&[]));
            assert!(!came(&[7; 15]));
            assert!(!came(&message(21, 0).repeat(3)));
            assert!(!came(&[0xFF; 64]));
        }

        #[tokio::test]
        async fn a_watch_can_be_opened() {
            assert!(Watch::open().is_some());
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    /// There is none on this system.
    #[derive(Debug)]
    pub(in crate::flush) struct Watch;

    impl Watch {
        /// None.
        pub(in crate::flush) fn open() -> Option<Self> {
            None
        }

        /// Never.
        pub(in crate::flush) async fn came_back(&mut self) {
            std::future::pending().await
        }
    }
}
