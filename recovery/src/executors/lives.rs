//! How is a unit restarted that a platform keeps alive: a container engine, Kubernetes, systemd?
//!
//! All of them are told to restart something, and all show who lives, with an identity that no two
//! lives share. So one way of restarting serves them all, and none is believed on the word that the
//! order was taken:
//!
//! 1. look who lives, and write it down (see [`Note`]);
//! 2. order the restart;
//! 3. look until none of those still lives, so the stop is confirmed, and as many as before are
//!    ready;
//! 4. ask the unit's own readiness question; where it has none, see that the new lives stay up for a
//!    moment.
//!
//! An order whose answer was lost is not lost: looking shows whether it was carried out. Only when
//! at the deadline all that lived still live is it unknown. The same comparison answers after a
//! crash of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::note::{Note, Notes};
use crate::executor::{
    ActionId, BoxFuture, Effect, ExecuteError, Executed, Executor, Life, Permit, Recall, Veto,
};
use crate::http_call::CallFailure;
use crate::probe::Probes;
use crate::{ProbeSpec, UnitName};

/// The longest time that one look may take. Platforms answer within milliseconds unless they are
/// sick themselves, and a look that fails is repeated.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// How long an inquiry looks for a change. The service waits 10 s for its answer.
const INQUIRY: Duration = Duration::from_secs(8);

/// How long what nobody can ask whether it is ready must stay up to count as such. What can't start at
/// all (a wrong configuration, a port that is taken) mostly ends within its first moments, and looks
/// like what has started until then.
const STAYS_UP: Duration = Duration::from_millis(500);

/// More identities than this are not named to people; their number says enough.
const MAX_NAMED: usize = 3;

/// How one of those that live is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It was told to end.
    Ending,
    /// It lives, but isn't ready, and why.
    NotReady(String),
    /// It is ready, as far as the platform knows.
    Ready,
}

/// Who lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// By identity.
    pub lives: BTreeMap<String, Condition>,
    /// What is missing in the platform's own words, besides lives that aren't ready.
    pub missing: Option<String>,
    /// How many must be ready; as many as lived before where `None`.
    pub wanted: Option<usize>,
    /// Those beside it, where another that comes beside them takes its place; after that, [`Self::lives`] are all.
    pub beside: Option<BTreeMap<String, Condition>>,
}

impl Sight {
    fn identities(&self) -> BTreeSet<String> {
        self.lives.keys().cloned().collect()
    }

    /// Whether none of these lives any more.
    fn replaces(&self, old: &BTreeSet<String>) -> bool {
        old.iter().all(|life| !self.lives.contains_key(life))
    }

    pub(crate) fn staying(&self) -> usize {
        self.lives
            .values()
            .filter(|condition| **condition != Condition::Ending)
            .count()
    }

    fn ready(&self) -> usize {
        ready(&self.lives)
    }

    /// What is missing until as many are ready as must be; `None` when nothing is.
    fn waits_for(&self, before: &Self) -> Option<String> {
        if let Some(missing) = &self.missing {
            return Some(missing.clone());
        }
        let wanted = match &before.beside {
            // Who wasn't ready before it was restarted needn't be for its successor to be there.
            Some(beside) => (ready(beside) + 1).min(self.staying()).max(1),
            None => self.wanted.unwrap_or(before.staying()),
        };
        let mut has_come = true;
        if let Some(beside) = &before.beside {
            let came = || {
                self.lives
                    .iter()
                    .filter(|(life, _)| !beside.contains_key(*life))
            };
            if came().next().is_none() {
                return Some("nobody has come in its place".to_owned());
            }
            has_come = came().any(|(_, condition)| *condition == Condition::Ready);
        }
        if self.ready() >= wanted && has_come {
            return None;
        }
        let reason = self.lives.values().find_map(|condition| match condition {
            Condition::NotReady(reason) => Some(format!(": {reason}")),
            _ => None,
        });
        let reason = reason.unwrap_or_default();
        Some(format!("{} of {wanted} are ready{reason}", self.ready()))
    }
}

fn ready(lives: &BTreeMap<String, Condition>) -> usize {
    let ready = lives.values().filter(|it| **it == Condition::Ready);
    ready.count()
}

/// Something that keeps a unit alive and can be told to restart it.
pub(crate) trait Platform: Send + Sync {
    /// Who lives now.
    fn look(&self) -> BoxFuture<'_, Result<Sight, CallFailure>>;

    /// Orders the restart of those that were seen, and says what the lives that begin are told of themselves. A failure
    /// says whether anything may have been done.
    fn order<'a>(
        &'a self,
        permit: &'a Permit,
        before: &'a Sight,
        until: Instant,
    ) -> BoxFuture<'a, Result<Life, CallFailure>>;

    /// Whether the platform itself remembers this order; `None` where it can't tell.
    fn remembers<'a>(
        &'a self,
        action: ActionId,
        generation: u64,
    ) -> BoxFuture<'a, Result<Option<bool>, CallFailure>> {
        let _ = (action, generation);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// How long after an order was taken all who lived may still look untouched.
    fn untouched(&self) -> Duration;

    /// The pause between two looks.
    fn pause(&self) -> Duration;

    /// Whether it can be asked about an action, or fences it.
    fn recall(&self) -> Recall;

    /// As [`Executor::vetoes`].
    fn vetoes(&self) -> Option<BoxFuture<'_, Vec<Veto>>> {
        None
    }
}

/// The executor over a platform.
pub(crate) struct LivesExecutor<P> {
    platform: P,
    notes: Notes,
    ready: Option<ProbeSpec>,
    probes: Probes,
}

impl<P: Platform> LivesExecutor<P> {
    /// For one unit.
    pub(crate) fn new(platform: P, notes: Notes, ready: Option<ProbeSpec>, probes: Probes) -> Self {
        Self {
            platform,
            notes,
            ready,
            probes,
        }
    }

    async fn carry_out(&self, permit: Permit) -> Result<Executed, ExecuteError> {
        let unit = permit.unit();
        let refused = |reason: String| ExecuteError::Refused {
            unit: unit.clone(),
            reason,
        };
        let began = Instant::now();
        let until = began + permit.deadline();
        let before = self
            .platform
            .look()
            .await
            .map_err(|failure| refused(failure.reason))?;
        let note = Note {
            action: permit.action(),
            generation: permit.generation(),
            lives: before.identities(),
        };
        self.write(unit, &note)
            .await
            .map_err(|error| refused(format!("failed writing down who lives: {error}")))?;
        let stopped_at = SystemTime::now();
        let (told, lost) = match self.platform.order(&permit, &before, until).await {
            Ok(life) => (life, None),
            Err(failure) if failure.maybe_sent => (Life::default(), Some(failure.reason)),
            Err(failure) => return Err(refused(failure.reason)),
        };
        let (up_since, mut ready_at) = self.watch(&permit, &before, until, lost).await?;
        let replaced = up_since.saturating_duration_since(began);
        let mut ready = replaced;
        if self.ready.is_some() {
            self.probes
                .until_ready(self.ready.as_ref(), until.into_std())
                .await
                .map_err(|failure| ExecuteError::NotReady {
                    unit: unit.clone(),
                    deadline: permit.deadline(),
                    reason: failure.reason,
                })?;
            ready_at = SystemTime::now();
            ready = began.elapsed();
        }
        Ok(Executed {
            stopped_at,
            ready_at,
            began: told,
            note: format!(
                "{} replaced after {replaced:.1?}, ready after {ready:.1?}",
                named(&note.lives),
            ),
        })
    }

    /// Off the runtime's threads: it waits for the disk, twice.
    async fn write(&self, unit: &UnitName, note: &Note) -> std::io::Result<()> {
        let (notes, unit, note) = (self.notes.clone(), unit.clone(), note.clone());
        tokio::task::spawn_blocking(move || notes.write(&unit, &note))
            .await
            .map_err(std::io::Error::other)?
    }

    /// Until all who lived have ended and as many are ready; since when they are.
    async fn watch(
        &self,
        permit: &Permit,
        before: &Sight,
        until: Instant,
        lost: Option<String>,
    ) -> Result<(Instant, SystemTime), ExecuteError> {
        let old = before.identities();
        let must_stay = match self.ready {
            Some(_) => Duration::ZERO,
            None => STAYS_UP,
        };
        let mut up: Option<(Instant, SystemTime, BTreeSet<String>)> = None;
        loop {
            let seen = self.platform.look().await;
            let left = until.saturating_duration_since(Instant::now());
            match &seen {
                Ok(now) if now.replaces(&old) && now.waits_for(before).is_none() => {
                    if let (Some(reason), true) = (&lost, old.is_empty()) {
                        // Nobody lived who could have felt an order whose answer was lost.
                        return Err(ExecuteError::Unknown {
                            unit: permit.unit().clone(),
                            reason: reason.clone(),
                        });
                    }
                    let lives = now.identities();
                    let (since, at, _) = up
                        .take()
                        .filter(|(_, _, same)| *same == lives)
                        .unwrap_or_else(|| (Instant::now(), SystemTime::now(), lives.clone()));
                    if since.elapsed() >= must_stay || left.is_zero() {
                        return Ok((since, at));
                    }
                    up = Some((since, at, lives));
                }
                _ => up = None,
            }
            if left.is_zero() {
                return Err(not_in_time(permit, before, seen, lost));
            }
            tokio::time::sleep(self.platform.pause().min(left)).await;
        }
    }

    async fn ask(&self, action: ActionId, unit: &UnitName, generation: u64) -> Effect {
        let note = match self.notes.read(unit) {
            Ok(Some(note)) if note.action == action && note.generation == generation => note,
            // The note is on disk before the order goes out.
            Ok(_) => return Effect::NotDone,
            Err(error) => {
                tracing::warn!(%unit, %error, "what was written down before an order can't be read");
                return Effect::Unknown;
            }
        };
        let until = Instant::now() + INQUIRY;
        loop {
            let mut is_untouched = false;
            if let Ok(now) = self.platform.look().await {
                let left = || note.lives.iter().filter_map(|life| now.lives.get(life));
                if left().count() == 0 && !now.lives.is_empty() {
                    return Effect::Done;
                }
                is_untouched = left().count() == note.lives.len()
                    && left().all(|condition| *condition != Condition::Ending);
            }
            if Instant::now() >= until {
                let remembers = self.platform.remembers(action, generation).await;
                return match remembers {
                    Ok(Some(true)) | Err(_) => Effect::Unknown,
                    Ok(Some(false)) if is_untouched => Effect::NotDone,
                    Ok(_) if is_untouched && self.platform.untouched() < INQUIRY => Effect::NotDone,
                    Ok(_) => Effect::Unknown,
                };
            }
            tokio::time::sleep(self.platform.pause()).await;
        }
    }
}

fn not_in_time(
    permit: &Permit,
    before: &Sight,
    last: Result<Sight, CallFailure>,
    lost: Option<String>,
) -> ExecuteError {
    let unit = permit.unit().clone();
    let deadline = permit.deadline();
    let sight = match last {
        Ok(sight) => sight,
        Err(failure) => {
            return ExecuteError::Unknown {
                unit,
                reason: format!("it can't be seen: {}", failure.reason),
            };
        }
    };
    let mut left = before.identities();
    left.retain(|life| sight.lives.contains_key(life));
    if left.is_empty() {
        let reason = sight.waits_for(before).unwrap_or_default();
        return ExecuteError::NotReady {
            unit,
            deadline,
            reason,
        };
    }
    let lost = lost.map(|lost| format!("; {lost}")).unwrap_or_default();
    ExecuteError::Unknown {
        unit,
        reason: format!(
            "{} had not ended after {} s{lost}",
            named(&left),
            deadline.as_secs()
        ),
    }
}

fn named(lives: &BTreeSet<String>) -> String {
    if lives.is_empty() {
        return "nothing that lived".to_owned();
    }
    if lives.len() > MAX_NAMED {
        return format!("{} lives", lives.len());
    }
    let named: Vec<&str> = lives.iter().map(String::as_str).collect();
    named.join(", ")
}

impl<P: Platform> Executor for LivesExecutor<P> {
    fn restart(&self, permit: Permit) -> BoxFuture<'_, Result<Executed, ExecuteError>> {
        Box::pin(self.carry_out(permit))
    }

    fn inquire<'a>(
        &'a self,
        action: ActionId,
        unit: &'a UnitName,
        generation: u64,
    ) -> BoxFuture<'a, Effect> {
        Box::pin(self.ask(action, unit, generation))
    }

    fn recall(&self) -> Recall {
        self.platform.recall()
    }

    fn vetoes(&self) -> Option<BoxFuture<'_, Vec<Veto>>> {
        self.platform.vetoes()
    }
}

#[cfg(test)]
mod tests;
