//! Where is Kubernetes, and who are we to it?
//!
//! Inside a pod its service account says so; outside, a kubeconfig file. Both are read anew at every
//! call, because tokens and certificates are renewed under the feet of whoever holds them. What a
//! kubeconfig can say and this doesn't do (credential plugins, passwords, unchecked certificates) is
//! refused in words, never passed over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::KubernetesSpec;
use crate::executors::connection::Endpoint;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why Kubernetes can't be reached as configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error("failed reading {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is no kubeconfig: {reason}")]
    NoKubeconfig { path: PathBuf, reason: String },
    #[error("{path} has no {what} {name:?}")]
    Missing {
        path: PathBuf,
        what: &'static str,
        name: String,
    },
    #[error(
        "there is no Kubernetes around: KUBERNETES_SERVICE_HOST isn't set; say `kubeconfig` to reach \
         one from outside"
    )]
    NotInPod,
    #[error("{0} is not supported; use a token, a token file or a client certificate")]
    Unsupported(&'static str),
    #[error("{server} is no server's address: {reason}")]
    Server {
        server: String,
        reason: &'static str,
    },
    #[error("{what} can't be used: {reason}")]
    Credential { what: &'static str, reason: String },
}

/// Where it is, what we say to it, and where what we restart is.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub endpoint: Endpoint,
    pub token: Option<String>,
    pub namespace: String,
}

impl Access {
    /// As the unit's configuration says.
    pub(super) fn load(spec: &KubernetesSpec) -> Result<Self, AccessError> {
        let mut access = match &spec.kubeconfig {
            Some(path) => from_kubeconfig(path, spec.context.as_deref())?,
            None => from_service_account(Path::new(SERVICE_ACCOUNT))?,
        };
        if let Some(namespace) = &spec.namespace {
            access.namespace.clone_from(namespace);
        }
        Ok(access)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    std::fs::read(path).map_err(|source| AccessError::Read {
        path: path.to_owned(),
        source,
    })
}

fn read_text(path: &Path) -> Result<String, AccessError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    Ok(text.trim().to_owned())
}

fn from_service_account(folder: &Path) -> Result<Access, AccessError> {
    let variable = |name| std::env::var(name).map_err(|_| AccessError::NotInPod);
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    let port = port.parse().map_err(|_| AccessError::NotInPod)?;
    let authority = read(&folder.join("ca.crt"))?;
    Ok(Access {
        endpoint: Endpoint::Tls {
            name: host.clone(),
            host,
            port,
            config: tls(&authority, None)?,
        },
        token: Some(read_text(&folder.join("token"))?),
        namespace: read_text(&folder.join("namespace"))?,
    })
}

#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(rename = "current-context", default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    username: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

fn from_kubeconfig(path: &Path, context: Option<&str>) -> Result<Access, AccessError> {
    let text = read_text(path)?;
    let file: Kubeconfig =
        serde_saphyr::from_str(&text).map_err(|error| AccessError::NoKubeconfig {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    let missing = |what, name: &str| AccessError::Missing {
        path: path.to_owned(),
        what,
        name: name.to_owned(),
    };
    let wanted = context.unwrap_or(&file.current_context);
    let context = &file
        .contexts
        .iter()
        .find(|context| context.name == wanted)
        .ok_or_else(|| missing("context", wanted))?
        .context;
    let cluster = &file
        .clusters
        .iter()
        .find(|cluster| cluster.name == context.cluster)
        .ok_or_else(|| missing("cluster", &context.cluster))?
        .cluster;
    let nobody = User::default();
    let user = match context.user.as_str() {
        "" => &nobody,
        name => file
            .users
            .iter()
            .find(|user| user.name == name)
            .map(|user| &user.user)
            .ok_or_else(|| missing("user", name))?,
    };
    // Paths in the file are relative to it.
    let beside = |other: &Path| path.parent().unwrap_or(Path::new(".")).join(other);
    let bytes = |data: &Option<String>, file: &Option<PathBuf>, what| match (data, file) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD
            .decode(data.trim())
            .map(Some)
            .map_err(|error| AccessError::Credential {
                what,
                reason: error.to_string(),
            }),
        (None, Some(file)) => read(&beside(file)).map(Some),
        (None, None) => Ok(None),
    };
    for (is_there, what) in [
        (user.exec.is_some(), "a credential plugin (`exec`)"),
        (user.auth_provider.is_some(), "an `auth-provider`"),
        (user.username.is_some(), "a password"),
        (cluster.proxy_url.is_some(), "a `proxy-url`"),
        (
            cluster.insecure_skip_tls_verify,
            "`insecure-skip-tls-verify`",
        ),
    ] {
        if is_there {
            return Err(AccessError::Unsupported(what));
        }
    }
    let certificate = bytes(
        &user.client_certificate_data,
        &user.client_certificate,
        "the client's certificate",
    )?;
    let key = bytes(&user.client_key_data, &user.client_key, "the client's key")?;
    let (is_tls, host, port) = server(&cluster.server)?;
    let endpoint = if is_tls {
        let authority = bytes(
            &cluster.certificate_authority_data,
            &cluster.certificate_authority,
            "the cluster's authority",
        )?
        .ok_or_else(|| AccessError::Credential {
            what: "the cluster's authority",
            reason: "the file names none".to_owned(),
        })?;
        Endpoint::Tls {
            name: cluster.tls_server_name.clone().unwrap_or(host.clone()),
            host,
            port,
            config: tls(&authority, certificate.zip(key))?,
        }
    } else {
        Endpoint::Plain { host, port }
    };
    let token = match (&user.token, &user.token_file) {
        (_, Some(file)) => Some(read_text(&beside(file))?),
        (token, None) => token.clone(),
    };
    let namespace = context.namespace.clone();
    Ok(Access {
        endpoint,
        token,
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
    })
}

/// Whether TLS, host and port. In the clear only to this machine, where `kubectl proxy` listens.
fn server(server: &str) -> Result<(bool, String, u16), AccessError> {
    let wrong = |reason| AccessError::Server {
        server: server.to_owned(),
        reason,
    };
    let uri: hyper::Uri = server.parse().map_err(|_| wrong("it is no URL"))?;
    let host = uri.host().ok_or_else(|| wrong("it names no host"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    if !matches!(uri.path(), "" | "/") {
        return Err(wrong("a path in it is not supported"));
    }
    match uri.scheme_str() {
        Some("https") => Ok((true, host, uri.port_u16().unwrap_or(443))),
        Some("http") => {
            let address = host.parse::<std::net::IpAddr>();
            if host != "localhost" && !address.is_ok_and(|address| address.is_loopback()) {
                return Err(wrong("credentials don't leave the machine without TLS"));
            }
            Ok((false, host, uri.port_u16().unwrap_or(80)))
        }
        _ => Err(wrong("it must begin with https://")),
    }
}

fn tls(
    authority: &[u8],
    identity: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Arc<ClientConfig>, AccessError> {
    let unusable = |what| move |reason: String| AccessError::Credential { what, reason };
    let what = "the cluster's authority";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        let certificate = certificate.map_err(|error| unusable(what)(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(what)(error.to_string()))?;
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS")(error.to_string()))?
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((certificates, key)) => {
            let what = "the client's certificate";
            let certificates: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(&certificates).collect();
            let certificates = certificates.map_err(|error| unusable(what)(error.to_string()))?;
            let key = PrivateKeyDer::from_pem_slice(&key)
                .map_err(|error| unusable("the client's key")(error.to_string()))?;
            config
                .with_client_auth_cert(certificates, key)
                .map_err(|error| unusable(what)(error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kubeconfig: &str, context: Option<&str>) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config");
        std::fs::write(&path, kubeconfig).expect("written");
        std::fs::write(directory.path().join("token"), "from-file\n").expect("written");
        match from_kubeconfig(&path, context) {
            Ok(access) => format!(
                "{} {} {}",
                access.endpoint,
                access.namespace,
                access.token.unwrap_or_default()
            ),
            Err(error) => error
                .to_string()
                .replace(&path.display().to_string(), "FILE"),
        }
    }

    fn file(cluster: &str, user: &str) -> String {
        format!(
            "current-context: a\ncontexts:\n- name: a\n  context: {{cluster: c, user: u, namespace: \
             shop}}\n- name: b\n  context: {{cluster: other}}\nclusters:\n- name: c\n  cluster: \
             {cluster}\nusers:\n- name: u\n  user: {user}\n"
        )
    }

    #[test]
    fn a_kubeconfig_is_read_or_said_to_be_unusable() {
        let here = "{server: 'http://127.0.0.1:8001'}";
        for (file, context, expected) in [
            (
                file(here, "{token: secret}"),
                None,
                "127.0.0.1:8001 shop secret",
            ),
            (
                file(here, "{tokenFile: token}"),
                None,
                "127.0.0.1:8001 shop from-file",
            ),
            (file(here, "{}"), Some("b"), "FILE has no cluster \"other\""),
            (file(here, "{}"), Some("x"), "FILE has no context \"x\""),
            (
                file(here, "{exec: {command: aws}}"),
                None,
                "a credential plugin (`exec`) is not supported; use a token, a token file or a \
                 client certificate",
            ),
            (
                file("{server: 'http://10.0.0.1:8001'}", "{token: secret}"),
                None,
                "http://10.0.0.1:8001 is no server's address: credentials don't leave the machine \
                 without TLS",
            ),
            (
                file("{server: 'https://10.0.0.1'}", "{}"),
                None,
                "the cluster's authority can't be used: the file names none",
            ),
            (
                file(
                    "{server: 'https://10.0.0.1', insecure-skip-tls-verify: true}",
                    "{}",
                ),
                None,
                "`insecure-skip-tls-verify` is not supported; use a token, a token file or a client \
                 certificate",
            ),
        ] {
            assert_eq!(said(&file, context), expected, "{file}");
        }
        assert!(said("- 1", None).starts_with("FILE is no kubeconfig: "));
    }
}
