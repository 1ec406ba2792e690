//! Who may say how units and requests are?
//!
//! Words open incidents, so whoever can speak in any name can have any unit suspected. Where a file of
//! tokens is configured (`listen.speakers`), heartbeats, reports, outcomes and interventions need one of them as a
//! bearer token (RFC 6750), and count as said by the one whom the file names; a token may be good for
//! some units only. The file is read again when it has changed, so that tokens can be exchanged while
//! everything runs; one that can't be read any more leaves the last tokens in force.
//!
//! Tokens are compared in constant time and all of them each time, so that neither a guess's beginning
//! nor a token's place can be found out by the clock.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use super::{Problem, ProblemKind};

/// How often the file is looked at: a token that was taken back is good for so long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A shorter token can be guessed: 16 letters of 64 are 96 bits.
const LEAST_TOKEN_BYTES: usize = 16;
/// More are no units and monitors.
const MAX_SPEAKERS: usize = 1000;

/// Somebody who has a token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Speaker {
    /// Its name.
    pub(super) name: String,
    token: String,
    /// The units that it may speak about; all where there are none.
    units: Vec<String>,
}

/// Without the token: what is printed ends up in logs.
impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaker")
            .field("name", &self.name)
            .field("units", &self.units)
            .finish_non_exhaustive()
    }
}

impl Speaker {
    /// Whether it may speak about the unit.
    pub(super) fn may_speak_of(&self, unit: &str) -> Result<(), Problem> {
        if self.units.is_empty() || self.units.iter().any(|own| own == unit) {
            return Ok(());
        }
        let wrong = format!("the token of {} is not for {unit}", self.name);
        Err(Problem::new(ProblemKind::Forbidden, wrong))
    }

    /// Whether it may speak about whatever it likes.
    pub(super) fn may_speak_of_all(&self) -> Result<(), Problem> {
        if self.units.is_empty() {
            return Ok(());
        }
        let wrong = format!(
            "the token of {} is for some units only: say which of them, instead of attributes",
            self.name
        );
        Err(Problem::new(ProblemKind::Forbidden, wrong))
    }
}

/// What was said and not heard, and why.
#[derive(Debug, Default)]
pub struct Unheard {
    no_token: AtomicU64,
    old_generation: AtomicU64,
    unbegun_generation: AtomicU64,
}

impl Unheard {
    /// One that was said without a token that is good for it.
    pub(super) fn without_token(&self) {
        self.no_token.fetch_add(1, Ordering::Relaxed);
    }

    /// One that was said of a life that is over.
    pub(super) fn of_an_old_generation(&self) {
        self.old_generation.fetch_add(1, Ordering::Relaxed);
    }

    /// One that was said of a life that nobody began.
    pub(super) fn of_an_unbegun_generation(&self) {
        self.unbegun_generation.fetch_add(1, Ordering::Relaxed);
    }

    /// How many, by reason.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("said_without_token", self.no_token.load(Ordering::Relaxed)),
            (
                "said_of_old_generation",
                self.old_generation.load(Ordering::Relaxed),
            ),
            (
                "said_of_unbegun_generation",
                self.unbegun_generation.load(Ordering::Relaxed),
            ),
        ]
    }
}

/// Who may speak.
#[derive(Clone, Debug, Default)]
pub struct Speakers {
    file: Option<Arc<Known>>,
    unheard: Arc<Unheard>,
}

#[derive(Debug)]
struct Known {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    speakers: Vec<Speaker>,
    stamp: Stamp,
    looked_at: Instant,
}

/// What changes when a file does.
type Stamp = Option<(SystemTime, u64)>;

impl Speakers {
    /// Those of the file; anybody who reaches the API where there is none.
    ///
    /// # Errors
    /// When it can't be read, or a line of it makes no sense.
    pub fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(path) = file else {
            return Ok(Self::default());
        };
        let stamp = stamp(path);
        let read = Read {
            speakers: parse(&fs::read_to_string(path)?).map_err(io::Error::other)?,
            stamp,
            looked_at: Instant::now(),
        };
        Ok(Self {
            file: Some(Arc::new(Known {
                path: path.to_owned(),
                read: Mutex::new(read),
            })),
            unheard: Arc::default(),
        })
    }

    /// What was not heard.
    pub fn unheard(&self) -> &Arc<Unheard> {
        &self.unheard
    }

    /// Who speaks; `None` where nobody needs a token.
    ///
    /// # Errors
    /// When there is no token, or none that is known.
    pub(super) async fn who(&self, headers: &HeaderMap) -> Result<Option<Speaker>, Problem> {
        let Some(known) = &self.file else {
            return Ok(None);
        };
        let is_due = known.lock().looked_at.elapsed() >= LOOK_EVERY;
        if is_due {
            let known = Arc::clone(known);
            // A panic in it has been told by the panic itself, and the last tokens stay.
            drop(tokio::task::spawn_blocking(move || known.look()).await);
        }
        let found = bearer(headers).and_then(|token| known.find(token));
        if found.is_none() {
            self.unheard.without_token();
        }
        found.map(Some).ok_or_else(|| {
            Problem::new(
                ProblemKind::Unauthorized,
                "send `Authorization: Bearer TOKEN` with a token of the file that `listen.speakers` \
                 names",
            )
        })
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, token: &str) -> Option<Speaker> {
        let read = self.lock();
        let mut found = None;
        for speaker in &read.speakers {
            if bool::from(speaker.token.as_bytes().ct_eq(token.as_bytes())) {
                found = Some(speaker);
            }
        }
        found.cloned()
    }

    /// Reads the file again if it has changed.
    fn look(&self) {
        let stamp = stamp(&self.path);
        if self.lock().stamp == stamp {
            self.lock().looked_at = Instant::now();
            return;
        }
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string());
        let speakers = text.and_then(|text| parse(&text));
        let mut read = self.lock();
        read.looked_at = Instant::now();
        // A file that is wrong is told of once, and read again when it changes.
        read.stamp = stamp;
        match speakers {
            Ok(speakers) => {
                tracing::info!(file = %self.path.display(), count = speakers.len(), "the speakers were read again");
                read.speakers = speakers;
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), error, "the speakers can't be read; the last ones stay");
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, more) = (values.next()?, values.next());
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (more.is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some(token.trim())
}

/// A line each: a name, its token, and the units that it is for, where not for all. Errors name lines
/// and never show a token.
fn parse(text: &str) -> Result<Vec<Speaker>, String> {
    let mut speakers: Vec<Speaker> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(name), Some(token)) = (words.next(), words.next()) else {
            return Err(format!(
                "line {number}: write a name, its token, and the units that it is for, if not for all"
            ));
        };
        if token.len() < LEAST_TOKEN_BYTES {
            return Err(format!(
                "line {number}: the token of {name} can be guessed; it must have at least \
                 {LEAST_TOKEN_BYTES} letters"
            ));
        }
        if speakers.iter().any(|other| other.token == token) {
            return Err(format!("line {number}: {name} has another's token"));
        }
        if speakers.len() == MAX_SPEAKERS {
            return Err(format!(
                "line {number}: there are more than {MAX_SPEAKERS} speakers"
            ));
        }
        speakers.push(Speaker {
            name,
            token,
            units: words.collect(),
        });
    }
    if speakers.is_empty() {
        return Err("no line of it names a speaker, so nobody could speak".to_owned());
    }
    Ok(speakers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = "catalog-0123456789abcdef";
    const MONITOR: &str = "monitor-0123456789abcdef";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().expect("a header"));
        }
        headers
    }

    async fn name(speakers: &Speakers, values: &[&str]) -> Result<Option<String>, u16> {
        let who = speakers.who(&headers(values)).await;
        who.map(|who| who.map(|speaker| speaker.name))
            .map_err(|problem| problem.status)
    }

    #[tokio::test]
    async fn only_a_known_token_speaks_and_a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("speakers");
        fs::write(
            &file,
            format!("# ours\ncatalog {CATALOG} catalog catalog.search\nmonitor\t{MONITOR}\n"),
        )
        .expect("written");
        let speakers = Speakers::open(Some(&file)).expect("opened");
        let bearer = format!("Bearer {CATALOG}");
        for (values, expected) in [
            (&[bearer.as_str()][..], Ok(Some("catalog".to_owned()))),
            (
                &[&format!("bearer  {MONITOR}")],
                Ok(Some("monitor".to_owned())),
            ),
            (&[], Err(401)),
            (&["Bearer "], Err(401)),
            (&[&format!("Basic {CATALOG}")], Err(401)),
            (&[&bearer[..bearer.len() - 1]], Err(401)),
            (&[&bearer, &bearer], Err(401)),
        ] {
            assert_eq!(name(&speakers, values).await, expected, "{values:?}");
        }
        assert_eq!(speakers.unheard().counts()[0].1, 5);
        let catalog = speakers.who(&headers(&[&bearer])).await.expect("known");
        let catalog = catalog.expect("named");
        assert!(catalog.may_speak_of("catalog.search").is_ok());
        let printed = format!("{catalog:?} {speakers:?}");
        assert!(printed.contains("catalog.search") && !printed.contains("0123456789abcdef"));
        assert_eq!(catalog.may_speak_of("web").map_err(|e| e.status), Err(403));

        let known = speakers.file.as_ref().expect("a file");
        fs::write(&file, "half a line").expect("written");
        known.look();
        assert!(name(&speakers, &[&bearer]).await.is_ok(), "the last stay");
        fs::write(&file, format!("other {MONITOR}\n")).expect("written");
        known.look();
        assert_eq!(name(&speakers, &[&bearer]).await, Err(401));
        let monitor = format!("Bearer {MONITOR}");
        assert_eq!(
            name(&speakers, &[&monitor]).await,
            Ok(Some("other".to_owned()))
        );
    }

    #[tokio::test]
    async fn without_a_file_anybody_speaks() {
        let speakers = Speakers::open(None).expect("nothing to read");
        assert_eq!(name(&speakers, &[]).await, Ok(None));
    }

    #[test]
    fn a_wrong_file_is_said_to_be_wrong_without_its_tokens() {
        for (text, expected) in [
            ("", "no line of it names a speaker"),
            ("# only words", "no line of it names a speaker"),
            ("catalog", "line 1: write a name"),
            ("\ncatalog hunter2", "line 2: the token of catalog can be"),
            (
                "a 0123456789abcdef\nb 0123456789abcdef",
                "line 2: b has another's token",
            ),
        ] {
            let error = parse(text).expect_err("it is wrong");
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(
                !error.contains("hunter2") && !error.contains("0123"),
                "{error}"
            );
        }
    }
}
