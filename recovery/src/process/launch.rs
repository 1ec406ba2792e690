//! How is a child started: in which environment, with what for input and output?
//!
//! In a process group of its own, so that a terminal's signals to the engine don't reach it and
//! all that it forks can be ended together; without the kernel's parent-death signal, so that it
//! outlives the engine; and with its output in a file, not in a pipe that would break with the
//! engine.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::phase::ChildIdentity;
use super::procfs::{self, GENERATION_VARIABLE, STATE_VARIABLE, UNIT_VARIABLE};
use crate::{ProcessSpec, UnitName};

/// The variable that gives OpenTelemetry's SDKs a resource's attributes, which are on every span.
pub const RESOURCE_VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// The attribute that says of which life a span is.
pub const GENERATION_ATTRIBUTE: &str = "rekindle.generation";
/// The attribute that tells one replica from another: of a kind's unit, its name, unless somebody says otherwise.
pub const INSTANCE_ATTRIBUTE: &str = "service.instance.id";
/// A log beyond this is put aside: when its child is started, and now and then while it runs. One
/// predecessor is kept, so a unit takes up about twice this, plus what it writes between two looks.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// Starts a child and returns which process it is.
pub(super) fn launch(
    unit: &UnitName,
    spec: &ProcessSpec,
    generation: u64,
    state_id: &str,
    logs: &Path,
) -> io::Result<ChildIdentity> {
    let (program, arguments) = spec
        .command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "its command is empty"))?;
    let inherited = std::env::var(RESOURCE_VARIABLE).ok();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment(unit, spec, generation, state_id, inherited))
        .stdin(Stdio::null())
        .process_group(0);
    if let Some(directory) = &spec.directory {
        command.current_dir(directory);
    }
    match open_log(unit, logs).and_then(|log| Ok((log.try_clone()?, log))) {
        Ok((out, err)) => command.stdout(out).stderr(err),
        Err(error) => {
            tracing::warn!(%unit, %error, "its log can't be opened; its output is lost");
            command.stdout(Stdio::null()).stderr(Stdio::null())
        }
    };
    let child = command.spawn().map_err(|error| {
        // The operating system says the same of a missing directory as of a missing program.
        match missing_directory(spec) {
            Some(reason) => io::Error::new(error.kind(), reason),
            None => explain(program, &error),
        }
    })?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // It is our child and nobody has waited for it, so it exists, be it as a zombie. It is waited
    // for through its pidfd.
    let stat = procfs::stat(pid)
        .ok_or_else(|| io::Error::other("it was started, but /proc does not show it"))?;
    Ok(ChildIdentity {
        pid,
        start_ticks: stat.start_ticks,
        boot_id: procfs::boot_id(),
    })
}

/// Whether the command could be started at all: asked before the old life is ended for it.
///
/// # Errors
///
/// With what is wrong, in words for people.
pub(super) fn check(spec: &ProcessSpec) -> Result<(), String> {
    let Some(program) = spec.command.first() else {
        return Err("its command is empty".to_owned());
    };
    if let Some(reason) = missing_directory(spec) {
        return Err(reason);
    }
    let runnable = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let found = if program.contains('/') {
        let path = match &spec.directory {
            Some(directory) => directory.join(program),
            None => PathBuf::from(program),
        };
        runnable(&path)
    } else {
        let path = spec
            .environment
            .get("PATH")
            .map(OsString::from)
            .or_else(|| std::env::var_os("PATH"))
            .unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
        std::env::split_paths(&path).any(|folder| runnable(&folder.join(program)))
    };
    if found {
        Ok(())
    } else {
        Err(format!(
            "command {program} does not exist or may not be executed"
        ))
    }
}

/// Says so if there is no directory to start it in.
fn missing_directory(spec: &ProcessSpec) -> Option<String> {
    let directory = spec.directory.as_ref().filter(|it| !it.is_dir())?;
    Some(format!("directory {} does not exist", directory.display()))
}

/// Puts the operating system's answer to a spawn in words that name the command.
pub(crate) fn explain(program: &str, error: &io::Error) -> io::Error {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => format!("command {program} does not exist"),
        io::ErrorKind::PermissionDenied => format!("command {program} may not be executed"),
        _ => format!("command {program} could not be started: {error}"),
    };
    io::Error::new(error.kind(), reason)
}

/// What is set on top of the engine's own environment.
fn environment(
    unit: &UnitName,
    spec: &ProcessSpec,
    generation: u64,
    state_id: &str,
    inherited_resource: Option<String>,
) -> BTreeMap<String, String> {
    let mut environment = spec.environment.clone();
    let own_resource = environment.get(RESOURCE_VARIABLE).cloned();
    let is_own = own_resource.is_some();
    let resource = own_resource.or(inherited_resource).unwrap_or_default();
    let attributes: Vec<&str> = resource
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .filter(|pair| pair.split('=').next() != Some(GENERATION_ATTRIBUTE))
        .collect();
    let mut resource: Vec<String> = attributes.iter().map(|&it| it.to_owned()).collect();
    let says_instance = |pair: &str| pair.split('=').next() == Some(INSTANCE_ATTRIBUTE);
    if unit.kind_and_instance().is_some() {
        // What all replicas have from our own environment tells none of them apart.
        resource.retain(|pair| is_own || !says_instance(pair));
        if !resource.iter().any(|pair| says_instance(pair)) {
            resource.push(format!("{INSTANCE_ATTRIBUTE}={unit}"));
        }
    }
    resource.push(format!("{GENERATION_ATTRIBUTE}={generation}"));
    environment.insert(RESOURCE_VARIABLE.to_owned(), resource.join(","));
    environment.insert(UNIT_VARIABLE.to_owned(), unit.to_string());
    environment.insert(GENERATION_VARIABLE.to_owned(), generation.to_string());
    environment.insert(STATE_VARIABLE.to_owned(), state_id.to_owned());
    environment
}

fn open_log(unit: &UnitName, logs: &Path) -> io::Result<File> {
    let path = log_path(unit, logs);
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_LOG_BYTES) {
        let mut aside = path.clone().into_os_string();
        aside.push(".1");
        fs::rename(&path, aside)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Puts the log of a running child aside if it is too long: copied, and emptied under the child, which
/// appends to it. What the child writes between the last read and the emptying is lost.
pub(super) fn bound_log(unit: &UnitName, logs: &Path) -> io::Result<()> {
    let path = log_path(unit, logs);
    match fs::metadata(&path) {
        Ok(meta) if meta.len() > MAX_LOG_BYTES => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut log = OpenOptions::new().read(true).write(true).open(&path)?;
    let mut aside = path.into_os_string();
    aside.push(".1");
    let from = log.metadata()?.len().saturating_sub(MAX_LOG_BYTES);
    io::Seek::seek(&mut log, io::SeekFrom::Start(from))?;
    // Not more than it may hold, should the child write faster than it is read.
    let mut end = io::Read::take(&mut log, 2 * MAX_LOG_BYTES);
    io::copy(&mut end, &mut File::create(aside)?)?;
    log.set_len(0)
}

/// How much of a log's end is looked at for its last line.
const LOG_END_BYTES: u64 = 4096;

/// Characters of a log's line that people are shown.
const LINE_CHARS: usize = 200;

/// How long a unit's log is now.
pub(super) fn log_bytes(unit: &UnitName, logs: &Path) -> u64 {
    fs::metadata(log_path(unit, logs)).map_or(0, |meta| meta.len())
}

/// The end of what was written to a log since it was so long, at most so many bytes of it; and whether there is more before,
/// so that it may begin within a line.
pub(crate) fn log_end(path: &Path, since: u64, most: u64) -> io::Result<(String, bool)> {
    let mut log = File::open(path)?;
    let length = log.metadata()?.len();
    // A log that is shorter than it was has been put aside meanwhile.
    let since = if since > length { 0 } else { since };
    let from = since.max(length.saturating_sub(most));
    io::Seek::seek(&mut log, io::SeekFrom::Start(from))?;
    let mut end = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(log, most), &mut end)?;
    Ok((String::from_utf8_lossy(&end).into_owned(), from > since))
}

/// The last line that was written to a unit's log since it was so long, as text that may be shown anywhere.
pub(super) fn last_line(unit: &UnitName, logs: &Path, since: u64) -> Option<String> {
    let (end, is_cut) = log_end(&log_path(unit, logs), since, LOG_END_BYTES).ok()?;
    // A line of which only the end is there is told where there is no other.
    let end = match end.split_once('\n') {
        Some((_, whole)) if is_cut && !whole.trim().is_empty() => whole,
        _ => &end,
    };
    let lines = end.lines().rev().map(plain);
    let line = lines
        .map(|line| line.trim().to_owned())
        .find(|line| !line.is_empty())?;
    Some(match line.char_indices().nth(LINE_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    })
}

/// Without colours and other orders to a terminal.
fn plain(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            '\u{1b}' => {
                let mut order = rest.clone();
                if order.next() == Some('[') && order.any(|it| it.is_ascii_alphabetic()) {
                    rest = order;
                }
            }
            // Of these, some make text run backwards.
            '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            next if next.is_control() => shown.push(' '),
            next => shown.push(next),
        }
    }
    shown
}

/// The file that a unit's output goes to. A unit's name is the operator's and may hold anything,
/// so what isn't plain in a file name is escaped, distinctly.
pub(crate) fn log_path(unit: &UnitName, logs: &Path) -> PathBuf {
    let mut name = OsString::new();
    for (position, byte) in unit.as_str().bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_')
            || (byte == b'.' && position > 0);
        if plain {
            name.push(char::from(byte).encode_utf8(&mut [0; 4]));
        } else {
            name.push(format!("%{byte:02X}"));
        }
    }
    name.push(OsStr::new(".log"));
    logs.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(command: &[&str]) -> ProcessSpec {
        ProcessSpec {
            command: command.iter().map(|&part| part.to_owned()).collect(),
            environment: BTreeMap::new(),
            directory: None,
            stop: crate::Stop::Term(std::time::Duration::from_secs(1)),
            ports: Vec::new(),
        }
    }

    #[test]
    fn the_generation_joins_the_resource_attributes() {
        let unit = UnitName::from("web");
        for (inherited, own, expected) in [
            (None, None, "rekindle.generation=4"),
            (Some("a=1"), None, "a=1,rekindle.generation=4"),
            (Some("a=1"), Some("b=2"), "b=2,rekindle.generation=4"),
            (
                Some("rekindle.generation=3, a=1,,"),
                None,
                "a=1,rekindle.generation=4",
            ),
        ] {
            let mut spec = spec(&["true"]);
            if let Some(own) = own {
                spec.environment
                    .insert(RESOURCE_VARIABLE.to_owned(), own.to_owned());
            }
            // Marks can't be overridden by what is configured.
            spec.environment
                .insert(UNIT_VARIABLE.to_owned(), "another".to_owned());
            let made = environment(&unit, &spec, 4, "id", inherited.map(str::to_owned));
            assert_eq!(made[RESOURCE_VARIABLE], expected);
            assert_eq!(made[UNIT_VARIABLE], "web");
            assert_eq!(made[GENERATION_VARIABLE], "4");
            assert_eq!(made[STATE_VARIABLE], "id");
        }
    }

    #[test]
    fn a_replica_is_told_apart_from_the_others() {
        let ours = "service.instance.id=web@2,rekindle.generation=1";
        for (unit, own, inherited, expected) in [
            ("web@2", None, "a=1", format!("a=1,{ours}")),
            // Each would have it from the engine's environment …
            ("web@2", None, "service.instance.id=host", ours.to_owned()),
            // … and its own is its own.
            (
                "web@2",
                Some("service.instance.id=w2"),
                "",
                "service.instance.id=w2,rekindle.generation=1".to_owned(),
            ),
            // Of one of its own kind, SDKs say it.
            ("web", None, "", "rekindle.generation=1".to_owned()),
        ] {
            let mut spec = spec(&["true"]);
            let own = own.map(|own| (RESOURCE_VARIABLE.to_owned(), own.to_owned()));
            spec.environment.extend(own);
            let inherited = Some(inherited.to_owned());
            let made = environment(&unit.into(), &spec, 1, "id", inherited);
            assert_eq!(made[RESOURCE_VARIABLE], expected);
        }
    }

    #[test]
    fn a_command_is_checked_before_anything_is_ended_for_it() {
        assert_eq!(check(&spec(&["sh", "-c", "true"])), Ok(()));
        assert_eq!(check(&spec(&["/bin/sh"])), Ok(()));
        for bad in [
            &spec(&[]),
            &spec(&["no-such-command-here"]),
            &spec(&["/no/such/command"]),
            &spec(&["/proc/self/status"]),
            &ProcessSpec {
                directory: Some("/no/such/directory".into()),
                ..spec(&["sh"])
            },
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_log_s_name_stays_in_its_folder() {
        let logs = Path::new("/l");
        for (unit, file) in [
            ("web.search-2", "/l/web.search-2.log"),
            ("../../etc/passwd", "/l/%2E.%2F..%2Fetc%2Fpasswd.log"),
            (".", "/l/%2E.log"),
            ("ü", "/l/%C3%BC.log"),
        ] {
            assert_eq!(log_path(&unit.into(), logs), Path::new(file));
        }
    }

    #[test]
    fn a_log_s_last_line_is_text() {
        let logs = tempfile::tempdir().expect("a directory");
        let unit = UnitName::from("web");
        let path = log_path(&unit, logs.path());
        assert_eq!(last_line(&unit, logs.path(), 0), None);
        let long = "x".repeat(5000);
        let cut = format!("{}…", "x".repeat(LINE_CHARS));
        for (written, since, expected) in [
            ("", 0, None),
            ("\n \n", 0, None),
            ("started\nno database\n\n", 0, Some("no database")),
            ("of an earlier life\n", 19, None),
            ("of an earlier life\nno room", 19, Some("no room")),
            ("put aside meanwhile", 1000, Some("put aside meanwhile")),
            (
                "\u{1b}[31mred\u{1b}[0m\tand\u{7} loud",
                0,
                Some("red and  loud"),
            ),
            ("evil\u{202e}txt\u{1b}", 0, Some("eviltxt")),
            (&long, 0, Some(cut.as_str())),
            (&format!("{long}\nat last"), 0, Some("at last")),
        ] {
            fs::write(&path, written).expect("written");
            let line = last_line(&unit, logs.path(), since);
            assert_eq!(line.as_deref(), expected, "{written:?}");
        }
    }

    #[test]
    fn a_log_that_is_written_to_is_bounded() {
        use std::io::Write as _;
        let logs = tempfile::tempdir().expect("a directory");
        let unit = UnitName::from("chatty");
        let path = log_path(&unit, logs.path());
        bound_log(&unit, logs.path()).expect("none is not too long");
        let mut child = open_log(&unit, logs.path()).expect("opens");
        child.write_all(b"short").expect("written");
        bound_log(&unit, logs.path()).expect("looked at");
        assert_eq!(fs::read(&path).expect("there"), b"short");
        child.set_len(MAX_LOG_BYTES).expect("a long log");
        child.write_all(b"last").expect("written");
        bound_log(&unit, logs.path()).expect("put aside");
        let aside = fs::read(logs.path().join("chatty.log.1")).expect("there");
        assert!(aside.ends_with(b"last") && aside.len() as u64 == MAX_LOG_BYTES);
        child.write_all(b"next").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"next");
    }

    #[test]
    fn a_long_log_is_put_aside_once() {
        let logs = tempfile::tempdir().expect("a directory");
        let unit = UnitName::from("chatty");
        let path = log_path(&unit, logs.path());
        File::create(&path)
            .and_then(|log| log.set_len(MAX_LOG_BYTES + 1))
            .expect("a long log");
        open_log(&unit, logs.path()).expect("opens");
        assert_eq!(fs::metadata(&path).expect("new").len(), 0);
        assert!(logs.path().join("chatty.log.1").exists());
    }
}
