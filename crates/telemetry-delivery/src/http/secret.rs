//! Credentials, read when a burst begins and forgotten when it ends. Nothing here prints them.

use std::fmt;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::types::{Auth, Secret};

/// How much of a secret's file is read, in bytes. The largest tokens in use (JWTs with many claims) have a
/// few KiB; servers refuse header lines over 8 KiB or 16 KiB.
const FILE_MAX: u64 = 16 * 1024;

/// What goes into `Authorization` or the body, and what must not come out anywhere.
#[derive(Clone)]
pub(super) struct Credential {
    /// `Authorization`, marked sensitive.
    pub(super) header: Option<HeaderValue>,
    /// What the body has where its form has a key.
    pub(super) in_body: Option<String>,
    /// Each form in which an answer might echo it.
    pub(super) forms: Vec<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(*****)")
    }
}

/// Whether reading it may block.
pub(super) fn may_block(auth: &Auth) -> bool {
    matches!(auth.secret(), Some(Secret::File(_)))
}

/// The credential as it is now: the file or the variable is read.
///
/// # Errors
/// A line for people that names the file or the variable, never what is in it.
pub(super) fn credential(auth: &Auth) -> Result<Option<Credential>, String> {
    let Some(secret) = auth.secret() else {
        return Ok(None);
    };
    let text = resolve(secret)?;
    let (header, forms) = match auth {
        Auth::None | Auth::HeapAppId(_) | Auth::PosthogKey(_) => {
            return Ok(Some(Credential {
                header: None,
                in_body: Some(text.clone()),
                forms: vec![text],
            }));
        }
        Auth::Bearer(_) => (format!("Bearer {text}"), vec![text]),
        Auth::Basic(_) => {
            let encoded = STANDARD.encode(&text);
            // An answer may also echo the password alone.
            let password = text.split_once(':').map(|(_, password)| password.to_owned());
            (
                format!("Basic {encoded}"),
                [Some(encoded), Some(text), password]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        }
        Auth::SegmentWriteKey(_) => {
            let encoded = STANDARD.encode(format!("{text}:"));
            (format!("Basic {encoded}"), vec![encoded, text])
        }
    };
    let mut header = HeaderValue::from_str(&header)
        .map_err(|_| format!("{} holds characters that cannot stand in a header", place(secret)))?;
    header.set_sensitive(true);
    Ok(Some(Credential {
        header: Some(header),
        in_body: None,
        forms,
    }))
}

fn resolve(secret: &Secret) -> Result<String, String> {
    let text = match secret {
        Secret::Inline(text) => text.clone(),
        Secret::File(path) => first_line(path)?,
        Secret::Env(name) => match std::env::var(name) {
            Ok(text) => text,
            Err(std::env::VarError::NotPresent) => return Err(format!("{} is not set", place(secret))),
            Err(std::env::VarError::NotUnicode(_)) => return Err(format!("{} is not UTF-8", place(secret))),
        },
    };
    let text = text.trim();
    if text.is_empty() {
        Err(format!("{} is empty", place(secret)))
    } else {
        Ok(text.to_owned())
    }
}

fn first_line(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes))
        .map_err(|error| format!("the credential's file {} cannot be read: {error}", path.display()))?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match std::str::from_utf8(line) {
        Ok(line) => Ok(line.to_owned()),
        Err(_) => Err(format!("the credential's file {} is not text", path.display())),
    }
}

fn place(secret: &Secret) -> String {
    match secret {
        Secret::Inline(_) => "the credential in the config".to_owned(),
        Secret::File(path) => format!("the credential's file {}", path.display()),
        Secret::Env(name) => format!("the credential's variable {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, Secret) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, content).unwrap();
        (dir, Secret::File(path))
    }

    #[test]
    fn a_files_first_line_is_the_secret_trimmed() {
        let (_dir, secret) = file(b"  s3cret-token \r\nsecond line\n");
        let credential = credential(&Auth::Bearer(secret)).unwrap().unwrap();
        let header = credential.header.unwrap();
        assert_eq!(header, "Bearer s3cret-token");
        assert!(header.is_sensitive());
    }

    #[test]
    fn basic_is_encoded() {
        let secret = Secret::Inline("Aladdin:open sesame".to_owned());
        let credential = credential(&Auth::Basic(secret)).unwrap().unwrap();
        // The example of RFC 7617, section 2.
        assert_eq!(credential.header.unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(credential.forms.iter().any(|form| form == "open sesame"));
    }

    #[test]
    fn a_write_key_is_a_user_without_a_password_as_dlt_sends_it() {
        let credential = credential(&Auth::SegmentWriteKey(Secret::Inline("mykey".to_owned())));
        // tests/fixtures/captures/dlt-segment-001.json
        assert_eq!(credential.unwrap().unwrap().header.unwrap(), "Basic bXlrZXk6");
    }

    #[test]
    fn a_key_of_the_body_is_in_no_header() {
        let secret = || Secret::Inline("2388822444".to_owned());
        for auth in [Auth::HeapAppId(secret()), Auth::PosthogKey(secret())] {
            let credential = credential(&auth).unwrap().unwrap();
            assert_eq!(credential.in_body.as_deref(), Some("2388822444"));
            assert!(credential.header.is_none());
        }
    }

    #[test]
    fn a_secret_that_cannot_be_used_is_named_and_not_shown() {
        for content in [&b"s3\x01cret"[..], b"\n", b"", b"s3\xffcret"] {
            let (_dir, secret) = file(content);
            let Secret::File(path) = &secret else {
                unreachable!()
            };
            let path = path.display().to_string();
            let error = credential(&Auth::Bearer(secret)).unwrap_err();
            assert!(error.contains(&path), "{error}");
            assert!(!error.contains("s3"), "{error}");
        }
        let missing = Secret::File("/nonexistent/token".into());
        assert!(
            credential(&Auth::Bearer(missing))
                .unwrap_err()
                .contains("/nonexistent/token")
        );
        let unset = Secret::Env("TELEMETRYD_TEST_NOT_SET".to_owned());
        assert!(
            credential(&Auth::Basic(unset))
                .unwrap_err()
                .contains("TELEMETRYD_TEST_NOT_SET")
        );
    }

    #[test]
    fn a_variable_is_read() {
        // Cargo sets this one for tests.
        let secret = Secret::Env("CARGO_PKG_NAME".to_owned());
        let credential = credential(&Auth::Bearer(secret)).unwrap().unwrap();
        assert!(!format!("{credential:?}").contains("telemetry-delivery"));
        assert_eq!(credential.header.unwrap(), "Bearer telemetry-delivery");
    }
}
