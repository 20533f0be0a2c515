//! What is never shown.

use super::*;

const SECRET: &str = "hunter2-very-secret";

/// Everything that is ever printed of a config.
fn printed(house: &House) -> String {
    match house.load() {
        Ok(loaded) => {
            let lines: Vec<String> = show(&loaded).iter().map(ToString::to_string).collect();
            format!(
                "{}\n{}\n{loaded:?}",
                lines.join("\n"),
                serde_json::to_string(&show(&loaded)).unwrap()
            )
        }
        Err(problems) => format!(
            "{problems}\n{}\n{problems:?}",
            serde_json::to_string(&problems).unwrap()
        ),
    }
}

#[test]
fn a_good_secret_is_shown_as_a_mask() {
    for text in [
        format!("auth.bearer = \"{SECRET}\""),
        format!("auth.basic = \"user:{SECRET}\""),
        format!("headers = {{ X-Api-Key = \"{SECRET}\" }}"),
    ] {
        let house = House::with(&destination(&text));
        let printed = printed(&house);
        assert!(house.load().is_ok() && !printed.contains(SECRET), "{printed}");
        assert!(printed.contains("\"*****\""), "{printed}");
    }
    let house = House::with(&destination(&format!("proxy = \"http://u:{SECRET}@proxy:3128\"")));
    assert!(!printed(&house).contains(SECRET));
    assert_eq!(
        house.shown("destinations.default.proxy").unwrap().0,
        "\"http://*****@proxy:3128\""
    );
    let house = House::with(&format!(
        "[destinations.default]\nurl = \"https://example.org/x?key={SECRET}\""
    ));
    assert!(!printed(&house).contains(SECRET));
    assert_eq!(
        house.shown("destinations.default.url").unwrap().0,
        "\"https://example.org/x?key=*****\""
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown_either() {
    for text in [
        destination(&format!("auth.bearer = [\"{SECRET}\"]")),
        destination(&format!("auth.bearer = \"{SECRET}\\n\"")),
        destination(&format!("auth.basic = \"{SECRET}\"")),
        destination(&format!("auth.baerer = \"{SECRET}\"")),
        destination(&format!("auth = \"{SECRET}\"")),
        destination(&format!("auth.bearer_file = \"{SECRET}\"")),
        destination(&format!("auth.bearer_env = \"{SECRET}\"")),
        destination(&format!("auth.bearer = {{ value = \"{SECRET}\" }}")),
        destination(&format!("auth.segment_write_key = \"{SECRET}\"")),
        destination(&format!("headers.X-Key = [\"{SECRET}\"]")),
        destination(&format!("token = \"{SECRET}\"")),
        destination(&format!("proxy = \"http://u:{SECRET}@proxy:99999\"")),
        destination(&format!("proxy = \"http://u:{SECRET}\"")),
        destination(&format!("proxy = \"socks5://u:{SECRET}@proxy:1080\"")),
        destination(&format!("proxy = [\"http://u:{SECRET}@proxy:3128\"]")),
        format!("[destinations.default]\nurl = \"https://u:{SECRET}@example.org\""),
        format!("[destinations.default]\nurl = \"u:{SECRET}@example.org\""),
        format!("[destinations.default]\nurl = \"http://example.org/?{SECRET}\""),
        format!("[destinations.default]\nurl = \"https://u:p/{SECRET}@example.org\""),
        format!("[destinations.default]\nurl = [\"https://u:{SECRET}@example.org\"]"),
        format!("[destinations]\nurl = \"https://u:{SECRET}@example.org\""),
        format!("destinations = \"https://u:{SECRET}@example.org\""),
        format!("[gateway]\nkeys = {{ {SECRET} = \"no tool\" }}"),
        destination(&format!("auth.bearer = \"{SECRET}")),
        destination(&format!("auth.bearer = {SECRET}")),
    ] {
        let house = House::with(&text);
        let printed = printed(&house);
        assert!(
            house.load().is_err() && !printed.contains(SECRET),
            "{text}\n{printed}"
        );
    }
}

#[test]
fn a_secret_in_the_environment_is_not_shown() {
    for name in [
        "AUTH__BEARER",
        "AUTH__BASIC",
        "AUTH__BEARER_FILE",
        "AUTH",
        "HEADERS__X-KEY",
        "PASSWORD",
    ] {
        let mut house = House::with(&destination(""));
        house.set(&format!("TELEMETRYD__DESTINATIONS__DEFAULT__{name}"), SECRET);
        assert!(!printed(&house).contains(SECRET), "{name}");
    }
}
