//! How does a unit's life begin: spawned, found ready, or told that it isn't?

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::group::sweep;
use super::super::launch;
use super::super::phase::{Ending, Phase, PhaseEvent};
use super::super::ports;
use super::super::report::{ChildEvent, with_last_line};
use super::{SuperviseError, Unit, child_ended};

/// A child without a probe counts as ready if it lives this long: long enough for a program to
/// find that its arguments are wrong, short against any start-up.
const ALIVE_WITHOUT_PROBE: Duration = Duration::from_millis(100);

impl Unit {
    pub(super) async fn start(&mut self) -> Result<(), SuperviseError> {
        if self.spec.is_none() {
            return Err(SuperviseError::NotConfigured(self.name.clone()));
        }
        let missing = match &self.row.phase {
            Phase::Never | Phase::Stopped { .. } => true,
            // A restart of the host is no failure of the child, and what never ran may have been
            // mistyped, and mended since.
            Phase::Exited { how, .. } => {
                matches!(how, Ending::HostRestarted | Ending::NotSpawned(_))
            }
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. } => false,
        };
        let before = self.row.clone();
        self.row.wanted = true;
        if !missing {
            if before != self.row {
                self.save().await?;
            }
            return Ok(());
        }
        let generation = match self.row.phase {
            Phase::Stopped {
                next: Some(next), ..
            } => next,
            _ => self.row.phase.highest_generation() + 1,
        };
        let deadline = Instant::now() + self.start_deadline();
        self.begin(generation, deadline, true).await
    }

    /// Starts the life that was ordered and had to wait for its ports, once nobody holds them any more. Its restart ended
    /// the old life, and was told to have failed; that it comes after all decides nothing anew.
    pub(super) async fn begin_late(&mut self) {
        let Phase::Stopped {
            next: Some(next), ..
        } = self.row.phase
        else {
            return;
        };
        let ports = self.ports();
        if ports.is_empty() {
            return;
        }
        let free = tokio::task::spawn_blocking(move || ports::are_free(&ports)).await;
        if !self.row.wanted || !matches!(free, Ok(true)) {
            return;
        }
        tracing::info!(unit = %self.name, generation = next, "its ports are free: it is started after all");
        let deadline = Instant::now() + self.start_deadline();
        if let Err(error) = self.begin(next, deadline, false).await {
            tracing::warn!(unit = %self.name, %error, "it could not be started after all");
        }
    }

    /// Spawns a child and waits until it is ready.
    ///
    /// `must_record`: whether to refuse when the intent can't be written. When an old life has
    /// just been ended for it, being down is worse: the child is found by its environment.
    pub(super) async fn begin(
        &mut self,
        generation: u64,
        deadline: Instant,
        must_record: bool,
    ) -> Result<(), SuperviseError> {
        let Some(spec) = self.spec.clone() else {
            return Err(SuperviseError::NotConfigured(self.name.clone()));
        };
        self.claim_ports(generation).await?;
        let before = self.row.clone();
        // Resumed in this very phase, it is recorded already.
        if self.row.phase != (Phase::Starting { generation }) {
            self.step(PhaseEvent::Start(generation));
            if must_record {
                if let Err(error) = self.save().await {
                    self.row = before;
                    self.publish();
                    return Err(error);
                }
            } else {
                self.save_or_log().await;
            }
        }
        self.group = None;
        self.watched = None;
        self.log_before = launch::log_bytes(&self.name, &self.shared.logs);
        let (unit, shared, owner) = (self.name.clone(), Arc::clone(&self.shared), self.owner());
        let launched = tokio::task::spawn_blocking(move || {
            match sweep(&owner) {
                Ok(0) => {}
                Ok(count) => tracing::warn!(%unit, count, "remains of an earlier life were killed"),
                Err(alive) => return Err(std::io::Error::other(format!("earlier life: {alive}"))),
            }
            launch::launch(
                &unit,
                &spec.process,
                generation,
                &owner.state_id,
                &shared.logs,
            )
        })
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let child = match launched {
            Ok(child) => child,
            Err(error) => {
                let reason = error.to_string();
                self.step(PhaseEvent::NotSpawned(reason.clone()));
                self.save_or_log().await;
                self.tell_exited(generation, Ending::NotSpawned(reason.clone()), None);
                return Err(SuperviseError::NotStarted {
                    unit: self.name.clone(),
                    reason,
                });
            }
        };
        self.step(PhaseEvent::Spawned(generation, child.clone()));
        self.save_or_log().await;
        let watched = self.watch(&child);
        self.shared.reports.tell(ChildEvent::Started {
            unit: self.name.clone(),
            generation,
            pid: child.pid,
            at: SystemTime::now(),
        });
        if !watched {
            self.ended(Ending::Unseen, None).await;
        }
        self.wait_ready(generation, deadline).await
    }

    /// What it listens on, as far as that is written down.
    fn ports(&self) -> Vec<u16> {
        let ports = self.spec.as_ref().map(|spec| spec.process.ports.clone());
        ports.unwrap_or_default()
    }

    /// Waits until nobody listens on the ports of the life that is to begin. As long as somebody does it couldn't work, and
    /// whoever listens there would be taken for it; so it begins when they are free.
    async fn claim_ports(&mut self, generation: u64) -> Result<(), SuperviseError> {
        let ports = self.ports();
        if ports.is_empty() {
            return Ok(());
        }
        let owner = self.owner();
        let claimed = tokio::task::spawn_blocking(move || {
            if ports::are_free(&ports) {
                return Ok(());
            }
            // What an earlier life left behind may have them.
            if let Err(alive) = sweep(&owner) {
                tracing::warn!(%alive, "what an earlier life left behind can't be ended");
            }
            ports::wait_until_free(&ports)
        });
        let reason = match claimed.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(error) => format!("its ports could not be looked at: {error}"),
        };
        let waits = Phase::Stopped {
            generation: self.row.phase.generation(),
            next: Some(generation),
        };
        let mut next = generation;
        if self.row.phase != waits {
            next = generation.max(self.row.phase.highest_generation() + 1);
            self.step(PhaseEvent::Stop(Some(next)));
            self.step(PhaseEvent::Gone);
            self.save_or_log().await;
        }
        self.shared.reports.tell(ChildEvent::Blocked {
            unit: self.name.clone(),
            generation: next,
            reason: reason.clone(),
            at: SystemTime::now(),
        });
        Err(SuperviseError::NotStarted {
            unit: self.name.clone(),
            reason,
        })
    }

    pub(super) async fn wait_ready(
        &mut self,
        generation: u64,
        deadline: Instant,
    ) -> Result<(), SuperviseError> {
        let probe = self.spec.as_ref().and_then(|spec| spec.ready.clone());
        let probes = self.shared.probes.clone();
        let mut stopping = self.shared.stopping.subscribe();
        let ready = async {
            if probe.is_none() {
                tokio::time::sleep(ALIVE_WITHOUT_PROBE).await;
            }
            probes.until_ready(probe.as_ref(), deadline).await
        };
        let stopped = async {
            drop(stopping.wait_for(|stopping| *stopping).await);
        };
        let reason = tokio::select! {
            biased;
            () = child_ended(self.watched.as_ref()) => {
                let how = self.child_ended().await;
                with_last_line(format!("it {how} before it was ready"), self.last_line().as_deref())
            }
            () = stopped => "all units are being stopped".to_owned(),
            result = ready => match result {
                Ok(()) => {
                    self.shared.reports.tell(ChildEvent::Ready {
                        unit: self.name.clone(),
                        generation,
                        at: SystemTime::now(),
                    });
                    return Ok(());
                }
                Err(failure) => with_last_line(failure.reason, self.last_line().as_deref()),
            },
        };
        self.shared.reports.tell(ChildEvent::NotReady {
            unit: self.name.clone(),
            generation,
            reason: reason.clone(),
            at: SystemTime::now(),
        });
        Err(SuperviseError::NotReady {
            unit: self.name.clone(),
            reason,
        })
    }
}
