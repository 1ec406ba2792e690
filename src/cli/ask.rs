//! Commands that only ask.

use std::io;

use super::terminal::{Tone, Words, plain};
use super::{Failure, Terminal};
use crate::api::{Explanation, ProblemKind, Reply};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::view::{
    ActionView, HealthView, IncidentState, IncidentView, PlanState, PlanView, RankingVerdict,
    RankingView, SuspectView, UnitState, UnitView, VerdictView, View, WatchStanding,
};
use crate::words;

/// So many characters fit a line of most terminals.
const LINE: usize = 96;

pub(super) fn status(terminal: &mut Terminal, client: &Client) -> Result<Exit, Failure> {
    let view: View = client.get("/view")?;
    // Programs asked for the status; the request types have a path of their own.
    if terminal.is_json() {
        terminal.answer(&view.status, |_, _| Ok(()))?;
    } else {
        show_status(terminal, client, &view)?;
    }
    Ok(Exit::Ok)
}

fn show_status(terminal: &mut Terminal, client: &Client, view: &View) -> io::Result<()> {
    let status = &view.status;
    // Where only what is masked is open, that is said in other words.
    let open = view.open_incidents().filter(|it| !it.masked).count();
    let waiting = view.waiting_plans().count();
    let needed = words::person_needed(view);
    if let Some(paused) = &status.paused {
        let until = match paused.until {
            Some(until) => format!(" until {until}"),
            None => String::new(),
        };
        let words = format!(
            "Paused{until}, nothing is restarted unattended: {}",
            paused.reason
        );
        terminal.heading(&words, Tone::Attention)?;
    }
    let (heading, tone) = if let Some((heading, _)) = &needed {
        (format!("{heading}: see `rekindle suspects`"), Tone::Bad)
    } else if waiting > 0 {
        (
            "A restart waits for your approval: see `rekindle plan`".to_owned(),
            Tone::Attention,
        )
    } else if let Some(words) = words::held_off(view) {
        (format!("{words}: see `rekindle plan`"), Tone::Bad)
    } else if let Some(words) = words::taken_over(view) {
        (words, Tone::Bad)
    } else if let Some(words) = words::well_again(view) {
        (words, Tone::Attention)
    } else if let Some(words) = words::masked_only(view) {
        (format!("{words}: see `rekindle suspects`"), Tone::Attention)
    } else if open > 0 {
        (
            format!(
                "{}: see `rekindle suspects`",
                words::number_of(open, "open incident")
            ),
            Tone::Bad,
        )
    } else {
        let (heading, is_well) = words::calm(view);
        let tone = match is_well {
            true => Tone::Good,
            false => Tone::Attention,
        };
        (heading, tone)
    };
    terminal.heading(&heading, tone)?;
    for line in needed.iter().flat_map(|(_, lines)| lines) {
        terminal.line(format!("  {line}"))?;
    }
    for sentence in words::unheard(view) {
        terminal.line(sentence)?;
    }
    let mut rows = vec![
        vec![
            plain("Rekindle"),
            plain(format!(
                "{}, up for {}, {}",
                status.version,
                words::millis(status.uptime_ms / 1000 * 1000),
                words::modes(&view.tree)
            )),
        ],
        vec![plain("pages"), plain(client.api())],
        vec![
            plain("OTLP"),
            plain(format!(
                "{} (gRPC), {} (HTTP)",
                status.listening.grpc, status.listening.http
            )),
        ],
        vec![
            plain("received"),
            plain(format!(
                "{} spans ({}/s), {} traces, {} requests",
                words::count(status.spans),
                words::about(status.spans_per_s),
                words::count(status.traces),
                words::count(status.requests)
            )),
        ],
        vec![plain("units"), plain(words::units(&view.tree))],
        vec![plain("journal"), health(&status.journal)],
        vec![plain("ledger"), health(&status.ledger)],
    ];
    if let Some(store) = &status.store {
        rows.insert(rows.len() - 1, vec![plain("span store"), health(store)]);
    }
    if let Some(paused) = &status.paused {
        let until = match paused.until {
            Some(until) => format!(" until {until}"),
            None => String::new(),
        };
        let by = match paused.by.as_str() {
            "" => String::new(),
            by => format!("by {by} "),
        };
        let words = format!("{by}since {}{until}: {}", paused.since, paused.reason);
        rows.push(vec![plain("paused"), (words, Tone::Attention)]);
    }
    if let Some(memory) = status.memory_bytes {
        rows.push(vec![plain("memory"), plain(words::bytes(memory))]);
    }
    for growing in &status.growing {
        let (words, is_well) = words::growing(growing);
        let tone = if is_well {
            Tone::Plain
        } else {
            Tone::Attention
        };
        rows.push(vec![
            plain(format!("grows: {}", growing.template)),
            (words, tone),
        ]);
    }
    for words in words::interventions(&status.interventions) {
        rows.push(vec![plain("set apart"), plain(words)]);
    }
    for (reason, number) in &status.dropped {
        rows.push(vec![
            plain(format!("not used: {reason}")),
            plain(words::count(*number)),
        ]);
    }
    terminal.table(&[], rows)?;
    if view.request_types.is_empty() {
        return Ok(());
    }
    let rows = view.request_types.iter().map(|request_type| {
        let share = words::fails_now(request_type);
        let usual = words::usually(request_type);
        let tone = if request_type.failing {
            Tone::Bad
        } else {
            Tone::Plain
        };
        let state = if request_type.failing { "failing" } else { "" };
        vec![
            plain(&request_type.name),
            plain(words::per_second(request_type)),
            (share, tone),
            plain(usual),
            (state.to_owned(), tone),
        ]
    });
    let header = ["Request type", "Per second", "Fails now", "Usually", ""];
    terminal.table(&header, rows.collect())?;
    let masked = view.request_types.iter().filter_map(|request_type| {
        let said = words::masked(request_type)?;
        Some(vec![plain(&request_type.name), plain(said)])
    });
    let masked: Vec<Vec<Words>> = masked.collect();
    match masked.is_empty() {
        true => Ok(()),
        false => terminal.table(&["Masked failures", "Now"], masked),
    }
}

fn health(health: &HealthView) -> Words {
    let (word, tone) = match (health.ok, health.note.is_empty()) {
        (true, _) => ("well", Tone::Good),
        (false, true) => ("unknown", Tone::Plain),
        (false, false) => ("not well", Tone::Bad),
    };
    if health.note.is_empty() {
        (word.to_owned(), tone)
    } else {
        (format!("{word}: {}", health.note), tone)
    }
}

pub(super) fn suspects(
    terminal: &mut Terminal,
    client: &Client,
    incident: Option<u64>,
) -> Result<Exit, Failure> {
    let path = match incident {
        Some(id) => format!("/suspects?incident={id}"),
        None => "/suspects".to_owned(),
    };
    let ranking: RankingView = match client.get(&path) {
        // Who asks for no incident in particular is answered: nobody is suspected.
        Err(ClientError::Problem(problem))
            if incident.is_none() && problem.kind == ProblemKind::NotFound =>
        {
            terminal.answer(&None::<RankingView>, |terminal, _| {
                terminal.line(format!("Nobody is suspected: {}.", problem.detail))
            })?;
            return Ok(Exit::Ok);
        }
        other => other?,
    };
    terminal.answer(&ranking, show_ranking)?;
    Ok(Exit::Ok)
}

fn show_ranking(terminal: &mut Terminal, ranking: &RankingView) -> io::Result<()> {
    terminal.heading(
        &format!(
            "Suspects of incident {}, as of {}",
            ranking.incident, ranking.at
        ),
        Tone::Plain,
    )?;
    if let RankingVerdict::NotEnough { missing } = &ranking.verdict {
        terminal.line(format!("Not enough evidence to suspect anyone: {missing}"))?;
    }
    if !ranking.suspects.is_empty() {
        let rows = ranking.suspects.iter().map(|suspect| {
            vec![
                plain(suspect.rank.to_string()),
                plain(describe(suspect)),
                plain(words::confidence(suspect.confidence)),
                (words::of(&suspect.failed), Tone::Bad),
                plain(words::of(&suspect.ok)),
                plain(suspect.unit.as_deref().unwrap_or("–")),
            ]
        });
        terminal.table(
            &["#", "Suspect", "Confidence", "Of failed", "Of ok", "Unit"],
            rows.collect(),
        )?;
        for suspect in &ranking.suspects {
            terminal.line(format!("{}. {}", suspect.rank, suspect.sentence))?;
        }
    }
    for (reason, number) in &ranking.left_out {
        terminal.line(format!(
            "left out: {} requests, {reason}",
            words::count(*number)
        ))?;
    }
    Ok(())
}

fn describe(suspect: &SuspectView) -> String {
    let components = suspect.components.iter();
    let names: Vec<String> = components
        .map(|component| format!("{} ({})", component.name, component.level))
        .collect();
    names.join(" or ")
}

pub(super) fn incidents(terminal: &mut Terminal, client: &Client) -> Result<Exit, Failure> {
    let incidents: Vec<IncidentView> = client.get("/incidents")?;
    terminal.answer(&incidents, |terminal, incidents| {
        if incidents.is_empty() {
            return terminal.line("There has been no incident.");
        }
        let rows = incidents.iter().map(|incident| {
            let tone = match incident.state {
                IncidentState::Open => Tone::Bad,
                IncidentState::Closed => Tone::Plain,
            };
            let closed = match incident.closed {
                Some(closed) => words::when(closed),
                None => "–".to_owned(),
            };
            let first = incident.ranking.as_ref().and_then(|r| r.suspects.first());
            vec![
                plain(incident.id.to_string()),
                match incident.masked {
                    true => (format!("{}, masked", incident.state), Tone::Plain),
                    false => (incident.state.to_string(), tone),
                },
                plain(words::when(incident.since)),
                plain(closed),
                plain(match incident.missing {
                    0 => words::count(incident.failed),
                    missing => format!(
                        "{}, {} missing",
                        words::count(incident.failed),
                        words::count(missing)
                    ),
                }),
                plain(match incident.request_types.as_slice() {
                    [] => words::matter(incident),
                    types => types.join("\n"),
                }),
                plain(first.map_or_else(|| "–".to_owned(), SuspectView::name)),
            ]
        });
        let header = [
            "#",
            "State",
            "Since (UTC)",
            "Over at",
            "Failed",
            "What",
            "First suspect",
        ];
        terminal.table(&header, rows.collect())
    })?;
    Ok(Exit::Ok)
}

pub(super) fn tree(terminal: &mut Terminal, client: &Client) -> Result<Exit, Failure> {
    let view: View = client.get("/view")?;
    terminal.answer(&view.tree, |terminal, tree| {
        if tree.is_empty() {
            return terminal.line("No restart units are configured, so nothing can be restarted.");
        }
        let rows = tree.iter().map(|unit| unit_row(&view, unit));
        let header = ["Unit", "State", "Generation", "Mode", "How", "Last restart"];
        terminal.table(&header, rows.collect())
    })?;
    Ok(Exit::Ok)
}

fn unit_row(view: &View, unit: &UnitView) -> Vec<Words> {
    let tone = match unit.state {
        UnitState::Up => Tone::Good,
        UnitState::Down | UnitState::GivenUp => Tone::Bad,
        UnitState::Starting | UnitState::Restarting | UnitState::Judging | UnitState::HeldOff => {
            Tone::Attention
        }
        UnitState::Unknown => Tone::Plain,
    };
    let mut name = format!("{}{}", "  ".repeat(unit.depth), unit.name);
    if let Some(suspicion) = unit.suspicions.first() {
        name.push_str(&format!(" ← suspect {}", suspicion.rank));
    }
    if unit.inferred.is_some() {
        name.push_str(" (inferred)");
    }
    let last = match unit.last_action.and_then(|id| view.action(id)) {
        Some(action) => {
            let (verdict, tone) = verdict(action);
            (
                format!("{verdict}, {}", words::ago(action.intent_at, view.now)),
                tone,
            )
        }
        None => plain("–"),
    };
    vec![
        plain(name),
        (unit.state.to_string(), tone),
        plain(if unit.generation > 0 {
            unit.generation.to_string()
        } else {
            "–".to_owned()
        }),
        plain(words::mode_name(unit.mode)),
        plain(unit.executor.map_or("–", |kind| kind.as_str())),
        last,
    ]
}

/// A restart's verdict, and of which restart it is where the unit was only restarted along with others.
fn with_whom(action: &ActionView) -> Words {
    let (word, tone) = verdict(action);
    match action.along_with() {
        Some(target) => (format!("{word}, with {target}"), tone),
        None => (word, tone),
    }
}

fn verdict(action: &ActionView) -> Words {
    if action.is_refused() {
        return ("refused".to_owned(), Tone::Attention);
    }
    match (action.verdict, action.result) {
        (Some(verdict), _) => {
            let tone = match verdict {
                VerdictView::Cured => Tone::Good,
                VerdictView::Helped | VerdictView::Unknown => Tone::Attention,
                VerdictView::NotCured => Tone::Bad,
            };
            (verdict.to_string(), tone)
        }
        (None, Some(result)) => (format!("{result}, not judged"), Tone::Attention),
        (None, None) => ("under way".to_owned(), Tone::Attention),
    }
}

pub(super) fn plan(
    terminal: &mut Terminal,
    client: &Client,
    plan: Option<u64>,
) -> Result<Exit, Failure> {
    let plans: Vec<PlanView> = match plan {
        Some(id) => vec![client.get(&format!("/plans/{id}"))?],
        None => {
            let view: View = client.get("/view")?;
            if let (Some((heading, lines)), false) =
                (words::person_needed(&view), terminal.is_json())
            {
                terminal.heading(&heading, Tone::Bad)?;
                for line in lines {
                    terminal.line(format!("  {line}"))?;
                }
            }
            let mut plans = view.recovery.plans;
            plans.retain(|plan| plan.state.is_live());
            plans
        }
    };
    terminal.answer(&plans, |terminal, plans| {
        if plans.is_empty() {
            return terminal.line("Nothing is planned.");
        }
        for plan in plans {
            show_plan(terminal, plan)?;
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}

fn show_plan(terminal: &mut Terminal, plan: &PlanView) -> io::Result<()> {
    let tone = match plan.state {
        PlanState::Cured => Tone::Good,
        PlanState::NotCured | PlanState::GivenUp => Tone::Bad,
        state if state.is_live() => Tone::Attention,
        _ => Tone::Plain,
    };
    terminal.heading(
        &match plan.incident {
            0 => format!("{}: {}", plan.title(), plan.state),
            incident => format!("{} for incident {incident}: {}", plan.title(), plan.state),
        },
        tone,
    )?;
    if !plan.reason.is_empty() {
        terminal.line(&plan.reason)?;
    }
    let steps = plan.steps.iter().enumerate().map(|(index, step)| {
        let current = if plan.at_step == Some(index) {
            "→ "
        } else {
            ""
        };
        vec![
            plain(format!("{current}{}", index + 1)),
            plain(&step.unit),
            plain(words::percent(step.probability)),
            plain(words::about_usually(step.expected_cost, step.usual_cost)),
        ]
    });
    if !plan.steps.is_empty() {
        terminal.table(
            &["Step", "Restart", "Cures with", "Failed requests"],
            steps.collect(),
        )?;
    }
    if !plan.alternatives.is_empty() {
        let rows = plan.alternatives.iter().map(|alternative| {
            vec![
                plain(&alternative.what),
                plain(words::about(alternative.expected_cost)),
                plain(&alternative.why_not),
            ]
        });
        terminal.table(&["Instead", "Failed requests", "Why not"], rows.collect())?;
    }
    for guard in &plan.guards {
        terminal.line(format!("guard: {guard}"))?;
    }
    if let Some(why) = &plan.given_up {
        terminal.line(format!("given up to a person: {why}"))?;
    }
    if let Some(decided) = &plan.decided {
        terminal.line(decided)?;
    }
    if plan.state == PlanState::HeldOff {
        let leave = match plan.id {
            0 => String::new(),
            id => format!(", unless you say rekindle reject {id} --reason …"),
        };
        terminal.line(format!("It goes on once that has passed{leave}"))?;
    }
    if plan.state == PlanState::Proposed {
        let id = plan.id;
        terminal.line(format!(
            "rekindle approve {id}, or rekindle reject {id} --reason …"
        ))?;
        if let Some(expires) = plan.expires {
            terminal.line(format!("It lapses at {expires}."))?;
        }
    }
    Ok(())
}

pub(super) fn history(
    terminal: &mut Terminal,
    client: &Client,
    limit: u16,
    long: bool,
) -> Result<Exit, Failure> {
    let reply: Reply = client.get(&format!("/history?limit={limit}"))?;
    let actions = match reply {
        Reply::History { actions } => actions,
        _ => Vec::new(),
    };
    terminal.answer(&actions, |terminal, actions| {
        if actions.is_empty() {
            return terminal.line("Nothing was ever restarted.");
        }
        show_actions(terminal, actions, long)
    })?;
    Ok(Exit::Ok)
}

/// The actions as a table that fits a terminal, and below it why each was done and what came of it: a
/// line each, or all of it.
fn show_actions(terminal: &mut Terminal, actions: &[ActionView], long: bool) -> io::Result<()> {
    let known = |value: Option<String>| plain(value.unwrap_or_else(|| "–".to_owned()));
    let rows = actions.iter().map(|action| {
        vec![
            plain(action.id.to_string()),
            plain(words::when(action.intent_at)),
            plain(match action.generation {
                0 => action.unit.clone(),
                generation => format!("{} → {generation}", action.unit),
            }),
            with_whom(action),
            known(action.relief.as_ref().map(|relief| match long {
                true => words::relief(relief),
                false => words::relief_alone(relief),
            })),
            known(action.downtime_ms.map(words::millis)),
            known(action.failed_meanwhile.map(words::count)),
        ]
    });
    let header = [
        "#",
        "When (UTC)",
        "Unit",
        "Verdict",
        "Failure share",
        "Took",
        "Failed meanwhile",
    ];
    terminal.table(&header, rows.collect())?;
    for action in actions {
        let incident = action
            .incident
            .map_or_else(String::new, |id| format!(", incident {id}"));
        let mut words = format!("#{} {} ({}{incident})", action.id, action.why, action.who);
        if !action.note.is_empty() {
            words.push_str(&format!("; {}", action.note));
        }
        let room = if long { usize::MAX } else { LINE };
        terminal.line(words::cut(&words, room))?;
    }
    if !long && !actions.is_empty() {
        terminal.line("(all that was said of each: --long)")?;
    }
    Ok(())
}

pub(super) fn explain(
    terminal: &mut Terminal,
    client: &Client,
    what: &str,
) -> Result<Exit, Failure> {
    let explanation: Explanation =
        client.get(&format!("/explain/{}", words::path_segment(what)))?;
    terminal.answer(&explanation, show_explanation)?;
    Ok(Exit::Ok)
}

fn show_explanation(terminal: &mut Terminal, explanation: &Explanation) -> io::Result<()> {
    terminal.heading(&explanation.what, Tone::Plain)?;
    for sentence in &explanation.sentences {
        terminal.line(sentence)?;
    }
    if let Some(suspect) = &explanation.suspect {
        let incident = explanation.incident.as_ref();
        let mut rows = vec![
            vec![plain("suspect"), plain(describe(suspect))],
            vec![
                plain("rank"),
                plain(format!(
                    "{}{}",
                    suspect.rank,
                    incident.map_or_else(String::new, |i| format!(" in incident {}", i.id))
                )),
            ],
            vec![
                plain("confidence"),
                plain(words::confidence(suspect.confidence)),
            ],
            vec![plain("shape"), plain(suspect.shape.to_string())],
        ];
        for fact in &suspect.facts {
            let tone = if fact.what == "against it" {
                Tone::Attention
            } else {
                Tone::Plain
            };
            rows.push(vec![plain(&fact.what), (fact.found.clone(), tone)]);
        }
        // Of what was seen in a unit itself there are no requests to count or to show.
        if incident.is_none_or(IncidentView::concerns_requests) {
            if suspect.facts.is_empty() {
                rows.extend(counts(suspect));
            }
            for (what, examples) in [
                ("failed examples", &suspect.examples_failed),
                ("successful examples", &suspect.examples_ok),
            ] {
                rows.push(vec![plain(what), plain(examples.join("\n"))]);
            }
        }
        if let Some(error) = &suspect.error_type {
            rows.push(vec![plain("error"), plain(error)]);
        }
        for (key, value) in &suspect.attributes {
            rows.push(vec![plain(key), plain(value)]);
        }
        terminal.table(&["Evidence", ""], rows)?;
    }
    if let Some(unit) = &explanation.unit {
        let mut rows = vec![
            vec![plain("unit"), plain(&unit.name)],
            vec![plain("state"), plain(unit.state.to_string())],
            vec![plain("mode"), plain(words::mode_name(unit.mode))],
            vec![plain("generation"), plain(unit.generation.to_string())],
        ];
        if let Some(kind) = unit.executor {
            rows.push(vec![plain("restarted by"), plain(kind.as_str())]);
        }
        if let Some(ms) = unit.downtime_ms {
            let mostly = unit.downtime_mostly_ms.map_or_else(String::new, |mostly| {
                format!(", nine times of ten at most {}", words::millis(mostly))
            });
            let takes = format!("{}{mostly}", words::millis(ms));
            rows.push(vec![plain("takes about"), plain(takes)]);
        }
        for (key, value) in &unit.selector {
            rows.push(vec![plain(format!("matches {key}")), plain(value)]);
        }
        for watch in &unit.watches {
            let tone = match watch.standing {
                WatchStanding::Within => Tone::Good,
                WatchStanding::Beyond => Tone::Bad,
                WatchStanding::Unknown | WatchStanding::Leaning => Tone::Attention,
            };
            let shown = words::watch(watch, explanation.at);
            rows.push(vec![plain(&watch.what), (shown, tone)]);
        }
        terminal.table(&["Restart unit", ""], rows)?;
    }
    // Newest first: what was planned before is of incidents that are over, but for what is still under way.
    for (place, plan) in explanation.plans.iter().enumerate() {
        if place == 0 || plan.state.is_live() {
            show_plan(terminal, plan)?;
        }
    }
    let before = explanation.plans.iter().skip(1);
    match before.filter(|plan| !plan.state.is_live()).count() {
        0 => {}
        more => terminal.line(format!(
            "{} before; `-o json` shows all that are remembered.",
            words::number_of(more, "plan")
        ))?,
    }
    if !explanation.actions.is_empty() {
        show_actions(terminal, &explanation.actions, true)?;
    }
    Ok(())
}

/// What is counted where nothing more is known: of an incident that an older engine kept.
fn counts(suspect: &SuspectView) -> Vec<Vec<Words>> {
    let callers = match suspect.callers.as_slice() {
        [] => "nobody but itself".to_owned(),
        callers => callers.join(", "),
    };
    vec![
        vec![
            plain("touched by failed requests"),
            (with_interval(&suspect.failed), Tone::Bad),
        ],
        vec![
            plain("touched by successful ones"),
            plain(with_interval(&suspect.ok)),
        ],
        vec![
            plain("failures that began in it"),
            plain(words::count(suspect.originated)),
        ],
        vec![plain("who complains"), plain(callers)],
    ]
}

fn with_interval(share: &crate::view::ShareView) -> String {
    if share.total == 0 {
        return words::of(share);
    }
    let (low, high) = (words::percent(share.low), words::percent(share.high));
    format!("{}, between {low} and {high}", words::of(share))
}
