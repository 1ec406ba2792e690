//! Where the command line hands over to what runs: daemon, demo, auction.

use std::ffi::OsString;
use std::io::IsTerminal;

use anyhow::Context;
use clap::Parser;
use rekindle_datasets::auction::{self, ServiceOptions};
use tracing_subscriber::EnvFilter;

use crate::cli::{DemoArgs, RunArgs};
use crate::config::Config;
use crate::daemon::{self, RunOptions};
use crate::demo::{self, DemoOptions};
use crate::exit::Exit;

/// Names the place at which the daemon kills itself, for tests of what happens then.
const CRASH_POINT: &str = "REKINDLE_CRASH_POINT";

/// What is logged unless `RUST_LOG` says otherwise: our own news, and others' warnings.
const DEFAULT_LOG: &str = "warn,rekindle=info,rekindle_ingest=info,rekindle_recovery=info";

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it can't start, or has to stop.
pub fn run(config: Config, args: &RunArgs) -> anyhow::Result<Exit> {
    start_logging(DEFAULT_LOG);
    let crash_point = match std::env::var(CRASH_POINT) {
        Ok(name) => Some(
            name.parse()
                .with_context(|| format!("reading {CRASH_POINT}"))?,
        ),
        Err(_) => None,
    };
    daemon::run(
        config,
        &RunOptions {
            stop_children: args.stop_children,
            crash_point,
        },
    )?;
    Ok(Exit::Ok)
}

/// Runs the demo.
///
/// # Errors
/// When it can't be set up. A demo whose story goes wrong ends with [`Exit::Failed`].
pub fn demo(args: &DemoArgs, json: bool) -> anyhow::Result<Exit> {
    let options = DemoOptions {
        fast: args.fast,
        small: args.small,
        all_faults: args.all_faults,
        aging: args.aging,
        only: args.only.clone(),
        seed: args.seed,
        keep: args.keep,
        api: args.listen_api,
        json,
    };
    Ok(if demo::run(&options)? {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// The auction's own command line.
#[derive(Debug, Parser)]
#[command(name = "rekindle auction")]
struct Auction {
    #[command(flatten)]
    options: ServiceOptions,
}

/// Runs one process of the auction site.
///
/// # Errors
/// When it can't start, or has to stop.
pub fn auction(args: &[OsString]) -> anyhow::Result<Exit> {
    start_logging("warn");
    let name = OsString::from("rekindle auction");
    let auction = Auction::try_parse_from(std::iter::once(&name).chain(args))?;
    auction::main(&auction.options)?;
    Ok(Exit::Ok)
}

/// Logs to standard error: standard output belongs to answers.
fn start_logging(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .try_init();
    // Somebody who embeds this has a logger of their own already, and it is theirs to keep.
    drop(started);
}
