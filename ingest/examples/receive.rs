//! The receivers and the assembler alone, to be measured: what a span costs before any analysis.
//!
//! `receive [--journal DIR [power-loss|process-crash]]` listens on 127.0.0.1:4317 and 4318 and says
//! every five seconds what came.

#![expect(clippy::print_stderr, reason = "it is a program")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rekindle_ingest::{
    Assembler, AssemblerConfig, Batch, Durability, IngestStats, Journal, JournalConfig,
    ReceiverConfig, Receivers,
};
use rekindle_model::UnixNanos;
use tokio::sync::{mpsc, watch};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often traces are let go when nothing comes.
const POLL: Duration = Duration::from_millis(50);

/// How often it is said what came.
const SAY: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let journal = match arguments[..] {
        [] => Journal::off(),
        ["--journal", dir] => open(dir, Durability::PowerLoss)?,
        ["--journal", dir, "power-loss"] => open(dir, Durability::PowerLoss)?,
        ["--journal", dir, "process-crash"] => open(dir, Durability::ProcessCrash)?,
        _ => return Err("usage: receive [--journal DIR [power-loss|process-crash]]".into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let config = ReceiverConfig {
        grpc: SocketAddr::from(([127, 0, 0, 1], 4317)),
        http: SocketAddr::from(([127, 0, 0, 1], 4318)),
        ..ReceiverConfig::default()
    };
    let (sender, batches) = mpsc::channel(config.queue);
    let stats = Arc::new(IngestStats::default());
    let counted = stats.clone();
    let engine = std::thread::spawn(move || assemble(batches, &counted));
    let (_shutdown, ends) = watch::channel(false);
    runtime.block_on(async {
        let receivers = Receivers::bind(&config).await?;
        receivers.serve(journal, sender, stats, ends).await;
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    engine.join().map_err(|_| "the assembler's thread failed")?;
    Ok(())
}

fn open(dir: &str, durability: Durability) -> Result<Journal, Box<dyn std::error::Error>> {
    let config = JournalConfig {
        durability,
        ..JournalConfig::default()
    };
    let (journal, recovered) = Journal::open(Path::new(dir), config)?;
    eprintln!("{recovered:?}");
    Ok(journal)
}

fn assemble(mut batches: mpsc::Receiver<Batch>, stats: &IngestStats) {
    let mut assembler = Assembler::new(AssemblerConfig::default());
    let mut traces = Vec::new();
    let (mut polled, mut said) = (Instant::now(), Instant::now());
    let mut batch = batches.blocking_recv();
    while let Some(received) = batch {
        assembler.push_all(&received.spans, received.received_at);
        if polled.elapsed() >= POLL {
            polled = Instant::now();
            assembler.poll(UnixNanos::from(SystemTime::now()), &mut traces);
            traces.clear();
        }
        if said.elapsed() >= SAY {
            said = Instant::now();
            let (held, counts) = (assembler.in_flight(), assembler.counts());
            eprintln!("{:?}\n{held:?} {counts:?}", stats.snapshot());
        }
        batch = batches.blocking_recv();
    }
}
