//! Units and plists agree with the code and with each other: the socket's name and place, the modes, the time to drain.

use plist::{Dictionary, Value};

use crate::tree;

/// Both plists, each parsed.
fn plists() -> [(&'static str, Dictionary); 2] {
    ["launchd/agent", "launchd/daemon"].map(|directory| {
        let file = tree::read(&format!("{directory}/org.telemetryd.telemetryd.plist"));
        let parsed = Value::from_reader_xml(file.text.as_bytes());
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", file.path));
        (
            directory,
            parsed.into_dictionary().expect("a plist is a dictionary"),
        )
    })
}

fn dictionary<'a>(of: &'a Dictionary, key: &str) -> &'a Dictionary {
    of.get(key)
        .and_then(Value::as_dictionary)
        .unwrap_or_else(|| panic!("no {key}"))
}

fn number(of: &Dictionary, key: &str) -> u64 {
    of.get(key)
        .and_then(Value::as_unsigned_integer)
        .unwrap_or_else(|| panic!("no {key}"))
}

fn text<'a>(of: &'a Dictionary, key: &str) -> &'a str {
    of.get(key)
        .and_then(Value::as_string)
        .unwrap_or_else(|| panic!("no {key}"))
}

/// The value of a key that a unit has once.
fn said(unit: &str, key: &str) -> String {
    let file = tree::read(unit);
    let found: Vec<&str> = file
        .text
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("{key}=")))
        .collect();
    assert_eq!(found.len(), 1, "{unit}: {key}= once, not {found:?}");
    found[0].to_owned()
}

/// A constant of text in the code.
fn constant(path: &str, name: &str) -> String {
    let file = tree::read(path);
    let (_, rest) = file
        .text
        .split_once(&format!("const {name}: &str = "))
        .expect("the constant");
    rest.split('"').nth(1).expect("its text").to_owned()
}

/// How the daemon asks for its socket.
fn socket_name() -> String {
    constant("crates/telemetryd/src/world.rs", "SOCKET_NAME")
}

#[test]
fn the_plists_hand_over_the_socket_that_the_daemon_asks_for_where_clients_look() {
    let places = tree::read("crates/telemetry-protocol/src/place.rs").text;
    for (directory, plist) in plists() {
        let sockets = dictionary(&plist, "Sockets");
        assert_eq!(
            sockets.keys().collect::<Vec<_>>(),
            [&socket_name()],
            "{directory}"
        );
        let socket = dictionary(sockets, &socket_name());
        let (path, mode) = (text(socket, "SockPathName"), number(socket, "SockPathMode"));
        match directory {
            "launchd/daemon" => {
                assert!(
                    places.contains(&format!("\"{path}\"")),
                    "{path} is where macOS clients look"
                );
                assert_eq!(mode, 0o666);
            }
            _ => {
                let below = "Library/Application Support/telemetryd";
                assert!(
                    places.contains(below) && path.ends_with(&format!("/{below}/telemetryd.sock")),
                    "{path}"
                );
                assert_eq!(mode, 0o600);
            }
        }
    }
}

#[test]
fn the_plists_start_what_their_names_say_and_give_it_time_to_drain() {
    for (directory, plist) in plists() {
        assert_eq!(
            text(&plist, "Label"),
            "org.telemetryd.telemetryd",
            "{directory}: the file's name"
        );
        let arguments = plist
            .get("ProgramArguments")
            .and_then(Value::as_array)
            .expect("a list");
        let arguments: Vec<&str> = arguments.iter().filter_map(Value::as_string).collect();
        let expected: &[&str] = match directory {
            "launchd/daemon" => &["/usr/local/bin/telemetryd", "--system"],
            _ => &["/usr/local/bin/telemetryd"],
        };
        assert_eq!(arguments, expected, "{directory}");
        assert!(
            number(&plist, "ExitTimeOut") > 10 + 10,
            "{directory}: shutdown_drain and what leaving takes"
        );
        assert_eq!(number(&plist, "Umask"), 0o077, "{directory}");
        assert_eq!(
            dictionary(&plist, "KeepAlive").get("SuccessfulExit"),
            Some(&Value::Boolean(false))
        );
    }
}

#[test]
fn the_units_hand_over_the_socket_that_the_daemon_asks_for_where_clients_look() {
    for (mode, path, permissions) in [
        ("system", "/run/telemetryd/telemetryd.sock", ["0666", "0755"]),
        ("user", "%t/telemetryd/telemetryd.sock", ["0600", "0700"]),
    ] {
        let socket = format!("systemd/{mode}/telemetryd.socket");
        assert_eq!(said(&socket, "FileDescriptorName"), socket_name());
        assert_eq!(said(&socket, "ListenStream"), path);
        assert_eq!(
            [said(&socket, "SocketMode"), said(&socket, "DirectoryMode")],
            permissions
        );
        let backlog = tree::read("crates/telemetry-protocol/src/limits.rs")
            .text
            .replace('_', "");
        assert!(
            backlog.contains(&format!("BACKLOG: i32 = {};", said(&socket, "Backlog"))),
            "{socket}: Backlog="
        );
    }
}

/// Two units that drift apart are two promises.
#[test]
fn what_both_units_say_they_say_alike() {
    let [system, user] = ["system", "user"].map(|mode| format!("systemd/{mode}/telemetryd.service"));
    for key in [
        "Type",
        "ExecReload",
        "Restart",
        "RestartSec",
        "StartLimitIntervalSec",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "KillMode",
        "Requires",
        "After",
        "UMask",
        "NoNewPrivileges",
        "Description",
    ] {
        assert_eq!(said(&system, key), said(&user, key), "{key}");
    }
    assert!(said(&system, "ExecStart").ends_with("/telemetryd --system"));
    assert_eq!(said(&user, "ExecStart"), "telemetryd");
    for unit in [&system, &user] {
        assert!(
            !tree::read(unit).text.contains("WatchdogSec"),
            "{unit}: a watchdog wakes an idle daemon (I11)"
        );
    }
}

/// The daemon's page is written by hand, for the daemon carries no generator of pages.
#[test]
fn the_daemons_manual_lists_every_flag() {
    let page = tree::read("packaging/telemetryd.8").text.replace('\\', "");
    let flags = tree::read("crates/telemetryd/src/cli.rs").text;
    let (flags, _) = flags
        .split_once("const AFTER_HELP")
        .expect("the flags stand before it");
    let named = flags.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    for name in named
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.replace('_', "-"))
    {
        assert!(
            page.contains(&format!("--{name}")),
            "--{name} is not in packaging/telemetryd.8"
        );
    }
}
