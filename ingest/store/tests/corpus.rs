//! What fuzzing once found in files that are imported is tried again in every test.

#[path = "../../fuzz/store_targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn what_was_found_holds() {
    for (name, target) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(name);
        let inputs: Vec<_> = std::fs::read_dir(&folder)
            .expect("the corpus is here")
            .collect();
        assert!(!inputs.is_empty(), "{name}");
        for input in inputs {
            target(&std::fs::read(input.expect("an entry").path()).expect("an input"));
        }
    }
}
