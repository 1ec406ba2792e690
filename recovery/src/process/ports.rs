//! Does anybody listen on a port that a life which is to begin will listen on, on whatever address?
//!
//! From the kernel's table of sockets, without connecting: a connection would be a request. Who holds the
//! port is looked for only when somebody does, for people.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::thread;
use std::time::{Duration, Instant};

/// How long a port may still be held after the last process of a group has ended: the kernel closes the
/// sockets of a process with it, and something else than it holds what is held for longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// The kernel's number for a socket that listens.
const LISTENS: &str = "0A";

/// Waits until nobody listens on any of these ports. Blocks.
///
/// # Errors
///
/// In words for people, who does after two seconds.
pub(super) fn wait_until_free(ports: &[u16]) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let held = listening(ports);
        let Some((port, inode)) = held.first() else {
            return Ok(());
        };
        if Instant::now() >= until {
            let who = holder(*inode).unwrap_or_else(|| "somebody who can't be seen".to_owned());
            return Err(format!("{who} listens on its port {port}"));
        }
        thread::sleep(PAUSE);
    }
}

/// Whether nobody listens on any of these ports now.
pub(super) fn are_free(ports: &[u16]) -> bool {
    listening(ports).is_empty()
}

/// Who listens on this port, for people; `None` when nobody does, or nobody who can be seen.
pub fn listener_on(port: u16) -> Option<String> {
    let held = listening(&[port]);
    held.into_iter().find_map(|(_, inode)| holder(inode))
}

/// Which of these ports somebody listens on, with the socket's inode.
fn listening(ports: &[u16]) -> Vec<(u16, u64)> {
    if ports.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // Where there is no IPv6 there is no table of it.
        let text = fs::read_to_string(table).unwrap_or_default();
        let sockets = text.lines().filter_map(parse);
        found.extend(sockets.filter(|(port, _)| ports.contains(port)));
    }
    found
}

/// Port and inode of a line about a socket that listens.
fn parse(line: &str) -> Option<(u16, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if fields.nth(1)? != LISTENS {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some((port, inode))
}

fn holder(inode: u64) -> Option<String> {
    let socket = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        // `self` and `thread-self` are this process, by other names.
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = files.flatten().any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|target| target.as_os_str().as_bytes() == socket.as_bytes())
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_seen_and_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else {
                continue;
            };
            let port = listener.local_addr().expect("bound").port();
            let found = listening(&[port]);
            assert_eq!(found.len(), 1, "{found:?}");
            let own = format!("process {} (", std::process::id());
            let holder = holder(found[0].1).expect("ours");
            assert!(holder.starts_with(&own), "{holder}");
            drop(listener);
            assert_eq!(wait_until_free(&[port]), Ok(()));
        }
        assert_eq!(wait_until_free(&[]), Ok(()));
    }

    #[test]
    fn only_lines_of_listeners_count() {
        let line = |state: &str| {
            format!(
                "   0: 0100007F:1F91 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0"
            )
        };
        assert_eq!(parse(&line("0A")), Some((8081, 4711)));
        assert_eq!(parse(&line("01")), None);
        assert_eq!(parse("  sl  local_address rem_address   st"), None);
        assert_eq!(parse(""), None);
    }
}
