//! What was meant by a word that isn't known: the nearest known one, if it is near enough that a
//! slip of the finger explains the difference.

/// Names more similar than this (Jaro–Winkler, in `[0, 1]`) are offered. Below it, suggestions are
/// guesses: `mode` and `node` are at 0.83, `restrat` and `restart` at 0.97.
const SIMILAR: f64 = 0.8;

/// The known name that is most like `name`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&name, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_a_slip_explains() {
        let known = ["restart", "listen", "analysis", "state_dir", "probes"];
        for (typed, meant) in [
            ("restrat", Some("restart")),
            ("Listen", Some("listen")),
            ("statedir", Some("state_dir")),
            ("state-dir", Some("state_dir")),
            ("probe", Some("probes")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
