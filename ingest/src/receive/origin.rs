//! May this request come from where it comes from?
//!
//! Exporters are programs, and name no origin. A browser names one with everything that a page posts:
//! whatever page somebody on this machine looks at could make up telemetry, and with it suspects. So
//! a request with an origin is taken only when the origin is the very host that was asked, and that
//! host is an address or `localhost`: any other name may be a stranger's that suddenly means us (DNS
//! rebinding), and then host and origin agree. No page is served here, so nobody honest is kept out
//! but exporters in browsers, whose pages can send to a Collector that knows them.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// Whether no web page sent it, or one of this very address.
pub(super) fn is_ours(target: &Uri, headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    if origins.next().is_some() {
        return false;
    }
    // An absolute request target overrules the header, and in HTTP/2 there is nothing else.
    let host = match target.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let (Some(host), Ok(origin)) = (host, origin.to_str()) else {
        return false;
    };
    let named = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    named.is_some_and(|named| named.eq_ignore_ascii_case(host)) && is_no_strangers_name(host)
}

/// Whether nobody can make this name mean another machine.
fn is_no_strangers_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_our_own_address_and_nobody_else() {
        let cases: [(&str, Option<&str>, &[&str], bool); 13] = [
            ("/v1/traces", Some("127.0.0.1:4318"), &[], true),
            ("/v1/traces", Some("otel.example:4318"), &[], true),
            ("/v1/traces", None, &[], true),
            (
                "/v1/traces",
                Some("127.0.0.1:4318"),
                &["http://127.0.0.1:4318"],
                true,
            ),
            (
                "/v1/traces",
                Some("localhost:4318"),
                &["http://localhost:4318"],
                true,
            ),
            (
                "/v1/traces",
                Some("[::1]:4318"),
                &["http://[::1]:4318"],
                true,
            ),
            (
                "/v1/traces",
                Some("127.0.0.1:4318"),
                &["http://127.0.0.1:4320"],
                false,
            ),
            (
                "/v1/traces",
                Some("127.0.0.1:4318"),
                &["http://evil.example"],
                false,
            ),
            ("/v1/traces", Some("127.0.0.1:4318"), &["null"], false),
            // Rebinding: they agree, and that is all.
            (
                "/v1/traces",
                Some("evil.example:4318"),
                &["http://evil.example:4318"],
                false,
            ),
            (
                "http://evil.example/v1/traces",
                Some("127.0.0.1:4318"),
                &["http://127.0.0.1:4318"],
                false,
            ),
            ("/v1/traces", None, &["http://127.0.0.1:4318"], false),
            (
                "/v1/traces",
                Some("127.0.0.1:4318"),
                &["http://127.0.0.1:4318", "null"],
                false,
            ),
        ];
        for (target, host, origins, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, host.parse().expect("a header"));
            }
            for origin in origins {
                headers.append(ORIGIN, origin.parse().expect("a header"));
            }
            let target: Uri = target.parse().expect("a target");
            let found = is_ours(&target, &headers);
            assert_eq!(found, expected, "{target} at {host:?} from {origins:?}");
        }
    }
}
