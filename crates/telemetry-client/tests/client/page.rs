//! The page for authors shows the example that is built and run.

use telemetry_client::{Client, Sent};

use crate::home::{Home, next};

#[test]
fn the_page_for_authors_shows_the_example() {
    let page = include_str!("../../../../docs/tool-authors.md");
    let example = include_str!("../../examples/mytool.rs");
    let (_, code) = example.split_once("\n\n").expect("a header");
    assert!(
        page.contains(&format!("```rust\n{code}```")),
        "docs/tool-authors.md differs from examples/mytool.rs"
    );
    let manifest = include_str!("../../examples/telemetry.toml");
    let home = Home::new();
    let heard = home.daemon();
    let client = Client::from_manifest(manifest).in_surroundings(home.surroundings());
    assert_eq!(client.problems(), [""; 0]);
    assert!(client.notice().is_some());
    // The arguments are those of the test's runner: none of them is a word of the vocabulary.
    let line = client.command_line();
    assert!(
        line.as_str().split(' ').skip(1).all(|word| word == "*****"),
        "{line:?}"
    );
    assert_eq!(
        client.event("command").command("command", &line).send(),
        Sent::Handed
    );
    assert_eq!(next(&heard)["op"], "register");
    assert_eq!(next(&heard)["properties"]["command"], line.as_str());
}
