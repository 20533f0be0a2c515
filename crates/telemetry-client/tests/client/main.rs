//! The client library as a tool has it, in a home of its own.

mod home;
mod lines;
mod page;
mod spool;
