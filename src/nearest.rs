//! What was meant by a word that isn't known: the nearest known one, if it is near enough that a
//! slip of the finger explains the difference.

/// Names more similar than this (Jaro–Winkler, in `[0, 1]`) are offered. Below it, suggestions are
/// guesses: `mode` and `node` are at 0.83, `restrat` and `restart` at 0.97.
const SIMILAR: f64 = 0.8;

/// One slip (a letter more, less, wrong or swapped) is offered in words from this length, however
/// dissimilar it makes a short one: `wbe` and `web` are at 0.56.
const LONG_ENOUGH_FOR_A_SLIP: usize = 3;

/// The known name that is most like `name`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let similarity = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let slip = name.chars().count() >= LONG_ENOUGH_FOR_A_SLIP
            && strsim::osa_distance(&name, &candidate) <= 1;
        let similarity = strsim::jaro_winkler(&name, &candidate);
        if slip {
            similarity.max(SIMILAR)
        } else {
            similarity
        }
    };
    known
        .into_iter()
        .map(|candidate| (similarity(candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_a_slip_explains() {
        let known = [
            "restart",
            "listen",
            "analysis",
            "state_dir",
            "probes",
            "web",
        ];
        for (typed, meant) in [
            ("restrat", Some("restart")),
            ("Listen", Some("listen")),
            ("statedir", Some("state_dir")),
            ("state-dir", Some("state_dir")),
            ("probe", Some("probes")),
            ("wbe", Some("web")),
            ("bew", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }
}
