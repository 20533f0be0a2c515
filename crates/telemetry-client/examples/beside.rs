//! A command that does nothing, and with the word `report` says so: what one event costs its host
//! (`clients/python/bench/beside.py`).

use telemetry_client::Client;

/// What it may send.
const MANIFEST: &str = r#"
name = "mytool"
consent = "opt-out"
notice_required = "tool"
[events.command]
properties.exit_status = "integer"
"#;

fn main() {
    if std::env::args().any(|word| word == "report") {
        Client::from_manifest(MANIFEST)
            .event("command")
            .prop("exit_status", 0)
            .send();
    }
}
