//! Content codings of the request's body.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;

use crate::types::Compression;

const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// What `Content-Encoding` says, where there is one.
pub(crate) const fn content_encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
    }
}

/// The body in its coding.
///
/// # Errors
/// The compressor could not get its memory.
pub(super) fn compress(compression: Compression, body: Vec<u8>) -> io::Result<Bytes> {
    Ok(match compression {
        Compression::None => body.into(),
        Compression::Gzip => {
            // Events shrink to a sixth and less.
            let room = Vec::with_capacity(body.len() / 4);
            let mut encoder = GzEncoder::new(room, flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(&body)?;
            encoder.finish()?.into()
        }
        Compression::Zstd => zstd::bulk::compress(&body, ZSTD_LEVEL)?.into(),
    })
}
