//! Undoes a content coding (RFC 9110, section 8.4) within [`MAX_DECODED`].

use std::io::{self, Read};

use bytes::Bytes;

use super::{MAX_DECODED, Undecodable};

/// The body without its content coding. An identity body is not copied.
pub(crate) fn inflate(content_encoding: Option<&str>, body: &Bytes) -> Result<Bytes, Undecodable> {
    let coding = content_encoding.unwrap_or("identity").trim().to_ascii_lowercase();
    match coding.as_str() {
        "identity" | "" => Ok(body.clone()),
        "gzip" | "x-gzip" => bounded("gzip", flate2::read::MultiGzDecoder::new(&body[..])),
        "zstd" => {
            let decoder = zstd::stream::read::Decoder::new(&body[..]);
            bounded("zstd", decoder.map_err(|error| corrupt("zstd", &error))?)
        }
        _ => Err(Undecodable::ContentEncoding { coding }),
    }
}

fn bounded(coding: &'static str, decoder: impl Read) -> Result<Bytes, Undecodable> {
    let mut plain = Vec::new();
    let limit = MAX_DECODED as u64 + 1;
    decoder
        .take(limit)
        .read_to_end(&mut plain)
        .map_err(|error| corrupt(coding, &error))?;
    if plain.len() > MAX_DECODED {
        return Err(Undecodable::TooLarge { limit: MAX_DECODED });
    }
    Ok(Bytes::from(plain))
}

fn corrupt(coding: &'static str, error: &io::Error) -> Undecodable {
    Undecodable::Corrupt {
        coding,
        cause: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(plain: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).expect("into memory");
        Bytes::from(encoder.finish().expect("into memory"))
    }

    #[test]
    fn gzip_and_zstd_and_identity_are_undone() {
        let plain = b"one event after another";
        let zstd = Bytes::from(zstd::stream::encode_all(&plain[..], 3).expect("into memory"));
        assert_eq!(&inflate(Some("gzip"), &gzip(plain)).expect("gzip")[..], plain);
        assert_eq!(&inflate(Some("zstd"), &zstd).expect("zstd")[..], plain);
        assert_eq!(
            &inflate(None, &Bytes::from_static(plain)).expect("identity")[..],
            plain
        );
    }

    #[test]
    fn what_is_not_gzip_is_corrupt_and_what_is_unknown_is_named() {
        let body = Bytes::from_static(b"plain text");
        assert!(matches!(
            inflate(Some("gzip"), &body),
            Err(Undecodable::Corrupt { coding: "gzip", .. })
        ));
        assert!(matches!(
            inflate(Some("zstd"), &body),
            Err(Undecodable::Corrupt { coding: "zstd", .. })
        ));
        assert!(matches!(
            inflate(Some("br"), &body),
            Err(Undecodable::ContentEncoding { .. })
        ));
    }

    #[test]
    fn a_truncated_gzip_is_corrupt() {
        let whole = gzip(&[b'x'; 4096]);
        let half = whole.slice(..whole.len() / 2);
        assert!(matches!(
            inflate(Some("gzip"), &half),
            Err(Undecodable::Corrupt { .. })
        ));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; MAX_DECODED + 1]);
        assert_eq!(
            inflate(Some("gzip"), &bomb),
            Err(Undecodable::TooLarge { limit: MAX_DECODED })
        );
    }
}
