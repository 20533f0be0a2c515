//! The gateway, as clients that exist already use it: HTTP to the real daemon, and what arrives at its endpoint.

mod answers;
#[cfg(target_os = "linux")]
mod consent;
#[cfg(target_os = "linux")]
mod hostile;
mod http;
mod rows;

use std::net::SocketAddr;

use serde_json::Value;
use telemetry_testkit::{Collector, DEADLINE, Daemon, Home, eventually};

use self::http::{Answer, Request};
use crate::stage::{TOLD, TOOL, ask, destination, home, status};

/// Keys of two tools, and a vendor's address that clients may be told of as a proxy.
const KEYS: &str = "keys = { mykey = \"demo\", \"2388822444\" = { tool = \"other\" } }\nproxy_hosts = [\"192.0.2.1:8000\"]\n";

/// A daemon with a gateway, and an endpoint.
struct Gate {
    daemon: Daemon,
    endpoint: Collector,
    home: Home,
}

impl Gate {
    /// With more lines of `[gateway]`, and then of other sections.
    #[track_caller]
    fn with(more: &str) -> Self {
        let endpoint = Collector::builder()
            .expect_tool(TOOL)
            .expect_tool("other")
            .start();
        let home = home();
        let daemon = Daemon::start(&home, &config(&endpoint.url(), more));
        Self {
            daemon,
            endpoint,
            home,
        }
    }

    #[track_caller]
    fn new() -> Self {
        Self::with("")
    }

    /// Where it listens, as `status` says.
    #[track_caller]
    fn address(&self) -> SocketAddr {
        eventually("the gateway listens", DEADLINE, || {
            status(&self.daemon)["gateway"]["listen"].as_str()?.parse().ok()
        })
    }

    /// Makes it listen there instead, by a reload.
    #[track_caller]
    fn listen(&self, place: &str) {
        let config = config(&self.endpoint.url(), "").replace("\"127.0.0.1:0\"", place);
        self.home.write_config(&config);
        ask(&self.daemon, &serde_json::json!({"op": "reload"}));
        let place = place.trim_matches('"');
        eventually("it listens there", DEADLINE, || {
            (status(&self.daemon)["gateway"]["listen"] == place).then_some(())
        });
    }

    #[track_caller]
    fn ask(&self, request: &Request) -> Answer {
        request.send(self.address())
    }

    /// How many events wait.
    #[track_caller]
    fn queued(&self) -> u64 {
        status(&self.daemon)["queue"]["events"].as_u64().unwrap()
    }

    /// What has arrived at the endpoint after a flush, in order.
    #[track_caller]
    fn delivered(&self) -> Vec<Value> {
        let flush = serde_json::json!({"op": "flush", "wait": true, "timeout_ms": 15_000});
        ask(&self.daemon, &flush);
        self.endpoint.events()
    }
}

fn config(url: &str, more: &str) -> String {
    format!(
        "{}[gateway]\nlisten = \"127.0.0.1:0\"\n{KEYS}{more}",
        destination(url, TOLD)
    )
}
