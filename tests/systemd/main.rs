//! The packages and their units under a real systemd, in a throw-away machine that each test boots for itself
//! (`machine.rs`): what a new admin meets. Build everything first: `cargo build --workspace`.

#![cfg(target_os = "linux")]

mod machine;

mod admin;
mod all_users;
mod one_user;
mod packages;
