//! The gate wins its races (CONSENT.md, "Epochs"): a withdrawal while the endpoint is slow to accept, or slow with TLS,
//! lets not one byte of a request out. Each race is run twice: with a daemon that hears of the withdrawal, and with one
//! that was stopped meanwhile and wakes up to both at once, so that only its own asking can have kept it silent.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use telemetry_testkit::{Authority, Collector, DEADLINE, Daemon, Fault, Flaw, Home, Proxy, eventually};

use crate::stage::{TOLD, TOOL, ask, booked, destination, event, home, queue, status};

/// How the daemon learns of the withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learns {
    /// Over its socket.
    AtOnce,
    /// By nothing but looking for itself, when it wakes up to find the endpoint ready.
    ByAsking,
}

const WAYS: [Learns; 2] = [Learns::AtOnce, Learns::ByAsking];

/// Ten events, and a flush that has begun.
fn begun(home: &Home, url: &str, more: &str) -> Daemon {
    let config = destination(url, &format!("{TOLD}timeout = \"60s\"\n{more}"));
    let daemon = Daemon::start(home, &config);
    queue(&daemon, (0..10).map(event));
    ask(&daemon, &json!({"op": "flush"}));
    daemon
}

/// Withdraws; `ready` makes the endpoint go on, and answers when everything it will say has reached the daemon.
fn withdraw(daemon: &mut Daemon, home: &Home, learns: Learns, ready: impl FnOnce()) {
    match learns {
        Learns::AtOnce => {
            let receipt = ask(daemon, &json!({"op": "consent", "action": "deny", "tool": TOOL}));
            assert_eq!((&receipt["ok"], &receipt["purged"]), (&json!(true), &json!(10)));
            assert_eq!(receipt["cancelled"], 1, "{receipt}");
            ready();
        }
        Learns::ByAsking => {
            daemon.signal(Signal::STOP);
            home.write(home.machine_dir().join("opt-out"), "");
            ready();
            daemon.signal(Signal::CONT);
        }
    }
}

/// Everything is erased and booked, and the daemon is well.
fn is_erased(daemon: &Daemon) {
    eventually("the rows are erased", DEADLINE, || {
        (booked(&status(daemon), "purged") == 10).then_some(())
    });
}

/// A listener whose queue is full: who dials waits for an answer to its SYN.
struct Full {
    listener: TcpListener,
    ours: Vec<TcpStream>,
}

impl Full {
    fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        // Other tests start daemons meanwhile, which are not to inherit it.
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&socket, 0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut ours = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            ours.push(stream);
            assert!(ours.len() < 16, "a queue of 0 holds a few at most");
        }
        Self { listener, ours }
    }

    /// The next connection that is not ours, if one comes in time.
    fn accept(&self, wait: Duration) -> Option<TcpStream> {
        let ours: Vec<SocketAddr> = self.ours.iter().map(|s| s.local_addr().unwrap()).collect();
        self.listener.set_nonblocking(true).unwrap();
        let deadline = std::time::Duration::from_millis(10);
        let tries = wait.as_millis() / deadline.as_millis();
        for _ in 0..tries {
            match self.listener.accept() {
                Ok((stream, peer)) if !ours.contains(&peer) => return Some(stream),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(deadline),
                Err(error) => panic!("{error}"),
            }
        }
        None
    }
}

#[test]
fn an_endpoint_that_is_slow_to_accept_gets_no_byte_after_a_withdrawal() {
    for learns in WAYS {
        let full = Full::new();
        let home = home();
        let url = format!("http://{}/", full.listener.local_addr().unwrap());
        let mut daemon = begun(&home, &url, "");
        eventually("it dials", DEADLINE, || dials(&full).then_some(()));
        let mut came = None;
        withdraw(&mut daemon, &home, learns, || {
            // A SYN is sent again after a second, and after two more.
            came = full.accept(Duration::from_secs(4));
        });
        if learns == Learns::ByAsking {
            assert!(came.is_some(), "it was dialling when it was stopped");
        }
        if let Some(mut stream) = came {
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut bytes = Vec::new();
            let ended = stream.read_to_end(&mut bytes);
            assert!(
                bytes.is_empty(),
                "{learns:?}: {}",
                String::from_utf8_lossy(&bytes)
            );
            assert!(
                !matches!(&ended, Err(e) if e.kind() == ErrorKind::WouldBlock),
                "{learns:?}: it hangs up"
            );
        }
        is_erased(&daemon);
    }
}

/// At which end of a connection an address is.
#[derive(Clone, Copy)]
enum Side {
    Local = 1,
    Remote = 2,
}

/// Whether a connection with this address at that end has bytes that its owner has not read (proc(5): state 01,
/// `rx_queue`).
fn has_unread(side: Side, address: SocketAddr) -> bool {
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let unread = |queues: &&str| queues.split_once(':').is_some_and(|(_, rx)| rx != "00000000");
        fields.get(side as usize).is_some_and(|end| end.ends_with(&port))
            && fields.get(3) == Some(&"01")
            && fields.get(4).is_some_and(unread)
    })
}

/// Whether somebody waits for an answer to a SYN to this listener (proc(5), `/proc/net/tcp`: state 02).
fn dials(full: &Full) -> bool {
    let port = full.listener.local_addr().unwrap().port();
    let wanted = format!(":{port:04X} 02 ");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().any(|line| line.contains(&wanted))
}

#[test]
fn an_endpoint_that_is_slow_with_tls_gets_no_request_after_a_withdrawal() {
    for learns in WAYS {
        let authority = Authority::new();
        let tls = authority.server(Flaw::None).tls();
        let endpoint = Collector::builder().tls(tls).expect_nothing().start();
        let wire = Proxy::start(endpoint.address(), Fault::Stall);
        let home = home();
        let trust = format!(
            "tls = {{ ca_only_file = \"{}\" }}\n",
            authority.ca_file().display()
        );
        let url = wire.url().replace("http:", "https:");
        let mut daemon = begun(&home, &url, &trust);
        eventually("it has begun with TLS", DEADLINE, || {
            has_unread(Side::Local, wire.address()).then_some(())
        });
        withdraw(&mut daemon, &home, learns, || {
            wire.set(Fault::None);
            if learns == Learns::ByAsking {
                eventually("the server's half of TLS has reached it", DEADLINE, || {
                    has_unread(Side::Remote, wire.address()).then_some(())
                });
            }
        });
        is_erased(&daemon);
        endpoint.finish();
    }
}
