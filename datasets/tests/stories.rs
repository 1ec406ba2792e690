//! Golden stories: each text in `stories/` is played, and what recovery did is compared with what it did
//! before. Where a change of mind is meant, `REKINDLE_BLESS=1` writes the new telling; read it as a story.

use std::path::Path;

use rekindle_datasets::simulate::Script;

#[test]
fn stories_are_told_as_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let is_blessed = std::env::var_os("REKINDLE_BLESS").is_some();
    let mut changed = Vec::new();
    let mut count = 0;
    for entry in folder.read_dir().expect("the stories") {
        let file = entry.expect("a story").path();
        if file.extension().is_none_or(|it| it != "story") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&file).expect("a text");
        let script: Script = text.parse().unwrap_or_else(|error| {
            panic!("{}: {error}", file.display());
        });
        let told = script.play().expect("it can be played");
        assert!(
            told.crimes.is_empty(),
            "{}: {:?}",
            file.display(),
            told.crimes
        );
        let out = file.with_extension("out");
        if is_blessed {
            std::fs::write(&out, told.to_string()).expect("the telling is written");
        }
        let before = std::fs::read_to_string(&out).unwrap_or_default();
        if before != told.to_string() {
            changed.push(format!("{}:\n{told}", file.display()));
        }
    }
    assert!(count > 0, "no stories in {}", folder.display());
    assert!(
        changed.is_empty(),
        "told otherwise:\n{}",
        changed.join("\n")
    );
}
