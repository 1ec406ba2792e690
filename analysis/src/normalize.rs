//! Which operation is this, whatever its ids are today?
//!
//! Real agents put ids into names (`SELECT 4f1c….visits`, `GET /orders/17`), another one in each
//! instance and after each restart; counted by such names no two requests are alike. Numbers, UUIDs
//! and long hexadecimal words become `{id}`; a digit or two inside a word stay (`v1`, `s3`,
//! `step2`), because those name things.

/// So many digits in a row inside a word are an id, not a version.
const ID_DIGITS: usize = 4;
/// A word of hexadecimal digits with at least one decimal among them is an id from this length on;
/// shorter ones occur as words (`cafe1`).
const ID_HEX: usize = 8;
/// Longer names are cut: nobody reads more, and statements in names can be pages long.
const MAX_LENGTH: usize = 160;

/// The name with its ids taken out.
pub(crate) fn without_ids(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if out.len() >= MAX_LENGTH {
            out.push('…');
            break;
        }
        if let Some(after) = strip_uuid(rest) {
            out.push_str("{id}");
            rest = after;
        } else if first.is_ascii_alphanumeric() {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len());
            push_word(&mut out, &rest[..end]);
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// What follows a UUID (8-4-4-4-12 hexadecimal digits) at the start of the text.
fn strip_uuid(text: &str) -> Option<&str> {
    let head = text.as_bytes().get(..36)?;
    let fits = head.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    fits.then(|| &text[36..])
}

fn push_word(out: &mut String, word: &str) {
    let bytes = word.as_bytes();
    let all_hex = bytes.iter().all(u8::is_ascii_hexdigit);
    let any_digit = bytes.iter().any(u8::is_ascii_digit);
    let all_digits = bytes.iter().all(u8::is_ascii_digit);
    if all_digits || (all_hex && any_digit && word.len() >= ID_HEX) {
        out.push_str("{id}");
        return;
    }
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            out.push_str(if end >= ID_DIGITS {
                "{id}"
            } else {
                &rest[..end]
            });
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_go_and_words_stay() {
        for (name, expected) in [
            ("GET /orders/17/items", "GET /orders/{id}/items"),
            (
                "GET /api/v1/owners/{ownerId}",
                "GET /api/v1/owners/{ownerId}",
            ),
            (
                "SELECT 4f1c2a90-1111-4abc-9def-001122334455.visits",
                "SELECT {id}.visits",
            ),
            ("session deadbeef01", "session {id}"),
            ("user12345 logs in", "user{id} logs in"),
            ("step2", "step2"),
            ("checkout", "checkout"),
            ("facade", "facade"),
            ("größe 7", "größe {id}"),
        ] {
            assert_eq!(without_ids(name), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_bounded_and_settled(name in "\\PC{0,300}") {
            let once = without_ids(&name);
            prop_assert!(once.len() <= MAX_LENGTH + 48 + 4);
            if once.len() < MAX_LENGTH { prop_assert_eq!(without_ids(&once), once); }
        }
    }
}
