//! What does the kernel say about a process: its state, its group, its start time, and whose marks
//! its environment carries?
//!
//! Linux only, from `/proc`. A process can vanish between any two reads, so everything here is an
//! `Option`, and a start time is what makes two looks at one pid looks at one process.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rustix::time::ClockId;

use super::phase::ChildIdentity;
use crate::clock::lasted;

/// The environment variable that names the unit.
pub const UNIT_VARIABLE: &str = "REKINDLE_UNIT";
/// The environment variable that says which life it is.
pub const GENERATION_VARIABLE: &str = "REKINDLE_GENERATION";
/// The environment variable with the id of the state directory whose child it is.
pub const STATE_VARIABLE: &str = "REKINDLE_STATE";

/// As much of an environment as is looked through. Linux allows a whole environment a quarter of
/// the stack limit, 2 MiB by default; marks are set last, so all of it is read.
const MAX_ENVIRONMENT_BYTES: u64 = 4 * 1024 * 1024;

/// One line of `/proc/PID/stat`, as far as it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub pid: i32,
    pub zombie: bool,
    pub group: i32,
    pub start_ticks: u64,
}

impl Stat {
    /// Reads a line. The command name in it is in parentheses and may itself hold parentheses and
    /// blanks, so fields are counted from the last closing one.
    fn parse(line: &str) -> Option<Self> {
        let (pid, _) = line.split_once(' ')?;
        let (_, after_name) = line.rsplit_once(')')?;
        // Fields from the third: state, ppid, pgrp, session, …; start time is the 22nd.
        let mut fields = after_name.split_ascii_whitespace();
        let state = fields.next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self {
            pid: pid.parse().ok()?,
            zombie: matches!(state, "Z" | "X" | "x"),
            group,
            start_ticks,
        })
    }
}

/// What the kernel says about this pid now; `None` if there is none.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// For how long a process has lived by now that was started then, whatever became of the wall's clock meanwhile.
pub(super) fn lived(start_ticks: u64) -> Option<Duration> {
    lasted(ClockId::Boottime).checked_sub(of_ticks(start_ticks))
}

/// The time that the kernel says in ticks.
pub(super) fn of_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

/// All processes there are, zombies included.
pub(super) fn processes() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// The resident memory, in bytes, of all living processes in the group of this one; `None` if it is gone.
/// What they share is counted for each of them.
pub(crate) fn group_memory(pid: i32) -> Option<u64> {
    let group = stat(pid).filter(|stat| !stat.zombie)?.group;
    let mut bytes: u64 = 0;
    for member in processes() {
        if member.group != group || member.zombie {
            continue;
        }
        // One that ended meanwhile has none.
        let Ok(line) = fs::read_to_string(format!("/proc/{}/statm", member.pid)) else {
            continue;
        };
        let resident: Option<u64> = line
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse().ok());
        bytes = bytes.saturating_add(resident?.saturating_mul(rustix::param::page_size() as u64));
    }
    Some(bytes)
}

/// The boot that this host is in. Empty if the kernel won't say, which then tells no boots apart.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The marks that a supervisor leaves in its children's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub state: String,
    pub unit: String,
    pub generation: u64,
}

impl Marks {
    fn parse(environment: &[u8]) -> Option<Self> {
        let (mut state, mut unit, mut generation) = (None, None, None);
        for variable in environment.split(|byte| *byte == 0) {
            let Some((name, value)) = std::str::from_utf8(variable)
                .ok()
                .and_then(|variable| variable.split_once('='))
            else {
                continue;
            };
            match name {
                STATE_VARIABLE => state = Some(value.to_owned()),
                UNIT_VARIABLE => unit = Some(value.to_owned()),
                GENERATION_VARIABLE => generation = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self {
            state: state?,
            unit: unit?,
            generation: generation?,
        })
    }
}

/// The marks of this process; `None` if it has none, is gone or isn't ours to look at.
pub(super) fn marks(pid: i32) -> Option<Marks> {
    let mut environment = Vec::new();
    fs::File::open(Path::new("/proc").join(pid.to_string()).join("environ"))
        .ok()?
        .take(MAX_ENVIRONMENT_BYTES)
        .read_to_end(&mut environment)
        .ok()?;
    Marks::parse(&environment)
}

/// All living processes with marks of this state directory.
pub(super) fn marked(state_id: &str) -> Vec<(Stat, Marks)> {
    processes()
        .into_iter()
        .filter(|stat| !stat.zombie)
        .filter_map(|stat| Some((stat, marks(stat.pid)?)))
        .filter(|(_, marks)| marks.state == state_id)
        .collect()
}

/// Whether this process lives and is the same one.
pub(super) fn lives(child: &ChildIdentity, boot_id: &str) -> bool {
    child.boot_id == boot_id
        && stat(child.pid).is_some_and(|stat| stat.start_ticks == child.start_ticks && !stat.zombie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_command_name_does_not_shift_fields() {
        let line =
            "42 (a) Z 9 9 9 (b)) S 1 40 39 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 11";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                pid: 42,
                zombie: false,
                group: 40,
                start_ticks: 987_654
            })
        );
        for broken in ["", "42", "42 (x)", "42 (x) S 1", "x (y) S 1 2 3"] {
            assert_eq!(Stat::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_is_seen() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let own = stat(pid).expect("own stat");
        assert!(!own.zombie && own.pid == pid && own.start_ticks > 0);
        assert!(processes().contains(&own));
        assert!(!boot_id().is_empty());
        let memory = group_memory(pid).expect("own memory");
        assert!(memory > 1024 * 1024, "{memory}");
        assert_eq!(group_memory(i32::MAX), None);
    }

    #[test]
    fn marks_are_all_or_none() {
        let environment =
            b"A=1\0REKINDLE_UNIT=web\0REKINDLE_STATE=s\0REKINDLE_GENERATION=3\0\xff=\0";
        assert_eq!(
            Marks::parse(environment),
            Some(Marks {
                state: "s".to_owned(),
                unit: "web".to_owned(),
                generation: 3
            })
        );
        assert_eq!(Marks::parse(b"REKINDLE_UNIT=web\0REKINDLE_STATE=s\0"), None);
        assert_eq!(Marks::parse(b""), None);
    }
}
