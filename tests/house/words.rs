//! Nothing in the tree tells where or by whom it was made.

use crate::{hold, tree};

/// Homes and places of a developer's machine. People of examples (`/home/alice`, `/home/user`) are welcome.
const PLACES: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/ho", "me/"),
];

/// Names in examples and in what real tools were seen to send.
const PEOPLE: [&str; 6] = ["alice", "bob", "user", "me", "you", "runner"];

/// Words that belong to a place of work and not to the project.
const WORDS: [&str; 4] = [
    concat!("../sha", "red/"),
    concat!("BRI", "EF.md"),
    concat!("issues sh", "ow"),
    concat!("before-", "stop"),
];

#[test]
fn no_file_names_a_developers_machine_or_place_of_work() {
    let mut broken = Vec::new();
    for file in tree::all() {
        for (number, line) in file.lines() {
            let place = PLACES.iter().find(|place| {
                line.match_indices(**place)
                    .any(|(at, _)| betrays(line, at, place))
            });
            let word = WORDS.iter().find(|word| line.contains(**word));
            broken.extend(
                place
                    .into_iter()
                    .chain(word)
                    .map(|found| format!("{}:{number}: {found}…", file.path)),
            );
        }
    }
    hold(
        "no path of a developer's machine, no word of the place of work",
        &broken,
    );
}

/// Whether the path that begins at `at` is absolute and names nobody of the examples.
fn betrays(line: &str, at: usize, place: &str) -> bool {
    let inside = line[..at]
        .chars()
        .next_back()
        .is_some_and(|before| before.is_alphanumeric() || "._-}>".contains(before));
    let who = &line[at + place.len()..];
    !inside
        && !who.starts_with(['<', '$', '{', '…', '*', '"', '`', '\''])
        && !PEOPLE.iter().any(|name| who.starts_with(name))
}

#[test]
fn an_example_home_is_told_from_a_real_one() {
    let home = concat!("/ho", "me/");
    assert!(betrays(&format!("see {home}jane/x"), 4, home));
    assert!(!betrays(&format!("see {home}alice/x"), 4, home));
    assert!(!betrays(&format!("see {home}<user>"), 4, home));
    assert!(!betrays(&format!("tests{home}x"), 5, home));
}
