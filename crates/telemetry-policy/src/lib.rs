//! What a tool may send. One door, [`admit()`]: consent, then what the manifest lets through, by the value rules,
//! in that order (I3, I4: what is declined or not listed never becomes bytes). Nothing here does I/O, waits, or reads a clock:
//! files are handed in as text, the time as a number.

pub mod admit;
pub mod agreed;
pub mod consent_file;
pub mod describe;
mod endpoint;
pub mod gather;
pub mod machine;
pub mod manifest;
mod nearest;
pub mod opt_out;
pub mod own_files;
pub mod policy;
pub mod policy_file;
pub mod pseudonym;
pub mod redact;
pub mod scope;
mod toml_lines;
pub mod tool_file;
pub mod widens;

pub use admit::{Admission, Keeper, MachineFacts, Occasion, Report, Why, admit};
pub use agreed::Agreed;
pub use consent_file::UserConsent;
pub use machine::Machine;
pub use manifest::{Manifest, Origin};
pub use opt_out::{OptOuts, Variables};
pub use policy::{Policy, Reach, Registered, Tool};
pub use widens::widens;
