//! What can be typed.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rekindle_analysis::rank::Method;
use rekindle_datasets::localization::Stretch;
use rekindle_datasets::public::Set;
use rekindle_ingest::load::Address;
use rekindle_model::{TraceId, UnixNanos};

use super::Speed;
use crate::api::DeedWord;
use crate::config::{Overrides, parse_duration};
use crate::exit::EXIT_CODES_HELP;

const EXAMPLES: &str = "\
Examples:
  rekindle run                          observe on 127.0.0.1:4317 and :4318, restart nothing
  rekindle run --config rekindle.yaml   with a restart tree of yours
  rekindle suspects                     who is suspected, with the evidence
  rekindle explain catalog.search       everything about one suspect or restart unit
  rekindle plan                         what waits for approval
  rekindle approve 3                    do it
  rekindle pause --reason 'deploying' --for 30m
  rekindle simulate policies            what policies cost users, in virtual time
  rekindle learned export > learned.yaml  what was learned, for another installation
  rekindle -o json suspects | jq '.suspects[0].unit'
";

/// Finds the component that is failing your users' requests and restarts the smallest thing that
/// cures it.
#[derive(Debug, Parser)]
#[command(
    name = "rekindle",
    version,
    after_help = format!("{EXAMPLES}\n{EXIT_CODES_HELP}"),
    arg_required_else_help = true
)]
pub struct Cli {
    /// Where a running daemon answers
    #[arg(
        long,
        global = true,
        env = "REKINDLE_API",
        value_name = "URL",
        default_value = "http://127.0.0.1:4320",
        value_parser = api_url
    )]
    pub api: String,

    /// A table for people, or JSON for programs
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t = Output::Table
    )]
    pub output: Output,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// For whom the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// People
    Table,
    /// Programs
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: receive traces, find what fails, restart what cures it
    #[command(
        after_help = "Without a configuration it observes and restarts nothing. All keys and \
        their defaults: rekindle check-config --print-default"
    )]
    Run(RunArgs),

    /// Watch a real auction site on this machine break and be cured, twice
    Demo(DemoArgs),

    /// Try recovery on a made-up system in virtual time, beside other policies
    Simulate(SimulateArgs),

    /// Send made-up traces to any receiver of OTLP, and say how fast it took them
    Load(LoadArgs),

    /// Say everything that is wrong with a configuration file
    CheckConfig {
        /// The file; `-` for the standard input
        #[arg(value_name = "FILE", required_unless_present = "print_default")]
        file: Option<PathBuf>,
        /// Print the commented default configuration instead
        #[arg(long, conflicts_with = "file")]
        print_default: bool,
    },

    /// How Rekindle itself is, and how requests fare
    Status,

    /// Who is suspected of an incident, with the evidence; of none when there is no incident
    Suspects {
        /// The incident; the newest open one when not given
        incident: Option<u64>,
    },

    /// Everything that is known about a suspect or a restart unit
    #[command(
        after_help = "Examples:\n  rekindle explain 1                the first suspect\n  \
        rekindle explain catalog.search   a suspect or unit by name"
    )]
    Explain {
        /// A suspect's rank or name, or a unit's name
        #[arg(value_name = "SUSPECT|UNIT")]
        what: String,
    },

    /// Incidents, open ones first
    Incidents,

    /// The restart tree: units, their state, and what was done to them
    Tree {
        /// What else to do with a tree
        #[command(subcommand)]
        what: Option<TreeCommand>,
    },

    /// What is restarted before it fails, in which order, and what that gave back
    Rejuvenation,

    /// What is planned, or was: the ladder of restarts, its price, and why nothing else
    Plan {
        /// The plan's number; all live ones when not given
        #[arg(value_parser = plan_number)]
        plan: Option<u64>,
    },

    /// Carry out a plan that waits
    Approve {
        /// The plan's number
        #[arg(value_parser = plan_number)]
        plan: u64,
        /// Wait for the verdict; anything but `cured` ends with 3
        #[arg(long)]
        wait: bool,
        /// Whose word it is.
        #[command(flatten)]
        by: By,
    },

    /// Drop a plan that waits or is held off: its incident is left to people
    Reject {
        /// The plan's number
        #[arg(value_parser = plan_number)]
        plan: u64,
        /// Why
        #[arg(long)]
        reason: String,
        /// Whose word it is.
        #[command(flatten)]
        by: By,
    },

    /// Restart a unit and all below it
    Restart {
        /// The unit
        unit: String,
        /// Only say what would be done, at what price, and which guards object
        #[arg(long)]
        dry_run: bool,
        /// Wait for the verdict; anything but `cured` ends with 3
        #[arg(long, conflicts_with = "dry_run")]
        wait: bool,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// Whose word it is.
        #[command(flatten)]
        by: By,
    },

    /// Forget the heartbeats and reports of a unit: one that is to stay silent is waited for no more
    Forget {
        /// The unit
        unit: String,
        /// Whose word it is.
        #[command(flatten)]
        by: By,
    },

    /// Tell of a deployment, a scaling or a restart by others: what overlaps it counts for nobody
    ///
    /// Tell it when it begins, with `--over` when it ends, and again every few minutes in between: it lapses ten minutes
    /// after it was told last.
    #[command(after_help = "Examples:\n  \
        rekindle intervention deployment rollout-7 --unit catalog\n  \
        rekindle intervention deployment rollout-7 --unit catalog --over\n  \
        rekindle intervention scaling hpa --target service.name=search --since 2026-11-21T10:30:00Z --over")]
    Intervention(InterventionArgs),

    /// Restart nothing unattended until further notice
    ///
    /// Plans are made and told of all the same, and may be approved meanwhile.
    Pause {
        /// Why
        #[arg(long)]
        reason: String,
        /// For how long, as in 30m or 2h; until `resume` when not given
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
        duration: Option<Duration>,
        /// Whose word it is.
        #[command(flatten)]
        by: By,
    },

    /// End a pause
    Resume {
        /// Whose word it is.
        #[command(flatten)]
        by: By,
    },

    /// What was restarted, why, and what it did
    History {
        /// At most this many, newest first
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// All that was said of each, without cutting anything off
        #[arg(long)]
        long: bool,
    },

    /// What was learned of cures and costs
    #[command(subcommand)]
    Learned(LearnedCommand),

    /// What was saved before restarts: processes, log, command's output, traces
    PostMortem {
        /// The action, as `history` numbers it; a list when not given
        action: Option<u64>,
        /// Only of this incident
        #[arg(long, conflicts_with = "action")]
        incident: Option<u64>,
    },

    /// Who is suspected in recorded traces? No daemon needed
    #[command(after_help = "Examples:\n  \
        rekindle analyze bad.jsonl --baseline good.jsonl    two recordings compared\n  \
        rekindle analyze all.jsonl --since 2026-11-21T10:30:00Z\n  \
        rekindle analyze --incident 7 --method ochiai       what another method says of an incident\n\n\
        Reads what the Collector's file exporter writes (OTLP JSON, one request a line), OTLP in \
        protobuf, and Jaeger's JSON; plain or gzipped. And a span store's folder, or Parquet files of it.\n\n\
        With --incident it reads the journal of an engine on this machine, running or not, which must reach \
        back to when that engine began (`ingest.journal.keep`). The span store has no order of arrival, and \
        files have none: their ranking is the same each time, and not that of an engine, which notices by the \
        second when failures began and measures some of the requests.")]
    Analyze(AnalyzeArgs),

    /// What would Rekindle have done about recorded traces? Nothing is restarted
    #[command(after_help = "Examples:\n  \
        rekindle replay all.jsonl --config rekindle.yaml    incidents, suspects, and what would be done first\n  \
        rekindle replay rekindle-spans --speed 60           a minute of the recording in a second\n\n\
        Plays the recording (as `analyze` takes it) to the daemon's assembly, analysis, planner and guards in \
        the recording's own time, with the configuration's tree and limits. It has no executor, and nothing \
        was learned before: of each incident it says what would be done first, not what would come of it. \
        Probes, checks and processes that end are in no recording, so they are missing here.")]
    Replay(ReplayArgs),

    /// One request as a waterfall: an example, or any trace of the daemon's span store
    Trace {
        /// Its trace id
        #[arg(value_name = "TRACE")]
        id: TraceId,
    },

    /// Bring recorded traces into a span store
    #[command(after_help = "Examples:\n  \
        rekindle import --store rekindle-spans traces.jsonl old.json.gz\n\n\
        Reads what the Collector's file exporter writes (OTLP JSON, one request a line), OTLP in \
        protobuf, Jaeger's JSON, and the store's own Parquet; JSON and protobuf plain or gzipped. \
        Spans that are there already are left out when the files of their hour are merged; so an \
        import that was interrupted is begun again.")]
    Import(ImportArgs),

    /// Write traces of a span store to a file
    #[command(after_help = "Examples:\n  \
        rekindle export --store rekindle-spans --since 2026-11-21T10:00:00Z > traces.jsonl\n  \
        rekindle export --store rekindle-spans --trace 4bf92f3577b34da6a3ce929d0e0e4736 --form jaeger")]
    Export(ExportArgs),

    /// Score how well culprits are found, on labelled traces: of public data sets, or your own
    #[command(subcommand)]
    Bench(BenchCommand),

    /// One process of the demo's auction site
    #[command(hide = true, disable_help_flag = true)]
    Auction {
        /// What the auction's own command line takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// What to do with a restart tree. Nothing is changed: all is printed for review.
#[derive(Debug, Subcommand)]
pub enum TreeCommand {
    /// Print a first tree of what the daemon, or recorded traces, show, with who fails when another does. It can be loaded
    /// as it is, and only observes until you say how units are restarted
    Derive {
        /// Recorded traces, as `analyze` takes them; without any the daemon is asked
        #[arg(value_name = "TRACES")]
        traces: Vec<PathBuf>,
    },
    /// What can never be restarted, what no trace ever matched, costs that contradict the structure
    Lint {
        /// The configuration
        #[arg(value_name = "FILE")]
        config: PathBuf,
        /// Recorded traces to match the units with; without any the daemon is asked
        #[arg(long, value_name = "TRACES", num_args = 1..)]
        traces: Vec<PathBuf>,
    },
    /// Changes that the daemon's history of recoveries speaks for, and what they would have saved
    Propose {
        /// The configuration
        #[arg(value_name = "FILE")]
        config: PathBuf,
    },
}

/// What to do with what was learned.
#[derive(Debug, Subcommand)]
pub enum LearnedCommand {
    /// Print it, as YAML or with `-o json`, in the form that the configuration's `restart.learned` takes
    ///
    /// What the tree lacks is left out. A daemon that is given its own export counts it twice.
    Export,
}

/// Which span store is meant.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// The span store: a folder, or a bucket as in s3://NAME/PREFIX
    #[arg(long, env = "REKINDLE_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// A configuration that names it (`store.url`)
    #[arg(long, env = "REKINDLE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The arguments of `import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Recorded traces
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Where to.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// The arguments of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Where from.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Only this trace; may be given more than once
    #[arg(long = "trace", value_name = "TRACE", conflicts_with_all = ["since", "until"])]
    pub traces: Vec<TraceId>,
    /// Only what was received from then on
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<UnixNanos>,
    /// Only what was received before
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub until: Option<UnixNanos>,
    /// In which form
    #[arg(long, value_enum, default_value_t = ExportForm::OtlpJson)]
    pub form: ExportForm,
    /// Where to, when all of it is written; the standard output when not given
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// OTLP in JSON, a request a line
    OtlpJson,
    /// OTLP in protobuf, one request
    OtlpProtobuf,
    /// What Jaeger's page reads
    Jaeger,
    /// One file of the store's schema
    Parquet,
}

/// The arguments of `analyze`.
#[derive(Clone, Debug, Default, Args)]
pub struct AnalyzeArgs {
    /// Recorded traces with the fault
    #[arg(value_name = "INPUT", required_unless_present = "incident")]
    pub inputs: Vec<PathBuf>,
    /// Instead of recorded traces: what an engine's journal holds up to its last ranking of this incident. Ranked by the same
    /// method, it is the same to the byte
    #[arg(long, value_name = "NUMBER",
          conflicts_with_all = ["inputs", "baseline", "since", "until", "interventions", "masked"])]
    pub incident: Option<u64>,
    /// The engine's configuration
    #[arg(long, env = "REKINDLE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the engine keeps its journal, where the configuration doesn't say so
    #[arg(long, value_name = "DIRECTORY", requires = "incident")]
    pub state_dir: Option<PathBuf>,
    /// Recorded traces without it; not needed with --since
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub baseline: Vec<PathBuf>,
    /// When the fault began: earlier traces of the same files are the baseline, less those of earlier outages
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<UnixNanos>,
    /// When it was over: traces that began then or later are left out
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub until: Option<UnixNanos>,
    /// What was done to the system meanwhile, as `GET /api/v1/interventions` lists it: what overlaps it is left out
    #[arg(long, value_name = "FILE")]
    pub interventions: Option<PathBuf>,
    /// Explain failures that users didn't see as well: of requests that ended well because of a retry or a fallback
    #[arg(long)]
    pub masked: bool,
    /// How to rank
    #[arg(long, value_name = "METHOD", default_value_t = Method::Default)]
    pub method: Method,
    /// Also write durations and counts per component and request type, for notebooks; `-` for the standard output
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// The same as Parquet
    #[arg(long, value_name = "FILE")]
    pub parquet: Option<PathBuf>,
}

/// What was done to the system.
#[derive(Clone, Debug, Args)]
pub struct InterventionArgs {
    /// What was done
    #[arg(value_enum)]
    pub kind: DeedWord,
    /// By which you know it; told again of the same unit or target it is the same one, whoever tells
    pub id: String,
    /// To which unit
    #[arg(long, required_unless_present = "target")]
    pub unit: Option<String>,
    /// To what, as telemetry attributes that must all be there
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair, conflicts_with = "unit")]
    pub target: Vec<(String, String)>,
    /// Since when; since it was told first, if not given
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<UnixNanos>,
    /// It is over
    #[arg(long)]
    pub over: bool,
    /// A token of the file that the daemon's `listen.speakers` names
    #[arg(long, env = "REKINDLE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Whose word it is.
    #[command(flatten)]
    pub by: By,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| "write it as in service.name=catalog, or service=catalog".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The arguments of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Recorded traces: a while of usual requests, then the fault
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,
    /// How many recorded seconds pass in one, or `max`
    #[arg(long, value_name = "N", default_value_t = Speed::Max)]
    pub speed: Speed,
    /// What was done to the system meanwhile, as `GET /api/v1/interventions` lists it
    #[arg(long, value_name = "FILE")]
    pub interventions: Option<PathBuf>,
    /// The configuration with the restart tree
    #[arg(long, env = "REKINDLE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// RFC 3339.
fn point_in_time(text: &str) -> Result<UnixNanos, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| "write it as in 2026-11-21T10:30:00Z".to_owned())?;
    u64::try_from(time.as_nanosecond())
        .map(UnixNanos)
        .map_err(|_| "a time between 1970 and 2554".to_owned())
}

/// What to score.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Methods × labelled cases: how often is the true culprit first?
    #[command(after_help = "Examples:\n  \
        rekindle bench localization --data FOLDER                 every set, by fault\n  \
        rekindle bench localization --set nezha --by case         each case of one set\n  \
        rekindle bench localization --method all --without all --calm --plot methods.svg\n  \
        rekindle bench localization --one-in 10 --offset 3 --calm a tenth of each case: does it hold?\n  \
        rekindle bench localization --window first-half           who comes early, with half of the fault\n  \
        rekindle bench localization --both                        two cases of different kinds at once\n  \
        rekindle bench localization --method all -o json > r.json for notebooks\n\n\
        FOLDER holds nezha/, tracerca/ or shapleyiq/, each with its manifest.json, and own cases, which `rekindle bench \
        record` writes: recorded/NAME/ with spans from well before the fault on, as `rekindle export` writes them, and a \
        case.json:\n\n  \
        {\"system\": \"shop\", \"fault\": \"kill\", \"culprits\": [{\"level\": \"service\", \"service\": \"cart\"}],\n   \
        \"since\": \"2026-11-21T10:30:00Z\", \"until\": \"2026-11-21T10:32:00Z\"}\n\n\
        (of a host or a dependency, its \"name\" instead of a service). Nothing is fitted: \
        every case is judged by itself. AC@k: the first k hold as many of the true culprits as they \
        can; intervals are 95 % bootstraps over cases (with --both over the cases that pairs share).")]
    Localization(LocalizationArgs),
    /// Write an incident as a labelled case for `bench localization`: its spans from the store, what was done meanwhile, the
    /// restart tree, and what you know was broken
    Record(RecordArgs),
}

/// The arguments of `bench record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// What to call the case
    pub name: String,
    /// Which incident, as `rekindle incidents` numbers it
    #[arg(long)]
    pub incident: u64,
    /// What was broken: service=NAME, host=NAME or dependency=NAME; may be given more than once
    #[arg(long = "culprit", value_name = "LEVEL=NAME", required = true, value_parser = pair)]
    pub culprits: Vec<(String, String)>,
    /// In which way, such as kill
    #[arg(long, value_name = "WORD")]
    pub fault: String,
    /// What to call the system that it happened in
    #[arg(long, value_name = "NAME", default_value = "own")]
    pub system: String,
    /// The folder of sets that it goes into
    #[arg(long, value_name = "FOLDER", default_value = "cases")]
    pub into: PathBuf,
    /// How much of the time before the incident it is compared with
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    pub before: Duration,
    /// Where the spans are.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// The arguments of `bench localization`.
#[derive(Clone, Debug, Args)]
pub struct LocalizationArgs {
    /// The folder with the sets
    #[arg(long, env = "REKINDLE_DATASETS", value_name = "FOLDER")]
    pub data: PathBuf,
    /// A set; all that the folder holds when not given
    #[arg(long = "set", value_name = "SET")]
    pub sets: Vec<Set>,
    /// A method, or `all`
    #[arg(long = "method", value_name = "METHOD", default_value = "default")]
    pub methods: Vec<String>,
    /// What a line of the table is
    #[arg(long, value_enum, default_value_t = Grouping::Fault)]
    pub by: Grouping,
    /// Leave an idea of the default out, or each one of `all`, and ask whether other systems would
    /// have kept it
    #[arg(long, value_name = "IDEA")]
    pub without: Vec<String>,
    /// Ask the methods where nothing is wrong, too: every second good trace against the others
    #[arg(long)]
    pub calm: bool,
    /// Keep only every so many'th trace of each case, to see what holds with fewer
    #[arg(long, value_name = "N")]
    pub one_in: Option<NonZeroU64>,
    /// Which of them: 0 is the last of each N, 1 the one before, and so on
    #[arg(long, value_name = "K", default_value_t = 0, requires = "one_in")]
    pub offset: u64,
    /// How much of the time before the fault: whole, first-half, second-half
    #[arg(long, value_name = "PART", default_value = "whole")]
    pub baseline: Stretch,
    /// How much of the time with it
    #[arg(long, value_name = "PART", default_value = "whole")]
    pub window: Stretch,
    /// Put two cases of different kinds together, and ask for both culprits
    #[arg(long)]
    pub both: bool,
    /// Draw the table into this file (SVG)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Also write a line per case and method, for notebooks; `-` for the standard output
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// The same as Parquet
    #[arg(long, value_name = "FILE")]
    pub parquet: Option<PathBuf>,
}

/// What results are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Grouping {
    /// Set, system and fault
    Fault,
    /// Set and system
    System,
    /// Every case by itself
    Case,
}

/// Whose word it is.
#[derive(Clone, Debug, Args)]
pub struct By {
    /// Who says so; goes into the ledger
    #[arg(long, env = "USER", hide_env_values = true, value_name = "NAME")]
    pub by: Option<String>,
}

impl By {
    /// The name, or, where the environment has none (a cron job, a container), the user's number.
    pub fn name(self) -> Option<String> {
        let named = self.by.filter(|name| !name.trim().is_empty());
        named.or_else(|| Some(format!("uid {}", rustix::process::getuid().as_raw())))
    }
}

/// The arguments of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// The configuration (YAML)
    #[arg(long, env = "REKINDLE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where journal and ledger are kept
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// Where to listen for OTLP by gRPC
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_grpc: Option<SocketAddr>,
    /// Where to listen for OTLP by HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_http: Option<SocketAddr>,
    /// Where to listen for the pages and the API
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_api: Option<SocketAddr>,
    /// When told to stop, also stop the processes that were started by the configuration;
    /// otherwise they go on, and the next `run` takes them over
    #[arg(long)]
    pub stop_children: bool,
}

impl RunArgs {
    /// What they overrule in the configuration.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            state_dir: self.state_dir.clone(),
            grpc: self.listen_grpc,
            http: self.listen_http,
            api: self.listen_api,
        }
    }
}

/// The arguments of `demo`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "It ends with 0 only if the true component was ranked first, only its unit \
    was restarted, and the fault was cured."
)]
pub struct DemoArgs {
    /// The short version: under 20 seconds
    #[arg(long)]
    pub fast: bool,
    /// For a slow machine: a tenth of the data, half of the users, and they wait for 10 s
    #[arg(long)]
    pub small: bool,
    /// Every kind of fault in turn, and a table of how each went
    #[arg(long)]
    pub all_faults: bool,
    /// Of these, only the cases whose name has this in it, such as `container`
    #[arg(long, value_name = "TEXT", requires = "all_faults")]
    pub only: Option<String>,
    /// A leak instead of a fault: parts of a process are restarted before anything fails
    #[arg(long, conflicts_with_all = ["fast", "all_faults"])]
    pub aging: bool,
    /// Repeats schedule and outcomes (not timings)
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Keep the site and the pages up afterwards, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Where to serve the pages; a free port when not given
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_api: Option<SocketAddr>,
}

/// The arguments of `simulate`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Nothing is restarted and no daemon is asked. The same options give the same \
    figures. It ends with 0 only if everything held that should.\n\nA story is a text like this:\n  \
    tree\n    site\n      shop        4s     30/s     how long its restart takes, requests a second\n        \
    shop.cart 400ms  10/s\n      mail        3s     5/s      propose\n  policy restarts per unit 3\n  \
    at 10s shop.cart fails 80% until shop is restarted, told as shop 60% shop.cart 30%\n  \
    at 12s executor of shop.cart hangs\n  at 1m approve\n\nThere are also `fails 80% for 30s`, `by one` (source), \
    `with overload|database|sampler`,\n`every 10m 5 times`, `approve plan 2`, reject, pause 60s, resume, restart UNIT, rollout of UNIT, \
    clock -2h,\n`infer UNIT and UNIT 90%` (only cured together; `by traces`: no recovery showed it), kill, end; and \
    of the policy\n`person comes after 15m`, `wait 10s`, `in flight 100ms`: what its plans weigh."
)]
pub struct SimulateArgs {
    /// What to try
    #[arg(value_enum)]
    pub scenario: SimulateScenario,
    /// With `story`: the texts to play; `-` for the standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The first seed; 1 when not given. A story has no dice
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many seeds, of mercury how many failures of each kind; means are over these; 100 when not given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub seeds: Option<u32>,
    /// Recoveries per seed, where the scenario has any; 400 when not given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(2..=100_000))]
    pub recoveries: Option<u64>,
    /// Steps in all, where the scenario has any; a million when not given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub steps: Option<u64>,
    /// Write the tables to this file as CSV, too: a line per cell; `-` for the standard output
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Draw the curve to this file as SVG, too, where the scenario has one (mercury)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// What can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulateScenario {
    /// Recovery policies side by side, and beside one that knows what cures
    Policies,
    /// Mercury's restart trees I to V beside the published table
    Mercury,
    /// How many useless microreboots one process restart buys
    FalsePositives,
    /// How late a microreboot may come and still fail fewer requests than a process restart
    DetectionDelay,
    /// How soon it is noticed that requests fail, beside the best that can be, and how often by mistake
    Detection,
    /// Preventive restarts by a learned order beside other orders, whole restarts and nobody
    Rejuvenation,
    /// Lies, overload, flapping, clock jumps: what recovery's guards let through. A million steps
    /// take long; --seeds 8 --steps 100000 a few minutes
    Safety,
    /// What recovery does when this and that happens, as texts tell it: your own units, faults and people. See
    /// `datasets/stories` for some
    Story,
}

/// What is sent, and where to.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  rekindle load                                as fast as the local \
    daemon takes it\n  rekindle load --rate 50000 --for 10m         does it bear that for long?\n  \
    rekindle load --over grpc --compression zstd\n  \
    rekindle load --to https://otlp.example.com --token-file token\n\nThe services are called \
    load-00, load-01 and so on. A daemon that gets them will see an incident: some of the requests \
    fail. Don't send them where people look for real ones."
)]
pub struct LoadArgs {
    /// The receiver: a host, host:port, or a URL with http or https
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub to: Address,
    /// With https: who vouches for its certificate (PEM), instead of the public authorities
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// With https: our own certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// A file whose first token is sent with each request (`Authorization: Bearer …`)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A header of each request, such as `x-scope: shop`; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Over what
    #[arg(long, value_enum, default_value_t = LoadTransport::Http)]
    pub over: LoadTransport,
    /// How bodies are compressed
    #[arg(long, value_enum, default_value_t = LoadCompression::None)]
    pub compression: LoadCompression,
    /// Spans per second in all; as fast as answers come, if not given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Connections, each with one request under way at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Spans in a request
    #[arg(long, value_name = "NUMBER", default_value_t = 512,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub spans: u16,
    /// Processes whose spans come in one request: 1 as from an SDK, more as from a gateway
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub processes: u16,
    /// Services of the made-up system, of two processes each
    #[arg(long, value_name = "NUMBER", default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub services: u16,
    /// The share of user requests that fail, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = share)]
    pub failing: f64,
    /// What all else is drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// Over what load is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadTransport {
    /// OTLP/HTTP, protobuf
    Http,
    /// OTLP/gRPC
    Grpc,
}

/// How load is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadCompression {
    /// Not at all
    None,
    /// gzip, at its fastest
    Gzip,
    /// zstd, at its fastest
    Zstd,
}

/// A share of a whole.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "write it as in 0.02")?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("a share is between 0 and 1".to_owned())
    }
}

/// A plan's number, as `rekindle plan` shows it.
fn plan_number(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "a plan is called by its number, which `rekindle plan` shows".to_owned())
}

/// A base URL without a path.
fn api_url(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .ok_or("write it as in http://127.0.0.1:4320")?;
    if rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace) {
        return Err("write it as in http://127.0.0.1:4320".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn api_is_a_base_url() {
        assert!(api_url("http://127.0.0.1:4320").is_ok());
        for wrong in [
            "127.0.0.1:4320",
            "http://",
            "ftp://x",
            "http:///x",
            "http://a b",
        ] {
            assert!(api_url(wrong).is_err(), "{wrong}");
        }
    }
}
