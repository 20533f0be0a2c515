//! The house inspects itself: what ARCHITECTURE.md and STYLE promise about the tree, held to the tree.
//!
//! One file a subject. Every test gathers all it finds before it fails, each finding with its file and line, so that
//! one run is enough to put things right. Where a law has exceptions they stand in a table with a reason beside each,
//! and an exception that is no longer needed fails too.

mod arrows;
mod deny;
mod files;
mod invariants;
mod laws;
mod managers;
mod pages;
mod privacy;
mod services;
mod tree;
mod vectors;
mod words;

/// Fails with the law and everything that breaks it.
#[track_caller]
fn hold(law: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{law}\n  {}\n", broken.join("\n  "));
}
