//! Which executor restarts which unit?
//!
//! One per unit that has one. A unit without is restarted by restarting all below it, which is
//! the business of whoever knows the tree.

mod connection;
mod docker;
mod kubernetes;
mod lives;
mod note;
mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use self::connection::Endpoint;
use self::docker::Docker;
pub(crate) use self::docker::SHORT_ID;
pub(crate) use self::kubernetes::list as pods;
use self::kubernetes::{Kubernetes, Namespaces};
use self::lives::{LivesExecutor, Platform};
use self::note::Notes;
use self::systemd::Systemd;
use crate::around::{AroundExecutor, Cabinet, Keeping, Saver, Witness};
use crate::command::CommandExecutor;
use crate::executor::Executor;
use crate::http_call::{CallFailure, HttpExecutor};
use crate::probe::Probes;
use crate::process::{OpenError, ProcessUnit, Supervisor};
use crate::template::Listed;
use crate::tree::nearest_process;
use crate::{ExecutorSpec, SystemdSpec, UnitName, UnitSpec};

/// The executors of a tree's units.
#[derive(Clone)]
pub struct Executors {
    by_unit: BTreeMap<UnitName, Arc<dyn Executor>>,
    workshop: Workshop,
}

/// What executors are made with.
#[derive(Clone)]
struct Workshop {
    supervisor: Arc<Supervisor>,
    cabinet: Arc<Cabinet>,
    witness: Arc<OnceLock<Arc<dyn Witness>>>,
    notes: Notes,
    probes: Probes,
    namespaces: Namespaces,
    logs: PathBuf,
}

impl Executors {
    /// Makes them, and takes over the children of the state directory (see
    /// [`Supervisor::open`]). Starts nothing: that is [`Supervisor::start_missing`]. Each is surrounded
    /// by what its unit wants (see [`crate::around`]); what is saved before restarts is kept so long.
    ///
    /// # Errors
    ///
    /// If the state directory can't be used, or another engine uses it.
    pub async fn build(
        units: &[UnitSpec],
        state_directory: &Path,
        probes: &Probes,
        keeping: Keeping,
    ) -> Result<Self, OpenError> {
        let processes = ProcessUnit::among(units);
        let supervisor =
            Arc::new(Supervisor::open(state_directory, processes, probes.clone()).await?);
        let workshop = Workshop {
            supervisor,
            cabinet: Arc::new(Cabinet::new(state_directory, keeping)),
            witness: Arc::new(OnceLock::new()),
            notes: Notes::new(state_directory),
            probes: probes.clone(),
            namespaces: Namespaces::default(),
            logs: state_directory.join("logs"),
        };
        Ok(Self {
            by_unit: workshop.make(units),
            workshop,
        })
    }

    /// The executors of a tree that grew: of these units, made as those at the start were. Processes are only
    /// supervised since the start.
    pub fn grown(&self, units: &[UnitSpec]) -> BTreeMap<UnitName, Arc<dyn Executor>> {
        self.workshop.make(units)
    }

    /// Names who remembers requests, for post-mortems. The first one stays.
    pub fn call_witness(&self, witness: Arc<dyn Witness>) {
        // There is one analysis in a daemon; a second would be a mistake, and change nothing.
        let _ = self.workshop.witness.set(witness);
    }

    /// What was saved before restarts.
    pub fn cabinet(&self) -> &Arc<Cabinet> {
        &self.workshop.cabinet
    }

    /// The unit's own executor; `None` if it is restarted by restarting all below it.
    pub fn get(&self, unit: &UnitName) -> Option<Arc<dyn Executor>> {
        self.by_unit.get(unit).map(Arc::clone)
    }

    /// All of them, by unit.
    pub fn by_unit(&self) -> &BTreeMap<UnitName, Arc<dyn Executor>> {
        &self.by_unit
    }

    /// The supervisor of those that are processes. There is always one, since children of an
    /// earlier configuration may live.
    pub fn supervisor(&self) -> &Arc<Supervisor> {
        &self.workshop.supervisor
    }
}

impl Workshop {
    /// The executors of those units that have one.
    fn make(&self, units: &[UnitSpec]) -> BTreeMap<UnitName, Arc<dyn Executor>> {
        let (notes, probes) = (&self.notes, &self.probes);
        let executor = |unit: &UnitSpec| {
            let inner: Arc<dyn Executor> = match unit.executor.clone()? {
                ExecutorSpec::Process(_) => Arc::<Supervisor>::clone(&self.supervisor),
                ExecutorSpec::Http(spec) => {
                    Arc::new(HttpExecutor::new(spec, unit.ready.clone(), probes.clone()))
                }
                ExecutorSpec::Command(spec) => Arc::new(CommandExecutor::new(
                    spec,
                    unit.ready.clone(),
                    probes.clone(),
                )),
                ExecutorSpec::Docker(spec) => kept(Docker::new(&spec), unit, notes, probes),
                ExecutorSpec::Kubernetes(spec) => {
                    let kubernetes = Kubernetes::new(spec, self.namespaces.clone());
                    kept(kubernetes, unit, notes, probes)
                }
                ExecutorSpec::Systemd(spec) => kept(Systemd::new(spec), unit, notes, probes),
            };
            let parent = |unit: &&UnitSpec| {
                let parent = unit.parent.as_ref()?;
                units.iter().find(|other| other.name == *parent)
            };
            // As deep as there are units, in case they name a circle.
            let chain = std::iter::successors(Some(unit), parent).take(units.len());
            let saver = Saver {
                supervisor: Arc::clone(&self.supervisor),
                process: nearest_process(chain).cloned(),
                is_process: matches!(unit.executor, Some(ExecutorSpec::Process(_))),
                logs: self.logs.clone(),
                witness: Arc::clone(&self.witness),
                cabinet: Arc::clone(&self.cabinet),
            };
            let around = unit.around.clone();
            let executor: Arc<dyn Executor> =
                Arc::new(AroundExecutor::new(inner, around, saver, probes.clone()));
            Some((unit.name.clone(), executor))
        };
        units.iter().filter_map(executor).collect()
    }
}

/// The containers that have these labels, by the engine behind this socket.
pub(crate) async fn containers(
    socket: &Path,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Listed>, CallFailure> {
    docker::list(&Endpoint::Unix(socket.to_owned()), labels).await
}

/// The services of systemd that are called so, on this bus.
pub(crate) async fn services(pattern: &str, bus: &str) -> Result<Vec<Listed>, CallFailure> {
    let all = SystemdSpec {
        service: pattern.to_owned(),
        bus: bus.to_owned(),
        stop: None,
    };
    Systemd::new(all).list().await
}

/// The executor of a unit that a platform keeps alive.
fn kept(
    platform: impl Platform + 'static,
    unit: &UnitSpec,
    notes: &Notes,
    probes: &Probes,
) -> Arc<dyn Executor> {
    let (notes, ready, probes) = (notes.clone(), unit.ready.clone(), probes.clone());
    Arc::new(LivesExecutor::new(platform, notes, ready, probes))
}

impl std::fmt::Debug for Executors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_unit.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::executor::{ActionId, Effect, Permit};
    use crate::{CommandSpec, HttpSpec, ProcessSpec};

    fn unit(name: &str, executor: Option<ExecutorSpec>) -> UnitSpec {
        UnitSpec {
            name: name.into(),
            parent: None,
            selector: BTreeMap::new(),
            executor,
            start_deadline: Duration::from_secs(5),
            ready: None,
            check: None,
            watches: Vec::new(),
            mode: None,
            expected_downtime: None,
            rules: crate::UnitRules::default(),
            around: crate::Around::default(),
        }
    }

    #[tokio::test]
    async fn each_unit_gets_the_executor_it_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let timeout = Duration::from_secs(5);
        let command = vec!["true".to_owned()];
        let units = [
            unit("site", None),
            unit(
                "process",
                Some(ExecutorSpec::Process(ProcessSpec {
                    command: command.clone(),
                    environment: BTreeMap::new(),
                    directory: None,
                    stop: crate::Stop::Term(timeout),
                    ports: Vec::new(),
                })),
            ),
            unit(
                "command",
                Some(ExecutorSpec::Command(CommandSpec { command, timeout })),
            ),
            unit(
                "http",
                Some(ExecutorSpec::Http(HttpSpec {
                    url: "http://127.0.0.1:0/".to_owned(),
                    timeout,
                })),
            ),
        ];
        let executors =
            Executors::build(&units, directory.path(), &Probes::new(), Keeping::default())
                .await
                .expect("built");
        assert!(executors.get(&"site".into()).is_none());
        assert!(executors.get(&"unheard-of".into()).is_none());
        assert_eq!(executors.by_unit().len(), 3);
        let children = executors.supervisor().children();
        assert_eq!(children.len(), 1);
        assert_eq!(
            (children[0].unit.as_str(), children[0].phase),
            ("process", "never")
        );

        let permit = |unit: &str| Permit::new(ActionId(1), unit.into(), 1, timeout);
        let restart = |unit: &str| {
            let executor = executors.get(&unit.into()).expect("has one");
            let permit = permit(unit);
            async move { executor.restart(permit).await }
        };
        restart("command").await.expect("true is true");
        assert!(restart("http").await.is_err());
        // What the supervisor never recorded, it never did.
        let process = executors.get(&"process".into()).expect("has one");
        assert_eq!(
            process.inquire(ActionId(1), &"process".into(), 1).await,
            Effect::NotDone
        );
    }
}
