//! Who is there, by those who can restart them?

use std::net::IpAddr;

use super::{Source, Template, Trait};
use crate::executors::{self, SHORT_ID};

/// One instance on a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// What its platform calls it, and knows it by.
    pub name: String,
    /// What identifies it for good.
    pub id: String,
    /// Whether it runs, and is ready as far as its platform knows.
    pub is_up: bool,
    /// Where it is reached in its platform's network, where that is known.
    pub address: Option<IpAddr>,
}

impl Listed {
    /// `None` if the list doesn't say it.
    pub(super) fn value(&self, of: Trait) -> Option<String> {
        Some(match of {
            Trait::Name => self.name.clone(),
            Trait::Id => self.id.clone(),
            Trait::ShortId => self.id.chars().take(SHORT_ID).collect(),
            Trait::Address => match self.address? {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            },
        })
    }
}

/// The instances of a template, in the order of their names; or why nobody can tell.
pub(super) async fn list(template: &Template) -> Result<Vec<Listed>, String> {
    let listed = match &template.source {
        Source::Containers { labels, socket, .. } => executors::containers(socket, labels).await,
        Source::Services { pattern, bus, .. } => executors::services(pattern, bus).await,
        Source::Pods(spec) => executors::pods(spec).await,
    };
    let mut listed = listed.map_err(|failure| failure.reason)?;
    listed.sort();
    Ok(listed)
}
