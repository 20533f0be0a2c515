//! The tool of docs/tool-authors.md: what the page shows is this file.
#![expect(
    clippy::print_stderr,
    reason = "a notice is shown by the tool, never by the library"
)]

use telemetry_client::Client;

fn main() {
    let telemetry = Client::from_manifest(include_str!("telemetry.toml")).version(env!("CARGO_PKG_VERSION"));
    if let Some(notice) = telemetry.notice() {
        eprintln!("{}", notice.text);
        telemetry.noticed(&notice);
    }
    telemetry
        .event("command")
        .command("command", &telemetry.command_line())
        .prop("duration", 0.5)
        .send();
}
