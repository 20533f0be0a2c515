//! `[gateway]`: where it may listen, whose keys there are, which hosts.

use telemetry_gateway::Listen;

use super::*;

fn problems_of(text: &str) -> String {
    let problems = House::with(text).load().unwrap_err();
    format!("{problems}")
}

#[test]
fn keys_and_hosts_are_read_in_both_their_forms() {
    let text = "[gateway]\nlisten = \"127.0.0.1:7423\"\nproxy_hosts = [\"192.0.2.1:8000\"]\n\
        keys = { mykey = \"dlt\", \"23.88\" = { tool = \"kedro\", notice = \"tool\" } }";
    let gateway = House::with(text).checked().gateway;
    assert_eq!(gateway.listen, Listen::Tcp("127.0.0.1:7423".parse().unwrap()));
    assert_eq!(gateway.proxy_hosts, ["192.0.2.1:8000"]);
    let (dlt, kedro) = (&gateway.keys["mykey"], &gateway.keys["23.88"]);
    assert_eq!((dlt.tool.as_str(), dlt.shows_notice), ("dlt", false));
    assert_eq!((kedro.tool.as_str(), kedro.shows_notice), ("kedro", true));
    let unix = House::with("[gateway]\nlisten = \"/run/x/gateway.sock\"")
        .checked()
        .gateway;
    assert_eq!(unix.listen, Listen::Unix("/run/x/gateway.sock".into()));
}

#[test]
fn a_key_in_one_more_file_goes_beside_the_others() {
    let house = House::with("[gateway.keys]\na = \"one\"\nb = \"two\"");
    house.write(
        "user/config.d/more.toml",
        "[gateway.keys]\nb = \"three\"\nc = { tool = \"four\" }",
    );
    let keys = house.checked().gateway.keys.clone();
    let tools: Vec<String> = keys.into_values().map(|key| key.tool).collect();
    assert_eq!(tools, ["one", "three", "four"]);
}

#[test]
fn it_listens_on_loopback_or_a_unix_socket_and_nowhere_else() {
    for listen in [
        "0.0.0.0:7423",
        "192.0.2.1:7423",
        "localhost:7423",
        "127.0.0.1",
        "relative.sock",
        "on",
        "[::]:1",
    ] {
        let problems = problems_of(&format!("[gateway]\nlisten = \"{listen}\""));
        assert!(
            problems.contains("gateway.listen") && problems.contains("a loopback address"),
            "{problems}"
        );
    }
    House::with("[gateway]\nlisten = \"[::1]:7423\"").checked();
    let machine = House::with("[gateway]\nlisten = \"127.0.0.1:7423\"").system();
    let problems = machine.load().unwrap_err().to_string();
    assert!(problems.contains("does not say whose it is"), "{problems}");
    House::with("[gateway]\nlisten = \"/run/x/gateway.sock\"")
        .system()
        .checked();
}

#[test]
fn what_is_no_key_or_host_is_said() {
    for (text, key) in [
        ("keys = { a = \"Not A Tool\" }", "gateway.keys"),
        ("keys = { a = { notice = \"tool\" } }", "gateway.keys"),
        ("keys = { a = { tool = \"t\", notice = \"me\" } }", "gateway.keys"),
        ("keys = { a = { tool = \"t\", flavour = 1 } }", "gateway.keys"),
        ("keys = [\"a\"]", "gateway.keys"),
        ("proxy_hosts = [\"192.0.2.1\"]", "gateway.proxy_hosts"),
        ("proxy_hosts = [\"http://192.0.2.1:8000\"]", "gateway.proxy_hosts"),
        ("proxy_hosts = \"192.0.2.1:8000\"", "gateway.proxy_hosts"),
    ] {
        let problems = problems_of(&format!("[gateway]\n{text}"));
        assert!(problems.contains(key), "{text}: {problems}");
    }
}

#[test]
fn keys_are_never_shown_but_whose_they_are() {
    let house = House::with("[gateway]\nkeys = { telling = \"dlt\" }");
    let shown = show(&house.loaded());
    let keys = shown.iter().find(|shown| shown.key == "gateway.keys").unwrap();
    assert_eq!(keys.value.as_str(), Some("***** of dlt"));
}
