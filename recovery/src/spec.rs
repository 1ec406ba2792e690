//! What the configuration says about restart units, before it is checked.
//!
//! A flat list: each unit names its parent. [`crate::tree`] turns it into a tree or says what is
//! wrong with it; nothing else reads these types to decide anything.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::around::Around;
use crate::watch::Watch;

/// The name of a restart unit, unique in its tree: `catalog`, `catalog.search`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitName(pub String);

impl UnitName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind and the instance of a unit that is called `KIND@INSTANCE`, as those are that grow from templates.
    pub fn kind_and_instance(&self) -> Option<(&str, &str)> {
        self.0.split_once(crate::tree::OF_KIND)
    }

    /// Whether it has nothing but letters, digits and what joins them, and no more than so many bytes: names appear in
    /// paths, environments and tables.
    pub fn is_plain(&self, most_bytes: usize) -> bool {
        let joins = |c: char| matches!(c, '.' | '_' | '-' | ':' | '@');
        let is_fit = |c: char| c.is_alphanumeric() || joins(c);
        self.0.len() <= most_bytes && self.0.chars().all(is_fit)
    }
}

impl From<&str> for UnitName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How far Rekindle may go with a unit and all below it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Say what is suspected, plan nothing.
    #[default]
    Observe,
    /// Plan, and wait for a person's approval.
    Propose,
    /// Plan and act, within the guards.
    Auto,
}

/// One unit as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitSpec {
    /// Its name.
    pub name: UnitName,
    /// The unit that contains it; `None` for the root.
    pub parent: Option<UnitName>,
    /// The telemetry attributes that are its: a component belongs to the unit whose every pair it
    /// has. Empty for a unit that only groups others.
    pub selector: BTreeMap<String, String>,
    /// How it is restarted; `None` when by restarting all below it.
    pub executor: Option<ExecutorSpec>,
    /// The longest time from the order to ready.
    pub start_deadline: Duration,
    /// How to ask whether it is ready after a start; `None` when the executor's word is enough.
    pub ready: Option<ProbeSpec>,
    /// How to ask whether it works, at any time: a question with a known answer.
    pub check: Option<ProbeSpec>,
    /// What its figures must keep to.
    pub watches: Vec<Watch>,
    /// How far Rekindle may go; `None` takes the parent's, and at the root [`Mode::Observe`].
    pub mode: Option<Mode>,
    /// The downtime that a restart is expected to cost, until it has been measured.
    pub expected_downtime: Option<Duration>,
    /// What limits its restarts, and what goes with them.
    pub rules: UnitRules,
    /// What is done around its restarts.
    pub around: Around,
}

/// What limits a unit's restarts, and what goes with them. Nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitRules {
    /// Of the units directly below, so many must be up at any time: not sick, and not being restarted.
    pub minimum_healthy: Option<u32>,
    /// The capacity group that it belongs to, wherever in the tree its other members are. How many of a
    /// group must be up is [`crate::Policy::capacity`]'s to say.
    pub capacity_group: Option<String>,
    /// Where all are restarted, it is restarted before these …
    pub before: Vec<UnitName>,
    /// … and after these.
    pub after: Vec<UnitName>,
    /// Whoever restarts it restarts these too, and the other way round: a recovery group.
    pub together: Vec<UnitName>,
    /// What restarts of it and of all below it may cost together.
    pub budget: SubtreeBudget,
    /// What its restart loses beside requests, sessions above all, priced in failed user requests.
    pub loses: u32,
}

/// What restarts in a subtree may cost in a period ([`crate::Policy::budget_period`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubtreeBudget {
    /// Restarts; no limit of its own where `None`.
    pub restarts: Option<u32>,
    /// Users' requests that they fail; no limit of its own where `None`.
    pub failed_requests: Option<u32>,
}

/// How a unit is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutorSpec {
    /// Rekindle starts and supervises the process itself.
    Process(ProcessSpec),
    /// A microreboot endpoint is called.
    Http(HttpSpec),
    /// A command is run.
    Command(CommandSpec),
    /// A Docker-compatible engine restarts a container.
    Docker(DockerSpec),
    /// Kubernetes replaces pods or containers.
    Kubernetes(KubernetesSpec),
    /// systemd restarts a service.
    Systemd(SystemdSpec),
}

impl ExecutorSpec {
    /// Its kind in one word, as the configuration calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Http(_) => "http",
            Self::Command(_) => "command",
            Self::Docker(_) => "docker",
            Self::Kubernetes(_) => "kubernetes",
            Self::Systemd(_) => "systemd",
        }
    }

    /// Whether the processes of a life that begins this way are told its number, and may say it with their telemetry. Who
    /// restarts a container in place, or ends pods that others make anew, can't tell them anything.
    pub fn tells_generation(&self) -> bool {
        match self {
            Self::Process(_) | Self::Systemd(_) => true,
            Self::Kubernetes(spec) => matches!(spec.restart, KubernetesRestart::Rollout { .. }),
            Self::Http(_) | Self::Command(_) | Self::Docker(_) => false,
        }
    }

    /// Whether restarting a unit this way restarts one below it, which has such an executor, too. What lives
    /// in a process, or is reached through it, goes with it; a process, container, service or pod of its
    /// own goes on. Of a command or an endpoint, whoever wrote it into the tree says that it does.
    pub fn takes_along(&self, below: &Self) -> bool {
        match (self, below) {
            (Self::Http(_) | Self::Command(_), _) | (_, Self::Http(_) | Self::Command(_)) => true,
            // A workload's pods and their containers; another workload is none of them.
            (Self::Kubernetes(_), Self::Kubernetes(below)) => {
                !matches!(below.restart, KubernetesRestart::Rollout { .. })
            }
            _ => false,
        }
    }
}

/// A process that Rekindle starts, and stops by TERM, grace, KILL to its process group.
///
/// It outlives Rekindle and is adopted again. Its environment says `REKINDLE_UNIT` and
/// `REKINDLE_GENERATION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSpec {
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// Added to Rekindle's own environment.
    pub environment: BTreeMap<String, String>,
    /// The working directory; Rekindle's own where `None`.
    pub directory: Option<PathBuf>,
    /// How it is ended.
    pub stop: Stop,
    /// The TCP ports that it listens on: nobody is started while another does, whom a probe would take for it.
    pub ports: Vec<u16>,
}

/// How a life is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is told to (TERM, or the signal that its platform has for it), so it may finish what it is at, and killed when it
    /// takes longer than this.
    Term(Duration),
    /// KILL at once: it is crash-only, and starting is its only way of recovering anyway.
    Kill,
}

impl Stop {
    /// How long it may take to end.
    pub fn grace(self) -> Duration {
        match self {
            Self::Term(grace) => grace,
            Self::Kill => Duration::ZERO,
        }
    }
}

/// A microreboot endpoint. It is sent the action's id as `Idempotency-Key` and the generation to
/// reach as `Rekindle-Generation`; any 2xx answer means that the old life has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSpec {
    /// Where to POST.
    pub url: String,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// A command that restarts the unit and exits with 0 once the old life has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// Program and arguments; no shell. Its environment says `REKINDLE_UNIT`,
    /// `REKINDLE_ACTION` and `REKINDLE_GENERATION`.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A container of an engine that speaks Docker's API: Docker, podman.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSpec {
    /// The container's name or id.
    pub container: String,
    /// The engine's socket.
    pub socket: PathBuf,
    /// How the container is ended.
    pub stop: Stop,
}

/// Something that Kubernetes keeps alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSpec {
    /// What is restarted, and how.
    pub restart: KubernetesRestart,
    /// Its namespace; the one that the credentials name where `None`.
    pub namespace: Option<String>,
    /// The kubeconfig file; where `None`, the service account of the pod that Rekindle runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context; its current one where `None`.
    pub context: Option<String>,
    /// How what is evicted, deleted or recreated is ended, to the second; as its pod says where `None`. Of those, only
    /// a container that is recreated can be killed at once: a node gives each pod that ends a second at least. Pods of a rollout end as they say.
    pub stop: Option<Stop>,
}

/// The ways in which Kubernetes restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesRestart {
    /// All pods of a workload are replaced, a few at a time, as its strategy says.
    Rollout {
        /// Which kind of workload.
        kind: WorkloadKind,
        /// Its name.
        name: String,
    },
    /// The pods with these labels are evicted, within their disruption budgets.
    Evict {
        /// The labels, all of which a pod has.
        pods: BTreeMap<String, String>,
    },
    /// The pods with these labels are deleted, whatever their disruption budgets say.
    Delete {
        /// The labels, all of which a pod has.
        pods: BTreeMap<String, String>,
    },
    /// One pod is ended, and whoever owns it makes another.
    Pod {
        /// Its name.
        name: String,
        /// The labels of the pods that it stands among: until all of them are ready, the restart isn't over.
        beside: BTreeMap<String, String>,
        /// Whether disruption budgets may say no.
        is_evicted: bool,
    },
    /// One container in each pod with these labels is restarted in place, by OpenKruise.
    Recreate {
        /// The labels, all of which a pod has.
        pods: BTreeMap<String, String>,
        /// The container's name in the pod.
        container: String,
    },
}

impl KubernetesRestart {
    /// The same of one pod alone. What restarts no pods one by one stays what it is.
    pub(crate) fn of_one(&self, pod: &str) -> Self {
        let (beside, is_evicted) = match self {
            Self::Evict { pods } => (pods, true),
            Self::Delete { pods } => (pods, false),
            Self::Rollout { .. } | Self::Pod { .. } | Self::Recreate { .. } => return self.clone(),
        };
        Self::Pod {
            name: pod.to_owned(),
            beside: beside.clone(),
            is_evicted,
        }
    }
}

/// Workloads that can be rolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

/// A service of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdSpec {
    /// The unit's name, `catalog.service`.
    pub service: String,
    /// The bus that systemd is on, as D-Bus writes addresses.
    pub bus: String,
    /// How it is ended; as the unit itself says (`TimeoutStopSec=`) where `None`.
    pub stop: Option<Stop>,
}

/// A question whose answer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeSpec {
    /// GET a URL.
    Http {
        /// What to get.
        url: String,
        /// How long the answer may take.
        timeout: Duration,
        /// The status that is right; any 2xx where `None`.
        status: Option<u16>,
        /// What the body must contain.
        contains: Option<String>,
    },
    /// Open a TCP connection.
    Tcp {
        /// `host:port`.
        address: String,
        /// How long it may take.
        timeout: Duration,
    },
    /// Ask a gRPC server by gRPC's health protocol, in the clear; `SERVING` is right.
    Grpc {
        /// `host:port`.
        address: String,
        /// The service that is asked about; the server as a whole where it is empty.
        service: String,
        /// How long it may take.
        timeout: Duration,
    },
    /// Run a command; exit code 0 is right.
    Command {
        /// Program and arguments; no shell.
        command: Vec<String>,
        /// How long it may take.
        timeout: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_life_of_its_own_is_not_taken_along() {
        let http = ExecutorSpec::Http(HttpSpec {
            url: "http://127.0.0.1:1/".to_owned(),
            timeout: Duration::ZERO,
        });
        let command = ExecutorSpec::Command(CommandSpec {
            command: Vec::new(),
            timeout: Duration::ZERO,
        });
        let process = ExecutorSpec::Process(ProcessSpec {
            command: Vec::new(),
            environment: BTreeMap::new(),
            directory: None,
            stop: Stop::Kill,
            ports: Vec::new(),
        });
        let docker = ExecutorSpec::Docker(DockerSpec {
            container: String::new(),
            socket: PathBuf::new(),
            stop: Stop::Kill,
        });
        let systemd = ExecutorSpec::Systemd(SystemdSpec {
            service: String::new(),
            bus: String::new(),
            stop: None,
        });
        let kubernetes = |restart| {
            ExecutorSpec::Kubernetes(KubernetesSpec {
                restart,
                namespace: None,
                kubeconfig: None,
                context: None,
                stop: None,
            })
        };
        let pods = BTreeMap::new();
        let pod = kubernetes(KubernetesRestart::Evict { pods });
        let workload = kubernetes(KubernetesRestart::Rollout {
            kind: WorkloadKind::Deployment,
            name: String::new(),
        });
        for (whole, below, expected) in [
            (&process, &http, true),
            (&process, &command, true),
            (&docker, &http, true),
            (&http, &process, true),
            (&command, &workload, true),
            (&workload, &pod, true),
            (&process, &process, false),
            (&systemd, &process, false),
            (&systemd, &systemd, false),
            (&docker, &docker, false),
            (&workload, &workload, false),
            (&pod, &process, false),
        ] {
            assert_eq!(whole.takes_along(below), expected, "{whole:?} {below:?}");
        }
    }
}
