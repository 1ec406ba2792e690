//! What does a starting engine do about a child, given the phase in the table and what lives?
//!
//! Pure: the supervisor looks at `/proc` and asks here. The table of crash windows in
//! [`crate::process`] is this function in prose.

use super::phase::{ChildIdentity, Ending, Phase};

/// What was seen of a unit when the engine started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The recorded child lives: same boot, same pid, same start time, and no zombie.
    pub alive: bool,
    /// The host has been booted since the child was recorded.
    pub other_boot: bool,
    /// A process that leads its group and carries this unit's marks, with its generation: a child
    /// that was spawned but may not have been recorded.
    pub found: Option<(u64, ChildIdentity)>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// Nothing.
    Nothing,
    /// Watch the recorded child.
    Adopt(ChildIdentity),
    /// Record a child that was spawned unrecorded, and watch it.
    TakeIn(u64, ChildIdentity),
    /// Record that the child ended while nobody looked, and tell.
    Ended(Ending),
    /// Finish ending it, then start it if that was wanted.
    FinishStop,
    /// Start this life: the old one is gone.
    Start(u64),
}

/// Decides.
pub(super) fn resume(phase: &Phase, seen: &Seen) -> Resume {
    let unrecorded = |due: u64| {
        seen.found
            .as_ref()
            .filter(|(generation, _)| *generation == due)
            .map(|(generation, child)| Resume::TakeIn(*generation, child.clone()))
    };
    match phase {
        Phase::Never | Phase::Exited { .. } | Phase::Stopped { next: None, .. } => Resume::Nothing,
        Phase::Running { child, .. } if seen.alive => Resume::Adopt(child.clone()),
        Phase::Running { .. } if seen.other_boot => Resume::Ended(Ending::HostRestarted),
        Phase::Running { .. } => Resume::Ended(Ending::Unseen),
        Phase::Starting { generation } => {
            unrecorded(*generation).unwrap_or(Resume::Start(*generation))
        }
        Phase::Stopped {
            next: Some(next), ..
        } => unrecorded(*next).unwrap_or(Resume::Start(*next)),
        Phase::Stopping {
            next: Some(next), ..
        } => unrecorded(*next).unwrap_or(Resume::FinishStop),
        Phase::Stopping { next: None, .. } => Resume::FinishStop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(pid: i32) -> ChildIdentity {
        ChildIdentity {
            pid,
            start_ticks: 1,
            boot_id: "b".to_owned(),
        }
    }

    #[test]
    fn every_crash_window_has_its_answer() {
        let dead = Seen::default();
        let alive = Seen {
            alive: true,
            ..Seen::default()
        };
        let rebooted = Seen {
            other_boot: true,
            ..Seen::default()
        };
        let found = |generation| Seen {
            found: Some((generation, child(9))),
            ..Seen::default()
        };
        let running = Phase::Running {
            generation: 1,
            child: child(5),
        };
        let stopping = |next| Phase::Stopping {
            generation: 1,
            child: Some(child(5)),
            next,
        };
        let stopped = |next| Phase::Stopped {
            generation: 1,
            next,
        };
        let starting = Phase::Starting { generation: 2 };
        let exited = Phase::Exited {
            generation: 1,
            how: Ending::Code(1),
            lived: None,
        };
        for (phase, seen, expected) in [
            (&Phase::Never, &dead, Resume::Nothing),
            (&running, &alive, Resume::Adopt(child(5))),
            (&running, &dead, Resume::Ended(Ending::Unseen)),
            (&running, &rebooted, Resume::Ended(Ending::HostRestarted)),
            (&stopping(Some(2)), &alive, Resume::FinishStop),
            (&stopping(Some(2)), &dead, Resume::FinishStop),
            (&stopping(Some(2)), &found(1), Resume::FinishStop),
            (&stopping(Some(2)), &found(2), Resume::TakeIn(2, child(9))),
            (&stopping(None), &alive, Resume::FinishStop),
            (&stopped(Some(2)), &dead, Resume::Start(2)),
            (&stopped(Some(2)), &rebooted, Resume::Start(2)),
            (&stopped(Some(2)), &found(2), Resume::TakeIn(2, child(9))),
            (&stopped(None), &dead, Resume::Nothing),
            (&starting, &dead, Resume::Start(2)),
            (&starting, &found(1), Resume::Start(2)),
            (&starting, &found(2), Resume::TakeIn(2, child(9))),
            (&exited, &dead, Resume::Nothing),
        ] {
            assert_eq!(resume(phase, seen), expected, "{phase:?} {seen:?}");
        }
    }
}
