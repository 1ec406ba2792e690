//! How many requests does this one stand for?
//!
//! Samplers throw most requests away, and some say how many: in the trace state (`ot=th:`, the
//! rejection threshold of OpenTelemetry's consistent probability sampling; `ot=p:`, the power of two of
//! the convention before it), or in attributes (Jaeger's `sampler.type` and `sampler.param`, Honeycomb's
//! `SampleRate`). Others only show that they were there: a random number without a threshold, a sampler
//! by rate, the Collector's tail sampler. Then it is unknown, which is another thing than one.

use rekindle_model::Sampling;

/// Digits of a threshold: 56 bits in hexadecimal. Zeroes at the end may be left out.
const DIGITS: usize = 14;

/// The largest power of two in `ot=p:`; 63, the largest of its convention, means a span that stands
/// for none, and what is in between can't be told apart with 56 random bits.
const MAX_POWER: u32 = 56;

/// What the Collector's tail sampler leaves in the attributes of a scope, if it was told to.
const TAIL_SAMPLER: &[u8] = b"tailsampling.";

/// Whether an attribute of this key in a scope shows a sampler that doesn't say how many it drops.
pub(crate) fn is_tail_sampler(key: &[u8]) -> bool {
    key.starts_with(TAIL_SAMPLER)
}

/// What the trace state says; `None` when no sampler wrote into it.
pub(crate) fn of_trace_state(state: &[u8]) -> Option<Sampling> {
    let state = std::str::from_utf8(state).ok()?;
    let members = state.split(',').map(str::trim);
    let ours = members
        .filter_map(|member| member.strip_prefix("ot="))
        .next()?;
    let value = |key: &str| {
        let pairs = ours.split(';').filter_map(|pair| pair.split_once(':'));
        pairs.filter(|(name, _)| *name == key).map(|it| it.1).next()
    };
    if let Some(digits) = value("th") {
        return Some(threshold(digits).unwrap_or(Sampling::Undeclared));
    }
    if let Some(power) = value("p") {
        return Some(by_power(power).unwrap_or(Sampling::Undeclared));
    }
    let random = value("rv").or_else(|| value("r"));
    random.map(|_| Sampling::Undeclared)
}

fn threshold(digits: &str) -> Option<Sampling> {
    let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !all_hex || digits.is_empty() || digits.len() > DIGITS {
        return None;
    }
    let number = u64::from_str_radix(digits, 16).ok()?;
    let left_out = u32::try_from(DIGITS - digits.len()).ok()?;
    Some(Sampling::Threshold(number << (4 * left_out)))
}

fn by_power(power: &str) -> Option<Sampling> {
    let power: u32 = power.parse().ok()?;
    (power <= MAX_POWER).then(|| one_in(1 << power))
}

/// One of so many was kept; of none is taken for of one, as its senders do.
pub(crate) fn one_in(number: u64) -> Sampling {
    let kept = Sampling::THRESHOLDS / number.clamp(1, Sampling::THRESHOLDS);
    Sampling::Threshold(Sampling::THRESHOLDS - kept)
}

/// What Jaeger's sampler of this type says, with its parameter.
pub(crate) fn of_jaeger(kind: &[u8], parameter: Option<f64>) -> Sampling {
    let share = match kind {
        b"const" => Some(1.0),
        b"probabilistic" => parameter.filter(|share| *share > 0.0 && *share <= 1.0),
        // By rate: how many came isn't said.
        _ => None,
    };
    let Some(share) = share else {
        return Sampling::Undeclared;
    };
    let dropped = (1.0 - share) * Sampling::THRESHOLDS as f64;
    Sampling::Threshold((dropped as u64).min(Sampling::THRESHOLDS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None`: nobody spoke up. `Some(None)`: unknown. Else how many one stands for.
    #[test]
    fn what_trace_states_say() {
        for (state, expected) in [
            ("", None),
            ("vendor=th:8", None),
            ("ot=", None),
            ("ot=x:1", None),
            ("ot=th:0", Some(Some(1.0))),
            ("ot=th:8", Some(Some(2.0))),
            ("ot=th:c", Some(Some(4.0))),
            ("ot=th:C", Some(Some(4.0))),
            ("a=b, ot=rv:6e6d1a75832a2f;th:e;x:1 ,c=d", Some(Some(8.0))),
            ("ot=th:fd70a4", Some(Some(100.0))),
            (
                "ot=th:ffffffffffffff",
                Some(Some(Sampling::THRESHOLDS as f64)),
            ),
            ("ot=p:8;r:62", Some(Some(256.0))),
            ("ot=p:0", Some(Some(1.0))),
            ("ot=p:63", Some(None)),
            ("ot=r:62", Some(None)),
            ("ot=rv:6e6d1a75832a2f", Some(None)),
            ("ot=th:", Some(None)),
            ("ot=th:0123456789abcde", Some(None)),
            ("ot=th:+8", Some(None)),
        ] {
            let found = of_trace_state(state.as_bytes()).map(Sampling::adjusted_count);
            let close = match (found, expected) {
                (Some(Some(found)), Some(Some(expected))) => {
                    (found - expected).abs() < 1e-5 * expected
                }
                (found, expected) => found == expected,
            };
            assert!(close, "{state}: {found:?}");
        }
        assert_eq!(of_trace_state(b"ot=\xff"), None);
    }

    #[test]
    fn what_attributes_say() {
        for (kind, parameter, expected) in [
            (&b"const"[..], Some(1.0), Some(1.0)),
            (b"probabilistic", Some(0.125), Some(8.0)),
            (b"probabilistic", Some(1.0), Some(1.0)),
            (b"probabilistic", Some(0.0), None),
            (b"probabilistic", Some(f64::NAN), None),
            (b"probabilistic", None, None),
            (b"ratelimiting", Some(2.0), None),
            (b"lowerbound", Some(0.1), None),
        ] {
            let found = of_jaeger(kind, parameter).adjusted_count();
            let words = String::from_utf8_lossy(kind);
            assert_eq!(found, expected, "{words} {parameter:?}");
        }
        for (number, expected) in [(0, 1.0), (1, 1.0), (2, 2.0), (1000, 1000.0)] {
            let found = one_in(number).adjusted_count().unwrap_or_default();
            assert!((found - expected).abs() < 1e-6, "{number}: {found}");
        }
        let most = one_in(u64::MAX).adjusted_count();
        assert_eq!(most, Some(Sampling::THRESHOLDS as f64));
    }
}
