//! Reading configuration files, and saying what is wrong with them.

use std::path::Path;

use serde::Serialize;

use super::{Failure, Terminal};
use crate::config::{Config, DEFAULT_FILE, Overrides};
use crate::exit::Exit;

/// Larger files are no configuration.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What `check-config` tells a program.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    complaints: Vec<String>,
}

/// The configuration in this file.
pub(super) fn read(file: &Path, overrides: &Overrides) -> Result<Config, Failure> {
    let name = file.display();
    let unreadable =
        |error| Failure::Usage(format!("failed reading configuration {name}: {error}"));
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        return Err(Failure::Usage(format!(
            "{name} has {size} bytes; that is no configuration"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let environment = |name: &str| std::env::var(name).ok();
    Ok(Config::parse(
        &name.to_string(),
        &text,
        overrides,
        &environment,
    )?)
}

/// Says everything that is wrong with a file, or what it means.
pub(super) fn check_config(
    terminal: &mut Terminal,
    file: Option<&Path>,
    print_default: bool,
) -> Result<Exit, Failure> {
    let (Some(file), false) = (file, print_default) else {
        terminal.line(DEFAULT_FILE.trim_end())?;
        return Ok(Exit::Ok);
    };
    match read(file, &Overrides::default()) {
        Ok(config) => {
            let checked = Checked {
                ok: true,
                complaints: Vec::new(),
            };
            terminal.answer(&checked, |terminal, _| {
                terminal.line(format!("{} is fine.", file.display()))?;
                for sentence in meaning(&config) {
                    terminal.line(format!("  {sentence}"))?;
                }
                Ok(())
            })?;
            Ok(Exit::Ok)
        }
        Err(Failure::Config(error)) if terminal.is_json() => {
            let checked = Checked {
                ok: false,
                complaints: error.complaints.iter().map(ToString::to_string).collect(),
            };
            terminal.answer(&checked, |_, _| Ok(()))?;
            Ok(Exit::Usage)
        }
        Err(other) => Err(other),
    }
}

/// What the configuration amounts to.
fn meaning(config: &Config) -> Vec<String> {
    let listen = &config.listen;
    let restart = &config.restart;
    let executors = restart.tree.iter().filter(|unit| unit.executor.is_some());
    vec![
        format!(
            "listens on {} (OTLP gRPC), {} (OTLP HTTP), {} (pages and API)",
            listen.grpc, listen.http, listen.api
        ),
        format!("keeps its state in {}", config.state_dir.display()),
        format!(
            "restart tree of {} units, {} of them with a way to restart them; mode {:?}",
            restart.tree.len(),
            executors.count(),
            restart.mode
        )
        .to_lowercase(),
        format!(
            "at most {} restarts of a unit and {} in all per {}",
            restart.budget.restarts,
            restart.budget.restarts_in_all,
            crate::config::show_duration(restart.budget.per)
        ),
        format!("{} probes", config.probes.len()),
    ]
}
