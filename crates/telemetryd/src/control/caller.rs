//! Who asks, and about whom: the one place where a request is held against the peer's credentials (I13).
//!
//! A user's daemon answers its user, and root, about everything it has. A machine-wide one answers each uid
//! about itself; root may ask for all, and what touches everybody is root's.

use telemetry_protocol::place::Mode;
use telemetry_protocol::request::Control;

use crate::ingest::Peer;

/// Who asks, and about whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Whose word the caller's is: consent of this uid.
    pub(super) uid: u32,
    /// Rows of this uid are answered about; `None`: everybody's.
    pub(super) whose: Option<u32>,
}

impl Caller {
    /// The caller of this request.
    ///
    /// # Errors
    /// When the request is not this caller's to make: the rule, for people.
    pub(super) fn of(request: &Control, peer: Peer, mode: Mode) -> Result<Self, String> {
        let uid = peer.uid;
        if mode == Mode::User {
            return Ok(Self { uid, whose: None });
        }
        let roots = match request {
            Control::Stop { .. } => Some("stop"),
            Control::Reload => Some("reload"),
            Control::Pause { .. } => Some("pause"),
            Control::Resume { .. } => Some("resume"),
            // It goes to every destination, with the daemon's credentials.
            Control::Doctor { probe: true, .. } => Some("doctor with probe"),
            _ => None,
        };
        if let Some(op) = roots.filter(|_| uid != ROOT) {
            return Err(format!("{op}: this daemon serves every user, so it is root's"));
        }
        if matches!(request, Control::Register { .. }) {
            return Err(
                "register: this daemon serves every user; its manifests are the admin's and the packages' (/etc/telemetryd/tools.d)".to_owned(),
            );
        }
        if let Control::Everybody(request) = request
            && uid == ROOT
            && !request.only_asks()
        {
            return Err(
                "all_users: what holds for every user is said by files (/etc/telemetryd/opt-out, policy.d), not here"
                    .to_owned(),
            );
        }
        match request.all_users() {
            true if uid != ROOT => Err("all_users: only root sees what is another user's".to_owned()),
            true => Ok(Self { uid, whose: None }),
            false => Ok(Self {
                uid,
                whose: Some(uid),
            }),
        }
    }
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str, uid: u32, mode: Mode) -> Result<Option<u32>, String> {
        let request = Control::parse(line).expect("a request");
        Caller::of(&request, Peer { uid, pid: None }, mode).map(|caller| caller.whose)
    }

    #[test]
    fn a_users_daemon_answers_about_all_it_has() {
        for line in [
            r#"{"op":"stop"}"#,
            r#"{"op":"status","all_users":true}"#,
            r#"{"op":"tail"}"#,
        ] {
            assert_eq!(ask(line, 7, Mode::User), Ok(None), "{line}");
        }
    }

    #[test]
    fn the_machines_daemon_answers_each_about_itself_and_root_about_all_if_asked() {
        for op in ["status", "metrics", "doctor", "tail", "sent", "flush"] {
            let own = format!(r#"{{"op":"{op}"}}"#);
            let all = format!(r#"{{"op":"{op}","all_users":true}}"#);
            assert_eq!(ask(&own, 7, Mode::System), Ok(Some(7)), "{op}");
            assert_eq!(ask(&own, 0, Mode::System), Ok(Some(0)), "{op}");
            assert_eq!(ask(&all, 0, Mode::System), Ok(None), "{op}");
            assert!(ask(&all, 7, Mode::System).is_err(), "{op}");
        }
    }

    #[test]
    fn nobody_asks_for_all_but_root_and_root_changes_nobodys_word() {
        for op in [
            "consent\",\"action\":\"show",
            "consent\",\"action\":\"log",
            "tools",
            "config",
            "identity",
        ] {
            let line = format!(r#"{{"op":"{op}","all_users":true}}"#);
            assert!(ask(&line, 7, Mode::System).is_err(), "{line}");
            assert_eq!(ask(&line, 0, Mode::System), Ok(None), "{line}");
            assert_eq!(ask(&line, 7, Mode::User), Ok(None), "{line}");
        }
        for op in [
            "consent\",\"action\":\"deny",
            "consent\",\"action\":\"reset",
            "forget",
        ] {
            let line = format!(r#"{{"op":"{op}","all_users":true}}"#);
            for uid in [0, 7] {
                assert!(ask(&line, uid, Mode::System).is_err(), "{line}");
            }
        }
    }

    #[test]
    fn what_touches_everybody_is_roots() {
        for op in ["stop", "reload", "pause", "resume"] {
            let line = format!(r#"{{"op":"{op}"}}"#);
            let refused = ask(&line, 7, Mode::System).expect_err(op);
            assert!(refused.starts_with(op) && refused.contains("root's"), "{refused}");
            assert!(ask(&line, 0, Mode::System).is_ok(), "{op}");
        }
        let probe = r#"{"op":"doctor","probe":true}"#;
        assert!(ask(probe, 7, Mode::System).is_err() && ask(probe, 0, Mode::System).is_ok());
        let register = r#"{"op":"register","manifest":""}"#;
        assert!(ask(register, 0, Mode::System).is_err());
        assert!(ask(register, 0, Mode::User).is_ok());
    }
}
