//! The client against real servers on loopback: raw TCP that says exactly what a test wants, TLS with
//! certificates made for the test, HTTP/2.

#![expect(clippy::unwrap_used, reason = "tests may")]

mod answers;
mod gate;
mod http2;
mod keep_alive;
mod probe;
mod proxy;
mod secrets;
mod server;
mod tls;
mod trouble;
