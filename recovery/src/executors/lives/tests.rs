//! A platform of paper: what each way of answering an order means, in virtual time.

use std::sync::Mutex;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// What becomes of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Taken,
    /// Carried out, but the answer is lost.
    Lost,
    /// Neither carried out nor answered.
    LostAndNotDone,
    Refused,
}

#[derive(Clone, Debug)]
struct Paper {
    answer: Answer,
    /// Who lives before.
    before: usize,
    /// How long after the order the old ones end; never where `None`.
    ends: Option<u64>,
    /// How long after the order the new ones are ready; never where `None`.
    ready: Option<u64>,
    /// How long an order may be under way unseen.
    untouched: u64,
    /// In these tenths of a second after the order the new ones end again, each time another one.
    flickers: std::ops::Range<u64>,
    /// Looks fail in these seconds after the order.
    blind: std::ops::Range<u64>,
}

impl Default for Paper {
    fn default() -> Self {
        Self {
            answer: Answer::Taken,
            before: 2,
            ends: Some(2),
            ready: Some(5),
            untouched: 1,
            flickers: 0..0,
            blind: 0..0,
        }
    }
}

struct World {
    paper: Paper,
    ordered: Mutex<Option<Instant>>,
}

impl World {
    fn new(paper: Paper) -> Self {
        Self {
            paper,
            ordered: Mutex::new(None),
        }
    }

    fn tenths(&self) -> Option<u64> {
        let ordered = *self.ordered.lock().expect("not poisoned");
        ordered.map(|at| u64::try_from(at.elapsed().as_millis() / 100).expect("fits"))
    }

    fn since(&self) -> Option<u64> {
        let ordered = *self.ordered.lock().expect("not poisoned");
        ordered.map(|at| at.elapsed().as_secs())
    }
}

impl Platform for World {
    fn look(&self) -> BoxFuture<'_, Result<Sight, CallFailure>> {
        Box::pin(async {
            let since = self.since();
            let mut sight = Sight::default();
            let passed = |after: Option<u64>| {
                since.is_some_and(|since| after.is_some_and(|after| since >= after))
            };
            if since.is_some_and(|since| self.paper.blind.contains(&since)) {
                return Err(CallFailure {
                    maybe_sent: false,
                    reason: "the server is away".to_owned(),
                });
            }
            let has_ended = passed(self.paper.ends);
            for number in 0..self.paper.before {
                if !has_ended {
                    sight
                        .lives
                        .insert(format!("old-{number}"), Condition::Ready);
                } else if self
                    .tenths()
                    .is_some_and(|at| self.paper.flickers.contains(&at))
                {
                    let life = format!("new-{number}-{}", self.tenths().unwrap_or(0) / 3);
                    sight.lives.insert(life, Condition::Ready);
                } else if passed(self.paper.ready) {
                    sight
                        .lives
                        .insert(format!("new-{number}"), Condition::Ready);
                } else {
                    let starting = Condition::NotReady("starting".to_owned());
                    sight.lives.insert(format!("new-{number}"), starting);
                }
            }
            Ok(sight)
        })
    }

    fn order<'a>(
        &'a self,
        _permit: &'a Permit,
        _before: &'a Sight,
        _until: Instant,
    ) -> BoxFuture<'a, Result<Life, CallFailure>> {
        Box::pin(async {
            let failure = |maybe_sent| CallFailure {
                maybe_sent,
                reason: "no answer".to_owned(),
            };
            if matches!(self.paper.answer, Answer::Taken | Answer::Lost) {
                *self.ordered.lock().expect("not poisoned") = Some(Instant::now());
            }
            match self.paper.answer {
                Answer::Taken => Ok(Life::default()),
                Answer::Lost | Answer::LostAndNotDone => Err(failure(true)),
                Answer::Refused => Err(failure(false)),
            }
        })
    }

    fn untouched(&self) -> Duration {
        Duration::from_secs(self.paper.untouched)
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn recall(&self) -> Recall {
        Recall::Effect
    }
}

fn permit() -> Permit {
    Permit::new(ActionId(7), "web".into(), 3, DEADLINE)
}

fn executor(paper: Paper, directory: &std::path::Path) -> LivesExecutor<World> {
    let notes = Notes::new(directory);
    LivesExecutor::new(World::new(paper), notes, None, Probes::new())
}

#[tokio::test(start_paused = true)]
async fn each_way_of_ending_has_its_meaning() {
    let usual = Paper::default();
    for (paper, expected) in [
        (usual.clone(), "done"),
        (
            Paper {
                answer: Answer::Lost,
                ..usual.clone()
            },
            "done",
        ),
        (
            Paper {
                blind: 1..19,
                ..usual.clone()
            },
            "done",
        ),
        (
            Paper {
                answer: Answer::Refused,
                ..usual.clone()
            },
            "restart of web was refused: no answer",
        ),
        (
            Paper {
                answer: Answer::LostAndNotDone,
                ..usual.clone()
            },
            "whether web was restarted is unknown: old-0, old-1 had not ended after 20 s; no answer",
        ),
        (
            Paper {
                ends: None,
                ..usual.clone()
            },
            "whether web was restarted is unknown: old-0, old-1 had not ended after 20 s",
        ),
        (
            Paper {
                ready: None,
                ..usual.clone()
            },
            "web did not become ready within 20s: 0 of 2 are ready: starting",
        ),
        (
            Paper {
                blind: 1..100,
                ..usual.clone()
            },
            "whether web was restarted is unknown: it can't be seen: the server is away",
        ),
        (
            Paper {
                before: 0,
                answer: Answer::Lost,
                ..usual
            },
            "whether web was restarted is unknown: no answer",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let said = match executor(paper.clone(), directory.path())
            .restart(permit())
            .await
        {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected, "{paper:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_up_and_ends_at_once_is_not_up() {
    for (flickers, expected) in [(0..0, 55), (50..80, 85)] {
        let directory = tempfile::tempdir().expect("a directory");
        let paper = Paper {
            flickers,
            ..Paper::default()
        };
        let executor = executor(paper, directory.path());
        executor
            .restart(permit())
            .await
            .expect("restarted in the end");
        assert_eq!(executor.platform.tenths(), Some(expected));
    }
}

/// The engine dies at some moment of the restart; the next one asks.
#[tokio::test(start_paused = true)]
async fn after_a_crash_it_can_be_told_what_became_of_the_order() {
    let usual = Paper::default();
    for (paper, dies_after, expected) in [
        (usual.clone(), 1, Effect::Done),
        (usual.clone(), 6, Effect::Done),
        (
            Paper {
                answer: Answer::LostAndNotDone,
                ..usual.clone()
            },
            1,
            Effect::NotDone,
        ),
        (
            Paper {
                ends: Some(60),
                untouched: 60,
                ..usual.clone()
            },
            1,
            Effect::Unknown,
        ),
        (
            Paper {
                blind: 1..100,
                ..usual
            },
            1,
            Effect::Unknown,
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let executor = executor(paper.clone(), directory.path());
        let never = executor.inquire(ActionId(7), &"web".into(), 3).await;
        assert_eq!(never, Effect::NotDone, "before any order");
        let dies = Duration::from_secs(dies_after);
        let _ = tokio::time::timeout(dies, executor.restart(permit())).await;
        let unit = UnitName::from("web");
        assert_eq!(
            executor.inquire(ActionId(7), &unit, 3).await,
            expected,
            "{paper:?} after {dies_after} s"
        );
        assert_eq!(
            executor.inquire(ActionId(8), &unit, 3).await,
            Effect::NotDone,
            "another action's note is not this one's"
        );
    }
}

/// One of several that comes back under another name, beside those that stay.
#[test]
fn a_successor_is_waited_for_and_nobody_who_was_not_ready_before() {
    let sight = |lives: &str| -> BTreeMap<String, Condition> {
        let one = |life: &str| match life.strip_suffix('!') {
            Some(sick) => (sick.to_owned(), Condition::NotReady("crashing".to_owned())),
            None => match life.strip_suffix('-') {
                Some(ending) => (ending.to_owned(), Condition::Ending),
                None => (life.to_owned(), Condition::Ready),
            },
        };
        lives.split_whitespace().map(one).collect()
    };
    for (beside, now, is_done) in [
        ("b c", "b c d", true),
        ("b c", "b c", false),
        ("b c", "b c d!", false),
        // One that crashed before crashes on, or has come right meanwhile.
        ("b! c", "b! c d", true),
        ("b! c", "b c d!", false),
        ("b! c!", "b! c! d", true),
        // One that was ready is so no more.
        ("b c", "b! c d", false),
        // Scaled down meanwhile.
        ("b c", "b d", true),
        ("b c", "b c- d", true),
        ("", "d", true),
        ("", "d!", false),
        ("", "d-", false),
        ("b", "b d-", false),
    ] {
        let before = Sight {
            lives: sight("a"),
            beside: Some(sight(beside)),
            ..Sight::default()
        };
        let after = Sight {
            lives: sight(now),
            ..Sight::default()
        };
        let waits = after.waits_for(&before);
        assert_eq!(waits.is_none(), is_done, "{beside}, then {now}: {waits:?}");
    }
}
