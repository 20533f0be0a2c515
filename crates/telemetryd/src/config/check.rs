//! The second half of checking: all layers together become [`Checked`], or say what contradicts what.
//!
//! Each key is read through the table in `default.rs`, which notes its origin on the way: a key that the
//! program uses is a key that `--show-config` shows.

use std::sync::Arc;
use std::time::Duration;

use telemetry_delivery::{Auth, BatchLimits, Confirm, Destination, Retry};
use telemetry_policy::manifest::terms::Sample;
use telemetry_protocol::place::Mode;

use super::checked::{Checked, Daemon, Defaults, Limits, Rate, ToolOverride, Unregistered};
use super::default::{self, SYSTEM_RATE};
use super::effective::{Check, owned};
use super::file::File;
use super::inspect::refused;
use super::origin::{Origin, Origins};
use super::problem::{Problem, Problems};
use super::suggest::nearest;
use super::value::Refusal;
use super::{units, url};

/// Reads all keys of `file`, whose layers were inspected. What does not fit together becomes a problem; then
/// the result is not to be used.
pub(super) fn check(mode: Mode, file: &File, problems: &mut Problems) -> (Checked, Origins) {
    let mut check = Check {
        file,
        origins: Origins::default(),
        problems,
    };
    let queue = check.queue();
    let checked = Checked {
        daemon: check.daemon(),
        limits: check.limits(mode, &queue),
        queue,
        defaults: check.defaults(),
        destinations: check
            .names("destinations")
            .into_iter()
            .filter_map(|name| check.destination(&name))
            .map(|destination| (Arc::clone(&destination.name), destination))
            .collect(),
        gateway: check.gateway(mode),
        tools: check
            .names("tools")
            .into_iter()
            .map(|name| (name.clone(), check.tool(&name)))
            .collect(),
    };
    (checked, check.origins)
}

impl Check<'_> {
    fn daemon(&mut self) -> Daemon {
        Daemon {
            idle_exit: self.maybe_duration(&["daemon", "idle_exit"]),
            shutdown_drain: self.duration(&["daemon", "shutdown_drain"]),
            log: self.text(&["daemon", "log"]).unwrap_or_default(),
        }
    }

    fn queue(&mut self) -> telemetry_queue::Limits {
        let max_bytes = self.number(&["queue", "max_bytes"]);
        let per_tool = ["queue", "max_bytes_per_tool"];
        // A default gives way to what was set.
        let max_bytes_per_tool = self.number_up_to(&per_tool, max_bytes);
        self.at_most(&per_tool, max_bytes_per_tool > max_bytes, &["queue", "max_bytes"]);
        telemetry_queue::Limits {
            max_bytes,
            max_bytes_per_tool,
            max_age_ms: millis(self.duration(&["queue", "max_age"])),
            parked_max_age_ms: millis(self.duration(&["queue", "parked_max_age"])),
            sent_max_age_ms: millis(self.duration(&["queue", "sent_log", "max_age"])),
            sent_max_bytes: self.number(&["queue", "sent_log", "max_bytes"]),
            sent_bodies: self.flag(&["queue", "sent_log", "bodies"]),
        }
    }

    fn limits(&mut self, mode: Mode, queue: &telemetry_queue::Limits) -> Limits {
        let max_event_bytes = self.number(&["limits", "max_event_bytes"]);
        // At its default it gives way: the queue then refuses the one event that is too large for it.
        self.at_most(
            &["limits", "max_event_bytes"],
            max_event_bytes > queue.max_bytes_per_tool,
            &["queue", "max_bytes_per_tool"],
        );
        Limits {
            max_event_bytes: count(max_event_bytes),
            max_connections: count(self.number(&["limits", "max_connections"])),
            max_connections_per_user: count(self.number(&["limits", "max_connections_per_user"])),
            idle_timeout: self.duration(&["limits", "idle_timeout"]),
            answer_timeout: self.duration(&["limits", "answer_timeout"]),
            max_unread: count(self.number(&["limits", "max_unread"])),
            max_depth: count(self.number(&["limits", "max_depth"])),
            rate: self.rate(mode),
        }
    }

    /// A word or a table, with a default of its own in system mode.
    fn rate(&mut self, mode: Mode) -> Option<Rate> {
        let (per_second, burst) = (["limits", "rate", "per_second"], ["limits", "rate", "burst"]);
        let Some(table) = self.file.table(&["limits", "rate"]) else {
            if mode == Mode::System && self.file.found(&["limits", "rate"]).is_none() {
                for (key, value) in [(per_second, SYSTEM_RATE.0), (burst, SYSTEM_RATE.1)] {
                    let value = toml::Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
                    self.origins.note(units::dotted(&key), value, Origin::Default);
                }
                return Some(Rate {
                    per_second: narrow(SYSTEM_RATE.0),
                    burst: narrow(SYSTEM_RATE.1),
                });
            }
            self.word(&["limits", "rate"]);
            return None;
        };
        for key in [per_second, burst] {
            if self.file.node(&key).is_none() {
                self.problems.add(
                    Problem::new(&table.origin, "is missing")
                        .key(units::dotted(&key))
                        .hint("a rate has both: rate = { per_second = 1000, burst = 10000 }"),
                );
            }
        }
        Some(Rate {
            per_second: narrow(self.number(&per_second)),
            burst: narrow(self.number(&burst)),
        })
    }

    fn defaults(&mut self) -> Defaults {
        let key = ["defaults", "destination"];
        let destination = self.text(&key).unwrap_or_default();
        // No destination at all is how one begins: the events wait as `no_destination`.
        let beginning = destination == "default" && self.names("destinations").is_empty();
        if self.file.found(&key).is_some() && !beginning {
            self.known_destination(&key, &destination);
        }
        Defaults {
            destination: Arc::from(destination),
            unregistered_tools: match self.word(&["defaults", "unregistered_tools"]) {
                "refuse" => Unregistered::Refuse,
                _ => Unregistered::OptIn,
            },
        }
    }

    fn destination(&mut self, name: &str) -> Option<Destination> {
        let at = |key: &'static str| ["destinations", name, key];
        let batch = |key: &'static str| ["destinations", name, "batch", key];
        let retry = |key: &'static str| ["destinations", name, "retry", key];
        let allow_insecure = self.flag(&at("allow_insecure"));
        let Some(url) = self.text(&at("url")) else {
            let table = self.file.table(&["destinations", name])?;
            if self.file.node(&at("url")).is_none() {
                let problem = Problem::new(&table.origin, "is missing").key(units::dotted(&at("url")));
                self.problems
                    .add(problem.hint("url = \"https://…\" says where the events go"));
            }
            return None;
        };
        self.secure(&at("url"), &url, allow_insecure);
        let encoding = self.encoding(name);
        let auth = self.auth(name, encoding);
        let headers = self.headers(name, &auth);
        let max = self.duration(&retry("max"));
        // A default gives way to what was set.
        let initial = self.duration_up_to(&retry("initial"), max);
        self.at_most(&retry("initial"), initial > max, &retry("max"));
        Some(Destination {
            name: Arc::from(name),
            url,
            encoding,
            headers,
            auth,
            compression: self.compression(name, encoding),
            timeout: self.duration(&at("timeout")),
            batch: BatchLimits {
                max_events: narrow(self.number(&batch("max_events"))),
                max_bytes: self.number(&batch("max_bytes")),
                max_wait: self.duration(&batch("max_wait")),
            },
            retry: Retry {
                initial,
                max,
                spread: self.duration(&retry("spread")),
            },
            confirm: match self.word(&at("confirm")) {
                "batch_id" => Confirm::BatchId,
                _ => Confirm::Status,
            },
            tls: self.tls(name),
            proxy: self.proxy(name),
            allow_insecure,
        })
    }

    /// Plain http goes to loopback alone, or where the admin said so.
    fn secure(&mut self, key: &[&str], url: &str, allow_insecure: bool) {
        let open = url::parse(url).is_ok_and(|reach| !reach.https && !reach.loopback);
        if open
            && !allow_insecure
            && let Some(found) = self.file.found(key)
        {
            let refusal = Refusal::allowed("https, and http to loopback only")
                .hint("write https, or allow_insecure = true if everybody on the way may read the events");
            self.problems.add(refused(&owned(key), found, refusal));
        }
    }

    fn headers(&mut self, name: &str, auth: &Auth) -> Vec<(String, String)> {
        let table = ["destinations", name, "headers"];
        let names: Vec<String> = self
            .file
            .table(&table)
            .map(|table| table.entries.keys().cloned().collect())
            .unwrap_or_default();
        let mut headers: Vec<(String, String)> = Vec::with_capacity(names.len());
        for header in names {
            let key = ["destinations", name, "headers", &header];
            let Some(value) = self.text(&key) else { continue };
            let repeated = headers
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(&header));
            let twice =
                *auth != Auth::None && !auth.in_body() && header.eq_ignore_ascii_case("authorization");
            if repeated || twice {
                let what = if twice {
                    "auth sets this header already"
                } else {
                    "this header is set twice"
                };
                let place = self
                    .file
                    .found(&key)
                    .map_or(Origin::Default, |found| found.origin.clone());
                self.problems
                    .add(Problem::new(&place, what).key(units::dotted(&key)));
            }
            headers.push((header, value));
        }
        headers
    }

    fn tool(&mut self, name: &str) -> ToolOverride {
        let key = ["tools", name, "destination"];
        let destination = self.text(&key);
        if let Some(destination) = &destination {
            self.known_destination(&key, destination);
        }
        ToolOverride {
            destination: destination.map(Arc::from),
            enabled: self.flag(&["tools", name, "enabled"]),
            opt_in: self.found(&["tools", name, "consent"]).is_some(),
            notice: self.found(&["tools", name, "notice"]).is_some(),
            sample: self.maybe_share(&["tools", name, "sample"]).and_then(Sample::of),
            max_per_day: self.maybe_number(&["tools", name, "max_per_day"]),
        }
    }

    /// The names below `section` that are tables (everything else was refused by the inspection).
    fn names(&self, section: &str) -> Vec<String> {
        let Some(table) = self.file.table(&[section]) else {
            return Vec::new();
        };
        let named = |name: &&String| self.file.table(&[section, name.as_str()]).is_some();
        table.entries.keys().filter(named).cloned().collect()
    }

    fn known_destination(&mut self, key: &[&str], name: &str) {
        let names = self.names("destinations");
        if names.iter().any(|known| known == name) {
            return;
        }
        let Some(found) = self.file.found(key) else { return };
        let allowed = match names.as_slice() {
            [] => "the name of a destination, and there is none".to_owned(),
            names => format!("the name of a destination: {}", names.join(", ")),
        };
        let refusal = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => Refusal::allowed(allowed).hint(format!("did you mean \"{near}\"?")),
            None => Refusal::allowed(allowed).hint(format!("add [destinations.{name}] with its url")),
        };
        self.problems.add(refused(&owned(key), found, refusal));
    }

    /// A problem if `key` was set and `over` the value of the key `bound`.
    fn at_most(&mut self, key: &[&str], over: bool, bound: &[&str]) {
        let Some(found) = self.file.found(key).filter(|_| over) else {
            return;
        };
        let (value, origin) = match self.file.found(bound) {
            Some(found) => (units::literal(&found.value), found.origin.to_string()),
            None => (
                default::find(bound)
                    .and_then(|key| key.default)
                    .unwrap_or_default()
                    .to_owned(),
                "its default".to_owned(),
            ),
        };
        let allowed = format!("at most {}, which is {value} ({origin})", units::dotted(bound));
        self.problems
            .add(refused(&owned(key), found, Refusal::allowed(allowed)));
    }
}

/// The upper bound of every age, ten years, is far below the end of 64 bits.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The table's bounds are far below the end of `usize`.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The table's bounds are far below the end of `u32`.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
