//! The auction site: five processes on loopback, a dozen components, one of them soon ill.
//!
//! Made after the testbed of the microreboot paper (Candea et al., OSDI 2004): an auction site of
//! crash-only components whose durable state is elsewhere. Here that is SQLite, one file per process
//! ([`store`]); components are held apart by [`container`] and restarted alone through the control
//! port ([`control`]); faults are injected there too ([`fault`]); requests are told by
//! `opentelemetry` spans ([`telemetry`]).
//!
//! | service | components | asks |
//! |---|---|---|
//! | `web` | `web.browse`, `web.bid`, `web.account` | all others |
//! | `catalog` | `catalog.items`, `catalog.search`, `catalog.categories` | – |
//! | `bidding` | `bidding.place`, `bidding.history` | `catalog` |
//! | `accounts` | `accounts.users`, `accounts.auth` | – |
//! | `sessions` | `sessions.store` | – |
//!
//! Below `catalog.categories` is a part of it, `catalog.categories.cache` ([`cache`]), which is emptied alone.

mod accounts;
mod bidding;
mod cache;
mod catalog;
mod container;
mod control;
mod fault;
mod leak;
mod message;
mod peers;
mod public;
mod service;
mod sessions;
mod store;
mod table;
mod telemetry;
mod web;
pub mod world;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use container::{ComponentStatus, Rebooted};
pub use control::ServiceStatus;
pub use fault::{DEFAULT_DELAY, Fault, FaultKind, FaultScope};
pub use leak::Leak;
pub use service::{Service, ServiceError, main};
pub use store::StoreError;
use world::{Scale, World};

pub(crate) use peers::percent_encode;

/// A process of the site.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum ServiceName {
    /// What users talk to.
    Web,
    /// What is for sale.
    Catalog,
    /// Who offers how much.
    Bidding,
    /// Who may bid.
    Accounts,
    /// Who is logged in.
    Sessions,
}

impl ServiceName {
    /// All five.
    pub const ALL: [Self; 5] = [
        Self::Web,
        Self::Catalog,
        Self::Bidding,
        Self::Accounts,
        Self::Sessions,
    ];

    /// The name, as in `service.name`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Catalog => "catalog",
            Self::Bidding => "bidding",
            Self::Accounts => "accounts",
            Self::Sessions => "sessions",
        }
    }

    /// The names of its components: `catalog.search` is one of `catalog`.
    pub const fn components(self) -> &'static [&'static str] {
        match self {
            Self::Web => &["web.browse", "web.bid", "web.account"],
            Self::Catalog => &["catalog.items", "catalog.search", "catalog.categories"],
            Self::Bidding => &["bidding.place", "bidding.history"],
            Self::Accounts => &["accounts.users", "accounts.auth"],
            Self::Sessions => &["sessions.store"],
        }
    }

    /// The service whose component, or part of one, this is.
    pub fn of_component(component: &str) -> Option<Self> {
        let component = owner_of(component).unwrap_or(component);
        Self::ALL
            .into_iter()
            .find(|service| service.components().contains(&component))
    }

    /// The services that it asks.
    pub const fn peers(self) -> &'static [Self] {
        match self {
            Self::Web => &[Self::Catalog, Self::Bidding, Self::Accounts, Self::Sessions],
            Self::Bidding => &[Self::Catalog],
            Self::Catalog | Self::Accounts | Self::Sessions => &[],
        }
    }
}

/// The part of a component that can be reset alone.
pub fn part_of(component: &str) -> Option<&'static str> {
    match component {
        "catalog.categories" => Some("catalog.categories.cache"),
        _ => None,
    }
}

/// The component that this is a part of.
pub fn owner_of(part: &str) -> Option<&str> {
    let (component, _) = part.rsplit_once('.')?;
    (part_of(component) == Some(part)).then_some(component)
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a peer is: `catalog=127.0.0.1:7001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which service.
    pub service: ServiceName,
    /// Its public address.
    pub address: SocketAddr,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("expected SERVICE=ADDRESS, as catalog=127.0.0.1:7001: {text:?}");
        let (name, address) = text.split_once('=').ok_or_else(malformed)?;
        let service = ServiceName::ALL
            .into_iter()
            .find(|service| service.as_str() == name)
            .ok_or_else(malformed)?;
        Ok(Self {
            service,
            address: address.parse().map_err(|_| malformed())?,
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.service, self.address)
    }
}

/// How one process of the site is to run.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceOptions {
    /// Which process of the site this is.
    #[arg(value_enum)]
    pub service: ServiceName,
    /// Where it answers requests.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where it is microrebooted, asked and made ill.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub control: SocketAddr,
    /// The folder of its database file.
    #[arg(long)]
    pub data: PathBuf,
    /// Where the services that it asks are: SERVICE=ADDRESS, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<Peer>,
    /// Where spans go (OTLP/gRPC), as http://127.0.0.1:4317; nowhere when left out.
    #[arg(long)]
    pub otlp: Option<String>,
    /// How long the exporter gathers spans before it sends them; the SDK's default (5 s) when left
    /// out.
    #[arg(long)]
    pub export_delay_ms: Option<u64>,
    /// What the data are made from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Items for sale.
    #[arg(long, default_value_t = Scale::default().items)]
    pub items: u32,
    /// Bids already placed.
    #[arg(long, default_value_t = Scale::default().bids)]
    pub bids: u32,
    /// Registered users.
    #[arg(long, default_value_t = Scale::default().users)]
    pub users: u32,
    /// How long a request may take that brings no limit of its own.
    #[arg(long, default_value_t = DEFAULT_BUDGET.as_millis() as u64)]
    pub budget_ms: u64,
    /// Ended lives with a running thread at which no further microreboot is done.
    #[arg(long, default_value_t = DEFAULT_ABANDONED)]
    pub max_abandoned: usize,
    /// How long a component may take to start when it is microrebooted.
    #[arg(long, default_value_t = DEFAULT_START.as_millis() as u64)]
    pub start_limit_ms: u64,
    /// The generation of this process.
    #[arg(long, env = "REKINDLE_GENERATION", hide = true)]
    pub generation: Option<u64>,
}

/// Longer than any healthy request by far; every hop on the way waits
/// [`container::DEADLINE_MARGIN`] less than the one before.
const DEFAULT_BUDGET: Duration = Duration::from_millis(1_500);

/// With two threads each, at most eight threads that may burn what nobody else wants.
const DEFAULT_ABANDONED: usize = 4;

/// Well above what loading takes in a debug build on a busy machine, below the 15 s that a microreboot's caller waits.
const DEFAULT_START: Duration = Duration::from_secs(12);

impl ServiceOptions {
    /// Defaults for a service whose data are in this folder.
    pub fn new(service: ServiceName, data: PathBuf) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let scale = Scale::default();
        Self {
            service,
            listen: anywhere,
            control: anywhere,
            data,
            peers: Vec::new(),
            otlp: None,
            export_delay_ms: None,
            seed: 1,
            items: scale.items,
            bids: scale.bids,
            users: scale.users,
            budget_ms: DEFAULT_BUDGET.as_millis() as u64,
            max_abandoned: DEFAULT_ABANDONED,
            start_limit_ms: DEFAULT_START.as_millis() as u64,
            generation: None,
        }
    }

    /// What is for sale there.
    pub fn world(&self) -> World {
        World {
            seed: self.seed,
            scale: Scale {
                items: self.items,
                bids: self.bids,
                users: self.users,
            },
        }
    }

    fn export_delay(&self) -> Option<Duration> {
        self.export_delay_ms.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests;
