//! How does systemd restart a service, and when is it known that it did?
//!
//! Over D-Bus, as `systemctl` does, but without a program in between whose words would have to be
//! read. systemd gives every life of a unit an invocation id, which is what a life is here. It stops
//! the whole control group before it starts anew, unless the unit's `KillMode` says otherwise. It
//! takes no action id, so a crash is answered by comparing invocations (see [`super::lives`]).
//!
//! Stop and start are one job of systemd's, which a crash of ours doesn't interrupt. A job can't be told how
//! long its stop may take, so whoever has less time than the unit itself says (`TimeoutStopSec=`) is
//! killed beside it: at once, just before the job is queued, so that its own `Restart=` finds the job there; or after its
//! grace, if the life that was told to end is still ending.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Type};

use super::lives::{Condition, LOOK, Platform, Sight};
use crate::executor::{BoxFuture, Life, Permit, Recall};
use crate::http_call::CallFailure;
use crate::template::Listed;
use crate::{Stop, SystemdSpec};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A bus on the same machine answers in a millisecond, and downtime counts.
const PAUSE: Duration = Duration::from_millis(50);

/// Of Linux.
const SIGKILL: i32 = 9;

/// A job is seen as soon as it was taken; this is for the bus.
const UNTOUCHED: Duration = Duration::from_secs(2);

/// A service of systemd, or all whose names are like this one's.
#[derive(Clone, Debug)]
pub(crate) struct Systemd {
    spec: SystemdSpec,
}

/// As much of a unit's properties as matters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    load: String,
    active: String,
    sub: String,
    invocation: String,
    /// The number of the job that is under way, or 0.
    job: u32,
    /// Why a service ended; empty for other kinds of units.
    result: String,
    /// Whether it may be started and stopped by order.
    takes_orders: bool,
}

impl Systemd {
    pub(crate) fn new(spec: SystemdSpec) -> Self {
        Self { spec }
    }

    async fn see(&self) -> Result<Seen, CallFailure> {
        let work = async {
            let bus = self.connect().await?;
            let unit: OwnedObjectPath = self
                .call(
                    &bus,
                    MANAGER_PATH,
                    MANAGER,
                    "LoadUnit",
                    &self.spec.service.as_str(),
                )
                .await?;
            let mut properties: HashMap<String, OwnedVariant> = self
                .call(&bus, unit.as_str(), PROPERTIES, "GetAll", &UNIT)
                .await?;
            let mut text = |name: &str| {
                let value = properties.remove(name);
                value
                    .and_then(|value| String::try_from(value).ok())
                    .unwrap_or_default()
            };
            let (load, active, sub) = (text("LoadState"), text("ActiveState"), text("SubState"));
            let invocation = properties
                .remove("InvocationID")
                .and_then(|value| Vec::<u8>::try_from(value).ok())
                .unwrap_or_default();
            let job = properties
                .remove("Job")
                .and_then(|value| <(u32, OwnedObjectPath)>::try_from(value).ok())
                .map_or(0, |(job, _)| job);
            let mut is = |name: &str| {
                let value = properties.remove(name);
                value.is_some_and(|value| bool::try_from(value).unwrap_or_default())
            };
            let takes_orders = is("CanStart") && is("CanStop");
            let result = self
                .call::<OwnedVariant>(&bus, unit.as_str(), PROPERTIES, "Get", &(SERVICE, "Result"))
                .await
                .ok()
                .and_then(|value| String::try_from(value).ok());
            Ok(Seen {
                load,
                active,
                sub,
                invocation: invocation
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
                job,
                result: result.unwrap_or_default(),
                takes_orders,
            })
        };
        let seen = within(LOOK, false, work).await?;
        match seen.load.as_str() {
            "loaded" => Ok(seen),
            "not-found" => Err(refusal(format!(
                "systemd has no unit {}",
                self.spec.service
            ))),
            load => Err(refusal(format!(
                "systemd says that {} is {load}",
                self.spec.service
            ))),
        }
    }

    /// The services that systemd has loaded whose names match this one's, but for those that were stopped in order.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, CallFailure> {
        let work = async {
            let bus = self.connect().await?;
            // In any state.
            let body = (Vec::<&str>::new(), vec![self.spec.service.as_str()]);
            let method = "ListUnitsByPatterns";
            self.call::<Vec<Loaded>>(&bus, MANAGER_PATH, MANAGER, method, &body)
                .await
        };
        let loaded = within(LOOK, false, work).await?;
        Ok(loaded.into_iter().filter_map(listed).collect())
    }

    async fn give(
        &self,
        generation: u64,
        before: &Sight,
        until: Instant,
    ) -> Result<Life, CallFailure> {
        let seen = self.see().await?;
        if seen.job != 0
            || seen
                .sight(&self.spec.service)
                .lives
                .keys()
                .ne(before.lives.keys())
        {
            return Err(refusal(
                "somebody else is starting or stopping it".to_owned(),
            ));
        }
        let bus = within(LOOK, false, self.connect()).await?;
        let began = Life {
            process: self.tell(&bus, generation).await,
            part: None,
        };
        let ordered = self.order(&bus, &seen, before, until).await;
        if ordered.as_ref().is_err_and(|failure| !failure.maybe_sent) {
            // The next life that systemd begins by itself isn't the one that was meant.
            self.untell(&bus).await;
        }
        ordered.map(|()| began)
    }

    async fn order(
        &self,
        bus: &Connection,
        seen: &Seen,
        before: &Sight,
        until: Instant,
    ) -> Result<(), CallFailure> {
        let limit = until.saturating_duration_since(Instant::now()).min(LOOK);
        // `replace`: a job that was queued meanwhile gives way. The job runs on without us.
        let body = (self.spec.service.as_str(), "replace");
        let order = self.call::<OwnedObjectPath>(bus, MANAGER_PATH, MANAGER, "RestartUnit", &body);
        let Some(stop) = self.spec.stop.filter(|_| !before.lives.is_empty()) else {
            return within(limit, true, order).await.map(|_job| ());
        };
        // A job that it refuses would leave dead what was killed.
        if stop == Stop::Kill && seen.takes_orders {
            // The bus keeps the order of what one connection sends, and this polls in order.
            let both = async {
                let (killed, ordered) = tokio::join!(self.kill(bus), order);
                let Err(failure) = ordered else {
                    return Ok(());
                };
                if killed.is_ok() {
                    // Whom nobody starts again would stay dead for having been killed.
                    let start = self.call::<OwnedObjectPath>(
                        bus,
                        MANAGER_PATH,
                        MANAGER,
                        "StartUnit",
                        &body,
                    );
                    if let Err(CallFailure { reason, .. }) = start.await {
                        tracing::error!(service = %self.spec.service, %reason, "it was killed, and can't be started");
                    }
                }
                Err(CallFailure {
                    maybe_sent: failure.maybe_sent || killed.is_ok(),
                    ..failure
                })
            };
            within(limit, true, both).await?;
        } else {
            within(limit, true, order).await?;
        }
        self.see_off(bus, &seen.invocation, stop, until).await;
        Ok(())
    }

    /// Puts the number of the life that is about to begin into the environment that all services are started with, under a
    /// name of this one's: nothing else of a service can be set while it runs. Returns what was told: whoever may restart may not need to be allowed this.
    async fn tell(&self, bus: &Connection, generation: u64) -> Option<u64> {
        let assignments = vec![format!("{}={generation}", variable(&self.spec.service))];
        let told = self.call::<()>(bus, MANAGER_PATH, MANAGER, "SetEnvironment", &assignments);
        match within(LOOK, false, told).await {
            Ok(()) => Some(generation),
            Err(CallFailure { reason, .. }) => {
                tracing::debug!(service = %self.spec.service, %reason, "its generation could not be told");
                None
            }
        }
    }

    /// Takes that number back.
    async fn untell(&self, bus: &Connection) {
        let names = vec![variable(&self.spec.service)];
        let untold = self.call::<()>(bus, MANAGER_PATH, MANAGER, "UnsetEnvironment", &names);
        if let Err(CallFailure { reason, .. }) = within(LOOK, false, untold).await {
            tracing::debug!(service = %self.spec.service, %reason, "its generation could not be taken back");
        }
    }

    /// Waits until who was told to end has ended, and kills who mustn't take longer. That somebody lives on is seen by who
    /// watches then.
    async fn see_off(&self, bus: &Connection, old: &str, stop: Stop, until: Instant) {
        // As much is left for the start.
        let left = until.saturating_duration_since(Instant::now());
        let over = Instant::now() + stop.grace().min(left / 2);
        while Instant::now() < until {
            // Whom nobody sees nobody can tell from its successor: it is looked again.
            if let Ok(now) = self.see().await {
                let is_old = now.invocation == old;
                if !now.is_ending() || (!is_old && stop != Stop::Kill) {
                    return;
                }
                let must_die = match stop {
                    // A `RestartSec=` of next to nothing was faster than the job, which then told that life to end.
                    Stop::Kill => !is_old && now.active == "deactivating",
                    Stop::Term(_) => Instant::now() >= over,
                };
                if must_die {
                    if let Err(CallFailure { reason, .. }) =
                        within(LOOK, true, self.kill(bus)).await
                    {
                        tracing::warn!(service = %self.spec.service, %reason, "it could not be killed");
                    }
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// All of its processes, at once.
    async fn kill(&self, bus: &Connection) -> Result<(), CallFailure> {
        let body = (self.spec.service.as_str(), "all", SIGKILL);
        self.call::<()>(bus, MANAGER_PATH, MANAGER, "KillUnit", &body)
            .await
    }

    async fn connect(&self) -> Result<Connection, CallFailure> {
        Builder::address(self.spec.bus.as_str())
            .build()
            .await
            .map_err(|error| refusal(format!("no connection to {}: {error}", self.spec.bus)))
    }

    async fn call<T: DeserializeOwned + Type>(
        &self,
        bus: &Connection,
        path: &str,
        interface: &str,
        method: &str,
        body: &(impl Serialize + Type),
    ) -> Result<T, CallFailure> {
        let reply = bus
            .call_method(Some(SYSTEMD), path, Some(interface), method, body)
            .await
            .map_err(|error| failure(&error))?;
        reply
            .body()
            .deserialize_ignore_signature()
            .map_err(|error| CallFailure {
                maybe_sent: true,
                reason: format!("systemd's answer to {method} can't be read: {error}"),
            })
    }
}

/// A unit as systemd lists it: name, description, whether it is loaded, active, and how; whom it follows, its path, and its
/// job's number, kind and path.
type Loaded = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

fn listed((name, _, load, active, ..): Loaded) -> Option<Listed> {
    // What nobody wants to run is no replica; what failed is one that is sick.
    let is_service = name.ends_with(".service");
    (is_service && load == "loaded" && active != "inactive").then(|| Listed {
        id: name.clone(),
        name,
        is_up: matches!(active.as_str(), "active" | "reloading"),
        address: None,
    })
}

fn refusal(reason: String) -> CallFailure {
    CallFailure {
        maybe_sent: false,
        reason,
    }
}

/// The variable that tells a service which life it is: names of variables have letters, digits and `_`.
fn variable(service: &str) -> String {
    let stem = service.strip_suffix(".service").unwrap_or(service);
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    let stem: String = stem.chars().map(plain).collect();
    format!("REKINDLE_GENERATION_{stem}")
}

/// An error in answer says that nothing was done; anything else, that it isn't known.
fn failure(error: &zbus::Error) -> CallFailure {
    match error {
        zbus::Error::MethodError(name, message, _) => refusal(format!(
            "systemd says {}",
            message.as_deref().unwrap_or(name.as_str())
        )),
        zbus::Error::FDO(error) => refusal(format!("systemd says {error}")),
        other => CallFailure {
            maybe_sent: true,
            reason: format!("the bus failed: {other}"),
        },
    }
}

async fn within<T>(
    limit: Duration,
    maybe_sent: bool,
    work: impl Future<Output = Result<T, CallFailure>>,
) -> Result<T, CallFailure> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(CallFailure {
            maybe_sent,
            reason: format!("systemd did not answer within {limit:.1?}"),
        })
    })
}

impl Seen {
    /// Whether its processes are on their way out, or will be once a job's turn has come.
    fn is_ending(&self) -> bool {
        match self.active.as_str() {
            "active" | "reloading" => self.job != 0,
            "deactivating" => true,
            _ => false,
        }
    }

    fn sight(&self, service: &str) -> Sight {
        let mut sight = Sight::default();
        let condition = match self.active.as_str() {
            _ if self.is_ending() => Condition::Ending,
            "active" | "reloading" => Condition::Ready,
            // Between two starts by its own `Restart=`, nothing of it lives.
            "activating" if self.sub != "auto-restart" => {
                Condition::NotReady(format!("{service} is {}", self.sub))
            }
            _ => {
                let result = match self.result.as_str() {
                    "" | "success" => String::new(),
                    result => format!(" ({result})"),
                };
                sight.missing = Some(format!("{service} is {}{result}", self.active));
                return sight;
            }
        };
        if condition != Condition::Ready {
            sight.missing = Some(format!("{service} is {}", self.sub));
        }
        let identity = format!("{service} in invocation {}", self.invocation);
        sight.lives.insert(identity, condition);
        sight
    }
}

impl Platform for Systemd {
    fn look(&self) -> BoxFuture<'_, Result<Sight, CallFailure>> {
        Box::pin(async { Ok(self.see().await?.sight(&self.spec.service)) })
    }

    fn order<'a>(
        &'a self,
        permit: &'a Permit,
        before: &'a Sight,
        until: Instant,
    ) -> BoxFuture<'a, Result<Life, CallFailure>> {
        Box::pin(self.give(permit.generation(), before, until))
    }

    fn untouched(&self) -> Duration {
        UNTOUCHED
    }

    fn pause(&self) -> Duration {
        PAUSE
    }

    fn recall(&self) -> Recall {
        Recall::Effect
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::executor::{ActionId, Executor as _};
    use crate::executors::lives::LivesExecutor;
    use crate::executors::note::Notes;
    use crate::probe::Probes;

    fn permit(deadline: Duration) -> Permit {
        Permit::new(ActionId(5), "web".into(), 2, deadline)
    }

    fn executor(service: &str, bus: &str, state: &Path) -> LivesExecutor<Systemd> {
        stopping(service, bus, state, None)
    }

    fn stopping(
        service: &str,
        bus: &str,
        state: &Path,
        stop: Option<Stop>,
    ) -> LivesExecutor<Systemd> {
        let systemd = Systemd::new(SystemdSpec {
            service: service.to_owned(),
            bus: bus.to_owned(),
            stop,
        });
        LivesExecutor::new(systemd, Notes::new(state), None, Probes::new())
    }

    #[test]
    fn what_a_unit_shows_has_its_meaning() {
        for (active, sub, job, result, expected) in [
            ("active", "running", 0, "success", "Ready"),
            ("active", "running", 7, "success", "Ending, stays running"),
            (
                "deactivating",
                "stop-sigterm",
                7,
                "success",
                "Ending, stays stop-sigterm",
            ),
            (
                "activating",
                "start-pre",
                7,
                "success",
                "NotReady, stays start-pre",
            ),
            (
                "activating",
                "auto-restart",
                0,
                "exit-code",
                "none, stays activating (exit-code)",
            ),
            (
                "failed",
                "failed",
                0,
                "oom-kill",
                "none, stays failed (oom-kill)",
            ),
            ("inactive", "dead", 0, "success", "none, stays inactive"),
        ] {
            let seen = Seen {
                load: "loaded".to_owned(),
                active: active.to_owned(),
                sub: sub.to_owned(),
                invocation: "ab".to_owned(),
                job,
                result: result.to_owned(),
                takes_orders: true,
            };
            let sight = seen.sight("it");
            let condition = match sight.lives.get("it in invocation ab") {
                None => "none",
                Some(Condition::Ready) => "Ready",
                Some(Condition::NotReady(_)) => "NotReady",
                Some(Condition::Ending) => "Ending",
            };
            let missing = sight.missing.unwrap_or_default();
            let stays = missing.replacen("it is ", ", stays ", 1);
            assert_eq!(format!("{condition}{stays}"), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_service_has_a_variable() {
        for (service, expected) in [
            ("mail.service", "REKINDLE_GENERATION_mail"),
            ("worker@3.service", "REKINDLE_GENERATION_worker_3"),
            ("a-b\\x2dé.socket", "REKINDLE_GENERATION_a_b_x2d__socket"),
        ] {
            assert_eq!(variable(service), expected);
        }
    }

    #[test]
    fn what_runs_or_failed_is_listed() {
        for (kind, load, active, expected) in [
            ("service", "loaded", "active", Some(true)),
            ("service", "loaded", "reloading", Some(true)),
            ("service", "loaded", "activating", Some(false)),
            ("service", "loaded", "failed", Some(false)),
            ("service", "loaded", "inactive", None),
            ("service", "not-found", "failed", None),
            ("socket", "loaded", "active", None),
        ] {
            let text = str::to_owned;
            let path = OwnedObjectPath::default;
            let name = format!("worker@1.{kind}");
            let unit = (
                name,
                text(""),
                text(load),
                text(active),
                text(""),
                text(""),
                path(),
                0,
                text(""),
                path(),
            );
            let is_up = listed(unit).map(|it| it.is_up);
            assert_eq!(is_up, expected, "{kind} {load} {active}");
        }
    }

    #[tokio::test]
    async fn a_bus_that_is_away_refuses() {
        let state = tempfile::tempdir().expect("a directory");
        let executor = executor("x.service", "unix:path=/nonexistent/bus", state.path());
        let error = executor
            .restart(permit(LOOK))
            .await
            .expect_err("nobody is there");
        let expected = "restart of web was refused: no connection to unix:path=/nonexistent/bus";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[cfg(feature = "real-platforms")]
    mod real;
}
