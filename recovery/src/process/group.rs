//! How is a whole process group ended, and how is it certain that nothing of it is left?
//!
//! A pid and the number of a process group are only names: once nobody holds them, the kernel
//! gives them to others. So every member is held by a pidfd from the moment it is first seen. A
//! signal goes to the group's number only while a held member still pins it (even as a zombie);
//! otherwise to each held member by its pidfd. A process is taken for a member if its group has our
//! number while a held member pins that number, or if its environment carries the unit's marks.
//!
//! Synchronous, with short sleeps: callers put it on a blocking thread.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, test_kill_process_group, waitid, waitpgid,
};

use super::phase::{ChildIdentity, Ending};
use super::procfs::{self, Stat};

/// How long the kernel may take to end a process after KILL. Only one in uninterruptible sleep
/// (a dead disk, a dead network file system) takes longer, and then nobody can end it.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// The first pause between two looks at a group that is ending; most end at once.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// The most members held by pidfd, against a child that forks without end. Those beyond it are
/// reached through the group's number.
const MAX_HELD: usize = 1024;

/// Whose marks a unit's processes carry.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub state_id: String,
    pub unit: String,
}

/// How a group ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndedGroup {
    /// Whether KILL was needed.
    pub forced: bool,
    /// How long it took.
    pub took: Duration,
}

/// Processes that live on after KILL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("process(es) {pids:?} still live {KILL_PATIENCE:?} after KILL")]
pub(super) struct StillAlive {
    pub pids: Vec<i32>,
}

#[derive(Debug)]
struct Member {
    start_ticks: u64,
    pidfd: Arc<OwnedFd>,
}

impl Member {
    /// Takes hold of a process. It is looked at once more after its pidfd is there, so that the
    /// pidfd is of the process that was meant and not of a later one with its pid.
    fn hold(pid: i32, start_ticks: u64) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let again = procfs::stat(pid)?;
        (again.start_ticks == start_ticks).then(|| Self {
            start_ticks,
            pidfd: Arc::new(pidfd),
        })
    }

    fn lives(&self) -> bool {
        !has_ended(self.pidfd.as_fd())
    }
}

/// Whether the process of a pidfd has ended: a zombie has.
fn has_ended(pidfd: std::os::fd::BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// A child's process group, with all of its members that were ever seen and may still live.
#[derive(Debug)]
pub(super) struct Group {
    leader: ChildIdentity,
    owner: Owner,
    members: BTreeMap<i32, Member>,
}

impl Group {
    /// Takes hold of a child; `None` if it no longer exists, not even as a zombie.
    pub(super) fn of(leader: &ChildIdentity, owner: &Owner) -> Option<Self> {
        let member = Member::hold(leader.pid, leader.start_ticks)?;
        Some(Self {
            leader: leader.clone(),
            owner: owner.clone(),
            members: BTreeMap::from([(leader.pid, member)]),
        })
    }

    /// A group whose leader is gone; members that carry the marks can still be found.
    pub(super) fn without_leader(leader: &ChildIdentity, owner: &Owner) -> Self {
        Self {
            leader: leader.clone(),
            owner: owner.clone(),
            members: BTreeMap::new(),
        }
    }

    /// The leader's pidfd, which becomes readable when it ends.
    pub(super) fn leader(&self) -> Option<Arc<OwnedFd>> {
        let leader = self.members.get(&self.leader.pid)?;
        Some(Arc::clone(&leader.pidfd))
    }

    /// Looks for new members, forgets those that are gone, and returns the pids of the living.
    pub(super) fn look(&mut self) -> Vec<i32> {
        if self.members.is_empty() && self.number_is_free() {
            return Vec::new();
        }
        let group: Vec<Stat> = procfs::processes()
            .into_iter()
            .filter(|stat| stat.group == self.leader.pid)
            .collect();
        let mut candidates = Vec::new();
        for stat in group.iter().filter(|stat| !stat.zombie) {
            if self.members.len() + candidates.len() >= MAX_HELD {
                break;
            }
            if !self.members.contains_key(&stat.pid)
                && let Some(member) = Member::hold(stat.pid, stat.start_ticks)
            {
                candidates.push((stat.pid, member));
            }
        }
        // Only after the candidates are held: who pins the number now pinned it when they were seen.
        let pinned = self.is_pinned();
        for (pid, member) in candidates {
            let marked = || {
                procfs::marks(pid).is_some_and(|marks| {
                    marks.state == self.owner.state_id && marks.unit == self.owner.unit
                })
            };
            if pinned || marked() {
                self.members.insert(pid, member);
            }
        }
        // A dead leader is kept while its zombie pins the number.
        self.members.retain(|pid, member| {
            member.lives()
                || procfs::stat(*pid).is_some_and(|stat| stat.start_ticks == member.start_ticks)
        });
        self.members
            .iter()
            .filter(|(_, member)| member.lives())
            .map(|(pid, _)| *pid)
            .collect()
    }

    /// Ends the group: TERM, `grace`, KILL. Returns once no member lives.
    ///
    /// # Errors
    ///
    /// If some live on after KILL.
    pub(super) fn end(&mut self, grace: Duration) -> Result<EndedGroup, StillAlive> {
        let began = Instant::now();
        let ended = |forced| EndedGroup {
            forced,
            took: began.elapsed(),
        };
        if self.look().is_empty() {
            return Ok(ended(false));
        }
        self.signal(Signal::TERM);
        // A stopped process takes TERM only once it goes on.
        self.signal(Signal::CONT);
        if self.wait(grace, None).is_empty() {
            return Ok(ended(false));
        }
        self.kill_all(began)
    }

    /// Ends the group by KILL, at once.
    ///
    /// # Errors
    ///
    /// If some live on.
    pub(super) fn kill(&mut self) -> Result<EndedGroup, StillAlive> {
        let began = Instant::now();
        self.look();
        self.kill_all(began)
    }

    fn kill_all(&mut self, began: Instant) -> Result<EndedGroup, StillAlive> {
        self.signal(Signal::KILL);
        // Again at each look: members can be forked between a look and a signal.
        let left = self.wait(KILL_PATIENCE, Some(Signal::KILL));
        if left.is_empty() {
            Ok(EndedGroup {
                forced: true,
                took: began.elapsed(),
            })
        } else {
            Err(StillAlive { pids: left })
        }
    }

    /// Takes the leader's exit status, if it is our own child, has ended and wasn't asked yet; and
    /// buries other zombies of the group that have become our children.
    pub(super) fn reap(&mut self) -> Ending {
        let status = self.leader().and_then(|leader| {
            waitid(
                WaitId::PidFd(leader.as_fd()),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            )
            .ok()
            .flatten()
        });
        if let Some(number) = Pid::from_raw(self.leader.pid) {
            while let Ok(Some(_)) = waitpgid(number, WaitOptions::NOHANG) {}
        }
        status.map_or(Ending::Unseen, |status| {
            if let Some(code) = status.exit_status() {
                Ending::Code(code)
            } else if let Some(signal) = status.terminating_signal() {
                Ending::Signal(signal)
            } else {
                Ending::Unseen
            }
        })
    }

    fn wait(&mut self, patience: Duration, repeat: Option<Signal>) -> Vec<i32> {
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = self.look();
            if left.is_empty() || Instant::now() >= until {
                return left;
            }
            if let Some(signal) = repeat {
                self.signal(signal);
            }
            thread::sleep(pause.min(until.saturating_duration_since(Instant::now())));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Errors are of no interest: whoever can't be signalled because it is gone is what is wanted,
    /// and whoever lives on is seen by the next look.
    fn signal(&self, signal: Signal) {
        if self.is_pinned()
            && let Some(number) = Pid::from_raw(self.leader.pid)
        {
            let _ = kill_process_group(number, signal);
            return;
        }
        for member in self.members.values() {
            let _ = pidfd_send_signal(member.pidfd.as_fd(), signal);
        }
    }

    /// Whether a held member still exists in the group, so that its number can't be another's.
    fn is_pinned(&self) -> bool {
        self.members.iter().any(|(pid, member)| {
            procfs::stat(*pid).is_some_and(|stat| {
                stat.start_ticks == member.start_ticks && stat.group == self.leader.pid
            })
        })
    }

    fn number_is_free(&self) -> bool {
        Pid::from_raw(self.leader.pid)
            .is_none_or(|number| test_kill_process_group(number) == Err(rustix::io::Errno::SRCH))
    }
}

/// Ends the group of a child of ours that hasn't been waited for, without marks to go by.
pub(crate) fn end_own_group(pid: u32, grace: Duration) {
    let Some(stat) = i32::try_from(pid).ok().and_then(procfs::stat) else {
        return;
    };
    let leader = ChildIdentity {
        pid: stat.pid,
        start_ticks: stat.start_ticks,
        boot_id: String::new(),
    };
    let nobody = Owner {
        state_id: String::new(),
        unit: String::new(),
    };
    if let Some(mut group) = Group::of(&leader, &nobody)
        && let Err(alive) = group.end(grace)
    {
        tracing::warn!(%alive, "a command can't be ended");
    }
}

/// Kills every process that carries this unit's marks, whatever group it has moved to. Called when
/// nothing of the unit may live: after its group was ended and before its next life. Returns how
/// many there were.
///
/// # Errors
///
/// If some live on after KILL.
pub(super) fn sweep(owner: &Owner) -> Result<usize, StillAlive> {
    let own_pid = rustix::process::getpid().as_raw_nonzero().get();
    let until = Instant::now() + KILL_PATIENCE;
    let mut pause = FIRST_PAUSE;
    let mut killed = std::collections::BTreeSet::new();
    loop {
        let left: Vec<i32> = procfs::marked(&owner.state_id)
            .into_iter()
            // An engine that was started from within a unit carries its marks.
            .filter(|(stat, marks)| marks.unit == owner.unit && stat.pid != own_pid)
            .filter_map(|(stat, _)| {
                let member = Member::hold(stat.pid, stat.start_ticks)?;
                let _ = pidfd_send_signal(member.pidfd.as_fd(), Signal::KILL);
                Some(stat.pid)
            })
            .collect();
        if left.is_empty() {
            return Ok(killed.len());
        }
        if Instant::now() >= until {
            return Err(StillAlive { pids: left });
        }
        killed.extend(left);
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn owner(unit: &str) -> Owner {
        Owner {
            state_id: format!("group-tests-{}", std::process::id()),
            unit: unit.to_owned(),
        }
    }

    /// Starts `sh -c script` in a group of its own and returns once it wrote a line.
    #[expect(
        clippy::zombie_processes,
        reason = "`Group::reap` waits for it, by its pidfd"
    )]
    fn spawn(owner: &Owner, script: &str) -> Group {
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .env(procfs::STATE_VARIABLE, &owner.state_id)
            .env(procfs::UNIT_VARIABLE, &owner.unit)
            .env(procfs::GENERATION_VARIABLE, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("spawns");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("says that it is up");
        let pid = i32::try_from(child.id()).expect("a pid");
        let leader = ChildIdentity {
            pid,
            start_ticks: procfs::stat(pid).expect("lives").start_ticks,
            boot_id: procfs::boot_id(),
        };
        Group::of(&leader, owner).expect("held")
    }

    const GRACE: Duration = Duration::from_secs(10);

    #[test]
    fn term_is_enough_for_most() {
        let mut group = spawn(&owner("polite"), "echo up; exec sleep 60");
        assert_eq!(group.look().len(), 1);
        let ended = group.end(GRACE).expect("ends");
        assert!(!ended.forced);
        assert_eq!(group.reap(), Ending::Signal(15));
        assert!(group.look().is_empty());
    }

    #[test]
    fn who_ignores_term_is_killed() {
        let mut group = spawn(
            &owner("stubborn"),
            "trap '' TERM; echo up; while :; do sleep 0.05; done",
        );
        let ended = group.end(Duration::from_millis(100)).expect("ends");
        assert!(ended.forced);
        assert_eq!(group.reap(), Ending::Signal(9));
    }

    #[test]
    fn who_is_killed_at_once_is_not_asked_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("asked");
        let script = format!(
            "trap 'echo asked > {}; exit' TERM; echo up; while :; do sleep 0.05; done",
            file.display()
        );
        let mut group = spawn(&owner("crash-only"), &script);
        assert!(group.kill().expect("ends").forced);
        assert_eq!(group.reap(), Ending::Signal(9));
        assert!(!file.exists());
        assert!(group.kill().is_ok(), "nobody is left");
    }

    #[test]
    fn a_stopped_process_ends_too() {
        let mut group = spawn(&owner("stopped"), "echo up; exec sleep 60");
        group.signal(Signal::STOP);
        assert!(!group.end(GRACE).expect("ends").forced);
        group.reap();
    }

    #[test]
    fn grandchildren_of_the_group_end_with_it_even_when_the_leader_is_gone() {
        let owner = owner("parent");
        // The grandchild clears its environment: only the group tells whose it is.
        let mut group = spawn(
            &owner,
            "trap '' TERM; env -i sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & echo up; wait",
        );
        assert!(group.look().len() >= 2);
        // The leader alone dies, and is buried.
        let leader = group.leader().expect("held");
        pidfd_send_signal(leader.as_fd(), Signal::KILL).expect("killed");
        while !has_ended(leader.as_fd()) {
            thread::sleep(FIRST_PAUSE);
        }
        assert_eq!(group.reap(), Ending::Signal(9));
        assert!(!group.look().is_empty(), "the grandchild lives on");
        assert!(group.end(Duration::from_millis(50)).expect("ends").forced);
        assert!(group.look().is_empty());
        group.reap();
    }

    #[test]
    fn who_left_the_group_is_found_by_its_marks() {
        let owner = owner("fugitive");
        let mut group = spawn(&owner, "setsid sleep 60 & echo up; wait");
        // `setsid` may not have run yet; wait until somebody marked is in another group.
        let number = group.leader.pid;
        while !procfs::marked(&owner.state_id)
            .iter()
            .any(|(stat, marks)| marks.unit == owner.unit && stat.group != number)
        {
            thread::sleep(FIRST_PAUSE);
        }
        group.end(GRACE).expect("ends");
        group.reap();
        assert!(sweep(&owner).expect("swept") >= 1);
        assert_eq!(sweep(&owner), Ok(0));
    }

    #[test]
    fn a_recycled_pid_is_nobody() {
        let me = i32::try_from(std::process::id()).expect("a pid");
        let impostor = ChildIdentity {
            pid: me,
            start_ticks: 1,
            boot_id: procfs::boot_id(),
        };
        assert!(Group::of(&impostor, &owner("impostor")).is_none());
        let mut group = Group::without_leader(&impostor, &owner("impostor"));
        assert!(group.look().is_empty(), "no marks, not pinned: not ours");
        assert_eq!(group.end(GRACE).map(|ended| ended.forced), Ok(false));
    }
}
