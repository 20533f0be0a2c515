//! What the fuzzer began with and what it found: every law of `fuzz/src/` holds for every file of `fuzz/corpus/`.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[expect(unreachable_pub, reason = "the fuzzer uses them from outside")]
#[path = "../../../fuzz/src/lib.rs"]
mod laws;

#[test]
fn the_corpus_of_every_door_keeps_its_law() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (door, hold) in laws::DOORS {
        let mut files = 0;
        for entry in fs::read_dir(corpus.join(door)).expect("every door has a corpus") {
            let path = entry.expect("a folder can be read").path();
            let bytes = fs::read(&path).expect("a file can be read");
            let held = catch_unwind(|| hold(&bytes));
            assert!(held.is_ok(), "{} breaks the law", path.display());
            files += 1;
        }
        assert!(files >= 5, "{door} has {files} files");
    }
}
