//! Where does a daemon listen that was told to take any port? A port that was free a moment ago may be another's by now.

use std::net::SocketAddr;
use std::path::Path;

/// What it says in its log of this listener (`grpc`, `http`, `api`), once it is ready.
pub(crate) fn listens_at(log: &Path, what: &str) -> Option<SocketAddr> {
    let said = std::fs::read_to_string(log).ok()?;
    let line = said.lines().find(|line| line.contains(": ready grpc="))?;
    let (_, rest) = line.split_once(&format!(" {what}="))?;
    rest.split_whitespace().next()?.parse().ok()
}
