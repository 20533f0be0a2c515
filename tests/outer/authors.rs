//! What `docs/tool-authors.md` tells the author of a new tool to do, done word by word; and what users are told by it.

use std::fs;

use telemetry_testkit::{Ctl, DEADLINE, Home, eventually, telemetryctl, telemetryd};

/// The section for whoever writes a manifest.
fn section() -> String {
    let page = include_str!("../../docs/tool-authors.md");
    let (_, rest) = page
        .split_once("## First the manifest\n")
        .expect("the page begins with it");
    let (section, _) = rest.split_once("\n## ").expect("another section follows");
    section.to_owned()
}

/// The blocks of code in it, each without its indentation.
fn blocks(section: &str) -> Vec<String> {
    const INDENT: &str = "       ";
    let mut blocks = vec![String::new()];
    for line in section.lines() {
        match line.strip_prefix(INDENT) {
            Some(code) => {
                let block = blocks.last_mut().expect("there is always one");
                block.push_str(code);
                block.push('\n');
            }
            None if line.is_empty() && blocks.last().is_some_and(|block| !block.is_empty()) => {
                blocks.last_mut().expect("it was just looked at").push('\n');
            }
            None => blocks.push(String::new()),
        }
    }
    let blocks = blocks.iter().map(|block| block.trim().to_owned());
    blocks.filter(|block| !block.is_empty()).collect()
}

/// A home as a user has one, with nothing named by variables but the socket and the machine's directory.
struct Stranger {
    home: Home,
}

impl Stranger {
    fn new() -> Self {
        let home = Home::new();
        for name in [
            "TELEMETRYD_CONFIG_DIR",
            "TELEMETRYD_STATE_DIR",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "XDG_CACHE_HOME",
        ] {
            home.unset_env(name);
        }
        let programs = [telemetryd(), telemetryctl()];
        let folders = programs.iter().filter_map(|program| program.parent());
        let folders = folders.map(|folder| folder.to_string_lossy().into_owned());
        let path: Vec<String> = folders
            .chain(["/usr/bin".to_owned(), "/bin".to_owned()])
            .collect();
        home.set_env("PATH", path.join(":"));
        Self { home }
    }

    /// What the shell makes of it in the home directory: exit code, and all that was said.
    #[track_caller]
    fn shell(&self, line: &str) -> (Option<i32>, String) {
        let mut command = self.home.command("/bin/sh");
        let output = command.args(["-c", line]).output().expect("there is a shell");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code(), said.concat())
    }

    #[track_caller]
    fn well(&self, line: &str) -> String {
        let (code, said) = self.shell(line);
        assert_eq!(code, Some(0), "{line}: {said}");
        said
    }

    fn write(&self, name: &str, text: &str) {
        self.home.write(self.home.home_dir().join(name), text);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // The daemon that the page had started.
        self.shell("telemetryctl stop");
    }
}

/// Whether the text holds these pieces in their order; `…` stands between them.
fn holds(text: &str, pieces: &str) -> bool {
    let mut rest = text;
    pieces.split('…').all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

#[test]
fn the_page_for_authors_followed_word_by_word_ends_with_the_event_at_the_endpoint_and_the_users_told() {
    let section = section();
    let blocks = blocks(&section);
    let [manifest, trial, config, commands] = &blocks[..] else {
        panic!("the page shows a manifest, a trial, a config and commands: {blocks:#?}");
    };
    let stranger = Stranger::new();
    // 1 and 2.
    stranger.write("mytool.toml", manifest);
    let told = stranger.well("telemetryctl tools check mytool.toml");
    for said in [
        "A command was run",
        "which command",
        "It is off until you turn it on",
        "privacy@mytool.example.org",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    stranger.write("wrong.toml", &manifest.replace("properties.ok", "propertiez.ok"));
    let (code, said) = stranger.shell("telemetryctl tools check wrong.toml");
    let line = 1 + manifest
        .lines()
        .position(|line| line.starts_with("properties.ok"))
        .expect("it is listed");
    assert_eq!(code, Some(78));
    assert!(
        said.contains(&format!("wrong.toml:{line}: ")) && said.contains("did you mean properties?"),
        "{said}"
    );
    // 3.
    let (command, shown) = trial
        .split_once("--events -\n")
        .expect("the trial reads standard input");
    let command = command.strip_prefix("$ ").expect("a prompt");
    let (code, said) = stranger.shell(&format!("{command}--events -"));
    assert_eq!(code, Some(1), "something was removed: {said}");
    for line in shown.lines() {
        assert!(holds(&said, line.trim_start()), "{line} is not in {said}");
    }
    // 4.
    let sink = Ctl::new(&stranger.home).spawn(["sink"], None);
    let url = eventually("sink prints an address", DEADLINE, || {
        sink.stdout()
            .lines()
            .find(|line| line.starts_with("http://"))
            .map(str::to_owned)
    });
    stranger.write(
        ".config/telemetryd/config.toml",
        &config.replace("http://127.0.0.1:PORT/", &url),
    );
    assert_ne!(config, &config.replace("http://127.0.0.1:PORT/", &url));
    for line in commands.lines() {
        stranger.well(line);
    }
    eventually("the event is at the endpoint", DEADLINE, || {
        let arrived = sink.stdout();
        let all = [
            "mytool  command",
            "properties.name = \"build\"",
            "properties.ok = true",
            "properties.seconds = 3",
        ];
        all.iter().all(|said| arrived.contains(said)).then_some(())
    });
    let tail = Ctl::new(&stranger.home).spawn(["tail"], None);
    eventually("tail says what was removed and why", DEADLINE, || {
        stranger.well("telemetryctl send mytool command -p name=build -p seconds=long -p user=alice");
        let said = tail.stdout();
        (said.contains("properties.seconds: expected number, found a string")
            && said.contains("properties.user: unlisted"))
        .then_some(())
    });
    let status = stranger.well("telemetryctl status");
    for said in [
        "mytool: removed from its events: ",
        "unlisted",
        "wrong type: properties.seconds",
    ] {
        assert!(status.contains(said), "{said}: {status}");
    }
    // What users see is what the author was shown, and why it is on.
    let seen = stranger.well("telemetryctl tools show mytool");
    for line in told.lines().skip(1) {
        assert!(seen.contains(line), "users are not told: {line}\n{seen}");
    }
    assert!(seen.contains("consent.toml") && seen.contains(&url), "{seen}");
    // An edit of the manifest.
    stranger.well("telemetryctl tools diff mytool");
    stranger.write(
        ".local/share/telemetryd/tools.d/mytool.toml",
        &format!("{manifest}\nproperties.host = \"string\"\n"),
    );
    let differs = stranger.well("telemetryctl tools diff mytool");
    assert!(
        differs
            .lines()
            .any(|line| line.starts_with("+ ") && line.contains("host")),
        "{differs}"
    );
    // 5.
    stranger.well("telemetryctl tools docs mytool.toml > TELEMETRY.md");
    let page = fs::read_to_string(stranger.home.home_dir().join("TELEMETRY.md")).expect("it was written");
    assert!(page.starts_with("# What mytool collects\n"), "{page}");
    assert!(
        page.contains("\n- `command`: A command was run\n  - `name`: which command"),
        "{page}"
    );
    assert!(
        page.contains("\n\nNothing else."),
        "a paragraph of its own: {page}"
    );
    // Every command that the text names is one that was tried here.
    for named in section
        .split('`')
        .filter(|words| words.starts_with("telemetryctl "))
    {
        let tried = [
            "tools check mytool.toml",
            "sink",
            "tail",
            "tools show mytool",
            "tools diff mytool",
            "stop",
        ];
        let named = named.trim_start_matches("telemetryctl ");
        assert!(
            tried.contains(&named) || named.starts_with("tools docs mytool.toml >"),
            "nobody tried telemetryctl {named}"
        );
    }
}

const AGREED: &str = "name = \"demo\"\nabout = \"How demo is used\"\nconsent = \"opt-out\"\n[events.ran]\nproperties.kind = { type = \"string\", max = 10 }\n";

#[test]
fn tools_diff_tells_what_an_edit_lets_through_that_nobody_agreed_to_and_what_it_lets_through_no_more() {
    let home = Home::new();
    home.write_manifest("demo", AGREED);
    let daemon =
        telemetry_testkit::Daemon::start(&home, "[destinations.default]\nurl = \"http://127.0.0.1:9/\"\n");
    let ctl = Ctl::new(&home);
    let same = ctl.ok(["tools", "diff", "demo"]).stdout;
    assert!(
        same.starts_with("nothing changed since you agreed to it"),
        "{same}"
    );
    // Its first event is what the user agreed to, by leaving it on.
    ctl.ok(["send", "demo", "ran", "-p", "kind=a", "--strict"]);
    home.write_manifest(
        "demo",
        &AGREED.replace("How demo is used", "How often demo is used"),
    );
    assert_eq!(
        ctl.ok(["tools", "diff", "demo"]).stdout,
        "its words changed; what it lets through did not\n"
    );
    let wider = AGREED.replace("max = 10", "max = 20") + "properties.user = \"string\"\n[events.walked]\n";
    home.write_manifest("demo", &wider);
    // Asked again: what it lets through is not agreed to, and it is off until then.
    let by = ctl.ok(["consent", "explain", "--tool", "demo", "--json"]).json();
    assert_eq!(
        (&by["verdict"], &by["by"]),
        (&"deny".into(), &"notice".into()),
        "{by}"
    );
    let differs = ctl.ok(["tools", "diff", "demo"]).stdout;
    for said in ["user", "walked", "kind"] {
        assert!(
            differs
                .lines()
                .any(|line| line.starts_with("+ ") && line.contains(said)),
            "{said}: {differs}"
        );
    }
    let lines = ctl.ok(["tools", "diff", "demo", "--json"]).json_lines();
    assert_eq!(lines.len(), differs.lines().count());
    assert!(lines.iter().all(|line| line["wider"] == true), "{lines:?}");
    let shown = ctl.ok(["tools", "show", "demo"]).stdout;
    assert!(
        shown.contains("off (by notice)") && shown.contains("not agreed to"),
        "{shown}"
    );
    ctl.ok(["opt-in", "--tool", "demo"]);
    let narrower = "name = \"demo\"\nabout = \"How demo is used\"\nconsent = \"opt-out\"\n[events.walked]\n";
    home.write_manifest("demo", narrower);
    let differs = ctl.ok(["tools", "diff", "demo"]).stdout;
    assert!(
        differs.is_empty() || differs.lines().all(|line| !line.starts_with('+')),
        "{differs}"
    );
    let unknown = ctl.ok(["tools", "diff", "nobody"]).stdout;
    assert_eq!(unknown, "nobody has no manifest here\n");
    drop(daemon);
}

#[test]
fn tools_show_says_in_words_what_is_collected_where_it_goes_and_why_it_is_on_or_off() {
    let home = Home::new();
    home.write_manifest("demo", AGREED);
    let daemon = telemetry_testkit::Daemon::start(
        &home,
        "[destinations.default]\nurl = \"https://127.0.0.1:9/v1?key=s3cret\"\nretry.initial = \"1h\"\nretry.max = \"2h\"\n",
    );
    let ctl = Ctl::new(&home);
    let show = || ctl.ok(["tools", "show", "demo"]).stdout;
    let on = show();
    for said in [
        "How demo is used",
        "telemetry     on",
        "demo.toml (user)",
        "default (https://127.0.0.1:9/v1)",
        "kind",
    ] {
        assert!(on.contains(said), "{said}: {on}");
    }
    assert!(!on.contains("s3cret"), "{on}");
    ctl.ok(["opt-out", "--tool", "demo"]);
    let off = show();
    assert!(
        off.contains("off (by user)") && off.contains("consent.toml"),
        "{off}"
    );
    ctl.ok(["opt-in", "--tool", "demo"]);
    let policy = home.machine_dir().join("policy.d/all-off.toml");
    home.write(&policy, "telemetry = \"off\"\n");
    let off = show();
    assert!(
        off.contains("off (by machine)") && off.contains("all-off.toml"),
        "{off}"
    );
    fs::remove_file(policy).expect("it was just written");
    let nobody = ctl.ok(["tools", "show", "nobody"]).stdout;
    assert!(
        nobody.contains("off") && nobody.contains("none: off until the user allows it"),
        "{nobody}"
    );
    drop(daemon);
}
