//! A manifest: read or refused with a line and a reason; what was read is described in words, widens nothing of
//! itself, and brings a destination that is checked like one of the config.

use telemetry_policy::{Manifest, describe, scope, widens};
use telemetryd::config::inline;

/// The manifest's bytes.
pub fn hold(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Manifest::parse(&text) {
        Ok(manifest) => {
            assert!(!describe::sections(&manifest).is_empty());
            assert_eq!(widens(&manifest, &manifest), Vec::<String>::new());
            assert!(scope::changes(&manifest, &manifest).is_empty());
            let _ = manifest.may_register();
            if let (Some(name), Some(brought)) = (&manifest.destination, &manifest.inline) {
                let _ = inline(name, brought);
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            let lines = text.split('\n').count() + 1;
            for mistake in mistakes {
                let line = mistake.line as usize;
                assert!(
                    line >= 1 && line <= lines,
                    "{line} of {lines}: {}",
                    mistake.message
                );
                assert!(!mistake.message.is_empty());
            }
        }
    }
}
