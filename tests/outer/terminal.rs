//! A person at a terminal: a program on a pseudo-terminal, what it shows, and what is typed.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use telemetry_testkit::{DEADLINE, eventually};

/// A program whose stdin, stdout and stderr are one terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
    reader: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// Starts it there.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let side = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        let child = command
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        // The parent's copies of the other side go with the command: then the end of the program is seen.
        drop(command);
        let keys = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, text) = (keys.try_clone().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                let piece = String::from_utf8_lossy(&bytes[..read]);
                text.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&piece);
            }
        });
        Self {
            child,
            keys,
            shown,
            reader,
        }
    }

    /// What it has shown so far, what was typed included.
    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it shows this.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        eventually(&format!("the terminal shows {text:?}"), DEADLINE, || {
            self.shown().contains(text).then_some(())
        });
    }

    /// Types this.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until it ends; its code, and all that it has shown.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = eventually("the program ends", DEADLINE, || self.child.try_wait().unwrap());
        // The other side is closed with the program: then there is nothing more to read.
        eventually("the terminal is read to its end", DEADLINE, || {
            self.reader.is_finished().then_some(())
        });
        (status.code(), self.shown())
    }
}
