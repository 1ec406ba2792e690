//! What is done around a unit's restarts, as it is written: see `rekindle_recovery::around`.

use std::time::Duration;

use rekindle_recovery::around::Keeping;
use rekindle_recovery::{Around, CommandSpec, HttpSpec, PrepareSpec};

use super::reader::{Reader, Section};

/// How long preparing may take when nobody says so. Users wait for it, and a unit that is sick may
/// never answer.
const DEFAULT_PREPARE: Duration = Duration::from_secs(1);

/// How long the command for the post-mortem may take when nobody says so: a thread dump takes a
/// second, and users wait for it.
const DEFAULT_COMMAND: Duration = Duration::from_secs(2);

/// The longest that anything before a restart may be given. What takes longer isn't done for users.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// A unit's keys.
pub(super) fn around(unit: &Section<'_>) -> Around {
    Around {
        drain: unit
            .read("drain", |reader, node| at_most(reader.duration(node)?))
            .unwrap_or_default(),
        prepare: prepare(unit),
        post_mortem: post_mortem(unit),
    }
}

/// `{ post: URL }` or `{ run: [program, …] }`.
fn prepare(unit: &Section<'_>) -> Option<PrepareSpec> {
    let section = unit.section("prepare", "unit.prepare")?;
    let timeout = timeout(&section, DEFAULT_PREPARE);
    let post = section.node("post").map(|_| {
        let url = section.read("post", Reader::url)?;
        Some(PrepareSpec::Http(HttpSpec { url, timeout }))
    });
    let run = section.node("run").map(|_| {
        let command = section.read("run", Reader::command)?;
        Some(PrepareSpec::Command(CommandSpec { command, timeout }))
    });
    let mut ways = [post, run].into_iter().flatten();
    let first = ways.next();
    if first.is_none() || ways.next().is_some() {
        section.complain_about_itself("needs exactly one of `post` and `run`");
    }
    section.close();
    first.flatten()
}

fn post_mortem(unit: &Section<'_>) -> Option<CommandSpec> {
    let section = unit.section("post_mortem", "unit.post_mortem")?;
    let timeout = timeout(&section, DEFAULT_COMMAND);
    let command = section.read("run", Reader::command);
    let command = section.required("run", command, "program and arguments, as a list");
    section.close();
    command.map(|command| CommandSpec { command, timeout })
}

fn timeout(section: &Section<'_>, default: Duration) -> Duration {
    section
        .read("timeout", |reader, node| at_most(reader.some_time(node)?))
        .unwrap_or(default)
}

fn at_most(time: Duration) -> Result<Duration, String> {
    if time > LONGEST {
        return Err(format!(
            "it delays restarts that users wait for; it must be at most {} minutes",
            LONGEST.as_secs() / 60
        ));
    }
    Ok(time)
}

/// How long what is saved before restarts is kept.
pub(super) fn keeping(section: &Section<'_>, keeping: &mut Keeping) {
    section.set("keep", &mut keeping.keep_for, Reader::some_time);
    section.set_number("at_most", &mut keeping.at_most, 0..=10_000);
}
