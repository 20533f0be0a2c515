//! A project that denies: what is queued of it is erased by the daemon, which cannot see the project's files itself
//! (CONSENT.md, "Epochs"). One line, for whoever has met the denial.

use std::time::Instant;

use crate::connection::{Connection, TalkError};

/// Tells the daemon that this project denies for `tool`. `names`: what the project's events said, as
/// [`Gathered::project_names`](crate::Gathered::project_names) has them, and a key of the tool's own where it has one.
///
/// # Errors
/// [`TalkError`]; the rest of the names is not said then. A daemon that refuses is no error: it is older than this.
pub fn denies(
    daemon: &mut Connection,
    tool: &str,
    names: &[String],
    deadline: Instant,
) -> Result<(), TalkError> {
    for name in names {
        // A tool's name needs no quoting.
        let line = format!(
            "{{\"op\":\"consent\",\"action\":\"deny\",\"tool\":\"{tool}\",\"project\":{}}}\n",
            quoted(name)
        );
        daemon.send(line.as_bytes(), deadline)?;
        daemon.line(deadline)?;
    }
    Ok(())
}

/// A JSON string (RFC 8259, 7): quotes, backslashes and control characters are escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;
    use crate::{clock, connect};

    #[test]
    fn each_name_of_the_project_is_said_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("d.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let heard = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut out = stream.try_clone().unwrap();
            let mut said = Vec::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                said.push(serde_json::from_str::<serde_json::Value>(&line).unwrap());
                out.write_all(b"{\"ok\":true,\"status\":\"purged\",\"purged\":1}\n")
                    .unwrap();
            }
            said
        });
        let deadline = clock::after(Duration::from_secs(5));
        let mut daemon = connect::connect(&[path], deadline).unwrap();
        let names = ["/p".to_owned(), "a \"b\"\\\n\u{e9}".to_owned()];
        denies(&mut daemon, "kedro", &names, deadline).unwrap();
        drop(daemon);
        let said = heard.join().unwrap();
        let projects: Vec<&str> = said.iter().filter_map(|line| line["project"].as_str()).collect();
        assert_eq!(projects, names);
        assert!(
            said.iter()
                .all(|line| line["action"] == "deny" && line["tool"] == "kedro")
        );
    }
}
