//! What a tool may send. One door, [`admit()`]: consent, then what leaves is written, in that order
//! (I3, I4: what is declined never becomes bytes). Nothing here does I/O, waits, or reads a clock:
//! files are handed in as text, the time as a number.

pub mod admit;
pub mod consent_file;
pub mod gather;
pub mod machine;
pub mod manifest;
mod nearest;
pub mod policy;
mod toml_lines;

pub use admit::{Admission, admit};
pub use consent_file::UserConsent;
pub use machine::Machine;
pub use manifest::{Manifest, Origin};
pub use policy::{Policy, Reach, Registered, Tool};
