//! Reading configuration files, and saying what is wrong with them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use rekindle_recovery::belief::Learned;
use rekindle_recovery::rejuvenate::Gauge;
use rekindle_recovery::{ExecutorSpec, UnitName, template};
use serde::Serialize;

use super::{Failure, Terminal};
use crate::config::{self, Config, DEFAULT_FILE, Overrides};
use crate::daemon::tree_of;
use crate::exit::Exit;
use crate::words;

/// Larger files are no configuration.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Ten thousand rows, each of some hundred bytes and more.
const MAX_LEARNED_BYTES: u64 = 64 * 1024 * 1024;

/// What `check-config` tells a program.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    complaints: Vec<String>,
    /// What works, and is probably not meant so.
    warnings: Vec<String>,
}

/// The configuration in this file.
pub(super) fn read(file: &Path, overrides: &Overrides) -> Result<Config, Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        return with_learned(parse("the standard input", &text, overrides)?);
    }
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
    with_learned(parse(&name.to_string(), &text, overrides)?)
}

/// With what the file says that it names.
fn with_learned(mut config: Config) -> Result<Config, Failure> {
    if let Some(file) = &config.restart.learned_file {
        config.restart.learned = learned(file, &config)?;
    }
    Ok(config)
}

/// What was learned elsewhere, of the configuration's units.
fn learned(file: &Path, config: &Config) -> Result<Learned, Failure> {
    let name = file.display();
    let unreadable = |error| {
        Failure::Usage(format!(
            "failed reading {name}, which `restart.learned` names: {error}"
        ))
    };
    let mut text = String::new();
    let file = std::fs::File::open(file).map_err(unreadable)?;
    let read = file.take(MAX_LEARNED_BYTES + 1).read_to_string(&mut text);
    if read.map_err(unreadable)? as u64 > MAX_LEARNED_BYTES {
        return Err(Failure::Usage(format!(
            "{name} has more than {MAX_LEARNED_BYTES} bytes; no export of Rekindle's is so long"
        )));
    }
    let tree = tree_of(config)?;
    Ok(config::learned::parse(&name.to_string(), &text, &tree)?)
}

fn parse(name: &str, text: &str, overrides: &Overrides) -> Result<Config, Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    Ok(Config::parse(name, text, overrides, &environment)?)
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
                warnings: warnings(&config),
            };
            terminal.answer(&checked, |terminal, checked| {
                let but = match checked.warnings.len() {
                    0 => String::new(),
                    number => format!(", but for {}", words::number_of(number, "warning")),
                };
                let name = match file == Path::new("-") {
                    true => "the standard input".to_owned(),
                    false => file.display().to_string(),
                };
                terminal.line(format!("{name} is fine{but}."))?;
                for warning in &checked.warnings {
                    terminal.line(format!("  warning: {warning}"))?;
                }
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
                warnings: Vec::new(),
            };
            terminal.answer(&checked, |_, _| Ok(()))?;
            Ok(Exit::Usage)
        }
        Err(other) => Err(other),
    }
}

/// What can be started and is probably not what was meant.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut no_way: Vec<&str> = Vec::new();
    for unit in &config.restart.tree {
        let has_parts = config
            .restart
            .tree
            .iter()
            .chain(
                config
                    .restart
                    .templates
                    .iter()
                    .map(|template| &template.unit),
            )
            .any(|part| part.parent.as_ref() == Some(&unit.name));
        let Some(executor) = &unit.executor else {
            if !has_parts {
                no_way.push(unit.name.as_str());
            }
            continue;
        };
        if unit.selector.is_empty() && !has_parts {
            warnings.push(format!(
                "{} can be restarted, but has no `match`, so nobody will ever be suspected in it",
                unit.name
            ));
        }
        let (program, directory) = match executor {
            ExecutorSpec::Process(process) => {
                (process.command.first(), process.directory.as_deref())
            }
            ExecutorSpec::Command(command) => (command.command.first(), None),
            _ => (None, None),
        };
        if let Some(directory) = directory
            && !directory.is_dir()
        {
            warnings.push(format!(
                "{}: there is no directory {} on this machine to run it in",
                unit.name,
                directory.display()
            ));
            continue;
        }
        if let Some(program) = program
            && !is_there(program, directory)
        {
            warnings.push(format!(
                "{}: there is no program {program} on this machine that could be run",
                unit.name
            ));
        }
    }
    if !no_way.is_empty() {
        warnings.push(format!(
            "nobody says how to restart {}: only observed until then",
            words::names(&no_way)
        ));
    }
    warnings
}

/// Whether a program can be found as it will be when it is run: by its path, or among those of `PATH`.
fn is_there(program: &str, directory: Option<&Path>) -> bool {
    let is_file = |path: &Path| path.metadata().is_ok_and(|found| found.is_file());
    if program.contains('/') {
        return is_file(&directory.unwrap_or(Path::new("")).join(program));
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| is_file(&folder.join(program)))
}

/// How far Rekindle may go, and where.
fn modes(config: &Config) -> String {
    let mut units: Vec<words::UnitMode<'_>> = Vec::new();
    // Parents come before what is below them.
    for unit in &config.restart.tree {
        let parent = unit.parent.as_ref().map(|parent| parent.as_str());
        let above = units.iter().find(|(name, ..)| Some(*name) == parent);
        let above = above.map(|(_, mode, _)| *mode);
        let mode = unit.mode.or(above).unwrap_or(config.restart.mode);
        units.push((unit.name.as_str(), mode, above));
    }
    words::modes_of(&units)
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
            "restart tree of {} units, {} of them with a way to restart them: {}",
            restart.tree.len(),
            executors.count(),
            modes(config)
        ),
        format!(
            "at most {} restarts of a unit and {} in all per {}",
            restart.budget.restarts,
            restart.budget.restarts_in_all,
            crate::config::show_duration(restart.budget.per)
        ),
        format!("{} probes", config.probes.len()),
    ]
    .into_iter()
    .chain(growth(config))
    .chain(heartbeats(config))
    .collect()
}

/// What units come and go by themselves, or are replicas.
fn growth(config: &Config) -> impl Iterator<Item = String> + '_ {
    let mut replicas: BTreeMap<&UnitName, usize> = BTreeMap::new();
    for unit in &config.restart.tree {
        if let Some(kind) = config.restart.kinds.kind_of(&unit.name) {
            *replicas.entry(kind).or_default() += 1;
        }
    }
    let replicas = replicas.into_iter().map(|(kind, number)| {
        let first = template::instance_of(kind, "1");
        format!(
            "starts {} of {kind}, from {first} on",
            words::number_of(number, "replica")
        )
    });
    let grown = config.restart.templates.iter().map(|template| {
        let apart = template.apart.keys().map(String::as_str);
        format!(
            "lets up to {} {} grow below {} as {}@NAME, told apart by {}",
            template.most,
            template.source.kind(),
            template.unit.parent.as_ref().map_or("", UnitName::as_str),
            template.unit.name,
            apart.collect::<Vec<_>>().join(", ")
        )
    });
    replicas.chain(grown)
}

/// Which heartbeats the units' watches live on: of a number that nobody tells nothing is ever measured.
fn heartbeats(config: &Config) -> impl Iterator<Item = String> + '_ {
    let grown = config.restart.templates.iter().map(|it| &it.unit);
    let units = config.restart.tree.iter().chain(grown);
    units.filter_map(|spec| {
        let unit = &spec.name;
        let told: Vec<&str> = spec
            .watches
            .iter()
            .flat_map(|watch| watch.bound.gauges())
            .filter_map(|gauge| match gauge {
                Gauge::Heartbeat { name, .. } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        (!told.is_empty()).then(|| {
            format!(
                "waits for heartbeats of {unit} that tell {} (POST /api/v1/heartbeats); until they come, nobody watches that",
                told.join(", ")
            )
        })
    })
}
