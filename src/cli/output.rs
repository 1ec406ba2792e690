//! Where does an export go, so that nobody takes a part of it for the whole?
//!
//! Into a file beside the one that was named, which gets that name when all of it is there. Whatever comes in between
//! (Ctrl-C, a full disk), the name holds what it held before. The standard output, a pipe and a device are written to
//! as it comes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What an export is written to.
pub(super) struct Output {
    writer: BufWriter<Box<dyn Write>>,
    unfinished: Option<Unfinished>,
}

/// A file that isn't whole yet; it goes when it never is.
struct Unfinished {
    path: PathBuf,
    named: PathBuf,
}

impl Output {
    /// To a file, or to the standard output.
    pub(super) fn to(named: Option<&Path>) -> io::Result<Self> {
        let Some(named) = named else {
            return Ok(Self::of(io::stdout().lock(), None));
        };
        if fs::metadata(named).is_ok_and(|it| !it.is_file()) {
            return Ok(Self::of(File::options().write(true).open(named)?, None));
        }
        let mut path = named.as_os_str().to_owned();
        path.push(".partial");
        let unfinished = Unfinished {
            path: path.into(),
            named: named.to_owned(),
        };
        Ok(Self::of(File::create(&unfinished.path)?, Some(unfinished)))
    }

    fn of(writer: impl Write + 'static, unfinished: Option<Unfinished>) -> Self {
        Self {
            writer: BufWriter::new(Box::new(writer)),
            unfinished,
        }
    }

    /// All of it is written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()?;
        match &self.unfinished {
            Some(file) => fs::rename(&file.path, &file.named),
            None => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // When it has its name there is nothing under this one.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_all_of_it_or_what_it_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = folder.path().join("spans.jsonl");
        for (text, is_finished, holds) in [
            ("one", false, None),
            ("two", true, Some("two")),
            ("three", false, Some("two")),
            ("four", true, Some("four")),
        ] {
            let mut output = Output::to(Some(&named)).expect("a file");
            output.write_all(text.as_bytes()).expect("room");
            output.flush().expect("room");
            match is_finished {
                true => output.finish().expect("named"),
                false => drop(output),
            }
            assert_eq!(fs::read_to_string(&named).ok().as_deref(), holds, "{text}");
            let left = fs::read_dir(folder.path()).expect("listed").count();
            assert_eq!(left, usize::from(holds.is_some()), "{text}");
        }
    }

    #[test]
    fn a_device_is_written_to() {
        let mut output = Output::to(Some(Path::new("/dev/null"))).expect("it opens");
        output.write_all(b"gone").expect("it takes all");
        output.finish().expect("it stays what it was");
        assert!(!fs::metadata("/dev/null").expect("it is there").is_file());
    }
}
