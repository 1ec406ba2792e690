//! How well are culprits found? Labelled cases, scored.
//!
//! Per class first, then the calibration, then what could not be read: an average over everything
//! would hide that one system is easy and another hard.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use rekindle_analysis::rank::{Choice, Method};
use rekindle_datasets::localization::{
    Calibration, CalmResult, CaseResult, Cut, Estimate, Excerpt, HeldOut, Idea, Questions, Summary,
    calibrate, choose, cuts, ideas, judge, pairs, summarize, svg,
};
use rekindle_datasets::public::{self, CaseInfo, Set};
use serde::Serialize;

use super::args::{Grouping, LocalizationArgs};
use super::tables::{Cells, Table};
use super::terminal::{Tone, Words, plain};
use super::{Failure, Terminal};
use crate::exit::Exit;

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Report {
    summaries: Vec<Summary>,
    calibration: Vec<Calibration>,
    /// Of methods that name a set of components: its accuracy and precision, by where it is cut.
    cuts: Vec<Cut>,
    /// The method that other systems choose, per system.
    chosen_elsewhere: Vec<HeldOut>,
    /// Whether other systems would have kept an idea, per idea and system.
    ideas: Vec<Idea>,
    /// What is said where nothing is wrong, per system and method.
    calm: Vec<Calm>,
    unusable: Vec<Unusable>,
    cases: Vec<CaseResult>,
}

/// What a method says where nothing is wrong.
#[derive(Debug, Serialize)]
struct Calm {
    system: String,
    method: Method,
    cases: usize,
    /// False alarms.
    answered: usize,
}

/// A case that could not be judged.
#[derive(Debug, Serialize)]
struct Unusable {
    set: Set,
    case: String,
    reason: String,
}

/// Scores methods on the labelled cases of a folder.
pub(super) fn localization(
    terminal: &mut Terminal,
    args: &LocalizationArgs,
) -> Result<Exit, Failure> {
    let questions = Questions {
        methods: methods(&args.methods)?,
        without: choices(&args.without)?,
        calm: args.calm,
        excerpt: Excerpt {
            one_in: args.one_in,
            offset: args.offset,
            baseline: args.baseline,
            window: args.window,
        },
    };
    let mut sets = public::sets_in(&args.data);
    if let Some(missing) = args.sets.iter().find(|set| !sets.contains(set)) {
        let folder = args.data.display();
        return Err(Failure::Usage(format!(
            "{folder} holds no {missing}/ with {}",
            match missing {
                Set::Recorded => "a folder per case and a case.json in each",
                _ => "a manifest.json",
            }
        )));
    }
    sets.retain(|set| args.sets.is_empty() || args.sets.contains(set));
    if sets.is_empty() {
        let folder = args.data.display();
        return Err(Failure::Usage(format!(
            "{folder} holds no set: expected nezha/, tracerca/ or shapleyiq/ with a manifest.json, or recorded/NAME/ with a \
             case.json"
        )));
    }
    let mut results = Vec::new();
    let mut calm = Vec::new();
    let mut unusable = Vec::new();
    for set in sets {
        let cases = public::cases(&args.data, set).map_err(anyhow::Error::from)?;
        let asked: Vec<Vec<&CaseInfo>> = if args.both {
            pairs(&cases).into_iter().map(Vec::from).collect()
        } else {
            cases.iter().map(|case| vec![case]).collect()
        };
        for (at, together) in asked.iter().enumerate() {
            progress(&format!("{set} {} of {}", at + 1, asked.len()));
            match judge(&args.data, set, together, &questions) {
                Ok(judged) => {
                    results.extend(judged.results);
                    calm.extend(judged.calm);
                }
                Err(error) => unusable.push(Unusable {
                    set,
                    case: together
                        .iter()
                        .map(|case| case.id.as_str())
                        .collect::<Vec<_>>()
                        .join(" + "),
                    reason: format!("{:#}", anyhow::Error::from(error)),
                }),
            }
        }
    }
    progress("");
    let report = Report {
        summaries: summarize(&results, |result| class(result, args.by)),
        calibration: calibrate(&results),
        cuts: cuts(&results),
        chosen_elsewhere: if questions.methods.len() > 1 {
            choose(&results)
        } else {
            Vec::new()
        },
        ideas: ideas(&results),
        calm: calms(&calm),
        unusable,
        cases: results,
    };
    if let Some(file) = &args.plot {
        std::fs::write(file, svg(&report.summaries))
            .with_context(|| format!("failed writing `{}`", file.display()))?;
    }
    if args.csv.is_some() || args.parquet.is_some() {
        tidy(&report.cases).write(args.csv.as_deref(), args.parquet.as_deref())?;
    }
    terminal.answer(&report, |terminal, report| {
        if args.by == Grouping::Case {
            show_cases(terminal, &report.cases)?;
        } else {
            show_summaries(terminal, &report.summaries)?;
        }
        show_calibration(terminal, &report.calibration)?;
        show_cuts(terminal, &report.cuts)?;
        show_chosen(terminal, &report.chosen_elsewhere)?;
        show_ideas(terminal, &report.ideas)?;
        show_calm(terminal, &report.calm)?;
        for case in &report.unusable {
            terminal.line(format!(
                "Unusable: {} {}: {}",
                case.set, case.case, case.reason
            ))?;
        }
        Ok(())
    })?;
    Ok(if report.unusable.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// A row per case and method. `rank` is where the last of the true culprits stands; empty if one of them isn't there.
fn tidy(results: &[CaseResult]) -> Table {
    let names = |of: &dyn Fn(&CaseResult) -> String| Cells::Names(results.iter().map(of).collect());
    let counts =
        |of: &dyn Fn(&CaseResult) -> Option<u64>| Cells::Counts(results.iter().map(of).collect());
    let numbers = |digits, of: &dyn Fn(&CaseResult) -> f64| {
        let numbers = results.iter().map(|result| Some(of(result)));
        Cells::Numbers(digits, numbers.collect())
    };
    let truths = |of: &dyn Fn(&CaseResult) -> bool| Cells::Truths(results.iter().map(of).collect());
    let rank = |result: &CaseResult| {
        let found: Option<Vec<usize>> = result.ranks.iter().copied().collect();
        found.and_then(|ranks| ranks.into_iter().max())
    };
    Table::of(results.len())
        .with("set", names(&|result| result.set.to_string()))
        .with("system", names(&|result| result.system.clone()))
        .with("fault", names(&|result| result.fault_type.clone()))
        .with("case", names(&|result| result.case.clone()))
        .with(
            "culprits",
            counts(&|result| Some(result.roots.len() as u64)),
        )
        .with("method", names(&|result| result.method.as_str().to_owned()))
        .with(
            "without",
            names(&|result| result.without.map_or("", Choice::as_str).to_owned()),
        )
        .with("rank", counts(&|result| Some(rank(result)? as u64)))
        .with("first_holds", truths(&|result| result.hit(1)))
        .with("confidence", numbers(4, &|result| result.confidence))
        .with("answered", truths(&|result| result.answered))
        .with("read_seconds", numbers(6, &|result| result.read_seconds))
        .with("rank_seconds", numbers(6, &|result| result.rank_seconds))
        .with(
            "traces_before",
            counts(&|result| Some(result.traces.0 as u64)),
        )
        .with("traces_now", counts(&|result| Some(result.traces.1 as u64)))
}

fn methods(names: &[String]) -> Result<Vec<Method>, Failure> {
    let mut methods = Vec::new();
    for name in names {
        if name == "all" {
            methods.extend(Method::ALL);
        } else {
            let method = name.parse();
            methods.push(
                method.map_err(|error| Failure::Usage(format!("{error}, or all of them: all")))?,
            );
        }
    }
    methods.sort();
    methods.dedup();
    Ok(methods)
}

fn choices(names: &[String]) -> Result<Vec<Choice>, Failure> {
    let mut choices = Vec::new();
    for name in names {
        let named = Choice::ALL
            .into_iter()
            .filter(|choice| name == "all" || choice.as_str() == name);
        let before = choices.len();
        choices.extend(named);
        if choices.len() == before {
            return Err(Failure::Usage(format!(
                "no idea is called {name:?}; there are {}, or all of them: all",
                Choice::ALL.map(Choice::as_str).join(", ")
            )));
        }
    }
    choices.sort();
    choices.dedup();
    Ok(choices)
}

fn calms(results: &[CalmResult]) -> Vec<Calm> {
    let mut counted: BTreeMap<(String, Method), (usize, usize)> = BTreeMap::new();
    for result in results {
        let system = format!("{} {}", result.set, result.system);
        let sum = counted.entry((system, result.method)).or_default();
        sum.0 += 1;
        sum.1 += usize::from(result.answered);
    }
    counted
        .into_iter()
        .map(|((system, method), (cases, answered))| Calm {
            system,
            method,
            cases,
            answered,
        })
        .collect()
}

fn class(result: &CaseResult, by: Grouping) -> String {
    match by {
        Grouping::Fault => result.class(),
        Grouping::System => format!("{} {}", result.set, result.system),
        Grouping::Case => format!("{} {}", result.set, result.case),
    }
}

/// How far it is, on one line of a terminal that is overwritten; nobody else is told.
fn progress(text: &str) {
    if io::stderr().is_terminal() {
        // Whoever closed standard error doesn't want to know.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

fn show_summaries(terminal: &mut Terminal, summaries: &[Summary]) -> io::Result<()> {
    let rows = summaries.iter().map(|summary| {
        let right = match summary.answered {
            0 => "–".to_owned(),
            answered => format!("{} of {answered}", summary.answered_right),
        };
        let answered = format!("{} of {}", summary.answered, summary.cases);
        vec![
            plain(&summary.class),
            plain(summary.label()),
            estimate(&summary.ac1),
            estimate(&summary.ac3),
            estimate(&summary.ac5),
            estimate(&summary.avg5),
            plain(answered),
            plain(right),
            plain(format!("{:.3} s", summary.cpu_seconds)),
        ]
    });
    terminal.table(
        &[
            "CLASS",
            "METHOD",
            "AC@1",
            "AC@3",
            "AC@5",
            "AVG@5",
            "ANSWERED",
            "OF THESE RIGHT",
            "CPU",
        ],
        rows.collect(),
    )
}

fn estimate(estimate: &Estimate) -> Words {
    plain(format!(
        "{:.2} ({:.2}–{:.2})",
        estimate.value, estimate.low, estimate.high
    ))
}

fn show_cases(terminal: &mut Terminal, results: &[CaseResult]) -> io::Result<()> {
    let rows = results.iter().map(|result| {
        let tone = if result.hit(1) { Tone::Good } else { Tone::Bad };
        let ranks: Vec<String> = result
            .ranks
            .iter()
            .map(|rank| rank.map_or_else(|| "–".to_owned(), |rank| rank.to_string()))
            .collect();
        let first: Vec<String> = result
            .suspects
            .iter()
            .take(3)
            .map(|group| group.join(" = "))
            .collect();
        vec![
            plain(format!("{} {}", result.set, result.case)),
            plain(result.label()),
            (ranks.join(", "), tone),
            plain(format!("{:.2}", result.confidence)),
            plain(if result.answered { "yes" } else { "no" }),
            plain(first.join(", ")),
        ]
    });
    terminal.table(
        &[
            "CASE",
            "METHOD",
            "RANK",
            "CONFIDENCE",
            "ANSWERED",
            "FIRST THREE",
        ],
        rows.collect(),
    )
}

fn show_calibration(terminal: &mut Terminal, bins: &[Calibration]) -> io::Result<()> {
    let rows = bins.iter().map(|bin| {
        vec![
            plain(bin.method.as_str()),
            plain(format!("{:.2} to {:.2}", bin.from, bin.to)),
            plain(bin.cases.to_string()),
            plain(format!("{:.2}", bin.confidence)),
            plain(format!("{:.2}", bin.right)),
        ]
    });
    terminal
        .line("Of the first suspects that were given such a confidence, so many were right:")?;
    terminal.table(
        &["METHOD", "CONFIDENCE", "CASES", "MEAN", "RIGHT"],
        rows.collect(),
    )
}

fn show_cuts(terminal: &mut Terminal, cuts: &[Cut]) -> io::Result<()> {
    if cuts.is_empty() {
        return Ok(());
    }
    terminal.line("Methods that name a set, cut at a score: how often all culprits are in it, and how much of it they are:")?;
    let number = |of: Option<f64>| of.map_or_else(|| "–".to_owned(), |of| format!("{of:.2}"));
    let rows = cuts.iter().map(|cut| {
        vec![
            plain(cut.method.as_str()),
            plain(format!("{:.1}", cut.at)),
            plain(cut.cases.to_string()),
            plain(format!("{:.2}", cut.accuracy)),
            plain(number(cut.precision)),
            plain(number(cut.size)),
        ]
    });
    terminal.table(
        &["METHOD", "CUT", "CASES", "ACCURACY", "PRECISION", "SIZE"],
        rows.collect(),
    )
}

fn show_chosen(terminal: &mut Terminal, rows: &[HeldOut]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    terminal.line("The method that all other systems choose, judged where it wasn't chosen:")?;
    let rows = rows.iter().map(|row| {
        vec![
            plain(&row.held_out),
            plain(row.chosen_on.join(", ")),
            plain(row.chosen.as_str()),
            plain(format!("{:.2}", row.elsewhere)),
            estimate(&row.ac1),
            plain(format!("{} {:.2}", row.best, row.best_ac1)),
        ]
    });
    terminal.table(
        &[
            "HELD OUT",
            "CHOSEN ON",
            "CHOSEN",
            "AVG@5 THERE",
            "AC@1 HERE",
            "BEST HERE",
        ],
        rows.collect(),
    )
}

fn show_ideas(terminal: &mut Terminal, rows: &[Idea]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    terminal.line("Would the other systems have kept an idea, and was that right here?")?;
    let rows = rows.iter().map(|row| {
        vec![
            plain(row.choice.as_str()),
            plain(&row.held_out),
            plain(format!("{:.3}", row.with)),
            plain(format!("{:.3}", row.without)),
            plain(format!("{:+.3}", row.worth_elsewhere)),
            plain(if row.kept_elsewhere { "yes" } else { "no" }),
            if row.holds {
                ("yes".to_owned(), Tone::Good)
            } else {
                ("no".to_owned(), Tone::Bad)
            },
        ]
    });
    terminal.table(
        &[
            "IDEA",
            "HELD OUT",
            "AVG@5 WITH",
            "WITHOUT",
            "WORTH ELSEWHERE",
            "KEPT",
            "RIGHT",
        ],
        rows.collect(),
    )
}

fn show_calm(terminal: &mut Terminal, rows: &[Calm]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    terminal.line("Where nothing is wrong (every second good trace against the others):")?;
    let rows = rows.iter().map(|row| {
        vec![
            plain(&row.system),
            plain(row.method.as_str()),
            plain(row.cases.to_string()),
            plain(row.answered.to_string()),
        ]
    });
    terminal.table(&["SYSTEM", "METHOD", "CASES", "ANSWERED"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_once_and_all_is_all() {
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            methods(&names)
        };
        assert_eq!(
            named(&["all", "ochiai"]).expect("names").len(),
            Method::ALL.len()
        );
        assert_eq!(named(&["ochiai"]).expect("a name"), [Method::Ochiai]);
        let error = named(&["oracle"]).expect_err("no such method").to_string();
        assert!(
            error.contains("\"oracle\"") && error.contains("tarantula"),
            "{error}"
        );
    }
}
