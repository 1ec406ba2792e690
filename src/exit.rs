//! How a command ended, as a number that scripts can rely on. Shown by `rekindle --help`.

use std::process::ExitCode;

use crate::api::ProblemKind;

/// The exit codes; their values never change. 64, 69 and 75 are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It went wrong.
    Failed = 1,
    /// What was asked about isn't there.
    NotFound = 2,
    /// What was waited for was restarted, and that didn't cure, or whether it did can't be told. Where nothing was known to
    /// be wrong, that it came up is all that was asked for.
    NotCured = 3,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// No daemon answers.
    Unreachable = 69,
    /// A guard, or the state of things, says no, or the daemon has too much to do. Nothing was done;
    /// later it may say yes.
    Refused = 75,
}

/// The codes for `--help`.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
   0  done
   1  it went wrong
   2  what was asked about isn't there (no such incident, suspect, unit or plan)
   3  with --wait: it was restarted for what was wrong, and the verdict is not `cured`
  64  the command line or the configuration is wrong
  69  no daemon answers
  75  refused by a guard or the state of things, or too busy: nothing was done, later it may be
Commands that ask end with 0 whatever the answer is: an open incident, a plan that waits and a
recovery that gave up are answers; `-o json` has them for scripts.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<ProblemKind> for Exit {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::NotFound => Self::NotFound,
            ProblemKind::Refused | ProblemKind::Busy => Self::Refused,
            ProblemKind::Invalid
            | ProblemKind::MethodNotAllowed
            | ProblemKind::TooLarge
            | ProblemKind::UnsupportedMediaType => Self::Usage,
            ProblemKind::Ended
            | ProblemKind::Forbidden
            | ProblemKind::Unauthorized
            | ProblemKind::Internal
            | ProblemKind::NoAnswer => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_is_no_daemon() {
        let cases = [
            (ProblemKind::Ended, Exit::Failed),
            (ProblemKind::Busy, Exit::Refused),
            (ProblemKind::Refused, Exit::Refused),
            (ProblemKind::NoAnswer, Exit::Failed),
            (ProblemKind::NotFound, Exit::NotFound),
        ];
        for (kind, expected) in cases {
            assert_eq!(Exit::from(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn the_help_names_every_code() {
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::NotFound,
            Exit::NotCured,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Refused,
        ] {
            let line = format!("{:>4}  ", exit as u8);
            assert!(EXIT_CODES_HELP.contains(&line), "{exit:?}");
        }
    }
}
