//! What becomes of a request: its row of the table, what its body is said to be, who sent it, the body, its dialect,
//! the key, the [`Door`].

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, Request};
use axum::routing::{MethodRouter, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};

use crate::answer::{Refusal, success};
use crate::body;
use crate::check;
use crate::dialect::{self, Line, Wrong, any, heap, jitsu, segment};
use crate::door::{Door, Lines, Peer};
use crate::server::Connection;
use crate::settings::{Key, Settings};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// One call of Segment's API.
    Track,
    /// Many.
    Batch,
    /// Heap's.
    Heap,
    /// Jitsu's.
    Jitsu,
    /// Event lines.
    Lines,
    /// Any JSON object; the path names the tool.
    Any,
}

/// The table.
const ROWS: [(&str, Row); 6] = [
    ("/v1/track", Row::Track),
    ("/v1/batch", Row::Batch),
    ("/v1/import", Row::Batch),
    ("/api/track", Row::Heap),
    ("/api/v1/s2s/event", Row::Jitsu),
    ("/v1/events", Row::Lines),
];

/// Each row as it is, and again below the name of a tool.
pub(crate) fn router<D: Door>() -> Router {
    let no_such =
        |status, message: &'static str| async move { Refusal::new(status, "not_found", message).response() };
    let mut router = Router::new().route("/t/{tool}", row::<D>(Row::Any));
    for (path, of) in ROWS {
        router = router
            .route(path, row::<D>(of))
            .route(&format!("/t/{{tool}}{path}"), row::<D>(of));
    }
    router
        .fallback(move || no_such(StatusCode::NOT_FOUND, "no such path here"))
        .method_not_allowed_fallback(move || no_such(StatusCode::METHOD_NOT_ALLOWED, "expected POST"))
}

fn row<D: Door>(row: Row) -> MethodRouter {
    post(
        move |connection: Extension<Arc<Connection<D>>>, tool: Option<Path<String>>, request: Request| async move {
            let tool = tool.map(|Path(tool)| tool);
            match take(row, &connection, tool, request).await {
                Ok(()) => success(),
                Err(refusal) => refusal.response(),
            }
        },
    )
}

async fn take<D: Door>(
    row: Row,
    connection: &Connection<D>,
    named: Option<String>,
    request: Request,
) -> Result<(), Refusal> {
    let packed = check::content(request.headers())?;
    let peer = connection.peer().await?;
    let (door, room) = (&connection.gateway.door, &connection.gateway.room);
    let pace = &connection.gateway.pace;
    let limits = door.limits();
    let (head, body) = request.into_parts();
    let (body, held) = body::read(body, packed, limits.body, limits.patience, room, pace).await?;
    let size = body.len();
    let taken = store(row, connection, &peer, named.as_deref(), &head, body).await;
    drop(held);
    taken.inspect_err(|_| pace.wasted(size))
}

async fn store<D: Door>(
    row: Row,
    connection: &Connection<D>,
    peer: &Peer,
    named: Option<&str>,
    head: &Parts,
    body: Vec<u8>,
) -> Result<(), Refusal> {
    let door = &connection.gateway.door;
    let settings = door.settings();
    let asked = Asked {
        row,
        named,
        uri: &head.uri,
        headers: &head.headers,
        settings: &settings,
    };
    let lists = |tool: &str, event: &str| door.lists(peer.uid, tool, event);
    let (whose, lines) = asked.read(&body, &lists)?;
    let (places, lines): (Vec<String>, Vec<Vec<u8>>) =
        lines.into_iter().map(|line| (line.place, line.line)).unzip();
    if lines.is_empty() {
        return Ok(());
    }
    let lines = Lines {
        tool: whose.tool,
        lines,
        shows_notice: whose.shows_notice,
    };
    let taken = door.take(peer, lines).await;
    taken.map_err(|refused| Refusal::of(refused, &places))
}

/// A request whose body is there.
struct Asked<'a> {
    row: Row,
    /// The tool in the path.
    named: Option<&'a str>,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    settings: &'a Settings,
}

impl Asked<'_> {
    /// Whose events, and which.
    fn read(&self, bytes: &[u8], lists: &dyn Fn(&str, &str) -> bool) -> Result<(Key, Vec<Line>), Refusal> {
        let bad = |Wrong(message)| Refusal::bad(message);
        if self.row == Row::Lines {
            let key = self.key(bearer(self.headers), "Authorization: Bearer")?;
            let lines = dialect::lines::lines(bytes, &key.tool).map_err(bad)?;
            return Ok((key, lines));
        }
        let body = dialect::Body::scan(bytes).map_err(bad)?;
        let (key, expected) = match self.row {
            Row::Track | Row::Batch => (
                basic(self.headers).or_else(|| segment::key(&body)),
                "Basic auth's user name, or writeKey",
            ),
            Row::Heap => (heap::key(&body), "app_id"),
            Row::Jitsu => (query(self.uri, "token"), "token in the query"),
            Row::Lines | Row::Any => (None, "the path /t/TOOL"),
        };
        let key = self.key(key, expected)?;
        let tool = key.tool.as_str();
        let lists = |event: &str| lists(tool, event);
        let lines = match self.row {
            Row::Track => segment::one(&body, tool, &lists),
            Row::Batch => segment::many(&body, tool, &lists),
            Row::Heap => heap::lines(&body, tool),
            Row::Jitsu => jitsu::lines(&body, tool, &lists),
            Row::Lines | Row::Any => any::lines(&body, tool, &lists),
        };
        Ok((key, lines.map_err(bad)?))
    }

    /// The tool of the path, else the key's.
    fn key(&self, key: Option<Cow<'_, str>>, expected: &str) -> Result<Key, Refusal> {
        if let Some(tool) = self.named {
            let shows_notice = key
                .and_then(|key| self.settings.keys.get(&*key))
                .is_some_and(|known| known.tool == tool && known.shows_notice);
            let tool = tool.to_owned();
            return Ok(Key { tool, shows_notice });
        }
        let Some(key) = key else {
            return Err(Refusal::unknown_key(format!("no key: expected {expected}")));
        };
        let known = self.settings.keys.get(&*key).cloned();
        known.ok_or_else(|| Refusal::unknown_key(format!("{expected}: no such key in gateway.keys")))
    }
}

/// The user name of `Authorization: Basic` (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<Cow<'static, str>> {
    let decoded = STANDARD.decode(scheme(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, _) = text.split_once(':')?;
    Some(Cow::Owned(name.to_owned()))
}

/// The token of `Authorization: Bearer` (RFC 6750).
fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    scheme(headers, "bearer").map(Cow::Borrowed)
}

fn scheme<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let (found, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// The value of `name` in the query, its escapes undone.
fn query(uri: &Uri, name: &str) -> Option<Cow<'static, str>> {
    let pairs = uri
        .query()?
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let undone = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            other => other,
        };
        bytes.push(undone);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
