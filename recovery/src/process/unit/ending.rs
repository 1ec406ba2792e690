//! How does a unit's life end, told to or by itself, and when is its end certain?
//!
//! When nothing of its process group lives, and nothing that carries its marks. Whoever can't be ended leaves its unit to the one that contains it.

use std::time::{Duration, Instant, SystemTime};

use super::super::group::{EndedGroup, Group, StillAlive, sweep};
use super::super::phase::{Ending, Phase, PhaseEvent};
use super::super::procfs;
use super::super::report::ChildEvent;
use super::{SuperviseError, Unit};
use crate::Stop;

impl Unit {
    pub(super) async fn finish_stop(&mut self, deadline: Instant) -> Result<(), SuperviseError> {
        if self.group.is_none()
            && let Phase::Stopping {
                child: Some(child), ..
            } = &self.row.phase
        {
            let owner = self.owner();
            self.group =
                Group::of(child, &owner).or_else(|| Some(Group::without_leader(child, &owner)));
        }
        self.end_life(self.stop_within(Duration::MAX)).await?;
        self.step(PhaseEvent::Gone);
        self.save_or_log().await;
        match self.row.phase {
            Phase::Stopped {
                next: Some(next), ..
            } if self.spec.is_some() => self.begin(next, deadline, false).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn stop(&mut self) -> Result<(), SuperviseError> {
        self.row.wanted = false;
        if matches!(
            self.row.phase,
            Phase::Never | Phase::Stopped { next: None, .. }
        ) {
            return self.save().await;
        }
        self.step(PhaseEvent::Stop(None));
        // An explicit order to end is carried out on a full disk too.
        self.save_or_log().await;
        self.end_life(self.stop_within(Duration::MAX)).await?;
        self.step(PhaseEvent::Gone);
        self.save_or_log().await;
        Ok(())
    }

    /// Ends the child's group and all that carries the unit's marks.
    pub(super) async fn end_life(&mut self, stop: Stop) -> Result<EndedGroup, SuperviseError> {
        let owner = self.owner();
        let group = self.group.take();
        self.watched = None;
        let work = tokio::task::spawn_blocking(move || {
            let mut group = group;
            let ended = group.as_mut().map(|group| match stop {
                Stop::Term(grace) => group.end(grace),
                Stop::Kill => group.kill(),
            });
            let swept = match &ended {
                Some(Err(alive)) => Err(alive.clone()),
                _ => sweep(&owner),
            };
            if let (Ok(_), Some(group)) = (&swept, group.as_mut()) {
                group.reap();
            }
            (group, ended, swept)
        });
        let unit = self.name.clone();
        let failed = |reason: String| SuperviseError::NotEnded { unit, reason };
        let (group, ended, swept) = match work.await {
            Ok(done) => done,
            Err(error) => return Err(failed(error.to_string())),
        };
        let result: Result<usize, StillAlive> = swept;
        match result {
            Ok(strays) => {
                let mut ended = ended.and_then(Result::ok).unwrap_or(EndedGroup {
                    forced: false,
                    took: Duration::ZERO,
                });
                ended.forced |= strays > 0;
                tracing::debug!(unit = %self.name, ?ended, strays, "a life was ended");
                Ok(ended)
            }
            Err(alive) => {
                self.group = group;
                self.shared.reports.tell(ChildEvent::Stuck {
                    unit: self.name.clone(),
                    generation: self.row.phase.generation(),
                    reason: alive.to_string(),
                    at: SystemTime::now(),
                });
                Err(failed(alive.to_string()))
            }
        }
    }

    /// The watched child ended by itself.
    pub(super) async fn child_ended(&mut self) -> Ending {
        self.watched = None;
        let how = match self.group.as_mut() {
            Some(group) => {
                // What it leaves behind is taken hold of while it still pins its group's number.
                group.look();
                group.reap()
            }
            None => Ending::Unseen,
        };
        let child = self.row.phase.child();
        let lived = child.and_then(|child| procfs::lived(child.start_ticks));
        self.ended(how.clone(), lived).await;
        how
    }

    /// It ended by itself, after so long where that was seen.
    pub(super) async fn ended(&mut self, how: Ending, lived: Option<Duration>) {
        let generation = self.row.phase.generation();
        self.step(PhaseEvent::Ended(how.clone(), lived));
        self.row.exits += 1;
        self.save_or_log().await;
        self.tell_exited(generation, how, lived);
        self.publish();
    }
}
