//! The command line: what was typed, and whom it goes to.
//!
//! `run`, `demo`, `simulate`, `load` and `check-config` do something themselves; everything else asks a running daemon
//! over its HTTP API. People get tables, programs get the API's JSON (`-o json`), scripts get
//! [exit codes](crate::exit).

mod analyze;
mod args;
mod ask;
mod bench;
mod case;
mod check;
mod learned;
mod load;
mod order;
mod output;
mod post_mortem;
mod recorded;
mod rejuvenation;
mod replay;
mod simulate;
mod store;
mod tables;
mod terminal;
mod tree;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::{Arg, CommandFactory as _, FromArgMatches as _};

use crate::client::{Client, ClientError};
use crate::config::{Config, ConfigError};
use crate::entry;
use crate::exit::Exit;

pub use args::{
    AnalyzeArgs, BenchCommand, Cli, Command, DemoArgs, ExportArgs, ExportForm, Grouping,
    ImportArgs, LearnedCommand, LoadArgs, LoadCompression, LoadTransport, LocalizationArgs, Output,
    RecordArgs, ReplayArgs, RunArgs, SimulateArgs, SimulateScenario, StoreArgs, TreeCommand,
};
pub use replay::Speed;
pub(crate) use terminal::Terminal;

/// Why a command didn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon wasn't there or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was typed is wrong in a way that clap can't see.
    #[error("{0}")]
    Usage(String),
    /// What was asked about isn't there, for which no daemon was asked.
    #[error("{0}")]
    NotFound(String),
    /// The terminal or pipe is gone.
    #[error("failed writing the answer: {0}")]
    Write(#[from] io::Error),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Client(ClientError::Unreachable { .. }) => Exit::Unreachable,
            Self::Client(ClientError::Problem(problem)) => problem.kind.into(),
            Self::Client(ClientError::NotRekindle { .. }) | Self::Other(_) => Exit::Failed,
            Self::Config(_) | Self::Usage(_) => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            // Whoever closes the pipe (`rekindle history | head`) has seen enough.
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Write(_) => Exit::Failed,
        }
    }
}

impl Failure {
    /// For programs: the daemon's problem as it sent it, else the same fields as far as they are known.
    fn to_json(&self, exit: Exit) -> serde_json::Value {
        let mut value = match self {
            Self::Client(ClientError::Problem(problem)) => {
                serde_json::to_value(problem).unwrap_or_default()
            }
            _ => serde_json::json!({ "detail": self.to_string() }),
        };
        if let Some(fields) = value.as_object_mut() {
            fields.insert("exit".to_owned(), (exit as u8).into());
        }
        value
    }
}

/// Commands that ask no daemon, so that `--api` says nothing to them.
const ALONE: [&str; 10] = [
    "run",
    "demo",
    "simulate",
    "load",
    "check-config",
    "analyze",
    "replay",
    "bench",
    "import",
    "export",
];

/// What can be typed, without `--api` in the help of those who don't need it. It is taken all the same: scripts have it in
/// front of everything.
fn command() -> clap::Command {
    let unused = || Arg::new("api").long("api").value_name("URL").hide(true);
    ALONE.iter().fold(Cli::command(), |command, name| {
        command.mut_subcommand(name, |alone| alone.arg(unused()))
    })
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Does what the arguments say.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no mistakes. A closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
        }
    };
    let json = cli.output == Output::Json;
    let mut terminal = Terminal::stdout(cli.output);
    match dispatch(cli, &mut terminal) {
        Ok(exit) => exit,
        Err(failure) => {
            let exit = failure.exit();
            if exit != Exit::Ok {
                // A configuration's mistakes begin with its file, a line each, as compilers' do.
                let name = match failure {
                    Failure::Config(_) => "",
                    _ => "rekindle: ",
                };
                let _ = match json {
                    true => writeln!(io::stderr(), "{}", failure.to_json(exit)),
                    false => writeln!(io::stderr(), "{name}{failure}"),
                };
            }
            exit
        }
    }
}

fn dispatch(cli: Cli, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let client = || Client::new(&cli.api);
    match cli.command {
        Command::Run(args) => Ok(entry::run(load(&args)?, &args)?),
        Command::Demo(args) => Ok(entry::demo(&args, cli.output == Output::Json)?),
        Command::Simulate(args) => simulate::simulate(terminal, &args),
        Command::Analyze(args) => analyze::analyze(terminal, &args),
        Command::Replay(args) => replay::replay(terminal, &args),
        Command::Bench(BenchCommand::Localization(args)) => bench::localization(terminal, &args),
        Command::Bench(BenchCommand::Record(args)) => case::record(terminal, &client(), &args),
        Command::Import(args) => store::import(terminal, &args),
        Command::Export(args) => store::export(&args),
        Command::Trace { id } => store::trace(terminal, &client(), id),
        Command::Load(args) => load::load(terminal, &args),
        Command::Auction { arguments } => Ok(entry::auction(&arguments)?),
        Command::CheckConfig {
            file,
            print_default,
        } => check::check_config(terminal, file.as_deref(), print_default),
        Command::Status => ask::status(terminal, &client()),
        Command::Suspects { incident } => ask::suspects(terminal, &client(), incident),
        Command::Explain { what } => ask::explain(terminal, &client(), &what),
        Command::Incidents => ask::incidents(terminal, &client()),
        Command::Tree { what: None } => ask::tree(terminal, &client()),
        Command::Tree {
            what: Some(TreeCommand::Derive { traces }),
        } => tree::derive(terminal, &client(), &traces),
        Command::Tree {
            what: Some(TreeCommand::Lint { config, traces }),
        } => tree::lint(terminal, &client(), &config, &traces),
        Command::Tree {
            what: Some(TreeCommand::Propose { config }),
        } => tree::suggest(terminal, &client(), &config),
        Command::Rejuvenation => rejuvenation::rejuvenation(terminal, &client()),
        Command::Plan { plan } => ask::plan(terminal, &client(), plan),
        Command::History { limit, long } => ask::history(terminal, &client(), limit, long),
        Command::Learned(LearnedCommand::Export) => learned::export(terminal, &client()),
        Command::PostMortem { action, incident } => {
            post_mortem::post_mortem(terminal, &client(), action, incident)
        }
        Command::Approve { plan, wait, by } => order::approve(terminal, &client(), plan, wait, by),
        Command::Reject { plan, reason, by } => {
            order::reject(terminal, &client(), plan, reason, by)
        }
        Command::Restart {
            unit,
            dry_run,
            wait,
            reason,
            by,
        } => {
            let after = order::last_action(&client(), wait)?;
            let reply = order::restart(&client(), &unit, dry_run, reason, by)?;
            order::show(terminal, &client(), &reply, after)
        }
        Command::Forget { unit, by } => order::forget(terminal, &client(), &unit, by),
        Command::Intervention(args) => order::intervention(terminal, &client(), args),
        Command::Pause {
            reason,
            duration,
            by,
        } => order::pause(terminal, &client(), reason, duration, by),
        Command::Resume { by } => order::resume(terminal, &client(), by),
    }
}

/// The configuration of `run`: its file, or the defaults, with what was typed on top.
fn load(args: &RunArgs) -> Result<Config, Failure> {
    let overrides = args.overrides();
    match &args.config {
        Some(file) => check::read(file, &overrides),
        None => Ok(Config::without_file(&overrides)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_s_address_is_shown_to_those_who_ask_it_and_taken_by_all() {
        command().debug_assert();
        for (name, is_shown) in [("status", true), ("import", false), ("run", false)] {
            let mut command = command();
            command.build();
            let one = command.find_subcommand_mut(name).expect(name);
            let help = one.render_long_help().to_string();
            assert_eq!(help.contains("--api"), is_shown, "{name}: {help}");
        }
        let typed = |text: &str| {
            let words = text.split_whitespace().map(OsString::from);
            parse(words)
                .map(|cli| cli.api)
                .map_err(|error| error.to_string())
        };
        let other = Ok("http://127.0.0.1:1".to_owned());
        assert_eq!(typed("rekindle --api http://127.0.0.1:1 status"), other);
        assert_eq!(typed("rekindle status --api http://127.0.0.1:1"), other);
        assert!(typed("rekindle check-config --api http://127.0.0.1:1 x").is_ok());
        assert!(typed("rekindle bench localization --data x").is_ok());
    }
}
