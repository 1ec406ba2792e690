//! What `${its:WORD}` stands for: something that each unit of a kind has for itself.

use rekindle_recovery::template::{ITS, Trait};

/// Whose the word is, where something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Its {
    /// Nobody's: what is read stands for one unit, which says it itself.
    Nobody,
    /// That of an instance that a list will name. The word stays until then.
    Listed,
    /// The same, of what is asked after a restart: where the instance is to be reached then, no list has said yet.
    Restarted,
    /// Of the replica of this number, which we start.
    Replica(u64),
}

impl Its {
    /// What stands in the word's place.
    pub(super) fn word(self, word: &str) -> Result<String, String> {
        let is_known = Trait::of_word(word).is_some();
        match self {
            Self::Replica(number) => replica(number, word)
                .ok_or_else(|| format!("`{ITS}{word}}}` is not known of processes that Rekindle starts; write `{ITS}number}}`, or `{ITS}number+8080}}` for 8081 and so on")),
            Self::Nobody => Err(format!(
                "`{ITS}{word}}}` is known in a `template` only, where each unit has its own"
            )),
            Self::Restarted if Trait::of_word(word) == Some(Trait::Address) => Err(format!(
                "`{ITS}{word}}}` may be another after a restart; name it otherwise, as by `{ITS}name}}`"
            )),
            Self::Listed | Self::Restarted if is_known => Ok(format!("{ITS}{word}}}")),
            Self::Listed | Self::Restarted => {
                let known = Trait::WORDS.map(|(word, _)| format!("`{ITS}{word}}}`"));
                Err(format!("`{ITS}{word}}}` is not known; it must be one of {}", known.join(", ")))
            }
        }
    }
}

/// Its number, or that and some more: ports are counted from somewhere.
fn replica(number: u64, word: &str) -> Option<String> {
    let more = match word.strip_prefix("number")? {
        "" => 0,
        more => more.strip_prefix('+')?.parse().ok()?,
    };
    Some(number.checked_add(more)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_known_where_somebody_has_it() {
        for (its, word, expected) in [
            (Its::Replica(3), "number", Some("3")),
            (Its::Replica(3), "number+8080", Some("8083")),
            (Its::Replica(3), "number+", None),
            (Its::Replica(3), "number-1", None),
            (Its::Replica(3), "number+18446744073709551615", None),
            (Its::Replica(3), "name", None),
            (Its::Listed, "address", Some("${its:address}")),
            (Its::Listed, "number", None),
            (Its::Restarted, "address", None),
            (Its::Restarted, "short_id", Some("${its:short_id}")),
            (Its::Nobody, "name", None),
            (Its::Nobody, "number", None),
        ] {
            let found = its.word(word);
            assert_eq!(found.ok().as_deref(), expected, "{its:?} {word}");
        }
    }
}
