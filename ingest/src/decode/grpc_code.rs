//! Which gRPC status does this text name?
//!
//! The oldest convention sends the number; the newer ones send the name, and languages spell it
//! each in their own way: `DEADLINE_EXCEEDED`, `DeadlineExceeded`, `deadline_exceeded`.

/// The names in the order of their numbers, in the spelling that all others are folded to.
const NAMES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalidargument",
    "deadlineexceeded",
    "notfound",
    "alreadyexists",
    "permissiondenied",
    "resourceexhausted",
    "failedprecondition",
    "aborted",
    "outofrange",
    "unimplemented",
    "internal",
    "unavailable",
    "dataloss",
    "unauthenticated",
];

/// The number of the status that the text names or spells; `None` when it is no gRPC status.
pub(crate) fn grpc_code(text: &[u8]) -> Option<u16> {
    if let Ok(text) = std::str::from_utf8(text)
        && let Ok(number) = text.trim().parse()
    {
        return Some(number);
    }
    // Go and the browsers write it with one l.
    if text.eq_ignore_ascii_case(b"canceled") {
        return Some(1);
    }
    let at = NAMES.iter().position(|name| spells(text, name))?;
    u16::try_from(at).ok()
}

/// Whether the letters of the text are those of the name, whatever their case and what is between.
fn spells(text: &[u8], name: &str) -> bool {
    text.iter()
        .filter(|byte| !matches!(byte, b'_' | b' ' | b'-'))
        .map(u8::to_ascii_lowercase)
        .eq(name.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_understood() {
        for (text, code) in [
            ("OK", Some(0)),
            ("0", Some(0)),
            ("14", Some(14)),
            ("UNAVAILABLE", Some(14)),
            ("Unavailable", Some(14)),
            ("DEADLINE_EXCEEDED", Some(4)),
            ("DeadlineExceeded", Some(4)),
            ("deadline_exceeded", Some(4)),
            ("canceled", Some(1)),
            ("CANCELLED", Some(1)),
            ("UNAUTHENTICATED", Some(16)),
            ("-1", None),
            ("", None),
            ("teapot", None),
        ] {
            assert_eq!(grpc_code(text.as_bytes()), code, "{text}");
        }
    }
}
