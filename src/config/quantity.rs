//! Quantities as people write them: `200ms`, `64MiB`, `1%`, and `${env:NAME}` inside texts.

use std::time::Duration;

use super::its::Its;

/// Units of time, longest name first so that `ms` isn't read as `m`.
const TIME_UNITS: [(&str, f64); 5] = [
    ("ms", 0.001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

/// Units of size; `KiB` is 1024, `kB` is 1000.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// The longest duration that makes sense anywhere: 10 years. Keeps sums of durations in range.
const LONGEST: f64 = 10.0 * 365.0 * 86_400.0;

/// `200ms`, `5s`, `1.5h`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let no = || {
        format!(
            "{text:?} is no duration; write a number with a unit, as in 200ms, 5s, 10m, 2h or 7d"
        )
    };
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(no());
    }
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or_else(no)?;
        let (unit, factor) = TIME_UNITS
            .iter()
            .find(|(unit, _)| after.trim_start().starts_with(unit))
            .ok_or_else(no)?;
        seconds += number * factor;
        rest = after.trim_start()[unit.len()..].trim_start();
    }
    if seconds > LONGEST {
        return Err(format!("{text:?} is longer than ten years"));
    }
    // Milliseconds are the finest that can be written; rounding keeps 0.1 s exact.
    Ok(Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// `64MiB`, `10GB`, `512B`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let no =
        || format!("{text:?} is no size; write a number with a unit, as in 512B, 64MiB or 10GB");
    let (number, unit) = leading_number(text.trim()).ok_or_else(no)?;
    let unit = unit.trim();
    let (_, factor) = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(no)?;
    let bytes = number * (*factor as f64);
    // 2^53: beyond it a number with a fraction is no longer exact, and no disk is that large.
    if bytes > 9_007_199_254_740_992.0 {
        return Err(format!("{text:?} is larger than any disk"));
    }
    Ok(bytes.round() as u64)
}

/// `1%`, `0.5%`.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let no =
        || format!("{text:?} is no share; write a percentage, as in 1%, or a number from 0 to 1");
    let (number, unit) = leading_number(text.trim()).ok_or_else(no)?;
    if unit.trim() != "%" {
        return Err(no());
    }
    Ok(number / 100.0)
}

/// A duration as it would be written: the largest unit that says it exactly, in at most two parts.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    if !millis.is_multiple_of(1000) && millis < 60_000 {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    let seconds = duration.as_secs();
    let (large, large_unit, small, small_unit) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3600 => (seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => (seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    };
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

/// The decimal number that the text begins with, and what follows it.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number = text[..end].parse::<f64>().ok()?;
    Some((number, &text[end..]))
}

/// Puts the environment's values in for `${env:NAME}` and `${env:NAME:-default}`; `$$` is a plain
/// dollar sign.
pub(super) fn expand(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    its: Its,
) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let Some(after) = rest.strip_prefix('{') else {
            expanded.push('$');
            continue;
        };
        let (inside, after) = after
            .split_once('}')
            .ok_or_else(|| format!("{text:?} has a `${{` without its `}}`"))?;
        if let Some(word) = inside.strip_prefix("its:") {
            expanded.push_str(&its.word(word)?);
            rest = after;
            continue;
        }
        let name = inside.strip_prefix("env:").ok_or_else(|| {
            format!("`${{{inside}}}` means nothing; write `${{env:{inside}}}`, or `$$` for a dollar sign")
        })?;
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        match environment(name).or(default.map(str::to_owned)) {
            Some(value) => expanded.push_str(&value),
            None => {
                return Err(format!(
                    "the environment variable {name} is not set; set it, or write \
                     `${{env:{name}:-DEFAULT}}`"
                ));
            }
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("200ms", 200),
            ("5s", 5_000),
            ("0s", 0),
            ("0.1s", 100),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("2 h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "5x",
            "s",
            "-5s",
            "5s,",
            "1.2.3s",
            "5 seconds",
            "100000d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in [
            "0ms", "250ms", "5s", "1.5s", "10m", "1h30m", "2h", "7d", "1d3h",
        ] {
            let shown = show_duration(duration(text).expect("a duration"));
            assert_eq!(shown, text);
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512B", 512),
            ("64MiB", 64 << 20),
            ("1.5 KiB", 1536),
            ("10GB", 10_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "64", "64M", "64mib", "MiB", "-1B", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(percent("1%"), Ok(0.01));
        assert_eq!(percent("50 %"), Ok(0.5));
        for text in ["", "1", "%", "-1%", "one%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn environment() {
        let known = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("${env:HOME}/x", Ok("/home/ada/x")),
            ("${env:NO:-fallback}", Ok("fallback")),
            ("${env:NO:-}", Ok("")),
            ("$$ and $x", Ok("$ and $x")),
            (
                "${env:NO}",
                Err(
                    "the environment variable NO is not set; set it, or write `${env:NO:-DEFAULT}`",
                ),
            ),
            (
                "${HOME}",
                Err("`${HOME}` means nothing; write `${env:HOME}`, or `$$` for a dollar sign"),
            ),
            (
                "${env:HOME",
                Err("\"${env:HOME\" has a `${` without its `}`"),
            ),
        ] {
            let found = expand(text, &known, Its::Nobody);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
