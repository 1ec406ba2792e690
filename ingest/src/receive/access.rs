//! Who may send, and does nobody listen in?
//!
//! Bearer tokens from a file, and TLS, with client certificates if wanted. Both are files that others write (a secret
//! that is mounted, a certificate that is renewed), so they are looked at again every few seconds, and what has changed
//! holds from then on without a restart. A file that is wrong then changes nothing, is complained about, and is read
//! again each time until it is right: an expired certificate still lets exporters choose, none at all would lose what
//! they send. Tokens and TLS don't wait for each other: a broken certificate keeps no token from being revoked.
//!
//! A certificate holds from the next connection on, a token from the next request on. Both ports ask for the same. A
//! request without a token is refused from its head, before its body is read, with 401 or UNAUTHENTICATED, which exporters
//! don't repeat. A handshake that fails is counted.

use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hashbrown::DefaultHashBuilder;
use http::HeaderMap;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::quota::Source;

/// How often the files are looked at: within a minute is soon enough for a renewed certificate, and a few seconds for
/// whoever waits for a token to be gone.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Fewer characters than this are no secret: a machine tries them all.
const MIN_TOKEN_BYTES: usize = 16;

/// Which files say who may send. None of them: anybody.
///
/// They must be right when the receivers start ([`check`](Self::check)); from then on they are read again within seconds
/// of a change, and one that is wrong then changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessFiles {
    /// Tokens, one a line, of 16 bytes or more; `#` begins a comment. Exporters send one of them (`Authorization: Bearer …`).
    pub tokens: Option<PathBuf>,
    /// For TLS. Connections in the clear are closed then.
    pub tls: Option<TlsFiles>,
}

/// The files of TLS, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those that vouch for it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who vouches for exporters' certificates, if they need one.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file can't be read.
    #[error("failed reading `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file isn't PEM, or not of what is needed.
    #[error("`{}` holds no {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key don't go together, or are of no known kind.
    #[error("the certificate in `{}` can't be used", path.display())]
    Tls {
        /// The certificate.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The clients' authority can't be used.
    #[error("the authority in `{}` can't be used", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: VerifierBuilderError,
    },
    /// There is no token, or one that is none.
    #[error("`{}` {wrong}", path.display())]
    Tokens {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        wrong: String,
    },
}

/// What the files said last.
#[derive(Clone, Default)]
struct Rules {
    tokens: Option<Vec<String>>,
    tls: Option<Arc<ServerConfig>>,
}

/// When files were changed.
type Times = Vec<Option<SystemTime>>;

fn time_of(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|it| it.modified()).ok()
}

/// Of when the files are that hold. Taken before they are read: what is written meanwhile is seen as a change.
#[derive(Debug, Default)]
struct ReadOf {
    tokens: Times,
    tls: Times,
}

/// Who may send, as of now.
pub(super) struct Access {
    files: AccessFiles,
    rules: RwLock<Rules>,
    read_of: Mutex<ReadOf>,
    /// So that neither tokens nor certificates are kept where sources are counted.
    hasher: DefaultHashBuilder,
}

impl AccessFiles {
    /// Reads them, to learn whether they are right.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn check(&self) -> Result<(), AccessError> {
        self.read().map(drop)
    }

    fn read(&self) -> Result<Rules, AccessError> {
        Ok(Rules {
            tokens: self.tokens.as_deref().map(read_tokens).transpose()?,
            tls: self.tls.as_ref().map(read_tls).transpose()?,
        })
    }

    /// When the tokens' file was changed; what isn't there has no time.
    fn tokens_changed(&self) -> Times {
        self.tokens.iter().map(|path| time_of(path)).collect()
    }

    /// When each file of TLS was changed.
    fn tls_changed(&self) -> Times {
        let files = self
            .tls
            .iter()
            .flat_map(|it| [Some(&it.certificate), Some(&it.key), it.client_ca.as_ref()]);
        files.flatten().map(|path| time_of(path)).collect()
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Debug for Access {
    /// Not what the tokens are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn new(files: AccessFiles) -> Result<Self, AccessError> {
        // The engine's start, which may replay for minutes, lies between here and the first look.
        let read_of = Mutex::new(ReadOf {
            tokens: files.tokens_changed(),
            tls: files.tls_changed(),
        });
        let rules = RwLock::new(files.read()?);
        Ok(Self {
            files,
            rules,
            read_of,
            hasher: DefaultHashBuilder::default(),
        })
    }

    /// How connections are secured, if they are.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.tls.clone()
    }

    /// Who sends a request with this head, on a connection of this source; `None` when it has none of the tokens, where any
    /// is needed.
    pub(super) fn admits(&self, headers: &HeaderMap, connection: Source) -> Option<Source> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let Some(tokens) = &rules.tokens else {
            return Some(connection);
        };
        let said = headers.get(http::header::AUTHORIZATION);
        let said = said.map_or(&[][..], |it| it.as_bytes());
        let (scheme, token) = said.split_at(said.len().min("Bearer ".len()));
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        // All of them, so that the time doesn't tell which.
        let mut admitted = false;
        for known in tokens {
            admitted |= is_same(known.as_bytes(), token);
        }
        admitted.then(|| Source::Token(self.hasher.hash_one(token)))
    }

    /// Who is at the other end of a connection: whoever has the certificate, if one was shown.
    pub(super) fn source(&self, address: IpAddr, shown: Option<&[CertificateDer<'_>]>) -> Source {
        match shown.and_then(<[_]>::first) {
            Some(certificate) => Source::Certificate(self.hasher.hash_one(certificate.as_ref())),
            None => Source::at(address),
        }
    }

    /// Looks at the files again, as long as it is polled.
    pub(super) async fn keep_fresh(&self) {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    /// Reads again what has changed since it was read without an error.
    fn look(&self) {
        let mut read_of = self.read_of.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, tls) = (self.files.tokens_changed(), self.files.tls_changed());
        if tokens != read_of.tokens {
            let read = self.files.tokens.as_deref().map(read_tokens).transpose();
            if self.take("tokens", read, |rules, it| rules.tokens = it) {
                read_of.tokens = tokens;
            }
        }
        if tls != read_of.tls {
            let read = self.files.tls.as_ref().map(read_tls).transpose();
            if self.take("certificates", read, |rules, it| rules.tls = it) {
                read_of.tls = tls;
            }
        }
    }

    /// Lets what was read hold from now on, if it is right.
    fn take<T>(
        &self,
        what: &'static str,
        read: Result<T, AccessError>,
        put: impl FnOnce(&mut Rules, T),
    ) -> bool {
        match read {
            Ok(read) => {
                put(
                    &mut self.rules.write().unwrap_or_else(PoisonError::into_inner),
                    read,
                );
                tracing::info!(what, "files of the receivers' access were read again");
                true
            }
            Err(error) => {
                let source = std::error::Error::source(&error);
                tracing::warn!(what, %error, source, "what the receivers' access files said stays as it was");
                false
            }
        }
    }
}

/// Whether two texts are the same, in a time that tells nothing but their length.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

/// The tokens of a file: its lines, but for empty ones and comments.
pub(crate) fn tokens_in(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The certificates of a file in PEM, if there are any.
pub(crate) fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

fn read_tokens(path: &Path) -> Result<Vec<String>, AccessError> {
    let text = fs::read_to_string(path).map_err(|source| AccessError::Read {
        path: path.to_owned(),
        source,
    })?;
    let tokens: Vec<String> = tokens_in(&text).map(str::to_owned).collect();
    let wrong = if tokens.is_empty() {
        "holds no token; without one nobody could send".to_owned()
    } else if tokens.iter().any(|it| it.len() < MIN_TOKEN_BYTES) {
        // Not which: it would be in the log.
        format!("holds a token of fewer than {MIN_TOKEN_BYTES} characters, which can be guessed")
    } else {
        return Ok(tokens);
    };
    Err(AccessError::Tokens {
        path: path.to_owned(),
        wrong,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let failed = |source| AccessError::Pem {
        path: path.to_owned(),
        what: "certificate",
        source,
    };
    let found = certificates_in(path).map_err(failed)?;
    match found.is_empty() {
        true => Err(failed(pem::Error::NoItemsFound)),
        false => Ok(found),
    }
}

fn read_tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, AccessError> {
    let failed = |source| AccessError::Tls {
        path: files.certificate.clone(),
        source,
    };
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(failed)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = verifier.build().map_err(|source| AccessError::ClientCa {
                path: path.clone(),
                source,
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| AccessError::Pem {
        path: files.key.clone(),
        what: "private key",
        source,
    })?;
    let chain = certificates(&files.certificate)?;
    let mut config = builder.with_single_cert(chain, key).map_err(failed)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(access: &Access, said: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        if !said.is_empty() {
            let said = http::HeaderValue::from_static(said);
            headers.insert(http::header::AUTHORIZATION, said);
        }
        let from = Source::at(IpAddr::from([127, 0, 0, 1]));
        access.admits(&headers, from).is_some()
    }

    #[test]
    fn only_who_knows_a_token_is_admitted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        fs::write(&path, "# two\n0123456789abcdef\n\n  fedcba9876543210 \n").expect("written");
        let files = AccessFiles {
            tokens: Some(path.clone()),
            tls: None,
        };
        let access = Access::new(files.clone()).expect("they are right");
        for (said, admitted) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer fedcba9876543210", true),
            ("Bearer 0123456789abcdee", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("", false),
        ] {
            assert_eq!(admits(&access, said), admitted, "{said}");
        }
        // What is wrong changes nothing; what is right does.
        write_at(&path, "short", 1);
        access.look();
        assert!(admits(&access, "Bearer 0123456789abcdef"));
        assert!(files.check().is_err());
        write_at(&path, "another-one-0123456789", 2);
        access.look();
        assert!(!admits(&access, "Bearer 0123456789abcdef"));
        assert!(admits(&access, "Bearer another-one-0123456789"));
    }

    /// Writes the file, and makes sure that its time tells.
    fn write_at(path: &Path, text: &str, seconds: u64) {
        fs::write(path, text).expect("written");
        let file = fs::File::options().write(true).open(path).expect("opens");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(time).expect("its time is set");
    }

    #[test]
    fn a_broken_certificate_keeps_no_token() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tokens, tls) = (folder.path().join("tokens"), folder.path().join("tls"));
        write_at(&tokens, "0123456789abcdef", 1);
        let mut files = AccessFiles {
            tokens: Some(tokens.clone()),
            tls: None,
        };
        let mut access = Access::new(files.clone()).expect("they are right");
        // It was right once, and is broken since.
        files.tls = Some(TlsFiles {
            certificate: tls.clone(),
            key: tls,
            client_ca: None,
        });
        access.files = files;
        // Between reading and the first look.
        write_at(&tokens, "fedcba9876543210", 2);
        access.look();
        assert!(!admits(&access, "Bearer 0123456789abcdef"));
        assert!(admits(&access, "Bearer fedcba9876543210"));
        // What couldn't be read is tried again, although its time stays.
        write_at(&tokens, "short", 3);
        access.look();
        assert!(admits(&access, "Bearer fedcba9876543210"));
        write_at(&tokens, "another-one-0123456789", 3);
        access.look();
        assert!(admits(&access, "Bearer another-one-0123456789"));
    }

    #[test]
    fn without_files_anybody_is_admitted() {
        let access = Access::new(AccessFiles::default()).expect("there are none");
        assert!(admits(&access, "") && access.tls().is_none());
    }

    #[test]
    fn files_that_are_wrong_say_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("noise"), "no PEM").expect("written");
        fs::write(path("none"), "# only words\n").expect("written");
        let tls = |name: &str| AccessFiles {
            tokens: None,
            tls: Some(TlsFiles {
                certificate: path(name),
                key: path(name),
                client_ca: None,
            }),
        };
        let tokens = |name: &str| AccessFiles {
            tokens: Some(path(name)),
            tls: None,
        };
        for (files, told) in [
            (tls("noise"), "private key"),
            (tls("missing"), "private key"),
            (tokens("missing"), "failed reading"),
            (tokens("none"), "holds no token"),
        ] {
            let error = files.check().expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
