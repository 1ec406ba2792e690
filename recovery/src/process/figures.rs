//! What does the kernel say that a unit's processes use: memory, processor time, open files, threads?
//!
//! For people who look into a restart afterwards, and for watching. From `/proc`, without the
//! process's help, so that it is had of one that hangs. Each figure may be missing by itself: the
//! process may end between two reads, or not be ours to look at.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::procfs;

/// Processes of one group that are told of; a group of more is a fork bomb.
const MAX_PROCESSES: usize = 50;

/// What one process uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFigures {
    /// Its process id.
    pub pid: i32,
    /// Its program's name, of which the kernel keeps 15 bytes.
    pub name: String,
    /// What it is doing, in the kernel's letter: `R` running, `S` sleeping, `D` waiting for a disk, `T`
    /// stopped, `Z` ended and not waited for.
    pub state: String,
    /// What it waits for in the kernel, where that is told.
    pub waits_in: Option<String>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Its resident memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// The most that was ever resident, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// The processor time that it has used, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Its open files, sockets included.
    pub open_files: Option<u64>,
}

/// The figures of all processes in the group of this one, itself first.
pub(crate) fn group_figures(pid: i32) -> Vec<ProcessFigures> {
    let Some(group) = procfs::stat(pid).map(|stat| stat.group) else {
        return Vec::new();
    };
    let mut pids: Vec<i32> = procfs::processes()
        .into_iter()
        .filter(|stat| stat.group == group)
        .map(|stat| stat.pid)
        .collect();
    pids.sort_by_key(|member| (*member != pid, *member));
    pids.truncate(MAX_PROCESSES);
    pids.into_iter().filter_map(figures).collect()
}

fn figures(pid: i32) -> Option<ProcessFigures> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };
    let kibibytes = |key: &str| {
        let number = line(key)?.strip_suffix("kB")?.trim();
        number.parse::<u64>().ok()?.checked_mul(1024)
    };
    let open_files = fs::read_dir(format!("/proc/{pid}/fd")).ok();
    Some(ProcessFigures {
        pid,
        name: line("Name").unwrap_or_default().to_owned(),
        state: line("State")
            .and_then(|state| state.split(' ').next())
            .unwrap_or_default()
            .to_owned(),
        waits_in: fs::read_to_string(format!("/proc/{pid}/wchan"))
            .ok()
            .filter(|place| !place.is_empty() && place != "0"),
        threads: line("Threads").and_then(|count| count.parse().ok()),
        memory_bytes: kibibytes("VmRSS"),
        peak_memory_bytes: kibibytes("VmHWM"),
        cpu_ms: cpu(pid).and_then(|time| u64::try_from(time.as_millis()).ok()),
        open_files: open_files.and_then(|files| u64::try_from(files.count()).ok()),
    })
}

/// The processor time that a process has used, in user mode and in the kernel.
fn cpu(pid: i32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    cpu_ticks(&text).map(procfs::of_ticks)
}

/// User and system ticks are the 14th and 15th field; the name before them may hold blanks.
fn cpu_ticks(line: &str) -> Option<u64> {
    let (_, after_name) = line.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let own = group_figures(pid).remove(0);
        assert_eq!(own.pid, pid);
        assert!(own.memory_bytes > Some(1024 * 1024), "{own:?}");
        assert!(own.peak_memory_bytes >= own.memory_bytes, "{own:?}");
        assert!(own.open_files >= Some(3), "{own:?}");
        assert!(own.threads >= Some(1), "{own:?}");
        assert!(own.cpu_ms.is_some() && !own.name.is_empty(), "{own:?}");
        assert_eq!(group_figures(i32::MAX), []);
    }

    #[test]
    fn a_hostile_name_does_not_shift_the_ticks() {
        let line =
            "42 (a) Z 9 9 9 (b)) S 1 40 39 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 1 0 987654 10 11";
        assert_eq!(cpu_ticks(line), Some(110));
        for broken in ["", "42 (x)", "42 (x) S 1 2 3 4 5 6 7 8 9 10 11"] {
            assert_eq!(cpu_ticks(broken), None, "{broken}");
        }
    }
}
