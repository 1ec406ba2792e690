//! What may happen to a roll of preventive restarts: one enum, one transition function.
//!
//! ```text
//!  resting ── alarm ──▶ rolling ── next unit ──▶ restarting ── came back ──▶ settling
//!     ▲                  ▲   │ ▲                    │    │                      │
//!     │ sufficient,      │   │ └───── refused ──────┘    │ fell short           │
//!     │ or all tried     │   │                           ▼                      │
//!     └──────────────────┼───┘       mended ◀──────── halted                    │
//!                        └───────────────┴──────── what it gave back is learned ┘
//! ```
//!
//! One restart at a time, each unit once in a roll, none while the gauge can't be read, and nothing at
//! all after a unit that didn't come back, until it has. The guards are asked besides: this decides
//! only what is wished for.

use std::time::{Duration, SystemTime};

use super::rule::{Level, Rule};
use crate::UnitName;

/// A roll that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Roll {
    /// When it began.
    pub begun: SystemTime,
    /// Who was restarted in it.
    pub tried: Vec<UnitName>,
    /// Whom guards refused since the last that they let through; asked for again when nobody else is left.
    pub refused: Vec<UnitName>,
}

/// Where a rule is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Nothing is due.
    Resting {
        /// No roll begins before this: the last one wasn't enough.
        not_before: Option<SystemTime>,
    },
    /// The next restart is to be chosen.
    Rolling(Roll),
    /// A restart was asked for, and it isn't known yet what came of it.
    Restarting {
        /// The roll.
        roll: Roll,
        /// Who.
        unit: UnitName,
        /// What the gauge said before.
        before: Option<f64>,
    },
    /// A unit came back, and the gauge is given time to show what that gave back.
    Settling {
        /// The roll.
        roll: Roll,
        /// Who.
        unit: UnitName,
        /// What the gauge said before.
        before: Option<f64>,
        /// Until when.
        until: SystemTime,
    },
    /// A unit didn't come back.
    Halted {
        /// Who.
        unit: UnitName,
        /// What became of it.
        words: String,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Resting { not_before: None }
    }
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody looked.
    Looked {
        /// Where the gauge is.
        level: Level,
        /// What it said; `None` where there is none, or it can't be read.
        reading: Option<f64>,
        /// Who could be restarted now, in order.
        candidates: Vec<UnitName>,
    },
    /// The restart was not begun.
    Refused,
    /// The unit was restarted and is ready.
    CameBack,
    /// The unit was not restarted, isn't ready, or nobody knows.
    FellShort {
        /// What became of it.
        words: String,
    },
    /// The executor wouldn't restart it. That has been charged to its budget, so this roll doesn't ask
    /// for it again.
    Declined,
    /// A unit hasn't come back from a preventive restart that this roll didn't wish for.
    FoundDown {
        /// The unit.
        unit: UnitName,
        /// What became of it.
        words: String,
    },
    /// The unit that halted the roll is there again.
    Mended,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Restart this unit, if the guards let you.
    Restart(UnitName),
    /// Remember what the unit's restart gave back.
    Learn {
        /// The unit.
        unit: UnitName,
        /// How much better the gauge is, in its unit.
        gave: f64,
    },
    /// A roll begins.
    Begun,
    /// A roll is over, and it was enough.
    Enough,
    /// A roll is over, and it was not: everybody was restarted.
    NotEnough,
    /// A roll was broken off.
    Broken,
}

/// The only way from one state to the next. What can't happen in a state leaves it as it is.
pub fn next(state: State, event: Event, rule: &Rule, now: SystemTime) -> (State, Vec<Wish>) {
    match (state, event) {
        (
            State::Resting { not_before },
            Event::Looked {
                level,
                reading,
                candidates,
            },
        ) => {
            let rests = not_before.is_some_and(|until| is_ahead(until, now, rule.rest));
            if rests || level != Level::Alarm || candidates.is_empty() {
                return (State::Resting { not_before }, Vec::new());
            }
            let roll = Roll {
                begun: now,
                tried: Vec::new(),
                refused: Vec::new(),
            };
            let (state, mut wishes) = choose(roll, level, reading, &candidates, rule, now);
            wishes.insert(0, Wish::Begun);
            (state, wishes)
        }
        (
            State::Rolling(roll),
            Event::Looked {
                level,
                reading,
                candidates,
            },
        ) => choose(roll, level, reading, &candidates, rule, now),
        (
            State::Settling {
                mut roll,
                unit,
                before,
                until,
            },
            Event::Looked {
                level,
                reading,
                candidates,
            },
        ) => {
            // What a restart gave back isn't known before its new life has told.
            let is_mute = rule.levels().is_some() && level == Level::Unknown;
            if is_ahead(until, now, rule.settle) || is_mute {
                let settling = State::Settling {
                    roll,
                    unit,
                    before,
                    until,
                };
                return (settling, Vec::new());
            }
            roll.tried.push(unit.clone());
            let gave = rule.levels().zip(before.zip(reading));
            let learned = gave.map(|(levels, (before, after))| Wish::Learn {
                unit,
                gave: levels.gained(before, after),
            });
            let (state, wishes) = choose(roll, level, reading, &candidates, rule, now);
            (state, learned.into_iter().chain(wishes).collect())
        }
        (State::Restarting { mut roll, unit, .. }, Event::Refused) => {
            roll.refused.push(unit);
            (State::Rolling(roll), Vec::new())
        }
        (State::Restarting { mut roll, unit, .. }, Event::Declined) => {
            roll.tried.push(unit);
            (State::Rolling(roll), Vec::new())
        }
        (
            State::Restarting {
                mut roll,
                unit,
                before,
            },
            Event::CameBack,
        ) => {
            roll.refused.clear();
            let until = now.checked_add(rule.settle).unwrap_or(now);
            let settling = State::Settling {
                roll,
                unit,
                before,
                until,
            };
            (settling, Vec::new())
        }
        (State::Restarting { unit, .. }, Event::FellShort { words }) => {
            (State::Halted { unit, words }, vec![Wish::Broken])
        }
        (State::Resting { .. } | State::Rolling(_), Event::FoundDown { unit, words }) => {
            (State::Halted { unit, words }, Vec::new())
        }
        (State::Halted { .. }, Event::Mended) => (State::default(), Vec::new()),
        (state, _) => (state, Vec::new()),
    }
}

/// Whether a wait goes on. One that is longer than any that was begun is of a clock that was set back,
/// and over.
pub(super) fn is_ahead(until: SystemTime, now: SystemTime, longest: Duration) -> bool {
    until
        .duration_since(now)
        .is_ok_and(|left| !left.is_zero() && left <= longest)
}

/// What a roll does next.
fn choose(
    mut roll: Roll,
    level: Level,
    reading: Option<f64>,
    candidates: &[UnitName],
    rule: &Rule,
    now: SystemTime,
) -> (State, Vec<Wish>) {
    match level {
        // Nobody knows whether there is anything left to do.
        Level::Unknown => return (State::Rolling(roll), Vec::new()),
        Level::Sufficient => {
            return (State::default(), vec![Wish::Enough]);
        }
        Level::Between | Level::Alarm => {}
    }
    let left = |roll: &Roll| {
        let left = candidates
            .iter()
            .find(|unit| !roll.tried.contains(unit) && !roll.refused.contains(unit));
        left.cloned()
    };
    if let Some(unit) = left(&roll) {
        let restarting = State::Restarting {
            roll,
            unit: unit.clone(),
            before: reading,
        };
        return (restarting, vec![Wish::Restart(unit)]);
    }
    if !roll.refused.is_empty() {
        roll.refused.clear();
        return (State::Rolling(roll), Vec::new());
    }
    // Between the levels it was at least enough to be left alone until the next alarm.
    let (not_before, wish) = match level {
        Level::Alarm if rule.levels().is_some() => {
            (now.checked_add(rule.rest), Some(Wish::NotEnough))
        }
        // Without a gauge there is no enough; whoever is due and declined is due again later.
        Level::Alarm => (now.checked_add(rule.rest), None),
        _ => (None, Some(Wish::Enough)),
    };
    (State::Resting { not_before }, wish.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::rejuvenate::order::{Gifts, learn, order};
    use crate::rejuvenate::testing::{memory_rule, tree};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A process whose parts leak, restarted as the machine wishes; what is checked at every step is
    /// kept apart from what the machine keeps.
    struct Site {
        state: State,
        gifts: Gifts,
        rule: Rule,
        held: BTreeMap<UnitName, f64>,
        restarts: Vec<UnitName>,
        now: u64,
    }

    impl Site {
        fn new(held: &[(&str, f64)]) -> Self {
            Self {
                state: State::default(),
                gifts: Gifts::new(),
                rule: memory_rule(),
                held: held
                    .iter()
                    .map(|(unit, held)| (UnitName::from(*unit), *held))
                    .collect(),
                restarts: Vec::new(),
                now: 0,
            }
        }

        fn reading(&self) -> f64 {
            self.held.values().sum()
        }

        fn take(&mut self, event: Event) -> Vec<Wish> {
            let state = std::mem::take(&mut self.state);
            let (state, wishes) = next(state, event, &self.rule, at(self.now));
            self.state = state;
            wishes
        }

        fn look(&mut self, reading: Option<f64>) -> Vec<Wish> {
            let levels = self.rule.levels().expect("a gauge");
            let event = Event::Looked {
                level: reading.map_or(Level::Unknown, |reading| levels.of(reading)),
                reading,
                candidates: order(&self.rule, &self.gifts, &tree()),
            };
            let wishes = self.take(event);
            for wish in &wishes {
                match wish {
                    Wish::Learn { unit, gave } => {
                        learn(&mut self.gifts, unit, *gave, at(self.now));
                    }
                    Wish::Restart(unit) => {
                        self.restarts.push(unit.clone());
                        for (part, held) in &mut self.held {
                            if tree().contains(unit, part) {
                                *held = 0.0;
                            }
                        }
                    }
                    _ => {}
                }
            }
            wishes
        }

        /// Looks until the machine rests or halts.
        fn roll(&mut self) -> Vec<Wish> {
            let mut all = Vec::new();
            for _ in 0..100 {
                all.extend(self.look(Some(self.reading())));
                if matches!(self.state, State::Restarting { .. }) {
                    self.take(Event::CameBack);
                }
                self.now += 10;
                if matches!(self.state, State::Resting { .. } | State::Halted { .. }) {
                    break;
                }
            }
            all
        }
    }

    #[test]
    fn the_second_roll_knows_who_leaks() {
        // Alarm at 800, sufficient at 500; c leaks.
        let mut site = Site::new(&[("a", 10.0), ("b", 10.0), ("c", 800.0)]);
        let told = site.roll();
        assert_eq!(told.first(), Some(&Wish::Begun));
        assert_eq!(told.last(), Some(&Wish::Enough));
        assert_eq!(site.restarts, ["a", "b", "c"].map(UnitName::from));
        site.restarts.clear();
        site.held.insert("c".into(), 900.0);
        site.roll();
        assert_eq!(site.restarts, ["c"].map(UnitName::from));
    }

    #[test]
    fn what_no_part_gives_back_the_whole_does_and_what_it_does_not_rests() {
        let mut site = Site::new(&[("a", 1.0), ("site", 900.0)]);
        let told = site.roll();
        assert_eq!(site.restarts.last(), Some(&UnitName::from("site")));
        assert_eq!(told.last(), Some(&Wish::Enough));
        // What isn't in any unit's memory can't be given back.
        let mut site = Site::new(&[("kernel", 900.0)]);
        let told = site.roll();
        assert_eq!(told.last(), Some(&Wish::NotEnough));
        let done = site.restarts.len();
        assert_eq!(done, site.rule.units.len());
        site.look(Some(site.reading()));
        assert_eq!(site.restarts.len(), done, "it rests");
        site.now += site.rule.rest.as_secs();
        site.look(Some(site.reading()));
        assert_eq!(site.restarts.len(), done + 1);
    }

    #[test]
    fn a_refusal_passes_to_the_next_and_comes_back_later() {
        let mut site = Site::new(&[("c", 900.0)]);
        site.look(Some(900.0));
        site.take(Event::Refused);
        site.look(Some(900.0));
        assert_eq!(site.restarts, ["a", "b"].map(UnitName::from));
        for _ in 0..2 {
            site.take(Event::Refused);
            site.look(Some(900.0));
        }
        assert_eq!(site.restarts.last(), Some(&UnitName::from("site")));
        site.take(Event::Refused);
        // All were refused: a breath, and from the top again.
        site.look(Some(900.0));
        site.look(Some(900.0));
        assert_eq!(site.restarts.last(), Some(&UnitName::from("a")));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_no_rule() {
        let mut site = Site::new(&[("a", 900.0)]);
        site.now = 100_000;
        site.look(Some(900.0));
        site.take(Event::CameBack);
        site.look(Some(100.0));
        assert!(matches!(site.state, State::Settling { .. }));
        site.now = 10_000;
        site.look(Some(100.0));
        assert_eq!(site.state, State::default());
    }

    #[test]
    fn whom_the_executor_declines_is_not_asked_for_again_in_this_roll() {
        let mut site = Site::new(&[("kernel", 900.0)]);
        let mut told = Vec::new();
        for _ in 0..6 {
            told = site.look(Some(900.0));
            site.take(Event::Declined);
            if told == [Wish::NotEnough] {
                break;
            }
        }
        assert_eq!(site.restarts, site.rule.units);
        assert_eq!(told, [Wish::NotEnough]);
    }

    #[test]
    fn what_gave_back_is_not_known_before_the_new_life_has_told() {
        let mut site = Site::new(&[("a", 400.0), ("b", 500.0)]);
        site.look(Some(900.0));
        site.take(Event::CameBack);
        site.now += 10;
        assert_eq!(site.look(None), []);
        site.now += 20;
        let told = site.look(Some(500.0));
        let gave = Wish::Learn {
            unit: "a".into(),
            gave: 400.0,
        };
        assert_eq!(told, [gave, Wish::Enough]);
        assert_eq!(site.restarts, ["a"].map(UnitName::from));
    }

    #[derive(Clone, Debug)]
    enum Luck {
        Read(f64),
        Blind,
        CameBack,
        Refused,
        FellShort,
        Mended,
        Leak(usize, f64),
        Wait(u64),
    }

    fn luck() -> impl Strategy<Value = Luck> {
        prop_oneof![
            6 => (0.0..1500.0).prop_map(Luck::Read),
            2 => Just(Luck::Read(f64::NAN)),
            1 => Just(Luck::Blind),
            6 => Just(Luck::CameBack),
            2 => Just(Luck::Refused),
            1 => Just(Luck::FellShort),
            1 => Just(Luck::Mended),
            2 => (0usize..3, 0.0..500.0).prop_map(|(unit, by)| Luck::Leak(unit, by)),
            4 => (1u64..60).prop_map(Luck::Wait),
        ]
    }

    proptest! {
        /// Whatever is read and whatever becomes of restarts: one at a time, none without an alarm or
        /// when it is enough, each once in a roll, none after one that didn't come back.
        #[test]
        fn no_roll_runs_wild(stream in proptest::collection::vec(luck(), 1..200)) {
            let mut site = Site::new(&[("a", 0.0), ("b", 0.0), ("c", 0.0)]);
            let levels = site.rule.levels().expect("a gauge");
            let (mut in_flight, mut halted, mut alarmed) = (None::<UnitName>, false, false);
            let mut in_roll: Vec<UnitName> = Vec::new();
            for luck in stream {
                let (reading, wishes) = match luck {
                    Luck::Read(reading) => (Some(reading), site.look(Some(reading))),
                    Luck::Blind => (None, site.look(None)),
                    Luck::CameBack => {
                        if let Some(unit) = in_flight.take() {
                            in_roll.push(unit);
                        }
                        (None, site.take(Event::CameBack))
                    }
                    Luck::Refused => {
                        in_flight = None;
                        (None, site.take(Event::Refused))
                    }
                    Luck::FellShort => {
                        halted |= in_flight.take().is_some();
                        (None, site.take(Event::FellShort { words: String::new() }))
                    }
                    Luck::Mended => {
                        if halted {
                            halted = false;
                            alarmed = false;
                            in_roll.clear();
                        }
                        (None, site.take(Event::Mended))
                    }
                    Luck::Leak(unit, by) => {
                        let unit = site.rule.units[unit].clone();
                        *site.held.entry(unit).or_default() += by;
                        let reading = site.reading();
                        (Some(reading), site.look(Some(reading)))
                    }
                    Luck::Wait(seconds) => {
                        site.now += seconds;
                        (None, Vec::new())
                    }
                };
                for wish in wishes {
                    match wish {
                        Wish::Begun => {
                            alarmed = true;
                            in_roll.clear();
                            prop_assert_eq!(reading.map(|r| levels.of(r)), Some(Level::Alarm));
                        }
                        Wish::Restart(unit) => {
                            let level = reading.map_or(Level::Unknown, |r| levels.of(r));
                            prop_assert!(matches!(level, Level::Between | Level::Alarm));
                            prop_assert!(alarmed, "no roll had begun");
                            prop_assert!(!halted, "a unit hadn't come back");
                            prop_assert!(in_flight.is_none(), "one was under way");
                            prop_assert!(!in_roll.contains(&unit), "twice in a roll");
                            in_flight = Some(unit);
                        }
                        Wish::Enough | Wish::NotEnough => {
                            alarmed = false;
                            prop_assert!(in_flight.is_none());
                        }
                        Wish::Broken => alarmed = false,
                        Wish::Learn { gave, .. } => prop_assert!(!gave.is_infinite()),
                    }
                }
                let restarting = matches!(site.state, State::Restarting { .. });
                prop_assert_eq!(restarting, in_flight.is_some());
                prop_assert_eq!(matches!(site.state, State::Halted { .. }), halted);
            }
        }
    }
}
