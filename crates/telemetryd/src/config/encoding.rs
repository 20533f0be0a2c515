//! `encoding`, `form`, `compression` and `auth` of a destination: what leaves, how it is packed, and the key that goes
//! with it. Each encoding has its forms, and some have a key of their own.

use telemetry_delivery::{Auth, Compression, Encoding, Secret};

use super::effective::{Check, owned};
use super::file::Table;
use super::inspect::refused;
use super::problem::Problem;
use super::units;
use super::value::Refusal;

/// The encodings that have two forms, the first being the default.
const TWO: &[[Encoding; 2]] = &[
    [Encoding::Ndjson, Encoding::NdjsonText],
    [Encoding::Segment, Encoding::SegmentTrack],
    [Encoding::Heap, Encoding::HeapTrack],
    [Encoding::Otlp, Encoding::OtlpJson],
];

/// Keys of `auth` that belong to one encoding, and whether that cannot be without.
const KEYS: &[(&str, &str, bool)] = &[
    ("segment_write_key", "segment", false),
    ("heap_app_id", "heap", true),
    ("posthog_key", "posthog", true),
];

impl Check<'_> {
    /// `encoding` and `form`.
    pub(super) fn encoding(&mut self, name: &str) -> Encoding {
        let word = self.word(&["destinations", name, "encoding"]);
        let key = ["destinations", name, "form"];
        let form = self.found(&key).is_some().then(|| self.word(&key));
        let Some(two) = TWO.iter().find(|[first, _]| first.word() == word) else {
            if form.is_some() {
                self.wrong(&key, format!("no form: the encoding \"{word}\" has one only"));
            }
            return match word {
                "posthog" => Encoding::Posthog,
                "mapped" => Encoding::Mapped,
                _ => Encoding::Json,
            };
        };
        let [first, second] = *two;
        match form {
            None => first,
            Some(form) => {
                let found = two.iter().find(|encoding| encoding.form() == Some(form));
                found.copied().unwrap_or_else(|| {
                    let words = [first, second].map(|encoding| encoding.form().unwrap_or_default());
                    let [first_word, second_word] = words;
                    let allowed =
                        format!("\"{first_word}\" or \"{second_word}\", which are the forms of \"{word}\"");
                    self.wrong(&key, allowed);
                    first
                })
            }
        }
    }

    /// `compression`. Trackers that take one event a request, and Heap, document none: their default is none.
    pub(super) fn compression(&mut self, name: &str, encoding: Encoding) -> Compression {
        let key = ["destinations", name, "compression"];
        let word = self.word(&key);
        let plain = matches!(
            encoding,
            Encoding::SegmentTrack | Encoding::Heap | Encoding::HeapTrack | Encoding::Mapped
        );
        if plain && self.file.found(&key).is_none() {
            self.lowered(&key, "none".to_owned());
            return Compression::None;
        }
        match word {
            "none" => Compression::None,
            "zstd" => Compression::Zstd,
            _ => Compression::Gzip,
        }
    }

    /// `auth`: one kind, inline, in a file or in a variable.
    pub(super) fn auth(&mut self, name: &str, encoding: Encoding) -> Auth {
        let table = ["destinations", name, "auth"];
        let kind = match self.file.table(&table) {
            Some(Table { origin, entries }) => {
                if entries.len() > 1 {
                    let kinds: Vec<&str> = entries.keys().map(String::as_str).collect();
                    let message = format!("found {}, allowed is one of them", kinds.join(" and "));
                    self.problems
                        .add(Problem::new(origin, message).key(units::dotted(&table)));
                }
                entries.keys().next().cloned()
            }
            None => None,
        };
        let word = encoding.word();
        let own = KEYS.iter().find(|(_, of, _)| *of == word);
        let Some(kind) = kind else {
            if let Some((key, _, true)) = own {
                self.needs(name, key, word);
            }
            return Auth::None;
        };
        let base = kind.trim_end_matches("_file").trim_end_matches("_env");
        if let Some((_, of, _)) = KEYS.iter().find(|(key, ..)| *key == base)
            && *of != word
        {
            let allowed = format!("no such key: it belongs to the encoding \"{of}\", and this is \"{word}\"");
            self.wrong(&["destinations", name, "auth", &kind], allowed);
        } else if let Some((key, _, true)) = own
            && *key != base
        {
            self.needs(name, key, word);
        }
        let Some(text) = self.text(&["destinations", name, "auth", &kind]) else {
            return Auth::None;
        };
        let secret = match kind.strip_prefix(base) {
            Some("_file") => Secret::File(text.into()),
            Some("_env") => Secret::Env(text),
            _ => Secret::Inline(text),
        };
        match base {
            "bearer" => Auth::Bearer(secret),
            "basic" => Auth::Basic(secret),
            "segment_write_key" => Auth::SegmentWriteKey(secret),
            "heap_app_id" => Auth::HeapAppId(secret),
            "posthog_key" => Auth::PosthogKey(secret),
            _ => Auth::None,
        }
    }

    /// A key that is set to what cannot be here.
    fn wrong(&mut self, key: &[&str], allowed: String) {
        if let Some(found) = self.file.found(key) {
            let problem = refused(&owned(key), found, Refusal::allowed(allowed));
            self.problems.add(problem);
        }
    }

    /// A key that the encoding cannot be without.
    fn needs(&mut self, name: &str, key: &str, encoding: &str) {
        let Some(table) = self.file.table(&["destinations", name]) else {
            return;
        };
        let place = self
            .file
            .found(&["destinations", name, "encoding"])
            .map_or(&table.origin, |found| &found.origin);
        let problem = Problem::new(place, "is missing");
        let hint = format!(
            "the encoding \"{encoding}\" has it in its body: auth = {{ {key} = \"…\" }}, or {key}_file, or {key}_env"
        );
        self.problems.add(
            problem
                .key(units::dotted(&["destinations", name, "auth", key]))
                .hint(hint),
        );
    }
}
