//! Numbers as people read them, alike on pages and in tables.

use std::time::Duration;

use rekindle_recovery::Mode;

use crate::config::show_duration;
use crate::view::{ReliefView, ShareView, UtcTime};

/// `12.3%`; `<0.1%` rather than a zero that isn't one.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 {
        "0%".to_owned()
    } else if percent.abs() < 0.1 {
        "<0.1%".to_owned()
    } else if percent.abs() < 10.0 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// `48 of 50 (96%)`.
pub(crate) fn of(share: &ShareView) -> String {
    if share.total == 0 {
        return "none".to_owned();
    }
    format!(
        "{} of {} ({})",
        count(share.count),
        count(share.total),
        percent(share.share)
    )
}

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rate or an expected number: one digit after the point while it is small.
pub(crate) fn about(number: f64) -> String {
    if number.abs() < 10.0 {
        format!("{number:.1}")
    } else {
        count(number.round().max(0.0) as u64)
    }
}

/// `250ms`, `1m5s`.
pub(crate) fn millis(millis: u64) -> String {
    show_duration(Duration::from_millis(millis))
}

/// `850µs`, `12.3ms`, `2.5s`.
pub(crate) fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

/// `12s ago`.
pub(crate) fn ago(time: UtcTime, now: UtcTime) -> String {
    let seconds = now.since(time).as_secs();
    format!("{} ago", show_duration(Duration::from_secs(seconds)))
}

/// `2026-08-01 09:30:00`, in UTC, which the header says.
pub(crate) fn when(time: UtcTime) -> String {
    let text = time.to_string();
    match text.split_once('T') {
        Some((day, _)) => format!("{day} {}", time.clock()),
        None => text,
    }
}

/// What the furthest mode of a tree means, rather than its name alone.
pub(crate) fn furthest_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observes only",
        Mode::Propose => "asks before restarting",
        Mode::Auto => "restarts by itself",
    }
}

/// `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const STEPS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut step = 0;
    while amount >= 1024.0 && step + 1 < STEPS.len() {
        amount /= 1024.0;
        step += 1;
    }
    if step == 0 {
        format!("{bytes} B")
    } else {
        format!("{amount:.1} {}", STEPS[step])
    }
}

/// `−94 points (−97 to −90)`: what a restart changed in the failure share.
pub(crate) fn relief(relief: &ReliefView) -> String {
    let points = |drop: f64| format!("{:+.1}", -100.0 * drop).replace('-', "\u{2212}");
    format!(
        "{} points ({} to {})",
        points(relief.drop),
        points(relief.high),
        points(relief.low)
    )
}

/// A name as one segment of a path: whatever isn't plain is escaped.
pub(crate) fn path_segment(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.0004), "<0.1%");
        assert_eq!(percent(0.0123), "1.2%");
        assert_eq!(percent(0.964), "96%");
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(about(0.25), "0.2");
        assert_eq!(about(1234.4), "1,234");
        assert_eq!(micros(850), "850µs");
        assert_eq!(micros(12_300), "12.3ms");
        assert_eq!(path_segment("a/b c.d"), "a%2Fb%20c.d");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        let relief_of = ReliefView {
            drop: 0.94,
            low: 0.9,
            high: 0.97,
        };
        assert_eq!(relief(&relief_of), "−94.0 points (−97.0 to −90.0)");
        assert_eq!(
            ago(UtcTime::from_millis(1_000), UtcTime::from_millis(66_500)),
            "1m5s ago"
        );
    }
}
