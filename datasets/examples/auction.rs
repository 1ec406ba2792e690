//! The whole site by hand: five processes, users, and a report every second.
//!
//! ```console
//! $ cargo run --release -p rekindle-datasets --example auction -- site /tmp/site http://127.0.0.1:4317
//! ```
//!
//! It prints the control ports; make something ill with
//! `curl -d '{"component":"catalog.search","kind":"error"}' -H 'content-type: application/json' CONTROL/fault`.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use clap::Parser;
use rekindle_datasets::auction::{self, ServiceName, ServiceOptions};
use rekindle_datasets::deployment::{Deployment, Granularity, Mode, Ports};
use rekindle_datasets::load::{LoadConfig, Users};
use rekindle_datasets::probes;

#[derive(Parser)]
enum Arguments {
    /// One process of the site.
    Auction(Box<ServiceOptions>),
    /// All of it, with users.
    Site {
        /// The folder of its data.
        folder: PathBuf,
        /// Where spans go.
        otlp: String,
        /// How long exporters gather spans, in milliseconds.
        #[arg(long)]
        export_delay_ms: Option<u64>,
        /// How many users come.
        #[arg(long, default_value_t = 100)]
        users: u32,
        /// How long they stay, in seconds.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Prints the restart tree and starts nothing.
        #[arg(long)]
        tree: bool,
    },
}

/// The processes that were started; they end with this one.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse() {
        Arguments::Auction(options) => Ok(auction::main(&options)?),
        Arguments::Site {
            folder,
            otlp,
            export_delay_ms,
            users,
            seconds,
            tree,
        } => {
            let delay = export_delay_ms.map(Duration::from_millis);
            let plan = Deployment::plan(&folder, &otlp, delay, 1, Ports::Free)?;
            if tree {
                println!("{}", plan.to_yaml(Granularity::Component, Mode::Auto));
                return Ok(());
            }
            run(&plan, users, seconds)
        }
    }
}

fn run(plan: &Deployment, users: u32, seconds: u64) -> Result<(), Box<dyn Error>> {
    let mut children = Children(Vec::new());
    for service in ServiceName::ALL {
        let command = plan.command(service);
        children
            .0
            .push(Command::new(&command[0]).args(&command[1..]).spawn()?);
    }
    plan.wait_ready(Duration::from_secs(60))?;
    for place in plan.places() {
        println!(
            "{}: http://{}, control http://{}",
            place.service, place.public, place.control
        );
    }
    for question in probes::through_front(&plan.world()) {
        let asked = probes::ask(plan.web(), &question, Duration::from_secs(2));
        println!("{}: {:?}", question.name, asked.verdict);
    }
    let mut config = LoadConfig::new(plan.world());
    config.users = users;
    let handle = Users::start(1, plan.web(), config)?;
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        let tally = handle.snapshot();
        if let Some(second) = tally.seconds.iter().rev().nth(1) {
            println!(
                "{} requests ok, {} failed; {} actions ok, {} failed",
                second.ok_requests,
                second.failed_requests,
                second.ok_actions,
                second.failed_actions
            );
        }
    }
    let tally = handle.stop();
    println!("{:#?}\n{:?}", tally.operations, tally.total);
    Ok(())
}
