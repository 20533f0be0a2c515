//! A config file: read or refused with a place and a reason, for a user and for the machine.

use std::path::Path;

use telemetryd::config::{Mode, of_text, show};

/// The file's bytes.
pub fn hold(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for mode in [Mode::User, Mode::System] {
        match of_text(mode, Path::new("config.toml"), &text) {
            Ok(loaded) => {
                for shown in show(&loaded) {
                    assert!(!shown.key.is_empty());
                }
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                let lines = text.lines().count() + 1;
                for problem in &problems {
                    let line = problem.place.line().unwrap_or(1);
                    assert!(line >= 1 && line as usize <= lines, "{problem}");
                    assert!(!problem.message.is_empty());
                }
            }
        }
    }
}
