//! The first half of checking: each layer by itself, against the table of keys. Unknown keys, wrong types,
//! values out of bounds, and names that cannot be names.

use super::default::{self, KEYS, children};
use super::file::{File, Found, Node, Table, kind};
use super::origin::MASK;
use super::problem::{Problem, Problems};
use super::suggest::nearest;
use super::value::{Refusal, Takes};
use super::{units, url};

/// Adds what is wrong with one layer.
pub(super) fn inspect(layer: &File, problems: &mut Problems) {
    walk(&layer.root, &mut Vec::new(), problems);
}

fn walk(table: &Table, path: &mut Vec<String>, problems: &mut Problems) {
    for (name, node) in &table.entries {
        path.push(name.clone());
        visit(node, path, problems);
        path.pop();
    }
}

fn visit(node: &Node, path: &mut Vec<String>, problems: &mut Problems) {
    let place = match node {
        Node::Leaf(found) => &found.origin,
        Node::Table(table) => &table.origin,
    };
    let key = default::find(path);
    let is_table = !children(path).is_empty();
    match (node, key) {
        (Node::Leaf(found), Some(key)) => {
            if let Err(refusal) = key.takes.parse(found) {
                problems.add(refused(path, found, refusal));
            }
        }
        (Node::Table(_), Some(key)) if matches!(key.takes, Takes::Keys) => {
            let found = node.whole();
            if let Err(refusal) = key.takes.parse(&found) {
                problems.add(refused(path, &found, refusal));
            }
        }
        (Node::Table(table), _) if is_table => match bad_name(path) {
            Some(what) => problems.add(Problem::new(place, what).key(units::dotted(path))),
            None => walk(table, path, problems),
        },
        (Node::Leaf(_), None) if is_table => {
            let problem = Problem {
                found: Some(kind(node).to_owned()),
                allowed: Some("a table".to_owned()),
                ..Problem::new(place, format!("found {}, allowed is a table", kind(node)))
            };
            problems.add(with_name_hint(problem.key(units::dotted(path)), path));
        }
        (Node::Table(_), Some(_)) => {
            let problem = Problem::new(place, "found a table, allowed is a single value");
            problems.add(problem.key(units::dotted(path)));
        }
        (_, None) => problems.add(unknown(path, place)),
    }
    // A header is a leaf with a name of its own.
    if let (Node::Leaf(found), Some(_)) = (node, key)
        && let Some(what) = bad_name(path)
    {
        problems.add(Problem::new(&found.origin, what).key(units::dotted(path)));
    }
}

/// The problem of a value that a key does not take; secrets are masked.
pub(super) fn refused(path: &[String], found: &Found, refusal: Refusal) -> Problem {
    let shown = shown(path, found);
    let message = match refusal.message {
        Some(message) => format!("{message}, allowed is {}", refusal.allowed),
        None => format!("found {shown}, allowed is {}", refusal.allowed),
    };
    Problem {
        found: Some(shown),
        allowed: Some(refusal.allowed),
        hint: refusal.hint,
        ..Problem::new(&found.origin, message).key(units::dotted(path))
    }
}

/// A found value for a message. Everything that a destination says about credentials is masked, also what
/// stands where only a file's or variable's name belongs: it may be the token itself.
fn shown(path: &[String], found: &Found) -> String {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    match (segments.as_slice(), &found.value) {
        (["destinations", _, "auth" | "headers", ..] | ["gateway", "keys", ..], _) => MASK.to_owned(),
        (["destinations", _, "url"], toml::Value::String(url)) => units::quoted(&url::mask(url)),
        (["destinations", _, "proxy"], toml::Value::String(text)) => url::proxy_shown(text),
        (["destinations", _, "url" | "proxy"], _) => MASK.to_owned(),
        (_, value) => units::literal(value),
    }
}

fn unknown(path: &[String], place: &super::origin::Origin) -> Problem {
    let problem = Problem::new(place, "unknown key").key(units::dotted(path));
    let (name, above) = match path.split_last() {
        Some((name, above)) => (name.as_str(), above),
        None => return problem,
    };
    let siblings = children(above);
    if let Some(meant) = nearest(name, siblings.iter().copied().filter(|sibling| *sibling != "*")) {
        let mut meant_path = above.to_vec();
        meant_path.push(meant.to_owned());
        return problem.hint(format!("did you mean '{}'?", units::dotted(&meant_path)));
    }
    // The right key in the wrong table: `max_age` at the top, or `[daemon] max_bytes`.
    let elsewhere: Vec<&str> = KEYS
        .iter()
        .map(|key| key.pattern)
        .filter(|pattern| pattern.rsplit('.').next() == Some(name))
        .collect();
    if let [first, ..] = elsewhere.as_slice() {
        return problem.hint(format!("did you mean '{}'?", first.replace('*', "NAME")));
    }
    if siblings.is_empty() {
        return problem;
    }
    problem.hint(format!("known here: {}", siblings.join(", ")))
}

/// `destinations.url`: the table of all destinations holds what belongs to one.
fn with_name_hint(problem: Problem, path: &[String]) -> Problem {
    match path {
        [section, _] if section == "destinations" || section == "tools" => {
            problem.hint(format!("each has a name: [{section}.NAME]"))
        }
        _ => problem,
    }
}

/// What is wrong with the last segment where it is a name that the user chose.
fn bad_name(path: &[String]) -> Option<&'static str> {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["destinations" | "tools", name] if !telemetry_protocol::limits::is_tool_name(name) => {
            Some("not a name, allowed is [a-z0-9][a-z0-9._-]{0,63}")
        }
        ["destinations", _, "headers", name] => bad_header(name),
        _ => None,
    }
}

/// RFC 9110 section 5.1 (a header's name is a token), and the headers that are made for every request or
/// belong to the connection (section 7.6.1); the delivery room has the same list.
fn bad_header(name: &str) -> Option<&'static str> {
    const OURS: [&str; 14] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "http2-settings",
        "idempotency-key",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
        return Some("not the name of a request header, allowed are letters, digits and -");
    }
    let lower = name.to_ascii_lowercase();
    if OURS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
        return Some("this header is made for each request and cannot be set");
    }
    None
}
