//! Whom does a URL ask?

/// The one who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server<'a> {
    /// A name or an address; of version 6 without its brackets, as in `server.address`.
    pub(crate) address: &'a [u8],
    /// As it is written, or as the scheme has it.
    pub(crate) port: Option<u16>,
}

/// Scheme, user and server: all of a URL that isn't different from call to call. None where it names no server.
pub(crate) fn up_to_path(url: &[u8]) -> Option<&[u8]> {
    let start = after_scheme(url);
    let server = url[start..].split(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let server = server.take(1).next().filter(|server| !server.is_empty())?;
    Some(&url[..start + server.len()])
}

/// The server of a URL, or of a `Host` header, which has no scheme.
pub(crate) fn server(url: &[u8]) -> Option<Server<'_>> {
    let url = up_to_path(url)?;
    let start = after_scheme(url);
    // Whom it is asked as is nobody's business.
    let server = url[start..].rsplit(|byte| *byte == b'@').next()?;
    let (address, port) = match server.strip_prefix(b"[") {
        Some(inner) => {
            let end = inner.iter().position(|byte| *byte == b']')?;
            (&inner[..end], inner[end + 1..].strip_prefix(b":"))
        }
        None => match memchr::memrchr(b':', server) {
            Some(colon) => (&server[..colon], Some(&server[colon + 1..])),
            None => (server, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => Some(std::str::from_utf8(port).ok()?.parse().ok()?),
        None => usual_port(&url[..start]),
    };
    (!address.is_empty()).then_some(Server { address, port })
}

/// Where the scheme ends, if there is one: what a path or query has in it is none.
fn after_scheme(url: &[u8]) -> usize {
    let ends = memchr::memchr3(b'/', b'?', b'#', url);
    match ends.map(|at| (at, url[..at].strip_suffix(b":"), &url[at..])) {
        Some((at, Some(_), [b'/', b'/', ..])) => at + 2,
        _ => 0,
    }
}

fn usual_port(scheme: &[u8]) -> Option<u16> {
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    match scheme {
        _ if is(b"http://") || is(b"ws://") => Some(80),
        _ if is(b"https://") || is(b"wss://") => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_what_stands_before_the_path() {
        for (url, wanted) in [
            (
                "http://127.0.0.1:8080/items/17?q=a",
                Some(("127.0.0.1", Some(8080))),
            ),
            ("http://cart/items", Some(("cart", Some(80)))),
            ("HTTPS://cart", Some(("cart", Some(443)))),
            ("https://cart:/", Some(("cart", Some(443)))),
            ("http://cart?next=http://a:1/", Some(("cart", Some(80)))),
            ("http://me:secret@cart:81#top", Some(("cart", Some(81)))),
            ("http://[::1]:8080/", Some(("::1", Some(8080)))),
            ("http://[fe80::7]/", Some(("fe80::7", Some(80)))),
            ("cart:8080", Some(("cart", Some(8080)))),
            ("cart", Some(("cart", None))),
            ("cart/path?to=http://a", Some(("cart", None))),
            ("ftp://cart/x", Some(("cart", None))),
            ("http://cart:80800/", None),
            ("http://[::1/", None),
            ("http://:80/", None),
            ("/items/17", None),
            ("http:///x", None),
            ("", None),
        ] {
            let found = server(url.as_bytes());
            let wanted = wanted.map(|(address, port): (&str, _)| Server {
                address: address.as_bytes(),
                port,
            });
            assert_eq!(found, wanted, "{url}");
        }
        let url = b"http://me@cart:81/items/17";
        assert_eq!(up_to_path(url), Some(&url[..17]));
    }
}
