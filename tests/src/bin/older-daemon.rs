//! A daemon of an older version, as a client started it on demand: it holds the lock of that, takes events and forgets
//! them, says its version, and leaves when it is asked to. What it has heard is printed for the test that runs it.
#![expect(
    clippy::print_stdout,
    reason = "it is a program, and a test reads what it prints"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let place = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_default());
    let state = place("HOME").join(".local/state/telemetryd");
    let directory = place("XDG_RUNTIME_DIR").join("telemetryd");
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&directory)?;
    let lock = File::create(state.join("start.lock"))?;
    lock.lock()?;
    let socket = directory.join("telemetryd.sock");
    let listener = UnixListener::bind(&socket)?;
    println!("listening");
    for stream in listener.incoming() {
        let stream = stream?;
        let mut answers = stream.try_clone()?;
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line)?;
            println!("{}", line["op"].as_str().unwrap_or("event"));
            let answer = json!({"ok": true, "protocol": 1, "server": "telemetryd/0.0.9", "mode": "user"});
            // Who does not wait for it is gone already.
            if line["ack"] != "none" {
                let _ = writeln!(answers, "{answer}");
            }
            if line["op"] == "stop" {
                return fs::remove_file(&socket);
            }
        }
    }
    drop(lock);
    Ok(())
}
