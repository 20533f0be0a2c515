//! The exit codes, each reached, and the errors' three lines.

use crate::world::{Reply, World, line};

#[test]
fn done_is_0_and_a_wrong_command_line_is_2() {
    let world = World::new();
    assert_eq!(world.run(&["--version"]).code, 0);
    for wrong in [
        &["nonsense"][..],
        &["send"],
        &["send", "kedro"],
        &["flush", "--timeout", "5s"],
        &["flush", "--wait", "--timeout", "soon"],
        &["queue", "show", "no-uuid"],
        &["queue", "purge"],
        &["opt-out", "--tool", "Not A Tool"],
        &["send", "Not A Tool", "ran"],
    ] {
        let ended = world.run(wrong);
        assert_eq!(ended.code, 2, "{wrong:?}: {}", ended.err);
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "{wrong:?}");
    }
}

#[test]
fn no_daemon_is_3_with_three_lines_and_nothing_on_stdout() {
    let world = World::new();
    for command in [
        &["flush"][..],
        &["pause"],
        &["resume"],
        &["reload"],
        &["stop"],
        &["queue", "list"],
        &["sent"],
        &["tail"],
        &["tools", "list"],
        &["metrics"],
    ] {
        let ended = world.run(command);
        assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{command:?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        let socket = world.path("run/d.sock");
        assert_eq!(
            lines[0],
            format!("error: cannot reach telemetryd at {}", socket.display())
        );
        assert_eq!(lines[1], "  caused by: there is no socket");
        assert!(
            lines[2].starts_with("  hint: ") && lines.len() == 3,
            "{}",
            ended.err
        );
    }
}

#[test]
fn a_dead_daemons_socket_refuses() {
    let world = World::new();
    drop(std::os::unix::net::UnixListener::bind(world.path("run/d.sock")).unwrap());
    let ended = world.run(&["flush"]);
    assert_eq!(ended.code, 3);
    assert!(
        ended.err.contains("caused by: connection refused"),
        "{}",
        ended.err
    );
}

#[test]
fn what_the_daemon_forbids_is_77_and_what_it_fails_at_is_1() {
    let world = World::new();
    let _daemon = world.daemon(|request| {
        line(match request["op"].as_str() {
            Some("pause") => r#"{"ok":false,"error":"not_allowed","message":"stop is root's"}"#,
            _ => r#"{"ok":false,"error":"storage","message":"the disk is full"}"#,
        })
    });
    let ended = world.run(&["pause"]);
    assert_eq!((ended.code, ended.err.as_str()), (77, "error: stop is root's\n"));
    let ended = world.run(&["resume"]);
    assert_eq!((ended.code, ended.err.as_str()), (1, "error: the disk is full\n"));
}

#[test]
fn a_daemon_that_closes_or_talks_nonsense_is_1_and_says_what_was_asked() {
    let world = World::new();
    let _daemon = world.daemon(|request| match request["op"].as_str() {
        Some("metrics") => line("nonsense"),
        _ => Reply::HangUp,
    });
    let ended = world.run(&["reload"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("did not answer 'reload'"), "{}", ended.err);
    assert!(
        ended
            .err
            .contains("caused by: the connection was closed before the answer")
    );
    let ended = world.run(&["metrics"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("not a line of this protocol"), "{}", ended.err);
}

#[test]
fn text_from_a_daemon_cannot_command_the_terminal() {
    let world = World::new();
    let _daemon = world.daemon(|_| line(r#"{"ok":false,"error":"internal","message":"\u001b[2Jgone"}"#));
    assert_eq!(world.run(&["reload"]).err, "error: \u{fffd}[2Jgone\n");
}

#[test]
fn the_exit_codes_stand_in_the_help() {
    let help = World::new().run(&["--help"]);
    assert_eq!(help.code, 0);
    for code in [
        "0 done",
        "1 failed",
        "2 usage",
        "3 no daemon",
        "4 declined",
        "5 timed out",
        "77 not permitted",
        "78 bad configuration",
    ] {
        assert!(help.out.replace('\n', " ").contains(code), "{code}\n{}", help.out);
    }
}

#[test]
fn colour_is_for_terminals_or_for_whoever_insists() {
    let world = World::new();
    world.manifest("kedro", "opt-out");
    let explain = ["consent", "explain", "--tool", "kedro"];
    assert!(!world.run(&explain).out.contains('\u{1b}'));
    let insisting = world.run(&[&explain[..], &["--color", "always"]].concat());
    assert!(insisting.out.contains('\u{1b}'), "{}", insisting.out);
    let json = world.run(&[&explain[..], &["--color", "always", "--json"]].concat());
    assert!(!json.out.contains('\u{1b}'));
}
