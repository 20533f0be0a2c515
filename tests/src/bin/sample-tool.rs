//! A tool of three lines, as its author would write them; what became of its event is printed for the test that runs it.
#![expect(
    clippy::print_stdout,
    reason = "it is a program, and a test reads what it prints"
)]

use telemetry_client::Client;

/// What it may send.
const MANIFEST: &str = "name = \"sample\"\nconsent = \"opt-out\"\nnotice = \"Commands are counted.\"\n\
    notice_required = \"tool\"\n[events.ran]\nproperties.files = \"integer\"\nproperties.text = \"string\"\n";

fn main() {
    if std::env::args().any(|word| word == "--manifest") {
        return print!("{MANIFEST}");
    }
    let telemetry = Client::from_manifest(MANIFEST).version("1.0.0");
    let sent = telemetry
        .event("ran")
        .prop("files", 3)
        .prop("text", "/home/alice/x")
        .send();
    println!("{sent:?}");
}
