use super::*;
use crate::tree::tests::tree;

const SITE: &str = "
site -
  a ~1000
  b ~1000
  pair -
    fast ~500
    slow ~20000
  big -
    x ~1000
    y ~1000
    z ~30000
";

/// `a! b! site` an hour apart: what was tried, the last cured; `~` follows the last one at once.
fn history(text: &str) -> Vec<Episode> {
    let mut at = SystemTime::UNIX_EPOCH;
    let mut episodes = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (follows, line) = match line.strip_prefix('~') {
            Some(line) => (true, line),
            None => (false, line),
        };
        at += Duration::from_secs(if follows { 10 } else { 3600 });
        let attempts = line.split_whitespace().map(|word| {
            let (unit, cured) = match word.strip_suffix('!') {
                Some(unit) => (unit, false),
                None => (word, true),
            };
            let seconds = match unit {
                "site" => 60,
                "slow" | "pair" => 20,
                "big" => 32,
                "z" => 30,
                _ => 1,
            };
            Attempt {
                unit: unit.into(),
                began: None,
                at,
                cured: Some(cured),
                downtime: Some(Duration::from_secs(seconds)),
                failed_requests: Some(10.0 * seconds as f64),
            }
        });
        episodes.push(Episode {
            attempts: attempts.collect(),
            suspect: None,
        });
    }
    episodes
}

fn check(text: &str, expected: &[&str]) {
    let found = propose(&tree(SITE), &history(text));
    let words: Vec<String> = found
        .iter()
        .map(|proposal| format!("{} ({:.0} s)", proposal.edit, proposal.saved_seconds))
        .collect();
    assert_eq!(words, expected, "{text}");
}

#[test]
fn what_the_past_speaks_for() {
    check("", &[]);
    // Twice is an accident.
    check("a! b! site\n a! b! site", &[]);
    check(
        "a! b! site\n b! a! site\n a! b! site",
        &["put a, b below one unit, a-with-b (180 s)"],
    );
    // Each was cured by itself, too: nothing to change.
    check("a\n b\n a\n b\n a", &[]);
    check(
        "a\n ~b\n a\n ~b\n a\n ~b",
        &["put a, b below one unit, a-with-b (3 s)"],
    );
    // Across the tree a rule says it, and with whose restart it begins.
    check(
        "a! x! site\n x! a! site\n a! x! site",
        &["restart a, x together (180 s)"],
    );
    check(
        "x\n ~fast\n x\n ~fast\n x\n ~fast",
        &["restart x, then fast together, in this order (3 s)"],
    );
    // The smaller was in vain with the larger, and one is no group.
    check("x! big! site\n x! big! site\n x! big! site", &[]);
    // slow alone is in vain, and costs as much as the pair.
    check(
        "slow! pair\n slow! pair\n slow",
        &["put what is beside slow below it, so that it is never restarted alone (40 s)"],
    );
    // It costs little and cures mostly: the whole at once would be dearer.
    check("fast! pair\n fast\n fast\n fast", &[]);
    check(
        "x! big\n x! big\n y! big",
        &["divide big into x-with-y (x, y) and z.alone (z) (36 s)"],
    );
}

/// Parts that differ in how long they take, and in how often they are at fault: what is dear is left out where it is
/// seldom the one, not only where it never is.
#[test]
fn what_is_dear_and_seldom_at_fault_is_divided_off() {
    let many = "x! big\n y! big\n x! big\n y! big\n x\n y\n x\n y\n x! big\n";
    check(
        many,
        &["divide big into x-with-y (x, y) and z.alone (z) (102 s)"],
    );
    // One of the ten was its own.
    check(
        &format!("{many} z"),
        &["divide big into x-with-y (x, y) and z.alone (z) (85 s)"],
    );
    // Most were: the more, the less it would have saved.
    check(
        &format!("{many}{}", "z\n".repeat(20)),
        &["divide big into x-with-y (x, y) and z.alone (z) (18 s)"],
    );
    // Where all take as long, who seldom fails is divided off, too.
    let even = tree("site -\n  many -\n    p ~4000\n    q ~4000\n    r ~4000\n");
    let text = "p! many\n p! many\n p! many\n p! many\n p! many\n p! many\n p! many\n q! many";
    let found = propose(&even, &history(text));
    let words: Vec<String> = found.iter().map(|it| it.edit.to_string()).collect();
    assert!(
        words.contains(&"divide many into p-with-q (p, q) and r.alone (r)".to_owned()),
        "{found:?}"
    );
}

#[test]
fn a_part_for_whose_sake_the_whole_is_restarted_gets_a_restart_of_its_own() {
    let part = Nameless {
        unit: "slow".into(),
        name: "slow.search".into(),
        selector: BTreeMap::from([("code.namespace".to_owned(), "search".to_owned())]),
    };
    for (text, expected) in [
        ("slow\n slow", None),
        ("slow\n slow\n slow", Some(60.0)),
        // It was cured by another.
        ("slow! pair\n slow! pair\n slow! pair", None),
    ] {
        let mut episodes = history(text);
        for episode in &mut episodes {
            episode.suspect = Some(part.clone());
        }
        let found = propose(&tree(SITE), &episodes);
        let deeper = found
            .iter()
            .find(|it| matches!(it.edit, Edit::Deepen { .. }));
        let saved = deeper.map(|it| it.saved_seconds);
        assert_eq!(saved, expected, "{text}: {found:?}");
        if let Some(proposal) = deeper {
            let units = apply(&tree(SITE), &proposal.edit).expect("a tree");
            let found = units.iter().find(|spec| spec.name == part.name);
            let found = found.expect("the part");
            assert_eq!(found.selector, part.selector);
            assert_eq!(found.parent, Some(part.unit.clone()));
            assert!(proposal.why.contains("3 times slow was restarted"));
        }
    }
}

/// Who fell sick before the restart only waited for it, and one fault follows from one of two restarts in a row.
#[test]
fn what_waited_for_a_restart_does_not_follow_from_it() {
    let mut episodes = history("a\n ~b\n a\n ~b\n a\n ~b");
    for (place, episode) in episodes.iter_mut().enumerate() {
        for attempt in &mut episode.attempts {
            let before = Duration::from_secs(if place % 2 == 1 { 15 } else { 1 });
            attempt.began = attempt.at.checked_sub(before);
        }
    }
    assert_eq!(propose(&tree(SITE), &episodes), []);
    check("a\n ~a\n ~a\n ~b\n a\n ~a\n ~a\n ~b", &[]);
}

#[test]
fn what_is_unknown_speaks_for_nothing() {
    let mut episodes = history("a! b! site\n a! b! site\n a! b! site");
    for attempt in episodes
        .iter_mut()
        .flat_map(|episode| &mut episode.attempts)
    {
        attempt.cured = None;
    }
    assert_eq!(propose(&tree(SITE), &episodes), []);
}
