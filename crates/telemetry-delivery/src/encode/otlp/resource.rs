//! Resource attributes: the tool and what is known of its machine, by the semantic conventions
//! (<https://opentelemetry.io/docs/specs/semconv/resource/>, 1.30).

use super::any::Any;
use crate::encode::read::{find, members};

/// What of the context has a name in the conventions: where it is found, and that name.
const NAMED: &[(&str, &str)] = &[
    ("os.name", "os.type"),
    ("os.id", "os.name"),
    ("os.version", "os.version"),
    ("arch", "host.arch"),
    ("runtime.name", "process.runtime.name"),
    ("runtime.version", "process.runtime.version"),
    ("runtime.implementation", "process.runtime.description"),
    ("library.name", "telemetry.sdk.name"),
    ("library.version", "telemetry.sdk.version"),
];

/// The attributes of one tool, version (raw JSON) and context (raw JSON).
pub(super) fn attributes(tool: &str, version: Option<&str>, context: Option<&str>) -> Vec<(String, Any)> {
    let mut out = vec![("service.name".to_owned(), Any::text(tool))];
    out.extend(version.map(|raw| ("service.version".to_owned(), Any::of(raw))));
    let Some(context) = context else {
        return out;
    };
    for (place, name) in NAMED {
        if let Some(raw) = find(context, place).filter(|raw| raw.starts_with('"')) {
            out.push(((*name).to_owned(), conventional(name, Any::of(raw))));
        }
    }
    // The language of the SDK is that of the process that it is in.
    if let Some(raw) = find(context, "library.name").and(find(context, "runtime.name")) {
        out.push(("telemetry.sdk.language".to_owned(), Any::of(raw)));
    }
    rest(context, "", &mut out);
    out
}

/// The values that the conventions prescribe: `host.arch`.
fn conventional(name: &str, value: Any) -> Any {
    match (name, &value) {
        ("host.arch", Any::Text(arch)) => Any::text(match arch.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "arm" => "arm32",
            "i686" | "i586" | "i386" => "x86",
            "powerpc64" | "powerpc64le" => "ppc64",
            other => other,
        }),
        _ => value,
    }
}

/// What has no name there, as `telemetryd.context.PATH`.
fn rest(raw: &str, before: &str, out: &mut Vec<(String, Any)>) {
    for (name, value) in members(raw) {
        let path = match before {
            "" => name.into_owned(),
            before => format!("{before}.{name}"),
        };
        if value.starts_with('{') {
            rest(value, &path, out);
        } else if !(value.starts_with('"') && NAMED.iter().any(|(place, _)| *place == path)) {
            out.push((format!("telemetryd.context.{path}"), Any::of(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_the_conventions_names_and_the_rest_has_ours() {
        let context = concat!(
            r#"{"os":{"name":"linux","version":"6.18","id":"debian"},"arch":"x86_64","cpu":8,"ci":false,"#,
            r#""runtime":{"name":"python","version":"3.11.7"},"library":{"name":"telemetryd-python","version":"1"}}"#,
        );
        let text = |name: &str, value: &str| (name.to_owned(), Any::text(value));
        assert_eq!(
            attributes("kedro", Some("\"1.7.0\""), Some(context)),
            [
                text("service.name", "kedro"),
                text("service.version", "1.7.0"),
                text("os.type", "linux"),
                text("os.name", "debian"),
                text("os.version", "6.18"),
                text("host.arch", "amd64"),
                text("process.runtime.name", "python"),
                text("process.runtime.version", "3.11.7"),
                text("telemetry.sdk.name", "telemetryd-python"),
                text("telemetry.sdk.version", "1"),
                text("telemetry.sdk.language", "python"),
                ("telemetryd.context.cpu".to_owned(), Any::Int(8)),
                ("telemetryd.context.ci".to_owned(), Any::Flag(false)),
            ]
        );
    }

    #[test]
    fn a_fact_of_an_unexpected_kind_is_not_lost() {
        let found = attributes("t", None, Some(r#"{"arch":["a"],"os":"beos"}"#));
        assert_eq!(
            found[1..],
            [
                (
                    "telemetryd.context.arch".to_owned(),
                    Any::Array(vec![Any::text("a")])
                ),
                ("telemetryd.context.os".to_owned(), Any::text("beos")),
            ]
        );
    }
}
