//! Does TLS let in whom it should, and is a token asked for in both protocols?

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::AUTHORIZATION;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::client::{EXPORT, GrpcReply, Server, config, framed, grpc, over_http2_on};
use super::*;

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/receive/tests/certificates");
    folder.join(name)
}

fn client(with_certificate: bool) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(file("authority.pem")).expect("PEM");
    roots.add(authority).expect("an authority");
    let builder = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    match with_certificate {
        false => builder.with_no_client_auth(),
        true => {
            let own = CertificateDer::from_pem_file(file("client.pem")).expect("PEM");
            let key = PrivateKeyDer::from_pem_file(file("client.key")).expect("PEM");
            builder
                .with_client_auth_cert(vec![own], key)
                .expect("a pair")
        }
    }
}

fn connector(with_certificate: bool) -> TlsConnector {
    TlsConnector::from(Arc::new(client(with_certificate)))
}

/// The status line of an empty request that is sent so; none when the connection can't be had.
async fn answer(server: &Server, tls: Option<TlsConnector>, token: Option<&str>) -> Option<String> {
    let token = token.map_or_else(String::new, |it| {
        format!("{AUTHORIZATION}: Bearer {it}\r\n")
    });
    let request = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\
         Content-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
    );
    let socket = TcpStream::connect(server.http).await.expect("it listens");
    let mut reply = Vec::new();
    match tls {
        None => {
            let mut socket = socket;
            socket.write_all(request.as_bytes()).await.ok()?;
            socket.read_to_end(&mut reply).await.ok()?;
        }
        Some(connector) => {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = connector.connect(name, socket).await.ok()?;
            stream.write_all(request.as_bytes()).await.ok()?;
            stream.read_to_end(&mut reply).await.ok()?;
        }
    }
    let reply = String::from_utf8_lossy(&reply);
    let line = reply
        .lines()
        .next()
        .filter(|it| it.starts_with("HTTP/1.1"))?;
    Some(line.to_owned())
}

fn tls(client_ca: bool) -> AccessFiles {
    AccessFiles {
        tokens: None,
        tls: Some(TlsFiles {
            certificate: file("server.pem"),
            key: file("server.key"),
            client_ca: client_ca.then(|| file("authority.pem")),
        }),
    }
}

fn with(access: AccessFiles) -> ReceiverConfig {
    ReceiverConfig { access, ..config() }
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_configured() {
    let server = Server::start(with(tls(false)), Journal::off()).await;
    let fine = Some("HTTP/1.1 200 OK".to_owned());
    assert_eq!(answer(&server, Some(connector(false)), None).await, fine);
    assert_eq!(answer(&server, None, None).await, None);
    assert_eq!(server.stop().await.handshakes_failed, 1);
}

#[tokio::test]
async fn only_who_is_vouched_for_gets_in() {
    let server = Server::start(with(tls(true)), Journal::off()).await;
    let fine = Some("HTTP/1.1 200 OK".to_owned());
    assert_eq!(answer(&server, Some(connector(true)), None).await, fine);
    assert_eq!(answer(&server, Some(connector(false)), None).await, None);
    assert_eq!(server.stop().await.handshakes_failed, 1);
}

/// A server that lets in who knows the one token, which it has from a file in this folder.
async fn asking_for_a_token(folder: &Path) -> Server {
    let path = folder.join("tokens");
    std::fs::write(&path, "0123456789abcdef\n").expect("written");
    let access = AccessFiles {
        tokens: Some(path),
        tls: None,
    };
    Server::start(with(access), Journal::off()).await
}

#[tokio::test]
async fn tokens_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = asking_for_a_token(folder.path()).await;
    let status = |code: &str| Some(format!("HTTP/1.1 {code}"));
    let known = Some("0123456789abcdef");
    assert_eq!(answer(&server, None, known).await, status("200 OK"));
    for token in [None, Some("0123456789abcdeX")] {
        let unauthorized = status("401 Unauthorized");
        assert_eq!(
            answer(&server, None, token).await,
            unauthorized,
            "{token:?}"
        );
    }
    assert_eq!(server.stop().await.requests_unauthorized, 2);
}

/// `UNAUTHENTICATED` of gRPC, which exporters don't try again.
const UNAUTHENTICATED: u16 = 16;

#[tokio::test]
async fn grpc_asks_for_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = asking_for_a_token(folder.path()).await;
    for (token, code) in [
        (Some("Bearer 0123456789abcdef"), 0),
        (Some("bearer 0123456789abcdef"), 0),
        (Some("Bearer 0123456789abcdeX"), UNAUTHENTICATED),
        (Some("Bearer 0123456789abcdef0"), UNAUTHENTICATED),
        (Some("Basic 0123456789abcdef"), UNAUTHENTICATED),
        (Some(""), UNAUTHENTICATED),
        (None, UNAUTHENTICATED),
    ] {
        let headers: Vec<_> = token.iter().map(|it| ("authorization", *it)).collect();
        let reply = grpc(server.grpc, EXPORT, &headers, framed(0, &[])).await;
        assert_eq!((reply.http_status, reply.code()), (200, code), "{token:?}");
    }
    assert_eq!(server.stop().await.requests_unauthorized, 5);
}

/// Makes a call over TLS, with HTTP/2 agreed upon in the handshake; none when there is no connection.
async fn call_over_tls(server: &Server, mut ours: ClientConfig) -> Option<GrpcReply> {
    ours.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(server.grpc).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(ours)).connect(name, socket);
    let stream = stream.await.ok()?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let headers = [("content-type", "application/grpc")];
    let reply = over_http2_on(stream, "POST", EXPORT, &headers, &framed(0, &[])).await;
    Some(reply)
}

#[tokio::test]
async fn grpc_is_spoken_over_tls() {
    let server = Server::start(with(tls(true)), Journal::off()).await;
    let reply = call_over_tls(&server, client(true)).await;
    assert_eq!(reply.expect("a connection").code(), 0);
    assert_eq!(server.stop().await.handshakes_failed, 0);
}

#[tokio::test]
async fn a_certificate_changes_under_a_running_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let [certificate, key] = ["server.pem", "server.key"].map(|it| folder.path().join(it));
    // Files' clocks may be too coarse to tell when it was renewed.
    let put = |from: [&str; 2], at_s: u64| {
        for (from, to) in from.iter().zip([&certificate, &key]) {
            std::fs::copy(file(from), to).expect("copied");
            let renewed = std::time::UNIX_EPOCH + Duration::from_secs(at_s);
            let to = std::fs::File::options().write(true).open(to).expect("ours");
            to.set_modified(renewed).expect("ours");
        }
    };
    // Nobody takes a client's certificate for the server's.
    put(["client.pem", "client.key"], 1);
    let access = AccessFiles {
        tokens: None,
        tls: Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: None,
        }),
    };
    let server = Server::start(with(access), Journal::off()).await;
    assert!(call_over_tls(&server, client(false)).await.is_none());
    put(["server.pem", "server.key"], 2);
    // It is looked at every few seconds.
    let renewed = async {
        loop {
            if let Some(reply) = call_over_tls(&server, client(false)).await {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reply = tokio::time::timeout(Duration::from_secs(60), renewed).await;
    assert_eq!(reply.expect("it is read again").code(), 0);
    server.stop().await;
}

/// Our own load gets in as an exporter does: over TLS to a name, with a certificate, with a token; and says why not.
#[tokio::test]
async fn load_is_sent_over_tls_and_with_tokens() {
    use crate::load::{
        Compression, Credentials, LoadConfig, LoadError, SystemShape, Transport, run,
    };

    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "# the shop's\n0123456789abcdef\n").expect("written");
    let access = AccessFiles {
        tokens: Some(tokens.clone()),
        ..tls(true)
    };
    let config = ReceiverConfig {
        max_request_bytes: 1 << 20,
        ..with(access)
    };
    let mut server = Server::start(config, Journal::off()).await;
    let (grpc, http) = (server.grpc.port(), server.http.port());
    let (_closed, nothing) = mpsc::channel(1);
    let mut batches = std::mem::replace(&mut server.engine, nothing);
    let draining = tokio::spawn(async move { while batches.recv().await.is_some() {} });
    let own = Some((file("client.pem"), file("client.key")));
    let all = Credentials {
        authority: Some(file("authority.pem")),
        own: own.clone(),
        headers: vec!["x-scope: shop".to_owned()],
        token: Some(tokens),
    };
    let load = |transport, credentials: &Credentials| {
        let port = match transport {
            Transport::Http => http,
            Transport::Grpc => grpc,
        };
        let to = format!("https://localhost:{port}");
        run(LoadConfig {
            to: to.parse().expect("an address"),
            credentials: credentials.clone(),
            transport,
            compression: Compression::None,
            connections: 1,
            rate: None,
            duration: Duration::from_millis(100),
            shape: SystemShape {
                spans_per_request: 50,
                ..SystemShape::default()
            },
        })
    };
    let mut spans = 0;
    for transport in [Transport::Http, Transport::Grpc] {
        let report = load(transport, &all).await.expect("gets in");
        assert_eq!((report.refused, report.broken_connections), (0, 0));
        spans += report.spans;
        let without = |change: fn(&mut Credentials)| {
            let mut less = all.clone();
            change(&mut less);
            less
        };
        let stranger = load(transport, &without(|it| it.authority = None)).await;
        assert!(matches!(stranger, Err(LoadError::Connect { .. })));
        let nobody = load(transport, &without(|it| it.token = None)).await;
        assert!(
            matches!(nobody, Err(LoadError::NotLetIn { .. })),
            "{nobody:?}"
        );
        assert!(load(transport, &without(|it| it.own = None)).await.is_err());
    }
    let counts = server.stop().await;
    draining.await.expect("ends");
    assert!(spans > 0 && counts.spans() == spans);
    assert_eq!(counts.requests_unauthorized, 2);
}
