//! What may happen to a recovery, and when: its whole life is one enum with one transition
//! function.
//!
//! The service calls [`next`] for everything that it does, and writes the event to the ledger; on
//! start the ledger's events go through the same [`next`]. So there is no path to an action that
//! isn't in this file, and a ledger that tells another story is found out.
//!
//! ```text
//!  held off ── reject ─────────────────────────────────────▶ rejected
//!     ⇅ hold off, take up                                       ▲
//!  watching ⇄ proposed        (expired, withdrawn) ─────────────┘
//!     │           │ approve                                lapsed (healed by itself)
//!     └── lease ──┴──▶ leased ──▶ committed ──▶ acting ──▶ settling ──▶ judging
//!     ▲                                            │                       │
//!     └───── climb ◀── not done, not cured, helped ◀───────────────────────┤
//!                         │                    unknown ◀──────────────────-┤
//!                         └── give up ──▶ given up ◀┘           cured ◀────┘
//! ```
//!
//! How long each state lasts at most:
//!
//! | state | until |
//! |---|---|
//! | watching, held off | nobody has told of the incident for five minutes (`service/consider.rs`) |
//! | proposed | the plan's approval expires (`Policy::approval_expiry`) |
//! | leased, committed | the intent is written, or can't be: nothing else happens meanwhile |
//! | acting | of each part: what comes beforehand, its start-up deadline, and slack for its executor (`service/act.rs`) |
//! | settling | the warm-up is over (`Policy::warm_up`) |
//! | judging | `Policy::judging`; what can't be told then is unknown (`service/verdict.rs`) |
//! | not done, helped, not cured, unknown | the same moment: a climb, or a person |
//!
//! Two things are no way around it: `Case::go_back_to` takes back what could not be written, and a resumed recovery gets the
//! state that its ledger's events come to. Processes that nobody runs are started by the supervisor
//! without any of this ([`crate::process`]): that ends nothing, and so is no restart.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::judge::Verdict;

/// Where a recovery is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is evidence, and nothing to do at present: observing, waiting for a guard, or planning
    /// the next level.
    Watching,
    /// A person was told, and what spoke against a restart may pass: a storm, a budget. Then it goes on.
    HeldOff,
    /// A plan waits for a person.
    Proposed,
    /// The subtree is reserved; nothing is written yet.
    Leased,
    /// The intent is on disk.
    Committed,
    /// The executor was called.
    Acting,
    /// The unit is ready and warms up.
    Settling,
    /// Its requests are being compared.
    Judging,
    /// The executor refused: nothing was done.
    NotDone,
    /// Less, but not gone.
    Helped,
    /// No better.
    NotCured,
    /// Whether it helped, or was done at all, can't be told.
    Unknown,
    /// The failures are gone. The end.
    Cured,
    /// A person must look. The end.
    GivenUp,
    /// A person said no. The end.
    Rejected,
    /// The incident ended without us. The end.
    Lapsed,
    /// A restart that a person had asked for was done and judged. The end.
    Closed,
}

/// What can happen to a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A plan was shown to people.
    Propose,
    /// The plan is no longer what the evidence says.
    Withdraw,
    /// Nobody answered in time.
    Expire,
    /// A person said yes, and the guards still do.
    Approve,
    /// A person said no.
    Reject,
    /// The guards let an unattended restart, or one that a person orders, begin.
    Lease,
    /// It could not begin after all.
    Release,
    /// The intent was written.
    Commit,
    /// The executor was called.
    Act,
    /// The unit was restarted and is ready.
    Done,
    /// Nothing was done.
    Refused,
    /// The old life ended, and the new one isn't ready.
    NotReady,
    /// What was done can't be told.
    Lost,
    /// The warm-up is over.
    Settled,
    /// The judge has spoken.
    Judged(Verdict),
    /// On to the next level.
    Climb,
    /// On to a person.
    GiveUp,
    /// On to a person, for as long as something lasts that may pass.
    HoldOff,
    /// What it was held off for has passed.
    TakeUp,
    /// The incident is over.
    IncidentClosed,
    /// What a person ordered is finished.
    Close,
}

/// Something happened that can't happen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recovery that is {state} can't take {event:?}")]
pub struct IllegalTransition {
    /// Where the recovery was.
    pub state: State,
    /// What was said to have happened.
    pub event: Event,
}

/// The only way from one state to the next.
///
/// # Errors
/// When the event can't happen in the state.
pub const fn next(state: State, event: Event) -> Result<State, IllegalTransition> {
    use Event as E;
    use State as S;
    Ok(match (state, event) {
        (S::Watching, E::Propose) => S::Proposed,
        (S::Watching, E::Lease) | (S::Proposed, E::Approve) => S::Leased,
        (S::Proposed, E::Withdraw | E::Expire) | (S::Leased, E::Release) => S::Watching,
        (S::Proposed | S::HeldOff, E::Reject) => S::Rejected,
        (S::Watching, E::HoldOff) => S::HeldOff,
        (S::HeldOff, E::TakeUp) => S::Watching,
        (
            S::Watching
            | S::HeldOff
            | S::Proposed
            | S::Leased
            | S::NotDone
            | S::Helped
            | S::NotCured
            | S::Unknown,
            E::IncidentClosed,
        ) => S::Lapsed,
        (S::Leased, E::Commit) => S::Committed,
        (S::Committed, E::Act) => S::Acting,
        (S::Acting, E::Done) => S::Settling,
        // After a crash nobody knows whether the executor was called, so what an inquiry says can
        // come right after the intent.
        (S::Committed | S::Acting, E::Refused) => S::NotDone,
        (S::Acting, E::NotReady) => S::NotCured,
        (S::Committed | S::Acting, E::Lost) => S::Unknown,
        (S::Settling, E::Settled) => S::Judging,
        (S::Judging, E::Judged(Verdict::Cured)) => S::Cured,
        (S::Judging, E::Judged(Verdict::Helped)) => S::Helped,
        (S::Judging, E::Judged(Verdict::NotCured)) => S::NotCured,
        (S::Judging, E::Judged(Verdict::Unknown)) => S::Unknown,
        (S::NotDone | S::Helped | S::NotCured, E::Climb) => S::Watching,
        (
            S::Watching | S::Proposed | S::NotDone | S::Helped | S::NotCured | S::Unknown,
            E::GiveUp,
        ) => S::GivenUp,
        (S::NotDone | S::Helped | S::NotCured | S::Unknown, E::Close) => S::Closed,
        _ => return Err(IllegalTransition { state, event }),
    })
}

impl State {
    /// Whether nothing can happen any more.
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Cured | Self::GivenUp | Self::Rejected | Self::Lapsed | Self::Closed
        )
    }

    /// Whether the subtree is ours: nobody else may restart anything that overlaps it.
    pub const fn holds_lease(self) -> bool {
        matches!(
            self,
            Self::Leased | Self::Committed | Self::Acting | Self::Settling | Self::Judging
        )
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::HeldOff => "held off",
            Self::Proposed => "proposed",
            Self::Leased => "leased",
            Self::Committed => "committed",
            Self::Acting => "acting",
            Self::Settling => "settling",
            Self::Judging => "judging",
            Self::NotDone => "not done",
            Self::Helped => "helped",
            Self::NotCured => "not cured",
            Self::Unknown => "unknown",
            Self::Cured => "cured",
            Self::GivenUp => "given up",
            Self::Rejected => "rejected",
            Self::Lapsed => "lapsed",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What becomes of a recovery that the engine finds in this state when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// It goes on from fresh evidence, knowing what was tried and told. Without any, it lapses.
    Watch,
    /// Nothing was written and nothing done: back to watching, by this event.
    GoBack(Event),
    /// The executor is asked what became of the action.
    Inquire,
    /// It goes on where it was.
    GoOn,
    /// The verdict is in the ledger, and what follows from it was not: that is done now.
    Follow,
    /// It is over.
    Nothing,
}

impl State {
    /// What becomes of a recovery that the engine finds in this state when it starts.
    pub const fn resumption(self) -> Resumption {
        match self {
            // What it was held off for is asked again, by what this engine knows.
            Self::Watching | Self::HeldOff => Resumption::Watch,
            // The proposal's guards and evidence are of another life; a new one is made.
            Self::Proposed => Resumption::GoBack(Event::Withdraw),
            Self::Leased => Resumption::GoBack(Event::Release),
            Self::Committed | Self::Acting => Resumption::Inquire,
            Self::Settling | Self::Judging => Resumption::GoOn,
            Self::NotDone | Self::Helped | Self::NotCured | Self::Unknown => Resumption::Follow,
            Self::Cured | Self::GivenUp | Self::Rejected | Self::Lapsed | Self::Closed => {
                Resumption::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EVENTS: [Event; 24] = [
        Event::Propose,
        Event::Withdraw,
        Event::Expire,
        Event::Approve,
        Event::Reject,
        Event::Lease,
        Event::Release,
        Event::Commit,
        Event::Act,
        Event::Done,
        Event::Refused,
        Event::NotReady,
        Event::Lost,
        Event::Settled,
        Event::Judged(Verdict::Cured),
        Event::Judged(Verdict::Helped),
        Event::Judged(Verdict::NotCured),
        Event::Judged(Verdict::Unknown),
        Event::Climb,
        Event::GiveUp,
        Event::HoldOff,
        Event::TakeUp,
        Event::IncidentClosed,
        Event::Close,
    ];

    /// All states that can be reached, each with one way there.
    fn reachable() -> Vec<(State, Vec<Event>)> {
        let mut found = vec![(State::Watching, Vec::new())];
        let mut seen = BTreeSet::from([State::Watching]);
        let mut at = 0;
        while let Some((state, way)) = found.get(at).cloned() {
            at += 1;
            for event in EVENTS {
                if let Ok(next) = next(state, event)
                    && seen.insert(next)
                {
                    let mut way = way.clone();
                    way.push(event);
                    found.push((next, way));
                }
            }
        }
        found
    }

    #[test]
    fn every_state_is_reached_and_every_one_leads_to_an_end() {
        let states = reachable();
        assert_eq!(states.len(), 17);
        for (state, _) in states {
            let ways = EVENTS
                .iter()
                .filter(|event| next(state, **event).is_ok())
                .count();
            assert_eq!(ways == 0, state.is_over(), "{state}");
            assert_eq!(
                state.resumption() == Resumption::Nothing,
                state.is_over(),
                "{state}"
            );
            if let Resumption::GoBack(event) = state.resumption() {
                assert_eq!(next(state, event), Ok(State::Watching));
            }
        }
    }

    #[test]
    fn nobody_acts_without_an_intent_and_nobody_intends_without_a_lease() {
        for (state, way) in reachable() {
            if matches!(
                state,
                State::Acting | State::Settling | State::Judging | State::Cured
            ) {
                let place = |event| way.iter().position(|other| *other == event);
                let leased = place(Event::Lease).or(place(Event::Approve));
                assert!(
                    leased.is_some() && leased < place(Event::Commit),
                    "{state}: {way:?}"
                );
                assert!(place(Event::Commit) < place(Event::Act), "{state}: {way:?}");
            }
        }
    }

    #[test]
    fn what_is_unknown_goes_to_a_person_only() {
        assert!(next(State::Unknown, Event::Climb).is_err());
        let error = next(State::Cured, Event::Act).expect_err("it is over");
        assert_eq!(error.to_string(), "a recovery that is cured can't take Act");
    }
}
