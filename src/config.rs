//! What a person may decide, and what is decided for them when they don't.
//!
//! A YAML file becomes a checked [`Config`] at the door, or is refused with everything that is
//! wrong with it, each mistake with its place and what would be right. The documentation of every
//! key is the [default file](DEFAULT_FILE) itself: a test holds that it says exactly
//! [`Config::default`] and leaves no key out.

mod access;
mod around;
mod document;
mod guards;
mod its;
pub mod learned;
mod probe;
mod quantity;
mod reader;
mod rejuvenate;
mod settings;
mod store;
mod template;
mod units;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use document::{Node, Place, Value};
use reader::{Reader, Section};
use rekindle_recovery::ExecutorSpec;

pub use guards::GuardSettings;
pub use settings::{
    AnalysisSettings, AssemblySettings, BudgetSettings, Config, Durability, IngestSettings,
    JournalSettings, JudgeSettings, ListenSettings, ProbeSettings, RestartSettings, SlowRule,
};
pub use store::StoreSettings;

pub(crate) use quantity::{duration as parse_duration, show_duration};

/// The commented default file: the documentation of all keys.
pub const DEFAULT_FILE: &str = include_str!("config/default.yaml");

/// What `listen.beyond_loopback` must say before Rekindle listens where others can reach it. A
/// sentence rather than `true`, so that nobody turns it on without having read what it means.
pub const BEYOND_LOOPBACK_WORDS: &str =
    "anyone who can reach these ports may send traces and order restarts";

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    subject: String,
    at: Option<Place>,
    /// Begins with the mark that joins it to what is before.
    wrong: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if let Some(at) = &self.at {
            write!(f, " at {at}")?;
        }
        f.write_str(&self.wrong)
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Where it came from: a file, or the command line.
    pub source_name: String,
    /// At least one.
    pub complaints: Vec<Complaint>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.complaints.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {complaint}", self.source_name)?;
        }
        Ok(())
    }
}

/// What the command line overrules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `state_dir`.
    pub state_dir: Option<PathBuf>,
    /// `listen.grpc`.
    pub grpc: Option<SocketAddr>,
    /// `listen.http`.
    pub http: Option<SocketAddr>,
    /// `listen.api`.
    pub api: Option<SocketAddr>,
}

impl Config {
    /// The configuration that this text gives, with what the command line overrules. `environment`
    /// knows the values for `${env:NAME}`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        source_name: &str,
        text: &str,
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let error = |complaints| ConfigError {
            source_name: source_name.to_owned(),
            complaints,
        };
        let document = document::parse(text).map_err(|complaint| error(vec![complaint]))?;
        let reader = Reader::new(environment);
        let config = Self::read(&reader, &document, overrides);
        let complaints = reader.into_complaints();
        if complaints.is_empty() {
            Ok(config)
        } else {
            Err(error(complaints))
        }
    }

    /// The defaults, with what the command line overrules.
    ///
    /// # Errors
    /// When it listens beyond loopback, which only a file can allow.
    pub fn without_file(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::parse("the command line", "", overrides, &|_| None)
    }

    fn read(reader: &Reader<'_>, document: &Node, overrides: &Overrides) -> Self {
        let mut config = Self::default();
        if let Some(top) = Section::open(reader, "", "top", document) {
            config.take(&top);
            top.close();
        }
        config.overrule(overrides);
        config.check_loopback(reader, document);
        config.check_ports(reader, document);
        config
    }

    fn overrule(&mut self, overrides: &Overrides) {
        let Overrides {
            state_dir,
            grpc,
            http,
            api,
        } = overrides.clone();
        let listen = &mut self.listen;
        self.state_dir = state_dir.unwrap_or_else(|| std::mem::take(&mut self.state_dir));
        listen.grpc = grpc.unwrap_or(listen.grpc);
        listen.http = http.unwrap_or(listen.http);
        listen.api = api.unwrap_or(listen.api);
    }

    /// One port can't be listened on twice, by us or by a process that we start. Port 0 is another each time.
    fn check_ports(&self, reader: &Reader<'_>, document: &Node) {
        let addresses = self.listen.addresses();
        for (index, (key, address)) in addresses.iter().enumerate() {
            let mut earlier = addresses[..index].iter();
            if let Some((other, taken)) = earlier.find(|(_, other)| is_taken_by(*address, *other)) {
                let words = match taken == address {
                    true => format!("{address} is what `listen.{other}` listens on already"),
                    false => format!(
                        "{address} is among what `listen.{other}` listens on already, {taken}"
                    ),
                };
                let place = place_of(document, &["listen", key]);
                reader.complain(format!("`listen.{key}`"), place, &words);
            }
            for unit in &self.restart.tree {
                let Some(ExecutorSpec::Process(process)) = &unit.executor else {
                    continue;
                };
                if process.ports.contains(&address.port()) {
                    reader.complain(
                        format!("`listen.{key}`"),
                        place_of(document, &["listen", key]),
                        &format!(
                            "port {} is also among the `ports` of {}, which would never be seen to have stopped",
                            address.port(),
                            unit.name
                        ),
                    );
                }
            }
        }
    }

    /// Without a login, whoever reaches a port may use it: beyond this machine only on request.
    fn check_loopback(&self, reader: &Reader<'_>, document: &Node) {
        if self.listen.beyond_loopback {
            return;
        }
        for (key, address) in self.listen.addresses() {
            if address.ip().is_loopback() {
                continue;
            }
            reader.complain(
                format!("`listen.{key}`"),
                place_of(document, &["listen", key]),
                &format!(
                    "{address} can be reached from other machines, and there is no login; use a \
                     loopback address such as 127.0.0.1, or say `beyond_loopback: \
                     \"{BEYOND_LOOPBACK_WORDS}\"`"
                ),
            );
        }
    }
}

/// Whether nobody can listen here once somebody listens there: who listens on no address in particular listens on all.
fn is_taken_by(address: SocketAddr, other: SocketAddr) -> bool {
    let (ip, there) = (address.ip(), other.ip());
    let all = ip.is_unspecified() || there.is_unspecified();
    address.port() != 0 && address.port() == other.port() && (ip == there || all)
}

/// Where the value under these keys is, if it is there.
fn place_of(node: &Node, keys: &[&str]) -> Option<Place> {
    let Some((first, rest)) = keys.split_first() else {
        return Some(node.at);
    };
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let (_, inner) = entries.iter().find(|(key, _)| key.name == *first)?;
    place_of(inner, rest)
}
