//! A host that forks while its threads send: each child, and the host after it, sends events by the client that it held
//! before. What became of them is printed, a line a process, for the test that runs it.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a program, a test reads what it prints, and a child ends where it was made"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use fork::Fork;
use telemetry_client::Client;

/// What it may send.
const MANIFEST: &str = "name = \"sample\"\nconsent = \"opt-out\"\nnotice = \"Commands are counted.\"\n\
    notice_required = \"tool\"\n[events.ran]\nproperties.n = \"integer\"\n";
/// Children, one after the other.
const CHILDREN: i32 = 40;

fn main() {
    let telemetry = Client::from_manifest(MANIFEST);
    let send = |n: i32| telemetry.event("ran").prop("n", n).send();
    println!("host {:?}", send(0));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whatever the library or the allocator may hold, they hold some of the time.
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    send(-1);
                }
            });
        }
        for n in 1..=CHILDREN {
            match fork::fork() {
                Ok(Fork::Child) => {
                    let (first, second) = (send(n), send(n));
                    println!("child {first:?} {second:?}");
                    std::process::exit(0);
                }
                Ok(Fork::Parent(child)) => {
                    let ended = fork::waitpid(child);
                    println!("host {:?} {}", send(1000 + n), ended.is_ok());
                }
                Err(error) => println!("no fork: {error}"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}
