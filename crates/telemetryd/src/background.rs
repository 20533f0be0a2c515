//! `--background`: the daemon leaves the terminal and the caller's session. The caller waits until it is
//! ready, so that the next line of a script finds a socket; a daemon that cannot start says so to the caller.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::world::World;

/// Said by the child when its socket is there.
const READY: &str = "ready";
/// Set for the child, which must not go on to make another.
pub const CHILD: &str = "TELEMETRYD_BACKGROUND_CHILD";

/// Starts the daemon in the background and returns when it is ready.
///
/// # Errors
/// When it cannot be started, or has ended before it was ready (it has said why on stderr).
pub fn start(world: &World) -> Result<(), Failure> {
    // Checked here first, so that mistakes are told without a child.
    world.load()?;
    let failed = |what: &str, e: &std::io::Error| Failure::Failed(format!("cannot {what}: {e}"));
    let program = std::env::current_exe().map_err(|e| failed("find this program", &e))?;
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--background");
    // A client that starts it on demand hands it the lock of that there: it is held for as long as the daemon lives.
    let handed = rustix::fs::fstat(std::io::stdin())
        .is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_file());
    let mut child = Command::new(program)
        .args(arguments)
        .env(CHILD, "1")
        .stdin(if handed { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed("start the daemon", &e))?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        // An end of file, or an error, means the same: it is not ready and will not be.
        let _ = BufReader::new(stdout).read_line(&mut said);
    }
    if said.trim_end() == READY {
        return Ok(());
    }
    let status = child.wait().map_err(|e| failed("wait for the daemon", &e))?;
    match status.code() {
        Some(0) => Err(Failure::Failed(
            "the daemon was told to end before it was ready".to_owned(),
        )),
        Some(code) => Err(Failure::Told(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::Failed(format!(
            "the daemon ended before it was ready: {status}"
        ))),
    }
}

/// Whether this process is the one in the background.
#[must_use]
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Leaves the caller's session and directory.
///
/// # Errors
/// When the system refuses.
pub fn leave() -> std::io::Result<()> {
    // Fails only for a process group's leader, which a spawned child is not.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")
}

/// Tells the caller that the socket is there, and lets go of its terminal.
///
/// # Errors
/// When `/dev/null` cannot be opened.
pub fn ready() -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    // A caller that is gone does not need to know.
    let _ = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
