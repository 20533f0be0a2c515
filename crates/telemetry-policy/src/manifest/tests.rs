//! Manifests as their authors write them, with and without mistakes.

use super::*;

#[test]
fn the_smallest_manifest_is_opt_in() {
    let manifest = Manifest::parse("name = \"kedro\"\nevents = \"any\"\n").unwrap();
    assert_eq!(
        (manifest.name.as_str(), manifest.consent),
        ("kedro", ToolDefault::OptIn)
    );
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text =
        "name = \"Kedro\"\ndestinaton = \"x\"\nconsent = true\nsample = 1.5\n[events.run]\nabuot = \"x\"\n";
    let mistakes: Vec<String> = Manifest::parse(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    for expected in [
        "line 1: name: expected a string like",
        "line 2: destinaton: unknown key; did you mean destination?",
        "line 3: consent: expected \"opt-in\" or \"opt-out\", found a boolean",
        "line 4: sample: expected a share between 0.0 and 1.0, found a number",
        "line 6: events.run.abuot: unknown key; did you mean about?",
    ] {
        assert!(
            mistakes.iter().any(|m| m.starts_with(expected)),
            "{expected} in {mistakes:#?}"
        );
    }
}

#[test]
fn the_opt_outs_of_a_tool_are_read_and_their_mistakes_told() {
    let text = |more: &str| format!("name = \"t\"\nevents = \"any\"\n{more}\n");
    let good = "opt_out_env = [\"A_B\", { name = \"C\", unless = [\"1\"] }, { name = \"D\", equals = \"x\" }]\n\
        project_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n\
        user_files = [{ path = \"~/.dlt/config.toml\", format = \"toml\", key = \"runtime.dlthub_telemetry\" }]";
    let opt_outs = Manifest::parse(&text(good)).unwrap().opt_outs;
    assert_eq!((opt_outs.variables.len(), opt_outs.project_files.len()), (3, 1));
    assert_eq!(opt_outs.user_files[0].key, ["runtime", "dlthub_telemetry"]);
    for bad in [
        "opt_out_env = \"A\"",
        "opt_out_env = [3]",
        "opt_out_env = [\"not a name\"]",
        "opt_out_env = [{ name = \"DO_NOT_TRACK\", unless = [\"0\"] }]",
        "opt_out_env = [{ name = \"DO_NOT_TRACK\", equals = \"1\" }]",
        "opt_out_env = [{ name = \"A\", unless = [\"1\"], equals = \"1\" }]",
        "opt_out_env = [{ name = \"A\", except = [\"1\"] }]",
        "project_files = [{ path = \"/etc/x\", format = \"yaml\", key = \"k\" }]",
        "project_files = [{ path = \"../x\", format = \"yaml\", key = \"k\" }]",
        "project_files = [{ path = \"~/x\", format = \"yaml\", key = \"k\" }]",
        "project_files = [{ path = \"x\", format = \"yaml\", key = \"a.b\" }]",
        "project_files = [{ path = \"x\", format = \"json\", key = \"k\" }]",
        "project_files = [{ path = \"x\", key = \"k\" }]",
        "user_files = [{ path = \"/etc/x\", format = \"toml\", key = \"k\" }]",
        "user_files = [{ path = \"~/../x\", format = \"toml\", key = \"k\" }]",
        "user_files = [\"x\"]",
    ] {
        let mistakes = Manifest::parse(&text(bad)).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].line), (1, 3), "{bad}: {mistakes:?}");
    }
}

#[test]
fn a_text_that_is_not_toml_says_where() {
    let mistakes = Manifest::parse("name = \"x\"\nevents = \n").unwrap_err();
    assert_eq!(mistakes[0].line, 2, "{mistakes:?}");
}

#[test]
fn a_tool_cannot_switch_itself_on_silently() {
    let on = |more: &str| {
        Manifest::parse(&format!(
            "name = \"t\"\nevents = \"any\"\nconsent = \"opt-out\"\n{more}"
        ))
        .unwrap()
    };
    assert!(on("").may_register().is_err());
    assert!(on("notice_required = \"tool\"").may_register().is_ok());
    assert!(
        on("notice_required = true\nnotice = \"we count\"")
            .may_register()
            .is_ok()
    );
}

/// A manifest with these lines in it.
fn with(lines: &str) -> Result<Manifest, Vec<String>> {
    Manifest::parse(&format!("name = \"t\"\n{lines}\n"))
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[test]
fn all_that_the_contract_knows_is_read() {
    let manifest = with(
        r#"consent = "opt-out"
notice = "We count."
notice_required = true
identity = { user = "from_tool", project = "none" }
context = ["os", "ci"]
ci = "skip"
sample = 0.25
max_per_day = 5000
privacy = { controller = "The Project", contact = "privacy@example.org", policy_url = "https://example.org/p", purpose = "p", retention = "1 year" }
destination = { url = "https://api.example.org/v1", encoding = "segment", auth = { segment_write_key = "abc" }, batch = { max_events = 10 } }
vocabulary = { run = { "--pipeline" = 1, "--async" = 0, "--env" = "unknown", "--starter" = { values = ["a"] } } }

[events."CLI command"]
about = "A command was run"
properties.command = { type = "string", mask = "command", max = 512, about = "the command" }
properties.main_command = "string"
properties.level = { type = "string", enum = ["a", "b"], else = "other" }
properties.name = { type = "string", hash = true }
properties.secret = { type = "string", drop = true }
properties.parts = { type = "array", items = { type = "string", max = 8 }, max_items = 3 }
properties.extra = { type = "object", properties = { a = "integer", "b.*" = "number" } }

[events."Command run: *"]
properties."count.*" = { type = "integer", keys = { prefix = ["kedro."], else = "custom" } }

[map]
"properties.is_ci_env" = "context.ci"
"constant" = { value = [1, "x", true] }
"#,
    )
    .unwrap();
    let terms = &manifest.terms;
    assert_eq!(terms.identity.user, terms::User::FromTool);
    assert_eq!(terms.context.iter().collect::<Vec<_>>(), ["os", "ci"]);
    assert!((terms.sample.share() - 0.25).abs() < 1e-9 && terms.max_per_day == Some(5000));
    assert_eq!(manifest.destination.as_deref(), Some("tool:t"));
    assert_eq!(manifest.inline.as_ref().unwrap().keys["encoding"], "segment");
    assert_eq!(manifest.map.as_ref().unwrap().fields().len(), 2);
    assert!(terms.vocabulary.as_ref().unwrap().command("run").is_some());
    assert_eq!(terms.events.iter().count(), 2);
    assert!(matches!(
        terms.events.find("Command run: x"),
        events::Found::Wild(_)
    ));
    assert!(matches!(
        terms.events.find("CLI command"),
        events::Found::Exact(_)
    ));
    assert!(matches!(terms.events.find("other"), events::Found::Unlisted));
}

#[test]
fn each_mistake_is_named_with_its_key_and_its_line() {
    for (lines, line, message) in [
        (
            "events = \"none\"",
            2,
            "events: expected \"any\", or a table for each event",
        ),
        (
            "[events.e]\nproperties.a = \"strin\"",
            3,
            "events.e.properties.a: expected \"string\" or",
        ),
        (
            "[events.e]\nproperties.a.b = \"string\"",
            3,
            "events.e.properties.a: has no type; a name with a dot",
        ),
        (
            "[events.e]\nproperties.a = { type = \"integer\", max = 3 }",
            3,
            "events.e.properties.a.max: a property of type",
        ),
        (
            "[events.e]\nproperties.a = { type = \"string\", maxx = 3 }",
            3,
            "events.e.properties.a.maxx: unknown key; did you mean max?",
        ),
        (
            "[events.e]\nproperties.a = { type = \"string\", max = -3 }",
            3,
            "events.e.properties.a.max: expected a whole number",
        ),
        (
            "[events.e]\nproperties.a = { type = \"string\", else = \"x\" }",
            3,
            "events.e.properties.a.else: stands for",
        ),
        (
            "[events.e]\nproperties.a = { type = \"object\" }",
            3,
            "events.e.properties.a: an object lists its keys",
        ),
        (
            "[events.e]\nproperties.\"a*b*\" = \"string\"",
            3,
            "events.e.properties.\"a*b*\": a name holds at most one *",
        ),
        (
            "[events.e]\nproperties.a = { type = \"string\", keys = { else = \"x\" } }",
            3,
            "events.e.properties.a.keys: says which",
        ),
        (
            "[events.e]\nproperties.\"a.*\" = { type = \"integer\", keys = { prefix = [\"x\"], else = \"xx\" } }",
            3,
            "events.e.properties.\"a.*\".keys.else: begins with",
        ),
        (
            "[events.e]\nproperties.\"a.x\" = \"integer\"\nproperties.\"a.*\" = { type = \"integer\", keys = { else = \"x\" } }",
            4,
            "events.e.properties.\"a.*\".keys.else: makes \"a.x\"",
        ),
        (
            "[events.\"a*b*\"]",
            2,
            "events.\"a*b*\": a name holds at most one *",
        ),
        (
            "events = \"any\"\ncontext = [\"oss\"]",
            3,
            "context.oss: unknown key; did you mean os?",
        ),
        (
            "events = \"any\"\nci = \"skipp\"",
            3,
            "ci: expected \"send\" or \"skip\", found another word; did you mean \"skip\"?",
        ),
        (
            "events = \"any\"\nidentity = { user = \"mac\" }",
            3,
            "identity.user: expected \"random\" or",
        ),
        (
            "events = \"any\"\nmax_per_day = 0",
            3,
            "max_per_day: expected a whole number from 1",
        ),
        (
            "events = \"any\"\nprivacy = { contact = 3 }",
            3,
            "privacy.contact: expected a string",
        ),
        (
            "events = \"any\"\nvocabulary = { run = { \"--x\" = 4000 } }",
            3,
            "vocabulary: ",
        ),
        (
            "events = \"any\"\n[map]\n\"properties.x\" = \"contxt.ci\"",
            4,
            "map.\"properties.x\": expected",
        ),
        (
            "events = \"any\"\n[map]\nproperties.x = \"context.ci\"",
            4,
            "map.properties: expected a source",
        ),
        (
            "events = \"any\"\n[destination]\nurl = \"http://x.org\"",
            4,
            "destination.url: a manifest sends by https:// alone",
        ),
        (
            "events = \"any\"\n[destination]\nurl = \"https://u:p@x.org\"",
            4,
            "destination.url: a manifest sends by",
        ),
        (
            "events = \"any\"\n[destination]\nurl = \"https://x.org\"\nproxy = \"none\"",
            5,
            "destination.proxy: is for the config alone",
        ),
        (
            "events = \"any\"\n[destination]\nurl = \"https://x.org\"\ntls = { ca_file = \"/x\" }",
            5,
            "destination.tls: is for the config alone",
        ),
        (
            "events = \"any\"\n[destination]\nurl = \"https://x.org\"\nallow_insecure = true",
            5,
            "destination.allow_insecure: is for",
        ),
        (
            "events = \"any\"\n[destination]\nurl = \"https://x.org\"\nauth = { bearer = \"s\" }",
            5,
            "destination.auth.bearer: a manifest holds public",
        ),
        (
            "events = \"any\"\n[destination]\nurl = \"https://x.org\"\nauth = { segment_write_key_file = \"/s\" }",
            5,
            "destination.auth.segment_write_key_file: a manifest",
        ),
        (
            "events = \"any\"\n[destination]\nencoding = \"json\"",
            3,
            "destination: has no url",
        ),
    ] {
        let mistakes = with(lines).unwrap_err();
        let expected = format!("line {line}: {message}");
        assert!(
            mistakes.iter().any(|m| m.starts_with(&expected)),
            "{lines}\n{expected}\n{mistakes:#?}"
        );
    }
}
