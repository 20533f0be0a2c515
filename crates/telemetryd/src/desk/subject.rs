//! Who the strings of a user's events are about: the user's name and home, which no string may carry.
//!
//! From the user database as a file and, in a user's daemon, from its environment. A home is never entered, only its
//! path is known (I13).

use telemetry_policy::redact::Subject;

use crate::config::Mode;

/// People have uids from here on (useradd(8) `UID_MIN`; macOS: 501). Names of system accounts are words like any other.
const PEOPLE: u32 = if cfg!(target_os = "macos") { 500 } else { 1000 };

/// The name and the home of this uid.
pub(super) fn of(uid: u32, mode: Mode) -> Subject {
    let database = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (mut names, mut homes) = entry(&database, uid);
    if mode == Mode::User {
        if uid >= PEOPLE {
            names.extend(
                ["USER", "LOGNAME"]
                    .into_iter()
                    .filter_map(|name| std::env::var(name).ok()),
            );
        }
        homes.extend(std::env::var("HOME").ok());
    }
    // `/` and the like would be found in every path.
    homes.retain(|home| home.len() > 2 && home != "/nonexistent");
    Subject::new(names.iter().map(String::as_str), homes.iter().map(String::as_str))
}

/// Of passwd(5): the name, where it is a person's, and the home.
fn entry(database: &str, uid: u32) -> (Vec<String>, Vec<String>) {
    let wanted = uid.to_string();
    let line = database
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&wanted));
    let field = |at: usize| {
        line.and_then(|line| line.split(':').nth(at))
            .map(ToOwned::to_owned)
    };
    (
        field(0).filter(|_| uid >= PEOPLE).into_iter().collect(),
        field(5).into_iter().collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_names_and_system_accounts_have_homes_alone() {
        let database = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:Alice,,,:/home/alice:/bin/sh\n";
        let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        assert_eq!(entry(database, 0), (owned(&[]), owned(&["/root"])));
        assert_eq!(
            entry(database, 1000),
            (owned(&["alice"]), owned(&["/home/alice"]))
        );
        assert_eq!(entry(database, 7), (owned(&[]), owned(&[])));
    }
}
