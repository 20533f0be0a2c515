//! Whose the socket at the other end of a TCP connection is: sock_diag(7) is asked for the one connection, some ten
//! microseconds; where it is not to be had, `/proc/net/tcp` and `tcp6` are read, all of the machine's table.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// The peer's end, and ours.
type Ends = (SocketAddr, SocketAddr);
/// Its uid and its inode.
type Whose = (u32, u64);

/// `SOCK_DIAG_BY_FAMILY`, <linux/sock_diag.h>.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`, <linux/netlink.h>.
const REQUEST: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_msg`, <linux/inet_diag.h>, and in it: family, state, uid and inode.
const MESSAGE: usize = 72;
const STATE: usize = 1;
const UID: usize = 64;
const INODE: usize = 68;

/// What is known of the machine's sockets within one turn of questions.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// `Some(None)`: there is no sock_diag here.
    diag: Option<Option<OwnedFd>>,
    table: Option<HashMap<Ends, Whose>>,
}

impl Sockets {
    /// Whose the first of these ends is, while somebody holds it.
    pub(super) fn whose(&mut self, ends: Ends) -> Option<Whose> {
        let diag = self.diag.get_or_insert_with(|| open().ok()).as_ref();
        // "No such connection" and "nobody to ask" are one word of the kernel's (ENOENT): the table has the last one.
        if let Some(whose) = diag.and_then(|diag| ask(diag, ends)) {
            return Some(whose);
        }
        self.table.get_or_insert_with(table).get(&ends).copied()
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    let protocol = Some(netlink::SOCK_DIAG);
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        protocol,
    )
}

fn ask(diag: &OwnedFd, ends: Ends) -> Option<Whose> {
    // By it an answer is known as this question's.
    let sequence = u32::from(ends.0.port()) << 16 | u32::from(ends.1.port());
    let request = request(ends, sequence)?;
    let sent = rustix::net::send(diag, &request, SendFlags::empty()).ok()?;
    // The kernel answers before `send` comes back.
    let mut answer = [0; 512];
    let (read, _) = rustix::net::recv(diag, &mut answer, RecvFlags::DONTWAIT).ok()?;
    (sent == request.len()).then(|| whose(answer.get(..read)?, sequence))?
}

/// `struct inet_diag_req_v2` for exactly one connection, as the peer sees it.
fn request((peer, ours): Ends, sequence: u32) -> Option<Vec<u8>> {
    let (family, addresses): (u8, [[u8; 16]; 2]) = match (peer.ip(), ours.ip()) {
        (IpAddr::V4(peer), IpAddr::V4(ours)) => (2, [peer, ours].map(padded)),
        (IpAddr::V6(peer), IpAddr::V6(ours)) => (10, [peer.octets(), ours.octets()]),
        _ => return None,
    };
    let mut body = vec![family, TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes()); // in whatever state it is
    body.extend(peer.port().to_be_bytes());
    body.extend(ours.port().to_be_bytes());
    body.extend(addresses.concat());
    body.extend([0; 4]); // of whatever interface
    body.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    let size = u32::try_from(HEADER + body.len()).ok()?;
    let mut whole = size.to_ne_bytes().to_vec();
    whole.extend(BY_FAMILY.to_ne_bytes());
    whole.extend(REQUEST.to_ne_bytes());
    whole.extend(sequence.to_ne_bytes());
    whole.extend([0; 4]); // the kernel knows from whom
    whole.extend(body);
    Some(whole)
}

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

fn padded(address: Ipv4Addr) -> [u8; 16] {
    let mut padded = [0; 16];
    padded[..4].copy_from_slice(&address.octets());
    padded
}

/// What an answer says; an error says nothing.
fn whose(answer: &[u8], sequence: u32) -> Option<Whose> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let answers = u32::from_ne_bytes(answer.get(8..12)?.try_into().ok()?) == sequence;
    let message = answer.get(HEADER..HEADER + MESSAGE)?;
    let word = |at: usize| Some(u32::from_ne_bytes(message.get(at..at + 4)?.try_into().ok()?));
    let inode = u64::from(word(INODE)?);
    (kind == BY_FAMILY && answers && held(message[STATE], inode)).then_some((word(UID)?, inode))
}

/// What is half closed by the peer still has an owner; what waits for its time to pass has not.
fn held(state: u8, inode: u64) -> bool {
    matches!(state, 1 | 4 | 5 | 8) && inode != 0
}

/// Established TCP connections: whose socket each is, and its inode.
fn table() -> HashMap<Ends, Whose> {
    let mut sockets = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        sockets.extend(text.lines().skip(1).filter_map(row));
    }
    sockets
}

/// One row of proc_net_tcp(5): `sl local rem st tx:rx tr:when retrnsmt uid timeout inode`.
fn row(line: &str) -> Option<(Ends, Whose)> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let ends = (end(columns.next()?)?, end(columns.next()?)?);
    let state = u8::from_str_radix(columns.next()?, 16).ok()?;
    let uid = columns.nth(3)?.parse().ok()?;
    let inode = columns.nth(1)?.parse().ok()?;
    held(state, inode).then_some((ends, (uid, inode)))
}

/// `0100007F:1F90`: words of four bytes in the machine's own order; an IPv4 address within an IPv6 one is that.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = (0..address.len() / 8).map(|at| address.get(at * 8..at * 8 + 8));
    let words = words.map(|word| u32::from_str_radix(word?, 16).ok().map(u32::to_ne_bytes));
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_row_of_the_kernels_table_says_whose_socket_it_is() {
        let row = |ends: &str, state: &str, inode: &str| {
            row(&format!(
                "  1: {ends} {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0"
            ))
        };
        let (client, server) = (
            "127.0.0.1:50000".parse().unwrap(),
            "127.0.0.1:7423".parse().unwrap(),
        );
        let v4 = "0100007F:C350 0100007F:1CFF";
        let mapped = "0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1CFF";
        if cfg!(target_endian = "little") {
            assert_eq!(row(v4, "01", "77"), Some(((client, server), (1000, 77))));
            assert_eq!(row(mapped, "01", "77"), Some(((client, server), (1000, 77))));
        }
        assert_eq!(row(v4, "06", "0"), None, "nobody's any more");
        assert_eq!(row("", "", ""), None);
    }

    /// A connection of this process to itself: both streams, and the ends as the server sees them.
    fn connected(bind: &str, to: &str) -> (TcpStream, TcpStream, Ends) {
        let listener = TcpListener::bind((bind, 0)).unwrap();
        let client = TcpStream::connect((to, listener.local_addr().unwrap().port())).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let ends = (peer, server.local_addr().unwrap());
        (client, server, ends)
    }

    #[test]
    fn the_kernel_and_its_table_say_the_same_of_a_connection() {
        let uid = fs::metadata("/proc/self").unwrap().uid();
        let diag = open().unwrap();
        let mapped = "::ffff:127.0.0.1";
        for (bind, address) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", mapped)] {
            let (client, server, ends) = connected(bind, address);
            let said = ask(&diag, ends).unwrap();
            assert_eq!(said.0, uid, "{address}");
            assert_eq!(table().get(&ends), Some(&said), "{address}");
            let mut turn = Sockets::default();
            assert_eq!(turn.whose(ends), Some(said));
            assert!(
                turn.table.is_none(),
                "the table is not read for what was answered"
            );
            // Of a port where nobody is, and of one where somebody only listens, nothing is said.
            let nowhere = (ends.1, SocketAddr::new(ends.1.ip(), 1));
            assert_eq!(ask(&diag, nowhere), None);
            assert_eq!(turn.whose(nowhere), None);
            drop(client);
            drop(server);
        }
        let listening = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(ask(&diag, (listening, "127.0.0.1:9".parse().unwrap())), None);
    }

    #[test]
    fn without_sock_diag_the_table_is_read() {
        let (_client, _server, ends) = connected("127.0.0.1", "127.0.0.1");
        let mut without = Sockets {
            diag: Some(None),
            table: None,
        };
        assert_eq!(without.whose(ends), Sockets::default().whose(ends));
        assert!(without.table.is_some());
    }

    #[test]
    fn an_answer_that_is_short_or_an_error_says_nothing() {
        let mut answer = vec![0; HEADER + MESSAGE];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        answer[HEADER + STATE] = 1;
        answer[HEADER + UID..HEADER + UID + 4].copy_from_slice(&1000_u32.to_ne_bytes());
        answer[HEADER + INODE..HEADER + INODE + 4].copy_from_slice(&77_u32.to_ne_bytes());
        assert_eq!(whose(&answer, 7), Some((1000, 77)));
        assert_eq!(whose(&answer[..answer.len() - 1], 7), None);
        assert_eq!(whose(&[], 7), None);
        assert_eq!(whose(&answer, 8), None, "another question's");
        for listening in [6, 10, 12] {
            answer[HEADER + STATE] = listening;
            assert_eq!(whose(&answer, 7), None);
        }
        answer[HEADER + STATE] = 1;
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes()); // NLMSG_ERROR
        assert_eq!(whose(&answer, 7), None);
    }
}
