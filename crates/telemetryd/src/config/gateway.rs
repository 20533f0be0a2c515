//! `[gateway]`: where HTTP is listened to, which key names which tool, which other hosts' requests are taken.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use telemetry_gateway::{Key, Listen, Settings};
use telemetry_protocol::limits::is_tool_name;
use telemetry_protocol::place::{Mode, check_socket_path};
use toml::Value;

use super::effective::{Check, owned};
use super::inspect::refused;
use super::origin::MASK;
use super::value::{Parsed, Refusal};

/// Keys that may be listed, hosts, and bytes of one (I6).
const MAX_KEYS: usize = 256;
const MAX_HOSTS: usize = 32;
const MAX_BYTES: usize = 256;

/// What `listen` takes, in words.
pub(super) const LISTEN: &str =
    "\"off\", a loopback address with its port like \"127.0.0.1:7423\", or the absolute path of a socket";
/// What `keys` takes.
pub(super) const KEYS: &str = "a table of keys and their tools, { \"mykey\" = \"dlt\", \"2388822444\" = { tool = \"kedro\", notice = \"tool\" } }";
/// What `proxy_hosts` takes.
pub(super) const HOSTS: &str = "an array of hosts with their ports, [\"192.0.2.1:8000\"]";

/// `listen`, as it is written.
pub(super) fn listen(text: &str) -> Option<Listen> {
    match text {
        "off" => Some(Listen::Off),
        path if path.starts_with('/') => check_socket_path(path.as_ref())
            .is_ok()
            .then(|| Listen::Unix(PathBuf::from(path))),
        address => {
            let address: SocketAddr = address.parse().ok()?;
            address.ip().is_loopback().then_some(Listen::Tcp(address))
        }
    }
}

/// `keys`, as they are written.
pub(super) fn keys(value: &Value) -> Option<BTreeMap<String, Key>> {
    let table = value.as_table().filter(|table| table.len() <= MAX_KEYS)?;
    table
        .iter()
        .map(|(name, value)| Some((name.clone(), key(name, value)?)))
        .collect()
}

fn key(name: &str, value: &Value) -> Option<Key> {
    let good = !name.is_empty() && name.len() <= MAX_BYTES && !name.chars().any(char::is_control);
    let (tool, notice) = match value {
        Value::String(tool) => (tool, None),
        Value::Table(table) if table.keys().all(|key| matches!(key.as_str(), "tool" | "notice")) => {
            let Some(Value::String(tool)) = table.get("tool") else {
                return None;
            };
            (tool, table.get("notice"))
        }
        _ => return None,
    };
    let shows_notice = match notice {
        None => false,
        Some(word) => word.as_str().filter(|word| *word == "tool").map(|_| true)?,
    };
    (good && is_tool_name(tool)).then(|| Key {
        tool: tool.clone(),
        shows_notice,
    })
}

/// `proxy_hosts`, as they are written.
pub(super) fn hosts(value: &Value) -> Option<Vec<String>> {
    let hosts = value.as_array().filter(|hosts| hosts.len() <= MAX_HOSTS)?;
    hosts
        .iter()
        .map(|host| host.as_str().filter(|host| is_host(host)).map(str::to_owned))
        .collect()
}

fn is_host(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let named = |b: u8| b.is_ascii_alphanumeric() || b".-_[]:".contains(&b);
    text.len() <= MAX_BYTES
        && !host.is_empty()
        && host.bytes().all(named)
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// What `--show-config` says of keys: whose they are. They name a tool, and may be a vendor's.
pub(super) fn keys_shown(value: &Value) -> Value {
    let Some(keys) = keys(value).filter(|keys| !keys.is_empty()) else {
        return value.clone();
    };
    let tools: Vec<String> = keys.into_values().map(|key| key.tool).collect();
    Value::String(format!("{MASK} of {}", tools.join(", ")))
}

impl Check<'_> {
    pub(super) fn gateway(&mut self, mode: Mode) -> Arc<Settings> {
        let at = ["gateway", "listen"];
        let listen = self.text(&at).and_then(|text| listen(&text)).unwrap_or_default();
        if let (Mode::System, Listen::Tcp(_), Some(found)) = (mode, &listen, self.file.found(&at)) {
            let allowed = Refusal::allowed("\"off\" or the path of a Unix socket in a machine-wide daemon")
                .hint("a TCP connection does not say whose it is; listen = \"/run/telemetryd/gateway.sock\"");
            self.problems.add(refused(&owned(&at), found, allowed));
        }
        let keys = match self.read(&["gateway", "keys"]) {
            Some(Parsed::Keys(keys)) => keys,
            _ => BTreeMap::new(),
        };
        let proxy_hosts = match self.read(&["gateway", "proxy_hosts"]) {
            Some(Parsed::Texts(hosts)) => hosts,
            _ => Vec::new(),
        };
        Arc::new(Settings {
            listen,
            keys,
            proxy_hosts,
        })
    }
}
