//! What units say about themselves, and others about them, without being asked: heartbeats and
//! reports.
//!
//! A word stands until its speaker says otherwise. A unit that promised to be heard of again and
//! isn't is silent, which is not well. Neither is proof: whoever reaches the API can say anything in
//! any name, so a word opens an incident, and recovery waits for a second source before it acts by
//! itself. A report holds for a while only: a monitor that is gone must not accuse for ever.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rekindle_recovery::UnitName;
use serde::{Deserialize, Serialize};

/// How long a report holds that nobody repeats or takes back. Monitors check every minute or so.
const REPORT_HOLDS: Duration = Duration::from_secs(5 * 60);

/// Beyond the time in which the next heartbeat was promised, for a busy machine's pauses.
const HEARTBEAT_SLACK: Duration = Duration::from_secs(1);

/// How many speakers are remembered. More are no units and monitors but a program run wild.
const MAX_SPEAKERS: usize = 1000;

/// Who says something about a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speaker {
    /// The unit itself, in a heartbeat.
    Itself,
    /// Somebody else.
    Reporter(String),
    /// A person, who says that nothing that anybody said of it holds any more.
    Forget,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// About whom.
    pub(crate) unit: UnitName,
    /// By whom.
    pub(crate) by: Speaker,
    /// What is wrong; `None` when all is well.
    pub(crate) wrong: Option<String>,
    /// In which time the speaker will be heard of again.
    pub(crate) next_within: Option<Duration>,
}

#[derive(Debug)]
struct Word {
    wrong: Option<String>,
    /// Until when it holds, or the speaker should have been heard of again.
    until: Option<SystemTime>,
}

/// All that was said and still stands.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: BTreeMap<(UnitName, Speaker), Word>,
    /// What was not remembered because too many speak.
    passed_over: u64,
}

impl Words {
    /// Remembers what was said.
    pub(super) fn take(&mut self, said: Said, now: SystemTime) {
        let key = (said.unit, said.by);
        if key.1 == Speaker::Forget {
            self.words.retain(|(unit, _), _| *unit != key.0);
            return;
        }
        if self.words.len() >= MAX_SPEAKERS && !self.words.contains_key(&key) {
            self.passed_over = self.passed_over.saturating_add(1);
            if self.passed_over.is_power_of_two() {
                tracing::warn!(
                    passed_over = self.passed_over,
                    "too many report about units"
                );
            }
            return;
        }
        let until = match key.1 {
            Speaker::Itself => said.next_within.map(|within| within + HEARTBEAT_SLACK),
            Speaker::Reporter(_) => Some(REPORT_HOLDS),
            Speaker::Forget => None,
        };
        let until = until.and_then(|within| now.checked_add(within));
        let wrong = said.wrong;
        self.words.insert(key, Word { wrong, until });
    }

    /// Remembers what was said before this engine began. Only what is wrong and still holds is taken: that all was well, or
    /// was wrong once, says nothing of what an engine before this one knew of.
    pub(super) fn remember(&mut self, said: Said, at: SystemTime, now: SystemTime) {
        let holds = |until: SystemTime| until >= now;
        let has_lapsed = match said.by {
            Speaker::Reporter(_) => !at.checked_add(REPORT_HOLDS).is_some_and(holds),
            Speaker::Itself | Speaker::Forget => false,
        };
        let is_over = said.wrong.is_none() && said.by != Speaker::Forget;
        if has_lapsed || is_over {
            self.words.remove(&(said.unit, said.by));
        } else {
            self.take(said, at);
        }
    }

    /// Forgets what was said of whom `is_unit` doesn't know: nobody is left to take it back.
    pub(super) fn keep(&mut self, is_unit: impl Fn(&UnitName) -> bool) {
        self.words.retain(|(unit, _), _| is_unit(unit));
    }

    /// For each unit that anybody spoke of: what is wrong with it, if anything is.
    pub(super) fn standing(&mut self, now: SystemTime) -> BTreeMap<UnitName, Option<String>> {
        let mut standing: BTreeMap<UnitName, Option<String>> = BTreeMap::new();
        for ((unit, by), word) in &self.words {
            let is_over = word.until.is_some_and(|until| until < now);
            let wrong = match (by, &word.wrong) {
                (Speaker::Itself, _) if is_over => Some(format!(
                    "{unit} has not been heard of since it promised to be (if it is to stay silent: \
                     `rekindle forget {unit}`)"
                )),
                (Speaker::Itself, wrong) => {
                    wrong.as_ref().map(|wrong| format!("{unit} says: {wrong}"))
                }
                (Speaker::Reporter(_), _) if is_over => None,
                (Speaker::Forget, _) => None,
                (Speaker::Reporter(reporter), wrong) => wrong
                    .as_ref()
                    .map(|wrong| format!("{reporter} says: {wrong}")),
            };
            let known = standing.entry(unit.clone()).or_default();
            *known = known.take().or(wrong);
        }
        self.words.retain(|(_, by), word| {
            // A silent unit is remembered until it speaks; a report that has lapsed isn't.
            *by == Speaker::Itself || word.until.is_none_or(|until| until >= now)
        });
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(by: Option<&str>, wrong: Option<&str>, next_within: Option<u64>) -> Said {
        Said {
            unit: "catalog".into(),
            by: by.map_or(Speaker::Itself, |by| Speaker::Reporter(by.to_owned())),
            wrong: wrong.map(str::to_owned),
            next_within: next_within.map(Duration::from_secs),
        }
    }

    fn forget() -> Said {
        Said {
            by: Speaker::Forget,
            ..said(None, None, None)
        }
    }

    /// That all was well, or was wrong once, says nothing of what an engine before this one knew of.
    #[test]
    fn of_what_was_said_to_another_engine_only_what_holds_is_heard() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let accused = || said(Some("monitor"), Some("too slow"), None);
        let sick = || said(None, Some("no memory"), None);
        for (words, after, expected) in [
            (vec![accused()], 300, Some(Some("monitor says: too slow"))),
            (vec![accused()], 301, None),
            (vec![accused(), said(Some("monitor"), None, None)], 0, None),
            (vec![said(None, None, None)], 0, None),
            (vec![sick()], 100_000, Some(Some("catalog says: no memory"))),
            (vec![sick(), said(None, None, None)], 0, None),
            (vec![sick(), forget()], 0, None),
        ] {
            let mut heard = Words::default();
            let now = start + Duration::from_secs(after);
            for said in words {
                heard.remember(said, start, now);
            }
            let standing = heard.standing(now);
            let found = standing.get(&"catalog".into());
            assert_eq!(found.map(Option::as_deref), expected);
        }
    }

    #[test]
    fn a_word_stands_until_it_is_taken_back_or_lapses_and_silence_is_not_well() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let sick = said(None, Some("no memory"), None);
        let accused = said(Some("monitor"), Some("too slow"), None);
        for (words, after, expected) in [
            (vec![], 0, None),
            (vec![said(None, None, Some(10))], 10, Some(None)),
            (
                vec![said(None, None, Some(10))],
                12,
                Some(Some(
                    "catalog has not been heard of since it promised to be (if it is to stay silent: \
                     `rekindle forget catalog`)",
                )),
            ),
            (vec![said(None, None, None)], 100_000, Some(None)),
            (
                vec![sick.clone()],
                100_000,
                Some(Some("catalog says: no memory")),
            ),
            (vec![sick.clone(), said(None, None, None)], 0, Some(None)),
            (
                vec![accused.clone()],
                300,
                Some(Some("monitor says: too slow")),
            ),
            (vec![accused.clone()], 301, Some(None)),
            // Nobody waits any more for what a person said not to wait for.
            (
                vec![said(None, None, Some(10)), accused.clone(), forget()],
                12,
                None,
            ),
            // Another's good word takes nothing back.
            (
                vec![accused.clone(), said(Some("other"), None, None)],
                0,
                Some(Some("monitor says: too slow")),
            ),
            (
                vec![accused, said(Some("monitor"), None, None)],
                0,
                Some(None),
            ),
        ] {
            let mut all = Words::default();
            for word in words.clone() {
                all.take(word, start);
            }
            let standing = all.standing(start + Duration::from_secs(after));
            let found = standing.get(&UnitName::from("catalog"));
            let found = found.map(|wrong| wrong.as_deref());
            assert_eq!(found, expected, "{words:?} after {after} s");
        }
    }

    #[test]
    fn who_went_is_not_waited_for() {
        let now = SystemTime::UNIX_EPOCH;
        let mut words = Words::default();
        for unit in ["catalog", "replica@a"] {
            let unit = unit.into();
            words.take(
                Said {
                    unit,
                    ..said(None, None, Some(1))
                },
                now,
            );
        }
        words.keep(|unit| *unit == "catalog".into());
        let left: Vec<UnitName> = words.standing(now).into_keys().collect();
        assert_eq!(left, ["catalog".into()]);
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let now = SystemTime::UNIX_EPOCH;
        let mut words = Words::default();
        for number in 0..2 * MAX_SPEAKERS {
            words.take(said(Some(&number.to_string()), Some("x"), None), now);
        }
        assert_eq!(words.words.len(), MAX_SPEAKERS);
        assert_eq!(
            words.passed_over,
            u64::try_from(MAX_SPEAKERS).expect("fits")
        );
        words.standing(now + REPORT_HOLDS + Duration::from_secs(1));
        assert_eq!(words.words.len(), 0, "what lapsed makes room");
    }
}
