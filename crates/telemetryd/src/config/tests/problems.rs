//! What is said about what is wrong.

use super::*;

#[test]
fn all_problems_of_all_places_are_said_at_once() {
    let mut house = House::with("[daemon]\nlog = 5\nidle_exit = 30\n\n[queue]\nmax_bites = \"1MiB\"\n");
    house.write("machine/config.toml", "[limits]\nmax_depth = 1\n");
    house.write("user/config.d/z.toml", "[queue\nmax_age = \"1d\"\n");
    house.set("TELEMETRYD__QUEUE__MAX_AGE", "soon");
    house.flags.idle_exit = Some("later".into());
    let problems = house.problems();
    assert_eq!(
        problems
            .lines()
            .filter(|line| line.starts_with("error:"))
            .collect::<Vec<_>>(),
        [
            "error: machine/config.toml:2: limits.max_depth: found 1, allowed is a whole number from 2 to 128",
            "error: user/config.toml:2: daemon.log: found 5, allowed is a level (error, warn, info, debug, \
             trace, off) and targets with theirs, like \"info,telemetryd=debug\"",
            "error: user/config.toml:3: daemon.idle_exit: found 30, allowed is a duration from 10ms to 3650d, \
             written like \"5s\", or \"never\"",
            "error: user/config.toml:6: queue.max_bites: unknown key",
            "error: user/config.d/z.toml:1: not valid TOML: unclosed table, expected `]`",
            "error: TELEMETRYD__QUEUE__MAX_AGE: queue.max_age: found \"soon\", allowed is a duration from 1s to \
             3650d, written like \"5s\"",
            "error: --idle-exit: daemon.idle_exit: found \"later\", allowed is a duration from 10ms to 3650d, \
             written like \"5s\", or \"never\"",
        ]
    );
    assert!(
        problems.contains("\n  hint: did you mean 'queue.max_bytes'?\n"),
        "{problems}"
    );
    assert!(
        problems.contains("\n  hint: a duration needs a unit: \"30s\" is seconds\n"),
        "{problems}"
    );
}

#[test]
fn a_value_that_is_overruled_is_checked_as_well() {
    let house = House::with("daemon.log = \"info\"");
    house.write("machine/config.toml", "daemon.log = \"loud\"");
    assert!(
        house
            .problems()
            .starts_with("error: machine/config.toml:1: daemon.log: found \"loud\"")
    );
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    for (text, hint) in [
        ("[queue]\nmax-bytes = 1", "did you mean 'queue.max_bytes'?"),
        (
            "[destination.default]\nurl = \"https://example.org\"",
            "did you mean 'destinations'?",
        ),
        ("[daemon]\nmax_depth = 3", "did you mean 'limits.max_depth'?"),
        ("max_connections = 3", "did you mean 'limits.max_connections'?"),
        (
            "url = \"https://example.org\"",
            "did you mean 'destinations.NAME.url'?",
        ),
        (
            &destination("retry.intial = \"5s\""),
            "did you mean 'destinations.default.retry.initial'?",
        ),
        (
            &destination("compresion = \"gzip\""),
            "did you mean 'destinations.default.compression'?",
        ),
        (
            "[daemon]\ncolour = 1",
            "known here: idle_exit, log, shutdown_drain",
        ),
        (
            "[tools.kedro]\nenable = false",
            "did you mean 'tools.kedro.enabled'?",
        ),
        (
            "[queue.sent_log]\nbodie = false",
            "did you mean 'queue.sent_log.bodies'?",
        ),
    ] {
        let problems = problems_of(text);
        assert!(
            problems.contains("unknown key") && problems.contains(hint),
            "{text}: {problems}"
        );
    }
}

#[test]
fn an_unknown_variable_gets_a_suggestion_too() {
    let mut house = House::new();
    house.set("TELEMETRYD__QUEUE__MAX_BYTE", "1MiB");
    assert_eq!(
        house.problems(),
        "error: TELEMETRYD__QUEUE__MAX_BYTE: queue.max_byte: unknown key\n  hint: did you mean 'queue.max_bytes'?"
    );
}

#[test]
fn a_variable_that_names_no_key_says_how_they_are_written() {
    for name in [
        "TELEMETRYD__",
        "TELEMETRYD__QUEUE____MAX_BYTES",
        "TELEMETRYD____X",
    ] {
        let mut house = House::new();
        house.set(name, "1");
        assert!(house.problems().contains("the variable names no key"), "{name}");
    }
}

#[test]
fn a_section_that_is_no_table_is_said_to_be_one() {
    assert_eq!(
        problems_of("queue = 5"),
        "error: user/config.toml:1: queue: found a number, allowed is a table"
    );
    assert!(problems_of("[[destinations]]\nurl = \"https://u:p@example.org\"").contains("found an array"));
    assert!(problems_of("[daemon.log]\nx = 1").contains("found a table, allowed is a single value"));
}

#[test]
fn a_destination_without_a_name_is_told_where_the_name_goes() {
    let problems = problems_of("[destinations]\nurl = \"https://example.org\"");
    assert!(
        problems.contains("hint: each has a name: [destinations.NAME]"),
        "{problems}"
    );
}

#[test]
fn syntax_errors_have_their_line_and_no_picture() {
    for (text, line) in [
        ("a = 1\nb = = 2\n", 2),
        ("[daemon]\nlog = \"info\n[queue]\n", 2),
        ("\n\n[daemon]\nlog = \"info\"\nlog = \"warn\"\n", 5),
        ("x", 1),
    ] {
        let problems = problems_of(text);
        assert!(
            problems.contains(&format!("error: user/config.toml:{line}: not valid TOML: ")),
            "{problems}"
        );
        assert!(!problems.contains('^') && !problems.contains('|'), "{problems}");
    }
}

#[test]
fn several_syntax_errors_of_one_file_are_all_said() {
    let problems = problems_of("a = = 1\n[daemon]\nlog = \"info\"\nb = = 2\n");
    assert!(problems.contains("config.toml:1: not valid TOML"), "{problems}");
    assert!(problems.contains("config.toml:4: not valid TOML"), "{problems}");
}

#[test]
fn a_file_that_is_not_utf_8_says_in_which_line() {
    let house = House::new();
    let path = house.write("user/config.toml", "");
    std::fs::write(path, b"[daemon]\n# caf\xe9\n").unwrap();
    assert_eq!(
        house.problems(),
        "error: user/config.toml:2: not valid TOML: the file is not UTF-8"
    );
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let deep = format!("a{} = 1", ".a".repeat(100_000));
    assert!(problems_of(&deep).contains("not valid TOML"));
    let deep = format!(
        "[queue]\nmax_bytes = {}1{}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(problems_of(&deep).contains("not valid TOML"));
    let mut house = House::new();
    house.set("TELEMETRYD__QUEUE__MAX_BYTES", &"[".repeat(100_000));
    assert!(house.problems().contains("queue.max_bytes"));
    let mut house = House::new();
    house.set(&format!("TELEMETRYD__{}X", "A__".repeat(30_000)), "1");
    assert!(house.load().is_err());
}

#[test]
fn a_file_that_everybody_may_write_is_refused() {
    let house = House::with("");
    let path = house.path("user/config.toml");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let problems = house.problems();
    assert!(
        problems.contains("config.toml: everybody may write to the file (mode 0666)"),
        "{problems}"
    );
    assert!(problems.contains("hint: run 'chmod o-w "), "{problems}");
}

#[test]
fn a_file_of_another_user_is_refused() {
    let house = House::with("");
    let path = house.path("user/config.toml");
    // Only root can make one; anybody else asks as if they were another.
    let me = rustix::process::geteuid().as_raw();
    let mut problems = Problems::default();
    let asked_by = match me {
        0 => {
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            0
        }
        me => me + 1,
    };
    assert_eq!(read::text(&path, asked_by, &mut problems), None);
    assert!(
        problems.to_string().contains("the file belongs to uid"),
        "{problems}"
    );
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let house = House::new();
    std::fs::create_dir_all(house.path("user/config.toml")).unwrap();
    assert!(
        house
            .problems()
            .contains("config.toml: cannot read the file: it is not a regular file")
    );

    let house = House::new();
    std::fs::create_dir_all(house.path("user/config.d")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", house.path("user/config.d/a.toml")).unwrap();
    assert!(house.problems().contains("caused by: no such file or directory"));

    let house = House::with("");
    let path = house.path("user/config.toml");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().as_raw() != 0 {
        assert!(house.problems().contains("caused by: permission denied"));
    }
}

#[test]
fn a_fifo_does_not_hold_up_the_start() {
    let house = House::new();
    std::fs::create_dir_all(house.path("user")).unwrap();
    let path = house.path("user/config.toml");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(house.problems().contains("it is not a regular file"));
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_refused() {
    let house = House::with(&"# x\n".repeat(300_000));
    assert!(house.problems().contains("the file is larger than 1MiB"));
}

#[test]
fn a_date_that_breaks_off_is_a_problem_like_any_other() {
    let problems = problems_of("[daemon]\nidle_exit = 1-");
    assert!(problems.contains("config.toml:2"), "{problems}");
}

#[test]
fn the_null_device_is_an_empty_file() {
    let mut house = House::with("daemon.log = \"warn\"");
    house.flags.config = Some(Path::new("/dev/null").to_owned());
    assert_eq!(house.checked(), *Checked::of_nothing(Mode::User));
}

#[test]
fn problems_are_json_with_every_part_of_them() {
    let problems = House::with("queue.max_age = 5").load().unwrap_err();
    let json = serde_json::to_value(&problems).unwrap();
    let problem = &json[0];
    assert_eq!(problem["line"], 1);
    assert_eq!(problem["key"], "queue.max_age");
    assert_eq!(problem["found"], "5");
    assert_eq!(
        problem["allowed"],
        "a duration from 1s to 3650d, written like \"5s\""
    );
    assert_eq!(problem["hint"], "a duration needs a unit: \"5s\" is seconds");
    assert!(problem["file"].as_str().unwrap().ends_with("user/config.toml"));
    assert_eq!(problem["file"], problem["origin"]);
    assert!(problem["cause"].is_null());
}
