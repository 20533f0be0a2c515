//! Requests are read as the page says, and wrong ones named by their key.

use super::*;

#[test]
fn requests_are_read_and_unknown_keys_ignored() {
    assert_eq!(
        Control::parse(r#"{"op":"flush","wait":true,"timeout_ms":250,"new":1}"#),
        Ok(Control::Flush {
            destination: None,
            wait: true,
            timeout: Some(Duration::from_millis(250)),
            all_users: false
        })
    );
    assert_eq!(
        Control::parse(r#"{"op":"tools","action":"list"}"#),
        Ok(Control::Tools { tool: None })
    );
}

#[test]
fn a_wrong_key_is_named_with_its_shape_and_never_its_value() {
    for (line, code, begin) in [
        (r#"{"op":"SECRET"}"#, ErrorCode::UnknownOp, "op: unknown"),
        (
            r#"{"op":7}"#,
            ErrorCode::InvalidEvent,
            "op: expected a string, found a number",
        ),
        (
            r#"{"op":"hello","protocol":2}"#,
            ErrorCode::UnsupportedProtocol,
            "protocol: this daemon speaks 1",
        ),
        (
            r#"{"op":"flush","wait":"SECRET"}"#,
            ErrorCode::InvalidEvent,
            "wait: expected true or false, found a string",
        ),
        (
            r#"{"op":"queue","action":"show","id":"SECRET"}"#,
            ErrorCode::InvalidEvent,
            "id: expected a UUID",
        ),
        (r#"{"op":"queue"}"#, ErrorCode::InvalidEvent, "action: missing"),
        (
            r#"{"op":"tools","action":"show"}"#,
            ErrorCode::InvalidEvent,
            "tool: missing",
        ),
    ] {
        let rejected = Control::parse(line).unwrap_err();
        assert_eq!(rejected.code, code, "{line}");
        assert!(
            rejected.message.starts_with(begin) && !rejected.message.contains("SECRET"),
            "{}",
            rejected.message
        );
    }
}

#[test]
fn a_request_that_only_asks_is_told_from_one_that_does_something() {
    for (line, asks) in [
        (r#"{"op":"status"}"#, true),
        (r#"{"op":"consent","action":"explain"}"#, true),
        (r#"{"op":"consent","action":"deny"}"#, false),
        (r#"{"op":"queue","action":"list"}"#, true),
        (r#"{"op":"queue","action":"purge"}"#, false),
        (r#"{"op":"flush"}"#, false),
        (r#"{"op":"stop"}"#, false),
    ] {
        assert_eq!(
            Control::parse(line).map(|request| request.only_asks()),
            Ok(asks),
            "{line}"
        );
    }
}
