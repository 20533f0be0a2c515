//! `docs/admin.md`, followed to the letter on a new machine: what it says to type is typed, with a private authority, a
//! proxy with nothing behind it but the endpoint, and no other way out.

use std::net::SocketAddr;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use telemetry_testkit::{Authority, Collector, ConnectProxy, Flaw, Manners};

use crate::machine::{ALICE, Machine, package};

/// What the page says to type, in order: as root, or as a user.
fn typed() -> Vec<(bool, String)> {
    let page = include_str!("../../docs/admin.md");
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let user = match line {
            "```sh" => false,
            "```sh user" => true,
            _ => continue,
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push((user, block.join("\n")));
    }
    blocks
}

/// An endpoint and a proxy on the machine's own loopback: their threads live in its network.
fn network(machine: &Machine) -> (Authority, Collector, ConnectProxy) {
    let namespace = machine.network();
    let started = std::thread::spawn(move || {
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(LinkNameSpaceType::Network),
        )
        .expect("root may enter it");
        let authority = Authority::new();
        let endpoint = Collector::builder()
            .tls(authority.server(Flaw::None).tls())
            .expect_tool("mytool")
            // `doctor --probe` asks without a body.
            .expect_undecodable()
            .start();
        let to: SocketAddr = endpoint.address();
        let proxy = ConnectProxy::start(to, Manners::Open);
        (authority, endpoint, proxy)
    });
    started.join().expect("an endpoint and a proxy")
}

#[test]
fn the_page_for_admins_leads_to_delivered_events_and_one_touch_to_silence() {
    let (_out, deb) = package("0.1.0");
    let folder = "/var/tmp/admin";
    let place = format!(
        "/usr/share/admin/{}",
        deb.file_name().expect("a file").to_string_lossy()
    );
    let Some(machine) = Machine::boot_with(&[(&deb, &place)]) else {
        return;
    };
    let (authority, endpoint, proxy) = network(&machine);
    let certificate = std::fs::read_to_string(authority.ca_file()).expect("its own file");
    machine.write(&format!("{folder}/corporate-ca.pem"), &certificate);
    machine.write(&format!("{folder}/token"), "a-token");
    machine.sh(&format!("ln -s {place} {folder}/"));

    let mut blocks = typed();
    let silence = blocks.pop().expect("the page has blocks");
    assert!(
        silence.1 == "touch /etc/telemetryd/opt-out",
        "one touch, and it is the last: {}",
        silence.1
    );
    for (user, block) in blocks {
        // The names of the page's example, where this network has them.
        let block = block
            .replace("https://telemetry.example.org", "https://localhost")
            .replace("http://proxy.example.org:3128", &proxy.url());
        let script = format!("set -e\n{block}");
        if user {
            machine.sh_as(ALICE, &script);
        } else {
            machine.sh(&format!(
                "cd {folder}\nexport DEBIAN_FRONTEND=noninteractive\n{script}"
            ));
        }
    }
    endpoint.wait_for_events(1);
    assert!(proxy.connections() > 0, "through the proxy");
    let batches = endpoint.batches();
    let request = batches.last().expect("a batch");
    assert!(
        format!("{request:?}").contains("a-token"),
        "with the token: {request:?}"
    );

    machine.sh_as(ALICE, "telemetryctl send --strict mytool ran");
    let before = endpoint.requests().len();
    machine.sh(&silence.1);
    let declined = machine.try_sh_as(ALICE, "telemetryctl send --strict mytool ran");
    assert_eq!(declined.code, Some(4), "{}{}", declined.stdout, declined.stderr);
    machine.sh("systemctl stop telemetryd.socket");
    assert_eq!(
        endpoint.requests().len(),
        before,
        "nothing left any more, what was queued included"
    );
}
