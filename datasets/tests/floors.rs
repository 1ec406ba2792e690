//! The localization of labelled cases holds the level that it had.
//!
//! `floors.csv` says of each case where the culprit stood, how confident the answer was, and whether it was one. Of each
//! class (set, system, fault) as many must be right first, right among the first three, and answered; and no more wrong
//! ones may be given a confidence of three in four. A class may swap one case for another; a change that makes it worse
//! fails here. In an optimized build that is every case, else every tenth of a class, as a debug build reads slowly.
//!
//! `REKINDLE_DATASETS` names the folder with the sets; without it the test says so and passes. Where the level rises:
//!
//! ```sh
//! rekindle bench localization --data FOLDER --csv all.csv
//! cut -d, -f1,4,8-11 all.csv > datasets/tests/floors.csv
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use rekindle_analysis::rank::Method;
use rekindle_datasets::localization::{CaseResult, Questions, judge};
use rekindle_datasets::public::{Set, cases};

const FLOORS: &str = include_str!("floors.csv");
/// Of so many cases of a class a debug build takes one.
const ONE_IN: usize = 10;
/// Whoever is given so much is believed.
const SURE: f64 = 0.75;

/// What is held of one case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Level {
    first: usize,
    third: usize,
    answered: usize,
    sure_but_wrong: usize,
}

impl Level {
    fn of(first: bool, third: bool, answered: bool, confidence: f64) -> Self {
        Self {
            first: usize::from(first),
            third: usize::from(third),
            answered: usize::from(answered),
            sure_but_wrong: usize::from(confidence >= SURE && !first),
        }
    }

    fn add(&mut self, other: Self) {
        self.first += other.first;
        self.third += other.third;
        self.answered += other.answered;
        self.sure_but_wrong += other.sure_but_wrong;
    }

    const fn is_below(self, floor: Self) -> bool {
        self.first < floor.first
            || self.third < floor.third
            || self.answered < floor.answered
            || self.sure_but_wrong > floor.sure_but_wrong
    }
}

/// What was held, per set and case.
fn floors() -> BTreeMap<(String, String), Level> {
    let rows = FLOORS.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim_matches('"')).collect();
        let [set, case, rank, first, confidence, answered] = cells[..] else {
            panic!("six cells, not {line:?}")
        };
        let third = rank.parse().is_ok_and(|rank: usize| rank <= 3);
        let confidence = confidence.parse().expect("a confidence");
        let level = Level::of(first == "true", third, answered == "true", confidence);
        ((set.to_owned(), case.to_owned()), level)
    });
    rows.collect()
}

#[test]
fn no_class_is_below_its_floor() {
    let Some(folder) = std::env::var_os("REKINDLE_DATASETS").map(PathBuf::from) else {
        println!("skipped: REKINDLE_DATASETS names no folder");
        return;
    };
    let floors = floors();
    let questions = Questions {
        methods: vec![Method::Default],
        ..Questions::default()
    };
    let one_in = if cfg!(debug_assertions) { ONE_IN } else { 1 };
    let mut classes: BTreeMap<String, (Level, Level, Vec<String>)> = BTreeMap::new();
    let mut judged = 0;
    for set in [Set::Nezha, Set::TraceRca, Set::ShapleyIq] {
        let cases = cases(&folder, set).expect("a set of the table");
        let mut seen: BTreeMap<(&str, &str, usize), usize> = BTreeMap::new();
        for case in &cases {
            let class = (&*case.system, &*case.fault_type, case.roots.len());
            let place = seen.entry(class).or_default();
            *place += 1;
            if !(*place - 1).is_multiple_of(one_in) {
                continue;
            }
            let judgement = judge(&folder, set, &[case], &questions).expect("a readable case");
            let result: &CaseResult = &judgement.results[0];
            let ranks = result.ranks.iter().copied();
            let third = ranks
                .max_by_key(|rank| rank.unwrap_or(usize::MAX))
                .flatten();
            let third = third.is_some_and(|rank| rank <= 3);
            let found = Level::of(result.hit(1), third, result.answered, result.confidence);
            let key = (set.to_string(), case.id.clone());
            let floor = *floors.get(&key).expect("a case of the table");
            let class = classes.entry(result.class()).or_default();
            class.0.add(found);
            class.1.add(floor);
            if found.is_below(floor) {
                class.2.push(case.id.clone());
            }
            judged += 1;
        }
    }
    assert!(
        judged >= floors.len() / one_in,
        "{judged} cases were judged"
    );
    let worse = classes
        .iter()
        .filter(|(_, (found, floor, _))| found.is_below(*floor));
    let told: Vec<String> = worse
        .map(|(class, (found, floor, cases))| {
            format!(
                "{class}: {found:?}, not {floor:?}; worse: {}",
                cases.join(", ")
            )
        })
        .collect();
    assert!(told.is_empty(), "worse than before:\n{}", told.join("\n"));
}
