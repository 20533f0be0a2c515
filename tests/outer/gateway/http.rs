//! A client that says exactly what it is told to, and hears an answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use telemetry_testkit::DEADLINE;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Value,
}

impl Request {
    /// A POST of JSON.
    pub(super) fn post(path: &str, body: &Value) -> Self {
        Self::raw(path, body.to_string().into_bytes())
    }

    /// A POST of these bytes, said to be JSON.
    pub(super) fn raw(path: &str, body: Vec<u8>) -> Self {
        Self {
            line: format!("POST {path} HTTP/1.1"),
            headers: vec![
                ("Host".to_owned(), "localhost".to_owned()),
                ("Content-Type".to_owned(), "application/json".to_owned()),
                ("Connection".to_owned(), "close".to_owned()),
            ],
            body,
        }
    }

    /// With this header, in place of one of that name.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without that header.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// As it goes over the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        [text.as_bytes(), &self.body].concat()
    }

    /// Sends it on a connection of its own.
    #[track_caller]
    pub(super) fn send(&self, to: SocketAddr) -> Answer {
        let mut stream = connect(to);
        // Who refuses what it has not read closes: what can be said of that is in the answer.
        let _ = stream.write_all(&self.bytes());
        Answer::of(&mut stream)
    }
}

#[track_caller]
pub(super) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

impl Answer {
    /// Reads an answer; one that never comes, or is none, is a failure.
    #[track_caller]
    pub(super) fn of(stream: &mut impl Read) -> Self {
        let mut read = Vec::new();
        let mut part = [0; 4096];
        loop {
            if let Some(answer) = Self::parse(&read) {
                return answer;
            }
            match stream.read(&mut part) {
                Ok(0) => panic!("no whole answer: {:?}", String::from_utf8_lossy(&read)),
                Ok(bytes) => read.extend_from_slice(&part[..bytes]),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
    }

    fn parse(read: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(read);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        let body = body.get(..length)?;
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            body: serde_json::from_str(body).unwrap_or(Value::Null),
            head,
        })
    }
}

/// Packed by gzip.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
