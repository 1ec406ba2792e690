//! Keeps web pages of others from reading the API or giving orders through a visitor's browser.
//!
//! There are no logins: who reaches the port may use it. A browser on the same machine reaches it
//! on behalf of any page it shows, in two ways. *DNS rebinding*: a page of `evil.example` whose name
//! suddenly means 127.0.0.1 reads answers as its own; so only hosts that no stranger can name are
//! answered: `localhost`, addresses, and what the configuration lists. *Forgery*: a page posts
//! blindly to our address; so orders as JSON need a content type that browsers don't send across
//! origins unasked, orders from forms need our own `Origin`, and any foreign `Origin` is refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{ApiState, Problem, ProblemKind};

/// Under which host names the API answers.
#[derive(Clone, Debug, Default)]
pub struct HostPolicy {
    names: Arc<[String]>,
}

impl HostPolicy {
    /// `localhost` and plain addresses, and these names besides.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            names: names.into_iter().map(|n| n.to_ascii_lowercase()).collect(),
        }
    }

    /// Whether a `Host` of this text is ours. The port makes no difference: it can be forwarded.
    fn admits(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let address = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(&name);
        name == "localhost"
            || name.ends_with(".localhost")
            || address.parse::<IpAddr>().is_ok()
            || self.names.contains(&name)
    }
}

/// The host without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

/// Refuses what comes under a foreign name or from a foreign page.
pub(super) async fn check(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    // An absolute request target (as sent to a proxy) overrules the header.
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => single(request.headers(), &header::HOST)?.map(str::to_owned),
    };
    judge(
        &state.hosts,
        host.as_deref(),
        request.method(),
        request.headers(),
    )?;
    Ok(next.run(request).await)
}

fn judge(
    hosts: &HostPolicy,
    host: Option<&str>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let host = host.ok_or_else(|| forbidden("the request names no host"))?;
    if !hosts.admits(host) {
        return Err(forbidden(format!(
            "the host {host:?} is not mine: use localhost or an address, or add the name to \
             `listen.names`"
        )));
    }
    if method.is_safe() {
        return Ok(());
    }
    let site = headers.get("sec-fetch-site").map(|v| v.as_bytes());
    match site {
        None | Some(b"same-origin" | b"none") => {}
        Some(_) => return Err(forbidden("a page of another site may give no orders")),
    }
    let origin = single(headers, &header::ORIGIN)?;
    if let Some(origin) = origin
        && !same_origin(origin, host)
        && !is_hidden_but_ours(origin, site)
    {
        return Err(forbidden(format!("a page of {origin} may give no orders")));
    }
    let content_type = single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(()),
        // What forms send, browsers send across origins unasked: only with our own origin.
        "application/x-www-form-urlencoded" if origin.is_some() => Ok(()),
        "application/x-www-form-urlencoded" => Err(forbidden(
            "a form must come from Rekindle's own pages; programs send application/json",
        )),
        _ => Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            format!("the content type is {content_type:?}; send application/json"),
        )),
    }
}

/// Whether a browser withholds the origin and yet vouches that the page is ours. Extensions and
/// settings for privacy hide it; no page can set `Sec-Fetch-Site`, which browsers send themselves.
fn is_hidden_but_ours(origin: &str, site: Option<&[u8]>) -> bool {
    origin == "null" && site == Some(b"same-origin")
}

/// Whether the origin is the very host that was asked. Plain HTTP, or HTTPS ended by a proxy.
fn same_origin(origin: &str, host: &str) -> bool {
    origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
        .is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

/// The header's only value. Two hosts or two origins are nobody's honest request.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Problem::invalid(format!("the header {name} came twice")));
    }
    first
        .map(|value| {
            value
                .to_str()
                .map_err(|_| Problem::invalid(format!("the header {name} is no text")))
        })
        .transpose()
}

fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Forbidden, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_no_stranger_can_name_are_answered() {
        let policy = HostPolicy::new(["Rekindle.Example.org".to_owned()]);
        for ours in [
            "localhost",
            "LOCALHOST:4320",
            "127.0.0.1:4320",
            "127.0.0.1",
            "[::1]:4320",
            "[::1]",
            "192.0.2.7:80",
            "rekindle.example.org:4320",
            "demo.localhost:4320",
        ] {
            assert!(policy.admits(ours), "{ours}");
        }
        for foreign in [
            "evil.example",
            "evil.example:4320",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost:evil",
            "",
            "1.2.3",
        ] {
            assert!(!policy.admits(foreign), "{foreign}");
        }
    }

    #[test]
    fn orders_come_from_programs_or_from_our_own_pages() {
        const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
        const OURS: (&str, &str) = ("origin", "http://127.0.0.1:4320");
        const NULL: (&str, &str) = ("origin", "null");
        const THEIRS: (&str, &str) = ("origin", "http://evil.example");
        type Sent = &'static [(&'static str, &'static str)];
        let cases: &[(Sent, Result<(), u16>)] = &[
            (&[JSON], Ok(())),
            (&[JSON, OURS], Ok(())),
            (&[JSON, THEIRS], Err(403)),
            (&[JSON, NULL], Err(403)),
            (&[JSON, ("origin", "http://127.0.0.1:9999")], Err(403)),
            (&[JSON, ("sec-fetch-site", "cross-site")], Err(403)),
            (&[JSON, ("sec-fetch-site", "same-site")], Err(403)),
            (&[JSON, OURS, ("sec-fetch-site", "same-origin")], Ok(())),
            (&[FORM, OURS], Ok(())),
            (&[FORM, OURS, ("sec-fetch-site", "cross-site")], Err(403)),
            (&[FORM, NULL], Err(403)),
            (&[FORM, NULL, ("sec-fetch-site", "none")], Err(403)),
            (&[FORM, NULL, ("sec-fetch-site", "same-site")], Err(403)),
            (&[FORM, NULL, ("sec-fetch-site", "same-origin")], Ok(())),
            (&[FORM, THEIRS, ("sec-fetch-site", "same-origin")], Err(403)),
            (&[FORM], Err(403)),
            (&[FORM, THEIRS], Err(403)),
            (&[("content-type", "text/plain")], Err(415)),
            (&[], Err(415)),
            (&[JSON, OURS, THEIRS], Err(400)),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *sent {
                headers.append(
                    header::HeaderName::from_static(name),
                    value.parse().expect("a header"),
                );
            }
            let found = judge(
                &HostPolicy::default(),
                Some("127.0.0.1:4320"),
                &Method::POST,
                &headers,
            )
            .map_err(|problem| problem.status);
            assert_eq!(found, *expected, "{sent:?}");
        }
    }

    #[test]
    fn a_request_without_a_host_is_refused() {
        let found = judge(
            &HostPolicy::default(),
            None,
            &Method::GET,
            &HeaderMap::new(),
        );
        assert_eq!(found.map_err(|problem| problem.status), Err(403));
    }
}
