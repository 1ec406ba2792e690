//! What can be suspected, and at which level.
//!
//! One fault shows at several levels at once: a component that raises errors makes its process, its
//! host and its version look bad too. So a request says something about every level, and ranking
//! decides which is the most specific one that explains the failures.

use std::fmt;

use serde::{Deserialize, Serialize};

use rekindle_model::Name;

/// The kind of thing that a component is, widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A machine, or a node.
    Host,
    /// All instances of one service.
    Service,
    /// All instances of one version of a service.
    Version,
    /// One process.
    Instance,
    /// A part of a process: a module, a bean, an actor.
    CodeComponent,
    /// One operation of a service.
    Operation,
    /// A peer without instrumentation, such as a database, known only by those who call it.
    Dependency,
}

impl Level {
    /// The word for it, for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Service => "service",
            Self::Version => "version",
            Self::Instance => "instance",
            Self::CodeComponent => "code_component",
            Self::Operation => "operation",
            Self::Dependency => "dependency",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that can be suspected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Component {
    /// What kind of thing it is.
    pub level: Level,
    /// The service that it belongs to. Empty for hosts and dependencies, which belong to none.
    pub service: Name,
    /// Its name within the service: the code component's, the instance's id, the version. For a
    /// service the same as `service`.
    pub name: Name,
}

impl Component {
    /// The component of this level and name in `service`.
    pub fn new(level: Level, service: &Name, name: &Name) -> Self {
        Self {
            level,
            service: service.clone(),
            name: name.clone(),
        }
    }

    /// The service as a component.
    pub fn service(service: &Name) -> Self {
        Self::new(Level::Service, service, service)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Service => write!(f, "service {}", self.service),
            Level::Host => write!(f, "host {}", self.name),
            Level::Dependency => write!(f, "dependency {}", self.name),
            Level::Version => write!(f, "version {} of {}", self.name, self.service),
            Level::Instance => write!(f, "instance {} of {}", self.name, self.service),
            Level::CodeComponent => write!(f, "component {} of {}", self.name, self.service),
            Level::Operation => write!(f, "operation {} of {}", self.name, self.service),
        }
    }
}
