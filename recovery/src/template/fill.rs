//! What of an instance stands in the texts of its template?
//!
//! A question is asked at an instance's own address, and its log is in its own folder. So a template's texts may have
//! `${its:WORD}` in them. What replaces it comes from the list alone, of those who can restart the instance, never from
//! telemetry. What the list doesn't say can't be asked: that question isn't asked, instead of being asked elsewhere.

use super::{Listed, Trait};
use crate::rejuvenate::Gauge;
use crate::watch::{Bound, Watch};
use crate::{Around, CommandSpec, HttpSpec, PrepareSpec, ProbeSpec, UnitSpec};

/// What stands before the word …
pub const BEFORE: &str = "${its:";
/// … and after it.
const AFTER: char = '}';

impl Trait {
    /// Each with the word for it.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("name", Self::Name),
        ("id", Self::Id),
        ("short_id", Self::ShortId),
        ("address", Self::Address),
    ];

    /// What this word means.
    pub fn of_word(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.iter();
        words.find(|(known, _)| *known == word).map(|(_, it)| *it)
    }
}

/// The text of this instance; `None` if the list doesn't say something of what is in it.
fn text(of: &str, listed: &Listed) -> Option<String> {
    let mut filled = String::with_capacity(of.len());
    let mut rest = of;
    while let Some((before, after)) = rest.split_once(BEFORE) {
        let (word, after) = after.split_once(AFTER)?;
        filled.push_str(before);
        filled.push_str(&listed.value(Trait::of_word(word)?)?);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

/// Fills in what is the instance's own in all that a unit says, but for how it is restarted.
pub(super) fn unit(unit: &mut UnitSpec, listed: &Listed) {
    let mut selector = std::mem::take(&mut unit.selector);
    // A pair less would match other instances, too; this one matches nobody.
    for value in selector.values_mut() {
        *value = text(value, listed).unwrap_or_default();
    }
    unit.selector = selector;
    unit.ready = unit.ready.take().and_then(|it| probe(it, listed));
    unit.check = unit.check.take().and_then(|it| probe(it, listed));
    let watches = std::mem::take(&mut unit.watches).into_iter();
    unit.watches = watches
        .filter_map(|watch| {
            Some(Watch {
                bound: bound(watch.bound, &unit.name, listed)?,
                ..watch
            })
        })
        .collect();
    let Around {
        drain: _,
        prepare,
        post_mortem,
    } = &mut unit.around;
    *prepare = prepare.take().and_then(|how| match how {
        PrepareSpec::Http(HttpSpec { url, timeout }) => {
            let url = text(&url, listed)?;
            Some(PrepareSpec::Http(HttpSpec { url, timeout }))
        }
        PrepareSpec::Command(it) => command(it, listed).map(PrepareSpec::Command),
    });
    *post_mortem = post_mortem.take().and_then(|it| command(it, listed));
}

fn texts(of: &[String], listed: &Listed) -> Option<Vec<String>> {
    of.iter().map(|it| text(it, listed)).collect()
}

fn command(of: CommandSpec, listed: &Listed) -> Option<CommandSpec> {
    let command = texts(&of.command, listed)?;
    Some(CommandSpec { command, ..of })
}

fn probe(of: ProbeSpec, listed: &Listed) -> Option<ProbeSpec> {
    Some(match of {
        ProbeSpec::Http {
            url,
            timeout,
            status,
            contains,
        } => ProbeSpec::Http {
            url: text(&url, listed)?,
            timeout,
            status,
            contains: match contains {
                Some(contains) => Some(text(&contains, listed)?),
                None => None,
            },
        },
        ProbeSpec::Tcp { address, timeout } => ProbeSpec::Tcp {
            address: text(&address, listed)?,
            timeout,
        },
        ProbeSpec::Grpc {
            address,
            service,
            timeout,
        } => ProbeSpec::Grpc {
            address: text(&address, listed)?,
            service: text(&service, listed)?,
            timeout,
        },
        ProbeSpec::Command { command, timeout } => ProbeSpec::Command {
            command: texts(&command, listed)?,
            timeout,
        },
    })
}

/// Of the instance's own figures, instead of its kind's.
fn bound(of: Bound, own: &crate::UnitName, listed: &Listed) -> Option<Bound> {
    let gauge = |gauge: Gauge| {
        Some(match gauge {
            Gauge::Memory { .. } => Gauge::Memory { of: own.clone() },
            Gauge::OpenFiles { .. } => Gauge::OpenFiles { of: own.clone() },
            Gauge::ProcessorTime { .. } => Gauge::ProcessorTime { of: own.clone() },
            Gauge::Heartbeat { name, .. } => Gauge::Heartbeat {
                unit: own.clone(),
                name,
            },
            Gauge::Http { url, timeout } => Gauge::Http {
                url: text(&url, listed)?,
                timeout,
            },
            Gauge::Failures { .. } => gauge,
        })
    };
    Some(match of {
        Bound::Above { gauge: of, limit } => Bound::Above {
            gauge: gauge(of)?,
            limit,
        },
        Bound::Grows { gauge: of, limit } => Bound::Grows {
            gauge: gauge(of)?,
            limit,
        },
        Bound::Still { gauge: of } => Bound::Still { gauge: gauge(of)? },
        Bound::Unfinished {
            begun,
            finished,
            limit,
        } => Bound::Unfinished {
            begun: gauge(begun)?,
            finished: gauge(finished)?,
            limit,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::UnitName;
    use crate::template::tests::{listed, template};

    const TIMEOUT: Duration = Duration::from_secs(2);

    #[test]
    fn each_instance_is_asked_at_its_own_address() {
        let at = |address: Option<&str>| Listed {
            address: address.map(|it| it.parse().expect("an address")),
            ..listed(&["web-1"]).remove(0)
        };
        for (of, address, expected) in [
            ("plain $1 {name}", None, Some("plain $1 {name}")),
            (
                "${its:name}/${its:id}",
                None,
                Some("web-1/web-1-0123456789abcdef"),
            ),
            ("-${its:short_id}-", None, Some("-web-1-012345-")),
            (
                "http://${its:address}:1/",
                Some("10.0.0.7"),
                Some("http://10.0.0.7:1/"),
            ),
            (
                "http://${its:address}:1/",
                Some("::1"),
                Some("http://[::1]:1/"),
            ),
            ("http://${its:address}:1/", None, None),
            ("${its:color}", None, None),
            ("${its:name", None, None),
        ] {
            let found = text(of, &at(address));
            assert_eq!(found.as_deref(), expected, "{of} {address:?}");
        }
    }

    /// Whatever a template says of one instance, it says of the instance that it is.
    #[test]
    fn all_that_a_template_says_is_filled_in_or_left_out() {
        let mut kind = template("x service.name=web", "web.copy", "web");
        let http = |path: &str| format!("http://${{its:address}}:1/{path}");
        let run = |word: &str| CommandSpec {
            command: vec!["run".to_owned(), format!("${{its:{word}}}")],
            timeout: TIMEOUT,
        };
        let of = || UnitName::from("web.copy");
        kind.unit.ready = Some(ProbeSpec::Command {
            command: run("name").command,
            timeout: TIMEOUT,
        });
        kind.unit.check = Some(ProbeSpec::Tcp {
            address: "${its:address}:1".to_owned(),
            timeout: TIMEOUT,
        });
        let told = |name: &str| Gauge::Heartbeat {
            unit: of(),
            name: name.to_owned(),
        };
        let bounds = [
            Bound::Still {
                gauge: Gauge::Http {
                    url: http("done"),
                    timeout: TIMEOUT,
                },
            },
            Bound::Unfinished {
                begun: told("begun"),
                finished: told("ended"),
                limit: 1.0,
            },
        ];
        kind.unit.watches = bounds
            .map(|bound| Watch {
                bound,
                lasts: TIMEOUT,
            })
            .to_vec();
        kind.unit.around.prepare = Some(PrepareSpec::Http(HttpSpec {
            url: http("prepare"),
            timeout: TIMEOUT,
        }));
        kind.unit.around.post_mortem = Some(run("id"));
        let grown = |address: Option<&str>| {
            let one = Listed {
                address: address.map(|it| it.parse().expect("an address")),
                ..listed(&["web-1"]).remove(0)
            };
            kind.grow(&one)
        };

        let whole = grown(Some("10.0.0.7"));
        let words = format!("{whole:?}");
        assert!(!words.contains(BEFORE), "{words}");
        assert!(words.contains("http://10.0.0.7:1/done"), "{words}");
        assert!(words.contains("http://10.0.0.7:1/prepare"), "{words}");
        assert!(words.contains("web-1-0123456789abcdef"), "{words}");
        assert!(!words.contains("UnitName(\"web.copy\")"), "{words}");
        assert_eq!(whole.watches.len(), 2);

        // Nobody knows where it is: what must be asked there isn't asked at all.
        let nowhere = grown(None);
        let kept = (
            nowhere.ready.is_some(),
            nowhere.check,
            nowhere.watches.len(),
        );
        assert_eq!(kept, (true, None, 1));
        let around = &nowhere.around;
        let kept = (around.prepare.is_some(), around.post_mortem.is_some());
        assert_eq!(kept, (false, true));
    }
}
