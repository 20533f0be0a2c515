//! A vector as it is written: header, set-up, steps.

use serde_json::{Map, Value};

/// One vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The file's name without its end.
    pub file: String,
    /// The sentence that it proves.
    pub name: String,
    /// The part of PROTOCOL.md that says so.
    pub spec: String,
    /// What is there before the daemon starts.
    pub setup: Vec<Setup>,
    /// What is said and heard.
    pub steps: Vec<Line>,
}

/// What is there before the daemon starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Setup {
    /// The daemon's configuration.
    Config(String),
    /// A manifest of that name.
    Manifest {
        /// The file's name without its end.
        tool: String,
        /// TOML.
        text: String,
    },
    /// A file in the home.
    File {
        /// Begins with `config/`, `state/`, `machine/` or `home/`.
        path: String,
        /// What is in it.
        text: String,
    },
    /// A variable of the daemon.
    Env(String, String),
    /// A flag of the daemon.
    Flag(String),
    /// The script of the endpoint.
    Endpoint(String),
}

/// A step with its line and its connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// 1 for the first line of the file.
    pub number: usize,
    /// The connection's name; the first one has none.
    pub on: String,
    /// What is done.
    pub step: Step,
}

/// What is said or heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// An object as one line, `<same …>` put in.
    Send(Value),
    /// Text as it is.
    SendRaw(String),
    /// The next answer.
    Expect(Value),
    /// No answer.
    ExpectNothing,
    /// The other side closes.
    ExpectClosed,
    /// Nothing more will be sent.
    Finish,
    /// Closes.
    Close,
    /// An event arrives at the endpoint.
    ExpectDelivered(Value),
    /// No such event has arrived at the endpoint.
    ExpectNotDelivered(Value),
}

impl Case {
    /// Reads the lines of a file.
    ///
    /// # Errors
    /// A sentence with the number of the line that is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let mut lines = lines.map(|(index, line)| (index + 1, line));
        let (number, first) = lines.next().ok_or("the file is empty")?;
        let mut header = object(number, first)?;
        let mut case = Self {
            file: file.to_owned(),
            name: text_of(number, &mut header, "name")?,
            spec: text_of(number, &mut header, "spec")?,
            setup: Vec::new(),
            steps: Vec::new(),
        };
        nothing_left(number, &header)?;
        for (number, line) in lines {
            let mut line = object(number, line)?;
            if let Some(setup) = setup(number, &mut line)? {
                if !case.steps.is_empty() {
                    return Err(format!("line {number}: set-up comes before the first step"));
                }
                case.setup.extend(setup);
            } else {
                let on = line
                    .remove("on")
                    .map_or(Ok(String::new()), |on| string(number, "on", on))?;
                case.steps.push(Line {
                    number,
                    on,
                    step: step(number, &mut line)?,
                });
            }
            nothing_left(number, &line)?;
        }
        if case.steps.is_empty() {
            return Err("the file has no steps".to_owned());
        }
        Ok(case)
    }
}

/// The set-up of a line, `None` when it is a step.
fn setup(number: usize, line: &mut Map<String, Value>) -> Result<Option<Vec<Setup>>, String> {
    if let Some(value) = line.remove("config") {
        return Ok(Some(vec![Setup::Config(string(number, "config", value)?)]));
    }
    if let Some(value) = line.remove("manifest") {
        let text = string(number, "manifest", value)?;
        return Ok(Some(vec![Setup::Manifest {
            tool: text_of(number, line, "as")?,
            text,
        }]));
    }
    if let Some(value) = line.remove("file") {
        let Value::Object(mut file) = value else {
            return Err(format!(
                "line {number}: `file` is an object with `path` and `text`"
            ));
        };
        let path = text_of(number, &mut file, "path")?;
        let text = text_of(number, &mut file, "text")?;
        nothing_left(number, &file)?;
        if !["config/", "state/", "machine/", "home/"]
            .iter()
            .any(|place| path.starts_with(place))
        {
            return Err(format!(
                "line {number}: the path begins with config/, state/, machine/ or home/"
            ));
        }
        return Ok(Some(vec![Setup::File { path, text }]));
    }
    if let Some(value) = line.remove("env") {
        let Value::Object(variables) = value else {
            return Err(format!("line {number}: `env` is an object of strings"));
        };
        let variable = |(name, value)| Ok(Setup::Env(name, string(number, "env", value)?));
        return variables
            .into_iter()
            .map(variable)
            .collect::<Result<_, String>>()
            .map(Some);
    }
    if let Some(value) = line.remove("flag") {
        return Ok(Some(vec![Setup::Flag(string(number, "flag", value)?)]));
    }
    if let Some(value) = line.remove("endpoint") {
        return Ok(Some(vec![Setup::Endpoint(string(number, "endpoint", value)?)]));
    }
    Ok(None)
}

fn step(number: usize, line: &mut Map<String, Value>) -> Result<Step, String> {
    if let Some(value) = line.remove("send") {
        return send(number, value);
    }
    for (key, make) in [
        ("expect", Step::Expect as fn(Value) -> Step),
        ("expect_delivered", Step::ExpectDelivered),
        ("expect_not_delivered", Step::ExpectNotDelivered),
    ] {
        if let Some(value) = line.remove(key) {
            return Ok(make(value));
        }
    }
    for (key, step) in [
        ("expect_nothing", Step::ExpectNothing),
        ("expect_closed", Step::ExpectClosed),
        ("finish", Step::Finish),
        ("close", Step::Close),
    ] {
        match line.remove(key) {
            None => {}
            Some(Value::Bool(true)) => return Ok(step),
            Some(_) => return Err(format!("line {number}: `{key}` is true")),
        }
    }
    Err(format!(
        "line {number}: neither set-up nor step: {}",
        Value::Object(line.clone())
    ))
}

fn send(number: usize, value: Value) -> Result<Step, String> {
    let Some(raw) = value.get("raw") else {
        return match value {
            Value::Object(_) => Ok(Step::Send(value)),
            _ => Err(format!("line {number}: `send` is an object, or {{\"raw\": …}}")),
        };
    };
    let mut text = String::new();
    match raw {
        Value::Array(parts) => {
            for part in parts {
                text.push_str(&part_of(number, part)?);
            }
        }
        one => text.push_str(&part_of(number, one)?),
    }
    match value.get("newline") {
        None | Some(Value::Bool(true)) => text.push('\n'),
        Some(Value::Bool(false)) => {}
        Some(_) => return Err(format!("line {number}: `newline` is true or false")),
    }
    let known = |key: &String| key == "raw" || key == "newline";
    if let Some(key) = value
        .as_object()
        .and_then(|object| object.keys().find(|key| !known(key)))
    {
        return Err(format!("line {number}: unknown key `{key}` beside `raw`"));
    }
    Ok(Step::SendRaw(text))
}

fn part_of(number: usize, part: &Value) -> Result<String, String> {
    let repeated = || {
        Some((
            part.get("repeat")?.as_str()?,
            usize::try_from(part.get("times")?.as_u64()?).ok()?,
        ))
    };
    match (part.as_str(), repeated()) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some((text, times))) => Ok(text.repeat(times)),
        (None, None) => Err(format!(
            "line {number}: a part is a text, or {{\"repeat\": \"x\", \"times\": 3}}"
        )),
    }
}

fn object(number: usize, line: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(format!("line {number}: not an object")),
        Err(error) => Err(format!("line {number}: not JSON: {error}")),
    }
}

fn text_of(number: usize, object: &mut Map<String, Value>, key: &str) -> Result<String, String> {
    let value = object
        .remove(key)
        .ok_or_else(|| format!("line {number}: `{key}` is missing"))?;
    string(number, key, value)
}

fn string(number: usize, key: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(format!("line {number}: `{key}` is a string")),
    }
}

fn nothing_left(number: usize, object: &Map<String, Value>) -> Result<(), String> {
    object
        .keys()
        .next()
        .map_or(Ok(()), |key| Err(format!("line {number}: unknown key `{key}`")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEADER: &str = "{\"name\":\"n\",\"spec\":\"s\"}\n";

    fn parse(body: &str) -> Result<Case, String> {
        Case::parse("file", &format!("{HEADER}{body}"))
    }

    #[test]
    fn a_file_is_a_header_set_up_and_steps() {
        let case = parse(concat!(
            "{\"config\":\"[queue]\"}\n",
            "{\"env\":{\"A\":\"1\"}}\n\n",
            "{\"send\":{\"op\":\"hello\"}}\n",
            "{\"send\":{\"raw\":[\"a\",{\"repeat\":\"b\",\"times\":3}],\"newline\":false},\"on\":\"second\"}\n",
            "{\"expect\":{\"ok\":true}}\n{\"close\":true}\n",
        ))
        .expect("a vector");
        assert_eq!((case.name.as_str(), case.spec.as_str()), ("n", "s"));
        assert_eq!(
            case.setup,
            [
                Setup::Config("[queue]".into()),
                Setup::Env("A".into(), "1".into())
            ]
        );
        let line = |number, on: &str, step| Line {
            number,
            on: on.to_owned(),
            step,
        };
        assert_eq!(
            case.steps,
            [
                line(5, "", Step::Send(json!({"op": "hello"}))),
                line(6, "second", Step::SendRaw("abbb".to_owned())),
                line(7, "", Step::Expect(json!({"ok": true}))),
                line(8, "", Step::Close),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (body, wanted) in [
            ("", "the file has no steps"),
            ("{\"sned\":{}}", "line 2: neither set-up nor step: {\"sned\":{}}"),
            ("{\"close\":true,\"own\":1}", "line 2: unknown key `own`"),
            ("{\"close\":1}", "line 2: `close` is true"),
            ("{\"manifest\":\"\"}", "line 2: `as` is missing"),
            (
                "{\"file\":{\"path\":\"/etc/x\",\"text\":\"\"}}",
                "line 2: the path begins with config/, state/, machine/ or home/",
            ),
            (
                "{\"close\":true}\n{\"config\":\"\"}",
                "line 3: set-up comes before the first step",
            ),
            ("[]", "line 2: not an object"),
        ] {
            assert_eq!(parse(body).expect_err(body), wanted);
        }
        assert_eq!(
            Case::parse("f", "{\"name\":\"n\"}"),
            Err("line 1: `spec` is missing".to_owned())
        );
    }
}
