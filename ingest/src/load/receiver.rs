//! Where is the receiver, and how is it reached?

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{LoadError, Transport};
use crate::receive::{certificates_in, tokens_in};

/// Where OTLP/HTTP takes traces, and where OTLP/gRPC does.
const HTTP_PATH: &str = "/v1/traces";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// An address as people write it: `host:port`, or `http://` or `https://` with a host, and a port and a path where
/// they aren't the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    authority: Authority,
    scheme: Option<Scheme>,
    /// Other than `/`.
    path: Option<PathAndQuery>,
}

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{written}` is no receiver's address ({wrong}): write host:port, or http:// or https:// before it"
)]
pub struct AddressError {
    written: String,
    wrong: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(written: &str) -> Result<Self, AddressError> {
        let wrong = |wrong: &str| AddressError {
            written: written.to_owned(),
            wrong: wrong.to_owned(),
        };
        let uri: Uri = written
            .parse()
            .map_err(|it: http::uri::InvalidUri| wrong(&it.to_string()))?;
        let parts = uri.into_parts();
        let authority = parts.authority.ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "it has a user; what authenticates is a header or a token",
            ));
        }
        if authority.host().is_empty() {
            return Err(wrong("it has no host"));
        }
        let rest = authority.as_str().strip_prefix(authority.host());
        if rest.is_some_and(|rest| !rest.is_empty()) && authority.port_u16().is_none() {
            return Err(wrong("its port is no number up to 65535"));
        }
        let is_known = |scheme: &Scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme);
        if parts.scheme.as_ref().is_some_and(|it| !is_known(it)) {
            return Err(wrong("OTLP comes over http or https"));
        }
        Ok(Self {
            authority,
            scheme: parts.scheme,
            path: parts.path_and_query.filter(|path| path.as_str() != "/"),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        write!(f, "{}", self.authority)?;
        self.path
            .as_ref()
            .map_or(Ok(()), |path| write!(f, "{path}"))
    }
}

impl Address {
    fn is_secure(&self) -> bool {
        self.scheme == Some(Scheme::HTTPS)
    }

    /// Without brackets, as it is connected to.
    fn host(&self) -> &str {
        let host = self.authority.host();
        let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        inner.unwrap_or(host)
    }

    /// Its own, that of its scheme, or OTLP's.
    fn port(&self, transport: Transport) -> u16 {
        let usual = match (&self.scheme, transport) {
            (Some(_), _) if self.is_secure() => 443,
            (Some(_), _) => 80,
            (None, Transport::Http) => 4318,
            (None, Transport::Grpc) => 4317,
        };
        self.authority.port_u16().unwrap_or(usual)
    }
}

/// What is shown and believed besides the address. Files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Who vouches for the receiver's certificate, instead of the public authorities.
    pub authority: Option<PathBuf>,
    /// Our own certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Headers of each request, as `name: value`.
    pub headers: Vec<String>,
    /// A file whose first token is sent as a bearer's: a line of it that is no comment (`#`).
    pub token: Option<PathBuf>,
}

/// A receiver that can be connected to.
#[derive(Clone)]
pub(super) struct Receiver {
    address: Address,
    transport: Transport,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) headers: HeaderMap,
    /// What is asked for.
    pub(super) uri: Uri,
}

impl Receiver {
    pub(super) fn new(
        address: Address,
        transport: Transport,
        credentials: &Credentials,
    ) -> Result<Self, LoadError> {
        let tls = match address.is_secure() {
            true => Some((connector(transport, credentials)?, name_of(&address)?)),
            false if credentials.authority.is_some() || credentials.own.is_some() => {
                let wrong = format!(
                    "certificates are for https: write https://{}",
                    address.authority
                );
                return Err(LoadError::Credentials { wrong });
            }
            false => None,
        };
        let path = match (transport, &address.path) {
            (Transport::Http, None) => HTTP_PATH,
            (Transport::Http, Some(path)) => path.as_str(),
            (Transport::Grpc, None) => GRPC_PATH,
            (Transport::Grpc, Some(path)) => {
                let wrong = format!("OTLP/gRPC has a path of its own: leave `{path}` out");
                return Err(LoadError::Credentials { wrong });
            }
        };
        let scheme = address.scheme.clone().unwrap_or(Scheme::HTTP);
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(address.authority.clone())
            .path_and_query(path)
            .build();
        let uri = uri.map_err(|error| LoadError::Credentials {
            wrong: error.to_string(),
        })?;
        Ok(Self {
            headers: headers(credentials)?,
            address,
            transport,
            tls,
            uri,
        })
    }

    pub(super) fn authority(&self) -> &str {
        self.address.authority.as_str()
    }

    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let at = (self.address.host(), self.address.port(self.transport));
        let socket = TcpStream::connect(at).await?;
        socket.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Stream::Plain(socket),
            Some((connector, name)) => {
                Stream::Tls(Box::new(connector.connect(name.clone(), socket).await?))
            }
        })
    }
}

fn name_of(address: &Address) -> Result<ServerName<'static>, LoadError> {
    let host = address.host().to_owned();
    ServerName::try_from(host).map_err(|error| LoadError::Credentials {
        wrong: format!("`{}` is no name of a certificate: {error}", address.host()),
    })
}

fn connector(transport: Transport, credentials: &Credentials) -> Result<TlsConnector, LoadError> {
    let wrong = |wrong: String| LoadError::Credentials { wrong };
    let unread = |path: &PathBuf, error: String| wrong(format!("`{}`: {error}", path.display()));
    let mut roots = RootCertStore::empty();
    match &credentials.authority {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let read = certificates_in(path).map_err(|error| unread(path, error.to_string()))?;
            for certificate in read {
                let added = roots.add(certificate);
                added.map_err(|error| unread(path, error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unread(path, "it holds no certificate".to_owned()));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &credentials.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates_in(certificate)
                .map_err(|error| unread(certificate, error.to_string()))?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unread(key, error.to_string()))?;
            let own = builder.with_client_auth_cert(chain, secret);
            own.map_err(|error| unread(certificate, error.to_string()))?
        }
    };
    if transport == Transport::Grpc {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(TlsConnector::from(Arc::new(config)))
}

fn headers(credentials: &Credentials) -> Result<HeaderMap, LoadError> {
    let wrong = |wrong: String| LoadError::Credentials { wrong };
    let mut headers = HeaderMap::new();
    for (number, written) in (1..).zip(&credentials.headers) {
        // Not what is written: it may be a secret.
        let no_header = || wrong(format!("header {number} is none: write `name: value`"));
        let (name, value) = written.split_once(':').ok_or_else(no_header)?;
        let name = HeaderName::from_str(name.trim()).map_err(|_| no_header())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| no_header())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    if let Some(path) = &credentials.token {
        let unread = |why: String| wrong(format!("`{}`: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
        let token = tokens_in(&text).next();
        let token = token.ok_or_else(|| unread("it holds no token".to_owned()))?;
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value =
            value.map_err(|_| unread("its token can't be sent in a header".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// A connection, in the clear or not.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        use Transport::{Grpc, Http};
        for (written, transport, host, port, path) in [
            ("127.0.0.1:4318", Http, "127.0.0.1", 4318, HTTP_PATH),
            ("[::1]:4317", Grpc, "::1", 4317, GRPC_PATH),
            ("collector", Http, "collector", 4318, HTTP_PATH),
            ("collector", Grpc, "collector", 4317, GRPC_PATH),
            ("http://collector", Http, "collector", 80, HTTP_PATH),
            ("http://collector:4318/", Http, "collector", 4318, HTTP_PATH),
            (
                "https://otlp.example.com",
                Grpc,
                "otlp.example.com",
                443,
                GRPC_PATH,
            ),
            (
                "https://example.com/otlp/v1/traces",
                Http,
                "example.com",
                443,
                "/otlp/v1/traces",
            ),
        ] {
            let address: Address = written.parse().expect(written);
            assert_eq!(address.to_string(), written.trim_end_matches('/'));
            assert_eq!(
                (address.host(), address.port(transport)),
                (host, port),
                "{written}"
            );
            let receiver = Receiver::new(address, transport, &Credentials::default());
            let receiver = receiver.unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(receiver.uri.path(), path, "{written}");
            assert_eq!(
                receiver.tls.is_some(),
                written.starts_with("https"),
                "{written}"
            );
        }
        for (written, wrong) in [
            ("", "empty"),
            ("/v1/traces", "no host"),
            ("collector:port", "port"),
            ("collector:70000", "no number up to 65535"),
            ("ftp://collector", "http or https"),
            ("https://me:secret@collector", "it has a user"),
        ] {
            let error = Address::from_str(written).expect_err(written).to_string();
            assert!(error.contains(wrong), "{written}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_shown_is_said_without_showing_it() {
        let of = |address: &str, transport, credentials: &Credentials| {
            let made = Receiver::new(address.parse().expect("an address"), transport, credentials);
            made.map(|_| ()).expect_err("wrong").to_string()
        };
        let with = |headers: &[&str]| Credentials {
            headers: headers.iter().map(|it| (*it).to_owned()).collect(),
            ..Credentials::default()
        };
        let said = of("collector", Transport::Http, &with(&["a: b", "hush hush"]));
        assert!(
            said.contains("header 2") && !said.contains("hush"),
            "{said}"
        );
        let credentials = Credentials {
            authority: Some("ca.pem".into()),
            ..Credentials::default()
        };
        let said = of("collector:4318", Transport::Http, &credentials);
        assert!(said.contains("https://collector:4318"), "{said}");
        let said = of("https://collector", Transport::Http, &credentials);
        assert!(said.contains("`ca.pem`"), "{said}");
        let said = of(
            "https://collector/v1/traces",
            Transport::Grpc,
            &Credentials::default(),
        );
        assert!(said.contains("leave `/v1/traces` out"), "{said}");
        let credentials = Credentials {
            token: Some("no-such-file".into()),
            ..Credentials::default()
        };
        let said = of("collector", Transport::Http, &credentials);
        assert!(said.contains("`no-such-file`"), "{said}");
    }
}
