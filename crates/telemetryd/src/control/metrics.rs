//! `metrics`: OpenMetrics text (openmetrics.io, version 1.0). Counters begin at zero with each start, the
//! books' do not.

use std::fmt::Write;

use telemetry_queue::{Book, QueueError, View};

use super::Service;
use super::caller::Caller;

/// One column of the books.
type Number = fn(&Book) -> u64;

impl Service {
    /// What is the whole daemon's is told only to who may see all (I13).
    pub(super) async fn metrics(&self, caller: Caller) -> Result<String, QueueError> {
        let books = self.queue.books(caller.whose).await?;
        let view = self.view_for(caller).await?;
        let mut text = Text::default();
        text.family("telemetryd_build", "info", "The version.");
        text.sample("telemetryd_build_info", &[("version", crate::VERSION)], 1);
        let columns: [(&str, &str, Number); 8] = [
            ("accepted", "counter", |b| b.accepted),
            ("delivered", "counter", |b| b.delivered),
            ("evicted", "counter", |b| b.evicted),
            ("expired", "counter", |b| b.expired),
            ("purged", "counter", |b| b.purged),
            ("lost", "counter", |b| b.lost),
            ("queued", "gauge", |b| b.queued),
            ("parked", "gauge", |b| b.parked),
        ];
        for (name, kind, number) in columns {
            let family = format!("telemetryd_events_{name}");
            text.family(&family, kind, &format!("Events {name}, by the books."));
            for book in &books {
                let uid = book.lane.uid.to_string();
                text.sample(&sample_name(&family, kind), &labels(book, &uid), number(book));
            }
        }
        text.family(
            "telemetryd_events_declined",
            "counter",
            "Events that consent declined since the start.",
        );
        for (tool, layers) in self.counters.declined(caller.whose) {
            for (layer, count) in layers {
                text.sample(
                    "telemetryd_events_declined_total",
                    &[("tool", &tool), ("by", layer)],
                    count,
                );
            }
        }
        if caller.whose.is_none() {
            self.of_the_daemon(&view, &mut text);
        } else {
            text.family("telemetryd_queue_bytes", "gauge", "Bytes of queued rows.");
            text.sample("telemetryd_queue_bytes", &[], view.bytes);
        }
        Ok(text.end())
    }

    fn of_the_daemon(&self, view: &View, text: &mut Text) {
        text.family(
            "telemetryd_requests_refused",
            "counter",
            "Lines answered with an error since the start.",
        );
        for (code, count) in self.counters.refused() {
            text.sample("telemetryd_requests_refused_total", &[("error", code)], count);
        }
        let numbers = &self.counters;
        for (name, kind, help, value) in [
            (
                "telemetryd_connections",
                "counter",
                "Connections accepted.",
                numbers.connections.get(),
            ),
            (
                "telemetryd_connections_cut_off",
                "counter",
                "Clients that did not read.",
                numbers.cut_off.get(),
            ),
            (
                "telemetryd_lines_truncated",
                "counter",
                "Last lines without a newline.",
                numbers.truncated.get(),
            ),
            (
                "telemetryd_events_duplicate",
                "counter",
                "Events that were queued already.",
                numbers.duplicates.get(),
            ),
            (
                "telemetryd_spool_events",
                "counter",
                "Events taken over from the spool.",
                numbers.spool_taken.get(),
            ),
            (
                "telemetryd_spool_dropped",
                "counter",
                "Events that a full spool lost.",
                numbers.spool_dropped.get(),
            ),
            (
                "telemetryd_spool_expired",
                "counter",
                "Events that were in the spool for too long.",
                numbers.spool_expired.get(),
            ),
            (
                "telemetryd_delivery_requests",
                "counter",
                "Requests to endpoints.",
                numbers.requests.get(),
            ),
            (
                "telemetryd_delivery_failures",
                "counter",
                "Requests that did not deliver.",
                numbers.failures.get(),
            ),
            (
                "telemetryd_connections_open",
                "gauge",
                "Connections now.",
                u64::try_from(*self.open.borrow()).unwrap_or(u64::MAX),
            ),
            (
                "telemetryd_queue_bytes",
                "gauge",
                "Bytes of queued rows.",
                view.bytes,
            ),
            (
                "telemetryd_queue_disk_bytes",
                "gauge",
                "Bytes of the queue's files.",
                self.queue.bytes_on_disk(),
            ),
            (
                "telemetryd_queue_disk_full",
                "gauge",
                "1 while the disk is full.",
                u64::from(view.disk_full),
            ),
        ] {
            text.family(name, kind, help);
            text.sample(&sample_name(name, kind), &[], value);
        }
    }
}

/// OpenMetrics: a counter's samples end in `_total`.
fn sample_name(family: &str, kind: &str) -> String {
    let suffix = if kind == "counter" { "_total" } else { "" };
    format!("{family}{suffix}")
}

/// A book's labels; `uid` is the text of its uid.
fn labels<'a>(book: &'a Book, uid: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("destination", &book.lane.destination),
        ("tool", &book.lane.tool),
        ("uid", uid),
    ]
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (nth, (label, value)) in labels.iter().enumerate() {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if nth == 0 { "{" } else { "," });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn end(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn labels_are_escaped_and_the_text_ends() {
        let mut text = Text::default();
        text.family("x", "counter", "X.");
        text.sample("x_total", &[("a", "q\"\\"), ("b", "c")], 3);
        assert_eq!(
            text.end(),
            "# TYPE x counter\n# HELP x X.\nx_total{a=\"q\\\"\\\\\",b=\"c\"} 3\n# EOF\n"
        );
    }
}
