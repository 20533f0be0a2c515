//! The program as a script meets it: exit codes, what is on stdout and what on stderr, `--json` to the letter.
//! A fake daemon answers from a thread; no test touches a real home, a real daemon or the network.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

mod beside;
mod consent;
mod daemonless;
mod exits;
mod lists;
mod privacy;
mod sending;
mod sink;
mod steering;
mod whole_way;
