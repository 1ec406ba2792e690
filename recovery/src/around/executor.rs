//! The executor around the one that restarts: announces, asks to prepare, saves, and then restarts.
//!
//! All restarts go through it, so that none destroys the evidence of its cause unsaved. Whatever goes
//! wrong before the restart becomes words in the restart's note and delays it by nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Around, Saver, prepare};
use crate::UnitName;
use crate::crash::CrashPoint;
use crate::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Life, Permit, Recall, Veto,
};
use crate::probe::Probes;

/// How long after a restart the disk may still take to keep what was saved: well below what the caller
/// grants an executor beyond its deadline.
const KEEP: Duration = Duration::from_secs(2);

/// One unit's executor with what surrounds it.
pub(crate) struct AroundExecutor {
    inner: Arc<dyn Executor>,
    around: Around,
    saver: Saver,
    probes: Probes,
}

impl AroundExecutor {
    pub(crate) fn new(
        inner: Arc<dyn Executor>,
        around: Around,
        saver: Saver,
        probes: Probes,
    ) -> Self {
        Self {
            inner,
            around,
            saver,
            probes,
        }
    }

    async fn carry_out(&self, permit: Permit) -> Result<Executed, ExecuteError> {
        let announced_at = SystemTime::now();
        // Who is down has nobody to turn away and nothing to put in safety.
        let is_down = self.saver.is_down();
        let drain = if is_down {
            Duration::ZERO
        } else {
            self.around.drain
        };
        let passing = permit.passed();
        let prepared = async {
            let spec = self.around.prepare.as_ref().filter(|_| !is_down)?;
            let asked = prepare::ask(spec, &permit, drain, self.probes.caller());
            // The call keeps its time-out itself; this one holds even if nobody gets to make it.
            let asked = tokio::time::timeout(spec.timeout(), asked).await;
            Some(asked.unwrap_or_else(|_late| {
                format!("not prepared: no answer within {:?}", spec.timeout())
            }))
        };
        let (saved, prepared, ()) = tokio::join!(
            async {
                let look = self.saver.look(&permit, self.around.post_mortem.as_ref());
                let saved = look.await;
                passing.at(CrashPoint::AfterLook);
                saved
            },
            async {
                let prepared = prepared.await;
                passing.at(CrashPoint::AfterAsked);
                prepared
            },
            async {
                tokio::time::sleep(drain).await;
                passing.at(CrashPoint::AfterDrain);
            },
        );
        let unit = permit.unit().clone();
        passing.at(CrashPoint::AfterPrepare);
        let mut keeping = pin!(self.saver.keep(saved));
        let mut restart = self.inner.restart(permit);
        let mut kept = None;
        let result = loop {
            tokio::select! {
                done = &mut keeping, if kept.is_none() => {
                    if done.is_ok() {
                        passing.at(CrashPoint::AfterKept);
                    }
                    kept = Some(done);
                }
                result = &mut restart => break result,
            }
        };
        passing.at(CrashPoint::BeforeKept);
        // A disk that hangs makes no restart that is done one of which nothing is known.
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let late = tokio::time::timeout(KEEP, keeping).await;
                if matches!(late, Ok(Ok(_))) {
                    passing.at(CrashPoint::AfterKept);
                }
                late.unwrap_or_else(|_late| {
                    Err(format!("it is still being written after {KEEP:?}"))
                })
            }
        };
        if let Err(reason) = kept {
            tracing::warn!(%unit, reason, "what a post-mortem needs was not kept");
        }
        result.map(|executed| Executed {
            began: Life {
                process: executed
                    .began
                    .process
                    .or_else(|| self.saver.life_of_process()),
                ..executed.began
            },
            // Callers that heard of it stayed away from then on: that is downtime, and theirs.
            stopped_at: if drain.is_zero() {
                executed.stopped_at
            } else {
                executed.stopped_at.min(announced_at)
            },
            note: match prepared {
                Some(prepared) => format!("{prepared}; {}", executed.note),
                None => executed.note,
            },
            ..executed
        })
    }
}

impl Executor for AroundExecutor {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(self.carry_out(permit))
    }

    fn inquire<'a>(
        &'a self,
        action: ActionId,
        unit: &'a UnitName,
        generation: u64,
    ) -> BoxFuture<'a, Effect> {
        self.inner.inquire(action, unit, generation)
    }

    fn recall(&self) -> Recall {
        self.inner.recall()
    }

    fn vetoes(&self) -> Option<BoxFuture<'_, Vec<Veto>>> {
        self.inner.vetoes()
    }

    fn beforehand(&self) -> Duration {
        self.around.longest() + self.inner.beforehand()
    }
}
