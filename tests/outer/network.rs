//! What stands between a machine and an endpoint: private authorities, certificates of clients, proxies, and name
//! servers that do not answer. The parts are tried one by one in the delivery room; here a whole daemon goes the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use telemetry_testkit::{
    Authority, Collector, ConnectProxy, DEADLINE, Daemon, Fault, Flaw, Home, Manners, Port, Proxy, eventually,
};

use crate::stage::{SOON, TOLD, TOOL, ask, destination, event, home, id, queue, skipped, status};

/// The name in the certificate of [`Flaw::WrongName`]: no name server knows it, and behind a proxy it is the right one.
const FAR: &str = "https://somebody-else.invalid/v1/events";

/// A password that must be seen nowhere but at the proxy, and its form in the header (`u:pr0xy-s3cret`).
const PASSWORD: &str = "pr0xy-s3cret";
const BASIC: &str = "dTpwcjB4eS1zM2NyZXQ=";

/// An endpoint of the far name, and its authority.
fn far() -> (Authority, Collector) {
    let authority = Authority::new();
    let tls = authority.server(Flaw::WrongName).tls();
    (authority, Collector::builder().tls(tls).expect_tool(TOOL).start())
}

fn trusting(authority: &Authority) -> String {
    format!("tls = {{ ca_file = \"{}\" }}\n", authority.ca_file().display())
}

fn flush(daemon: &Daemon) -> Value {
    ask(
        daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    )
}

/// The one destination, once it has failed.
#[track_caller]
fn failed(daemon: &Daemon) -> Value {
    ask(daemon, &json!({"op": "flush"}));
    eventually("the attempt has failed", DEADLINE, || {
        let shown = status(daemon)["destinations"][0].clone();
        (shown["attempts"] != 0 && shown["state"] != "sending").then_some(shown)
    })
}

#[test]
fn a_company_with_a_private_authority_and_a_proxy_in_the_environment_is_delivered_to() {
    let (authority, endpoint) = far();
    let proxy = ConnectProxy::start(endpoint.address(), Manners::OpenFor(BASIC.to_owned()));
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let home = home();
        home.write_config(&destination(FAR, &format!("{SOON}{}", trusting(&authority))));
        let url = proxy.url_for(&format!("u:{PASSWORD}"));
        let daemon = Daemon::builder(&home).env(name, url).start();
        let ids = queue(&daemon, [json!({"tool": TOOL, "event": "ran"})]);
        endpoint.wait_for_ids(ids);
        assert!(!daemon.log().contains(PASSWORD));
        // Nothing is left open when there is nothing to do (I11).
        eventually("the tunnel is closed", DEADLINE, || {
            (proxy.open() == 0).then_some(())
        });
    }
    assert_eq!(proxy.heads().len(), 3);
    assert!(proxy.heads()[0].starts_with("CONNECT somebody-else.invalid:443 HTTP/1.1\r\n"));
}

#[test]
fn no_proxy_spares_names_and_networks() {
    let authority = Authority::new();
    let tls = authority.server(Flaw::None).tls();
    let endpoint = Collector::builder().tls(tls).expect_tool(TOOL).start();
    let proxy = ConnectProxy::start(endpoint.address(), Manners::Stall);
    for (spared, url) in [
        ("127.0.0.0/8", endpoint.url()),
        ("example.org,localhost", endpoint.url_by_name()),
        ("*", endpoint.url()),
    ] {
        let home = home();
        home.write_config(&destination(&url, &format!("{SOON}{}", trusting(&authority))));
        let daemon = Daemon::builder(&home)
            .env("HTTPS_PROXY", proxy.url())
            .env("NO_PROXY", spared)
            .start();
        let ids = queue(&daemon, [json!({"tool": TOOL, "event": "ran"})]);
        endpoint.wait_for_ids(ids);
    }
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_proxy_that_refuses_the_credentials_holds_until_the_setting_changes_and_never_sees_an_event() {
    let (authority, endpoint) = far();
    let proxy = ConnectProxy::start(endpoint.address(), Manners::OpenFor(BASIC.to_owned()));
    let home = home();
    let config = |user: &str| {
        let url = proxy.url_for(user);
        let trust = trusting(&authority);
        let more = format!("{TOLD}{trust}proxy = \"{url}\"\n");
        format!("[daemon]\nlog = \"trace\"\n{}", destination(FAR, &more))
    };
    let mut daemon = Daemon::start(&home, &config("u:wr0ng-s3cret"));
    queue(&daemon, [event(1)]);
    assert_eq!(flush(&daemon)["left"], 1);
    let shown = status(&daemon)["destinations"][0].clone();
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("held"), &json!("proxy_authentication"))
    );
    let error = shown["last_error"].as_str().unwrap();
    assert!(
        error.contains(&proxy.url()) && error.contains("407") && error.contains("`proxy`"),
        "{error}"
    );
    assert!(daemon.ctl().ok(["status"]).stdout.contains("held"));
    let mut seen = daemon.ctl().ok(["status", "--json"]).stdout;
    seen.push_str(&daemon.ctl().ok(["config", "show"]).stdout);

    home.write_config(&config(&format!("u:{PASSWORD}")));
    daemon.signal(Signal::HUP);
    eventually("the destination is not held any more", DEADLINE, || {
        (status(&daemon)["destinations"][0]["state"] != "held").then_some(())
    });
    assert_eq!(flush(&daemon)["left"], 0);
    endpoint.wait_for_ids([id(1)]);

    // Revoked while the daemon runs: the next burst is held, and nothing is lost.
    proxy.behave(Manners::OpenFor("bmV3OnBhc3M=".to_owned()));
    queue(&daemon, [event(2)]);
    assert_eq!(flush(&daemon)["left"], 1);
    assert_eq!(status(&daemon)["destinations"][0]["state"], "held");
    proxy.behave(Manners::Open);
    assert_eq!(ask(&daemon, &json!({"op": "resume"}))["ok"], true);
    assert_eq!(flush(&daemon)["left"], 0);
    endpoint.wait_for_ids([id(2)]);

    seen.push_str(&daemon.ctl().ok(["config", "show"]).stdout);
    seen.push_str(&daemon.ctl().ok(["sent", "--bodies"]).stdout);
    seen.push_str(&daemon.log());
    for secret in [PASSWORD, BASIC, "wr0ng-s3cret"] {
        assert!(!seen.contains(secret), "{secret} is shown: {seen}");
    }
    assert!(seen.contains("*****@127.0.0.1"), "{seen}");
}

#[test]
fn whatever_else_a_proxy_does_is_an_outage_that_names_it() {
    let (authority, endpoint) = far();
    let proxy = ConnectProxy::start(endpoint.address(), Manners::Stall);
    let gone = Port::reserve();
    for (manners, url, told) in [
        (Manners::Stall, proxy.url(), "timed out after 0.3 s"),
        (
            Manners::Answer("HTTP/1.1 503 Busy\r\n\r\n".to_owned()),
            proxy.url(),
            "503",
        ),
        (Manners::Open, format!("http://{}", gone.address()), "refused"),
    ] {
        proxy.behave(manners);
        let home = home();
        let more = format!(
            "{TOLD}{}proxy = \"{url}\"\ntimeout = \"300ms\"\n",
            trusting(&authority)
        );
        let daemon = Daemon::start(&home, &destination(FAR, &more));
        queue(&daemon, [event(1)]);
        let shown = failed(&daemon);
        assert_eq!(
            (&shown["state"], &shown["queued"]),
            (&json!("backoff"), &json!(1))
        );
        let error = shown["last_error"].as_str().unwrap();
        assert!(error.contains(told) && error.contains(&url), "{error}");
    }
    assert!(endpoint.requests().is_empty());
}

#[test]
fn a_server_that_stalls_in_the_handshake_is_an_outage_inside_the_timeout() {
    let authority = Authority::new();
    let tls = authority.server(Flaw::None).tls();
    let endpoint = Collector::builder().tls(tls).expect_tool(TOOL).start();
    let wire = Proxy::start(endpoint.address(), Fault::Stall);
    let home = home();
    let more = format!(
        "{TOLD}{}proxy = \"none\"\ntimeout = \"300ms\"\n",
        trusting(&authority)
    );
    let url = format!("https://{}/v1/events", wire.address());
    let daemon = Daemon::start(&home, &destination(&url, &more));
    queue(&daemon, [event(1)]);
    let error = failed(&daemon)["last_error"].to_string();
    assert!(
        error.contains("timed out after 0.3 s in the TLS handshake with 127.0.0.1"),
        "{error}"
    );
    wire.set(Fault::None);
    assert_eq!(flush(&daemon)["left"], 0);
    endpoint.wait_for_ids([id(1)]);
}

#[test]
fn an_environment_that_names_an_unusable_proxy_holds_and_goes_round_nobody() {
    let (authority, endpoint) = far();
    let home = home();
    home.write_config(&destination(FAR, &format!("{TOLD}{}", trusting(&authority))));
    let daemon = Daemon::builder(&home)
        .env("ALL_PROXY", format!("socks5h://u:{PASSWORD}@127.0.0.1:1080"))
        .start();
    queue(&daemon, [event(1)]);
    assert_eq!(flush(&daemon)["left"], 1);
    let shown = status(&daemon)["destinations"][0].clone();
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("held"), &json!("proxy"))
    );
    let error = shown["last_error"].as_str().unwrap();
    assert!(error.contains("ALL_PROXY") && error.contains("SOCKS"), "{error}");
    assert!(!error.contains(PASSWORD) && !daemon.log().contains(PASSWORD));
    assert!(endpoint.requests().is_empty());
}

#[test]
fn a_server_that_asks_who_speaks_is_shown_the_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = authority.server(Flaw::None).tls_for_clients_of(&clients);
    let endpoint = Collector::builder().tls(tls).expect_tool(TOOL).start();
    let home = home();
    let config = |identity: &str| {
        let ca = authority.ca_file();
        let more = format!(
            "{TOLD}tls = {{ ca_only_file = \"{}\"{identity} }}\n",
            ca.display()
        );
        destination(&endpoint.url(), &more)
    };
    let (cert, key) = clients.write("client", &clients.client());
    let shown = |key: &std::path::Path| {
        let (cert, key) = (cert.display(), key.display());
        format!(", client_cert = \"{cert}\", client_key = \"{key}\"")
    };
    let mut daemon = Daemon::start(&home, &config(""));
    queue(&daemon, [event(1)]);
    assert_eq!(failed(&daemon)["state"], "backoff");

    // A key that does not belong to it is found before anything is sent, by the check of the config too.
    let (_, strange) = clients.write("strange", &clients.client());
    home.write_config(&config(&shown(&strange)));
    let exit = Daemon::builder(&home).arg("--check-config").run().expect_code(78);
    let told = format!(
        "destinations.default.tls.client_key {} is not the key",
        strange.display()
    );
    assert!(exit.stderr.contains(&told), "{}", exit.stderr);
    daemon.signal(Signal::HUP);
    eventually("the destination is held", DEADLINE, || {
        ask(&daemon, &json!({"op": "flush"}));
        let shown = status(&daemon)["destinations"][0].clone();
        (shown["state"] == "held" && shown["reason"] == "client_certificate").then_some(())
    });

    home.write_config(&config(&shown(&key)));
    Daemon::builder(&home).arg("--check-config").run().expect_code(0);
    daemon.signal(Signal::HUP);
    eventually("the destination is not held any more", DEADLINE, || {
        (status(&daemon)["destinations"][0]["state"] != "held").then_some(())
    });
    assert_eq!(flush(&daemon)["left"], 0);
    endpoint.wait_for_ids([id(1)]);
}

#[test]
fn ca_only_file_refuses_what_the_systems_authorities_vouch_for() {
    let (system, private) = (Authority::new(), Authority::new());
    let endpoint = Collector::builder()
        .tls(system.server(Flaw::None).tls())
        .expect_tool(TOOL)
        .start();
    let only = format!("tls = {{ ca_only_file = \"{}\" }}\n", private.ca_file().display());
    for (trust, arrives) in [("", true), (trusting(&private).as_str(), true), (&only, false)] {
        let home = home();
        home.write_config(&destination(&endpoint.url(), &format!("{TOLD}{trust}")));
        // The system's, for this daemon.
        let daemon = Daemon::builder(&home)
            .env("SSL_CERT_FILE", system.ca_file())
            .start();
        let ids = queue(&daemon, [json!({"tool": TOOL, "event": "ran"})]);
        if arrives {
            assert_eq!(flush(&daemon)["left"], 0, "{trust}");
            endpoint.wait_for_ids(ids);
        } else {
            let error = failed(&daemon)["last_error"].to_string();
            assert!(error.contains("UnknownIssuer"), "{error}");
        }
    }
}

/// A program that runs the daemon where the only name server swallows every question.
fn without_an_answer(home: &Home) -> Option<std::path::PathBuf> {
    let tried = Command::new("unshare")
        .args([
            "-mn",
            "sh",
            "-c",
            "ip link set lo up && ip route add 192.0.2.0/24 dev lo",
        ])
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        skipped("root, unshare and ip are needed");
        return None;
    }
    home.write(
        "resolv.conf",
        "nameserver 192.0.2.1\noptions timeout:30 attempts:2\n",
    );
    let script = format!(
        "#!/bin/sh\nexec unshare -mn sh -c 'ip link set lo up && ip route add 192.0.2.0/24 dev lo && \
         mount --bind {} /etc/resolv.conf && exec {}'\n",
        home.root().join("resolv.conf").display(),
        telemetry_testkit::telemetryd().display()
    );
    home.write("without-an-answer", script);
    let program = home.root().join("without-an-answer");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Some(program)
}

#[test]
fn a_name_server_that_never_answers_costs_the_timeout_one_thread_and_no_time_at_the_end() {
    let home = home();
    let Some(program) = without_an_answer(&home) else {
        return;
    };
    let more = format!("timeout = \"300ms\"\n{SOON}");
    home.write_config(&destination("https://collector.example.org/", &more));
    let mut daemon = Daemon::builder(&home).program(program).start();
    queue(&daemon, [event(1)]);
    let attempts = || {
        status(&daemon)["destinations"][0]["attempts"]
            .as_u64()
            .unwrap_or(0)
    };
    eventually("it was tried four times", DEADLINE, || {
        (attempts() >= 4).then_some(())
    });
    let shown = status(&daemon)["destinations"][0].clone();
    let error = shown["last_error"].as_str().unwrap();
    assert!(
        error.contains("timed out after 0.3 s looking up the name collector.example.org"),
        "{error}"
    );
    let names = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let lookers = names
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("telemetryd-dns"))
        .count();
    assert_eq!(lookers, 1, "one look-up is out, however often it was tried");
    // Whoever hangs in a look-up keeps nobody from leaving.
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(Duration::from_secs(12)).code, Some(0));
}
