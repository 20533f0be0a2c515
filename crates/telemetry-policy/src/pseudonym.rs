//! Pseudonyms: what stands for a user, a project or a name, so that two vendors cannot join what they have and a
//! guessable name cannot be looked up. HMAC-SHA-256 (RFC 2104, FIPS 180-4) under a secret of this user and tool,
//! with a label for each purpose, so that no two of them are ever comparable.
//!
//! Pure: where the secret is kept, and when it is made, is the daemon's.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// One user's secret for one tool.
pub type Secret = [u8; 32];

const USER: &str = "telemetryd anonymous_id 1";
const PROJECT: &str = "telemetryd project_id 1";
const VALUE: &str = "telemetryd hash 1";

/// What stands for things of one (user, tool). The last answers are remembered: an event's user and project are
/// mostly those of the event before.
#[derive(Clone)]
pub struct Pseudonyms {
    secret: Secret,
    lasting: bool,
    user: Option<(Option<Box<str>>, Box<str>)>,
    project: Option<(Box<str>, Box<str>)>,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret, nor what was made of it.
        f.debug_struct("Pseudonyms")
            .field("lasting", &self.lasting)
            .finish_non_exhaustive()
    }
}

impl Pseudonyms {
    /// Under this secret. `lasting`: it is kept, and will be the same tomorrow; where it is not, there is nothing
    /// that could stand for a user.
    #[must_use]
    pub const fn new(secret: Secret, lasting: bool) -> Self {
        Self {
            secret,
            lasting,
            user: None,
            project: None,
        }
    }

    /// The secret in hexadecimal digits, for the file that keeps it and nothing else.
    #[must_use]
    pub fn kept(&self) -> String {
        hex(&self.secret)
    }

    /// Whether the secret is kept.
    #[must_use]
    pub const fn lasting(&self) -> bool {
        self.lasting
    }

    /// The `anonymous_id`, shaped as a UUID (version 4): of the tool's user on this machine, or of the user whose
    /// key the tool gave.
    pub fn user(&mut self, key: Option<&str>) -> &str {
        if self
            .user
            .as_ref()
            .is_none_or(|(known, _)| known.as_deref() != key)
        {
            let bytes = first16(&hmac(&self.secret, USER, key.unwrap_or_default()));
            let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
            self.user = Some((key.map(Into::into), id.to_string().into()));
        }
        self.user.as_ref().map_or("", |(_, id)| id)
    }

    /// The `project_id`: 64 hexadecimal digits.
    pub fn project(&mut self, key: &str) -> &str {
        if self.project.as_ref().is_none_or(|(known, _)| &**known != key) {
            let id = hex(&hmac(&self.secret, PROJECT, key));
            self.project = Some((key.into(), id.into()));
        }
        self.project.as_ref().map_or("", |(_, id)| id)
    }

    /// `hash = true`: 32 hexadecimal digits.
    #[must_use]
    pub fn hash(&self, value: &str) -> String {
        hex(&first16(&hmac(&self.secret, VALUE, value)))
    }
}

/// An id that a tool already has, if it is shaped like one: a UUID with hyphens, or 32 hexadecimal digits.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let hyphens = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let hex = |byte: u8| byte.is_ascii_hexdigit();
    match text.len() {
        32 => text.bytes().all(hex),
        36 => text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if hyphens(at) { byte == b'-' } else { hex(byte) }),
        _ => false,
    }
}

/// What stands for a project that has an id of its own: the same on every machine of a team.
#[must_use]
pub fn shared_project(id: &str) -> String {
    hex(&Sha256::digest(id.to_ascii_lowercase().as_bytes()))
}

/// HMAC-SHA-256 of `label`, a zero byte and `text`. A key of 32 bytes is shorter than a block of 64.
fn hmac(key: &Secret, label: &str, text: &str) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (at, byte) in key.iter().enumerate() {
            block[at] ^= byte;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(label)
        .chain_update([0])
        .chain_update(text)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

fn first16(bytes: &[u8; 32]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&bytes[..16]);
    first
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_hmac_sha_256() {
        // The construction again, as RFC 2104 writes it, over another route to the digest.
        let key = [0x0b; 32];
        let block = |pad: u8| [key.map(|b| b ^ pad).to_vec(), vec![pad; 32]].concat();
        let inner = Sha256::digest([block(0x36), b"label\0Hi There".to_vec()].concat());
        let outer = Sha256::digest([block(0x5c), inner.to_vec()].concat());
        assert_eq!(hmac(&key, "label", "Hi There").as_slice(), outer.as_slice());
    }

    #[test]
    fn purposes_have_nothing_in_common_and_neither_have_tools() {
        let (mut a, mut b) = (Pseudonyms::new([1; 32], true), Pseudonyms::new([2; 32], true));
        let all = [
            a.user(None).replace('-', ""),
            a.project("p").to_owned(),
            a.hash("p"),
            b.user(None).replace('-', ""),
            b.project("p").to_owned(),
            b.hash("p"),
        ];
        for (nth, one) in all.iter().enumerate() {
            for other in &all[nth + 1..] {
                let common = (0..=one.len() - 8).any(|at| other.contains(&one[at..at + 8]));
                assert!(!common, "{one} {other}");
            }
        }
        let again = a.clone().user(None).to_owned();
        assert_eq!(a.user(None), again);
        assert!(is_id(a.user(None)));
        assert_ne!(a.user(Some("x")).to_owned(), a.user(None).to_owned());
    }

    #[test]
    fn only_what_is_shaped_like_an_id_is_one() {
        for id in [
            "c68bfab517b5476d8273ae14e98a0851",
            "E3145A28-7fe1-45af-90bb-1633e7823a94",
        ] {
            assert!(is_id(id), "{id}");
        }
        for no in [
            "",
            "alice",
            "c68bfab517b5476d8273ae14e98a085",
            "g68bfab517b5476d8273ae14e98a0851",
            "e3145a28x7fe1-45af-90bb-1633e7823a94",
            "{e3145a28-7fe1-45af-90bb-1633e7823a94}",
        ] {
            assert!(!is_id(no), "{no}");
        }
    }
}
