//! Where the command line hands over to what runs: daemon, demo, auction.

use std::ffi::OsString;

use crate::cli::DemoArgs;
use crate::config::Config;
use crate::exit::Exit;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it can't start, or has to stop.
pub fn run(config: Config) -> anyhow::Result<Exit> {
    let _ = config;
    anyhow::bail!("the daemon isn't wired yet")
}

/// Runs the demo.
///
/// # Errors
/// When it can't be set up. A demo whose story goes wrong ends with [`Exit::Failed`].
pub fn demo(args: &DemoArgs) -> anyhow::Result<Exit> {
    let _ = args;
    anyhow::bail!("the demo isn't wired yet")
}

/// Runs one process of the auction site.
///
/// # Errors
/// When it can't start, or has to stop.
pub fn auction(args: &[OsString]) -> anyhow::Result<Exit> {
    let _ = args;
    anyhow::bail!("the auction isn't wired yet")
}
