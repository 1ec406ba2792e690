//! Which units come and go by themselves, and how does the tree follow?
//!
//! Replicas are not written into a tree one by one: an engine scales them, and each rollout names them anew. A
//! [`Template`] says what all of them have in common, and who lists them. Whatever is on the list is a unit; what has
//! been off it for a while is none.
//!
//! ```text
//!  list (engine, API server) ─▶ growth: one transition function ─▶ units ─▶ tree, whole ─▶ the service takes it
//! ```
//!
//! Only lists of those who can restart an instance make units. What telemetry says is matched against them, and
//! never names whom to restart: an instance that somebody merely claims to be belongs to the unit above.

mod fill;
mod gardener;
mod growth;
mod listing;

pub use self::fill::BEFORE as ITS;
pub use self::gardener::{Gardener, Growing, Grown};
pub use self::growth::{Growth, Stage};
pub use self::listing::Listed;

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::Duration;

use crate::tree::Kinds;
use crate::{DockerSpec, ExecutorSpec, KubernetesSpec, Stop, SystemdSpec, UnitName, UnitSpec};

/// What units of one kind have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// As each of them would be written: the kind's name, the parent, the attributes that all have, what limits
    /// them, what they are asked. Without an executor of its own. `${its:name}` and its like ([`Trait::WORDS`]) in its
    /// texts stand for what the list says of the one that it is about.
    pub unit: UnitSpec,
    /// Who lists them, and restarts them.
    pub source: Source,
    /// By which attributes of telemetry they are told apart, and what of the list each has as its value.
    pub apart: BTreeMap<String, Trait>,
    /// So many at most, and as many again that are missing: a mistake in a label must not fill the tree.
    pub most: usize,
    /// How long one must be off the list to be gone. Spans of its last moments are still its, and what is only made
    /// anew stays what it was.
    pub gone_after: Duration,
}

/// What a list says of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trait {
    /// Its name.
    Name,
    /// What identifies it for good: a container's id, a pod's uid; a service's name, which no other has.
    Id,
    /// The first twelve characters of that: what a container is told as its host name.
    ShortId,
    /// Where it is reached in its platform's network: an IP address, in brackets for version 6.
    Address,
}

/// Who lists instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Docker-compatible engine: the containers with these labels, but for those that
    /// were never started or ended in order.
    Containers {
        /// The labels, all of which a container has.
        labels: BTreeMap<String, String>,
        /// The engine's socket.
        socket: PathBuf,
        /// How a container is ended.
        stop: Stop,
    },
    /// systemd: the services that it has loaded under such a name, but for those that were stopped in order. One that
    /// exits with an error when it is stopped in order has failed, to systemd, and is down until `reset-failed`.
    Services {
        /// A name with `*`, `?` or `[…]` in it, as systemd matches them.
        pattern: String,
        /// The bus that systemd is on, as D-Bus writes addresses.
        bus: String,
        /// How a service is ended; as it says itself where `None`.
        stop: Option<Stop>,
    },
    /// Kubernetes: the pods that this evicts or deletes. One is restarted by ending it alone, and whoever owns it
    /// makes another.
    Pods(KubernetesSpec),
}

impl Source {
    /// What it lists, in one word, as the configuration calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Containers { .. } => "containers",
            Self::Services { .. } => "services",
            Self::Pods(_) => "pods",
        }
    }

    /// How the instance of this name on its list is restarted.
    fn executor(&self, name: &str) -> ExecutorSpec {
        match self {
            Self::Containers { socket, stop, .. } => ExecutorSpec::Docker(DockerSpec {
                container: name.to_owned(),
                socket: socket.clone(),
                stop: *stop,
            }),
            Self::Services { bus, stop, .. } => ExecutorSpec::Systemd(SystemdSpec {
                service: name.to_owned(),
                bus: bus.clone(),
                stop: *stop,
            }),
            Self::Pods(all) => ExecutorSpec::Kubernetes(KubernetesSpec {
                restart: all.restart.of_one(name),
                ..all.clone()
            }),
        }
    }
}

impl Template {
    /// A unit such as grows from it, to see whether the tree can take one.
    pub fn example(&self) -> UnitSpec {
        // By its kind, also in the first characters of its id: another kind's example is another instance.
        let mut hasher = std::hash::DefaultHasher::new();
        self.unit.name.hash(&mut hasher);
        self.grow(&Listed {
            name: format!("example-of-{}", self.unit.name),
            id: format!("{:016x}", hasher.finish()),
            is_up: true,
            address: None,
        })
    }

    /// The unit that this instance is, as if it had been written.
    fn grow(&self, listed: &Listed) -> UnitSpec {
        let mut unit = self.unit.clone();
        unit.name = instance_of(&self.unit.name, &listed.name);
        unit.executor = Some(self.source.executor(&listed.name));
        fill::unit(&mut unit, listed);
        let told = self.apart.iter();
        unit.selector.extend(told.filter_map(|(attribute, of)| {
            let value = listed.value(*of)?;
            Some((attribute.clone(), value))
        }));
        unit
    }
}

/// What grows, for the tree.
pub fn kinds(templates: &[Template]) -> Kinds {
    templates
        .iter()
        .filter_map(|it| Some((it.unit.name.clone(), it.unit.parent.clone()?)))
        .collect()
}

/// The name of a kind's instance.
pub fn instance_of(kind: &UnitName, instance: &str) -> UnitName {
    UnitName(format!("{kind}{}{instance}", crate::tree::OF_KIND))
}

#[cfg(test)]
pub(crate) mod tests;
