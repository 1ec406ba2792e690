//! `rekindle load`: what a receiver of OTLP bears.

use std::io;

use anyhow::Context;
use rekindle_ingest::load::{
    Compression, Credentials, LoadConfig, LoadReport, SystemShape, Transport, run as send,
};

use super::Failure;
use super::args::{LoadArgs, LoadCompression, LoadTransport};
use super::terminal::{Terminal, Tone};
use crate::exit::Exit;

pub(super) fn load(terminal: &mut Terminal, args: &LoadArgs) -> Result<Exit, Failure> {
    let config = LoadConfig {
        to: args.to.clone(),
        credentials: Credentials {
            authority: args.ca.clone(),
            own: args.certificate.clone().zip(args.key.clone()),
            headers: args.header.clone(),
            token: args.token_file.clone(),
        },
        transport: match args.over {
            LoadTransport::Http => Transport::Http,
            LoadTransport::Grpc => Transport::Grpc,
        },
        compression: match args.compression {
            LoadCompression::None => Compression::None,
            LoadCompression::Gzip => Compression::Gzip,
            LoadCompression::Zstd => Compression::Zstd,
        },
        connections: args.connections.into(),
        rate: args.rate.map(f64::from),
        duration: args.duration,
        shape: SystemShape {
            services: args.services.into(),
            spans_per_request: args.spans.into(),
            processes_per_request: args.processes.into(),
            failing: args.failing,
            seed: args.seed,
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime could not be started")?;
    let report = runtime.block_on(send(config)).context("sending load")?;
    terminal.answer(&report, show)?;
    let good = report.spans > 0 && report.refused == 0;
    Ok(if good { Exit::Ok } else { Exit::Failed })
}

fn show(terminal: &mut Terminal, report: &LoadReport) -> io::Result<()> {
    terminal.heading(
        &format!(
            "{:.0} spans a second were acknowledged ({:.1} MB/s), for {:.1} s",
            report.spans_per_second,
            report.bytes_per_second / 1e6,
            report.seconds
        ),
        Tone::Plain,
    )?;
    terminal.line(format!(
        "{} spans in {} requests; half took {:.1} ms, 99 in 100 took {:.1} ms, the longest {:.1} ms",
        report.spans,
        report.requests,
        report.median_millis,
        report.p99_millis,
        report.longest_millis
    ))?;
    for (number, what) in [
        (
            report.told_to_come_back,
            "answers said to come back later, and it was sent again",
        ),
        (report.broken_connections, "connections broke"),
    ] {
        if number > 0 {
            terminal.heading(&format!("{number} {what}"), Tone::Attention)?;
        }
    }
    if report.refused > 0 {
        let refused = format!("{} requests were refused for good", report.refused);
        terminal.heading(&refused, Tone::Bad)?;
    }
    Ok(())
}
