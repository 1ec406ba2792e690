//! Commands that make the daemon do something.

use std::time::Duration;

use super::args::{By, InterventionArgs};
use super::terminal::{Tone, plain};
use super::{Failure, Terminal};
use crate::api::{
    ApproveBody, DryRun, ForgetBody, InterventionBody, PauseBody, RejectBody, Reply, RestartBody,
    ResumeBody,
};
use crate::client::Client;
use crate::exit::Exit;
use crate::view::{ActionResult, ActionView, VerdictView, View};
use crate::words;

/// How often it is looked whether there is a verdict: a person doesn't notice, a daemon neither.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) fn approve(
    terminal: &mut Terminal,
    client: &Client,
    plan: u64,
    wait: bool,
    by: By,
) -> Result<Exit, Failure> {
    let after = last_action(client, wait)?;
    let body = ApproveBody { by: by.name() };
    let reply = client.post(&format!("/plans/{plan}/approve"), &body)?;
    show(terminal, client, &reply, after)
}

/// The last action before an order whose verdict is waited for: what the same recovery did before came to something else.
/// Nothing where nobody waits.
pub(super) fn last_action(client: &Client, wait: bool) -> Result<Option<u64>, Failure> {
    if !wait {
        return Ok(None);
    }
    let view: View = client.get("/view")?;
    let actions = view.recovery.actions.iter().map(|action| action.id);
    Ok(Some(actions.max().unwrap_or(0)))
}

pub(super) fn reject(
    terminal: &mut Terminal,
    client: &Client,
    plan: u64,
    reason: String,
    by: By,
) -> Result<Exit, Failure> {
    let body = RejectBody {
        reason,
        by: by.name(),
    };
    let reply = client.post(&format!("/plans/{plan}/reject"), &body)?;
    show(terminal, client, &reply, None)
}

pub(super) fn restart(
    client: &Client,
    unit: &str,
    dry_run: bool,
    reason: Option<String>,
    by: By,
) -> Result<Reply, Failure> {
    let body = RestartBody {
        dry_run,
        reason,
        by: by.name(),
    };
    let path = format!("/units/{}/restart", words::path_segment(unit));
    Ok(client.post(&path, &body)?)
}

pub(super) fn forget(
    terminal: &mut Terminal,
    client: &Client,
    unit: &str,
    by: By,
) -> Result<Exit, Failure> {
    let path = format!("/units/{}/forget", words::path_segment(unit));
    let reply = client.post(&path, &ForgetBody { by: by.name() })?;
    show(terminal, client, &reply, None)
}

pub(super) fn intervention(
    terminal: &mut Terminal,
    client: &Client,
    args: InterventionArgs,
) -> Result<Exit, Failure> {
    let body = InterventionBody {
        id: args.id,
        kind: args.kind,
        unit: args.unit,
        target: args.target.into_iter().collect(),
        from: args.since.map(Into::into),
        until: None,
        over: args.over,
        // A token has a name of its own.
        reporter: match args.token {
            Some(_) => String::new(),
            None => args.by.name().unwrap_or_default(),
        },
    };
    let reply = client.post_as(args.token.as_deref(), "/interventions", &body)?;
    show(terminal, client, &reply, None)
}

pub(super) fn pause(
    terminal: &mut Terminal,
    client: &Client,
    reason: String,
    duration: Option<Duration>,
    by: By,
) -> Result<Exit, Failure> {
    let body = PauseBody {
        reason,
        for_seconds: duration.map(|duration| duration.as_secs_f64()),
        lasts: None,
        by: by.name(),
    };
    let reply = client.post("/pause", &body)?;
    show(terminal, client, &reply, None)
}

pub(super) fn resume(terminal: &mut Terminal, client: &Client, by: By) -> Result<Exit, Failure> {
    let reply = client.post("/resume", &ResumeBody { by: by.name() })?;
    show(terminal, client, &reply, None)
}

/// Shows what an order came to, with the verdicts of what is done after this action where they are waited for.
pub(super) fn show(
    terminal: &mut Terminal,
    client: &Client,
    reply: &Reply,
    wait_after: Option<u64>,
) -> Result<Exit, Failure> {
    let begun = match reply {
        Reply::Done { recovery, .. } => recovery.zip(wait_after),
        _ => None,
    };
    // Programs get one answer, so theirs is the end.
    if begun.is_none() || !terminal.is_json() {
        terminal.answer(reply, |terminal, reply| match reply {
            Reply::Done { message, .. } => terminal.line(message),
            Reply::DryRun(dry_run) => show_dry_run(terminal, dry_run),
            Reply::History { .. } | Reply::Learned(_) | Reply::Explanation(_) => {
                terminal.line("done")
            }
        })?;
    }
    if let Some((recovery, after)) = begun {
        return wait_for(terminal, client, recovery, after);
    }
    // A dry run that would be refused is an answer, but scripts want to branch on it.
    match reply {
        Reply::DryRun(dry_run) if !dry_run.refusals.is_empty() => Ok(Exit::Refused),
        _ => Ok(Exit::Ok),
    }
}

/// Waits until every action of the recovery after that one has its verdict, and tells them; programs get the last one's.
fn wait_for(
    terminal: &mut Terminal,
    client: &Client,
    recovery: u64,
    after: u64,
) -> Result<Exit, Failure> {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let view: View = client.get("/view")?;
        let actions = view.recovery.actions.iter();
        let is_own = |one: &&ActionView| one.recovery == recovery && one.id > after;
        let own: Vec<&ActionView> = actions.filter(is_own).collect();
        // Newest first: what comes last is what it came to.
        let Some(last) = own.first() else {
            continue;
        };
        let is_over = |action: &&ActionView| {
            action.verdict.is_some() || action.result == Some(ActionResult::Refused)
        };
        if !own.iter().all(is_over) {
            continue;
        }
        if terminal.is_json() {
            terminal.answer(*last, |_, _| Ok(()))?;
        } else {
            // In the order in which it was done.
            for action in own.iter().rev() {
                terminal.line(came_to(action))?;
            }
        }
        return Ok(match last.verdict {
            Some(VerdictView::Cured) => Exit::Ok,
            // Nothing was known to be wrong, so it was to be restarted and no more.
            Some(VerdictView::Unknown)
                if last.incident.is_none()
                    && last.began.is_none()
                    && last.result == Some(ActionResult::Done) =>
            {
                Exit::Ok
            }
            _ => Exit::NotCured,
        });
    }
}

/// What a restart came to, in a line.
fn came_to(action: &ActionView) -> String {
    let word = action.verdict.map_or("not done", |it| it.as_str());
    let with = match action.along_with() {
        Some(target) => format!(", with {target}"),
        None => String::new(),
    };
    let note = match action.note.as_str() {
        "" => String::new(),
        note => format!(" ({note})"),
    };
    format!("{}: {word}{with}{note}", action.unit)
}

fn show_dry_run(terminal: &mut Terminal, dry_run: &DryRun) -> std::io::Result<()> {
    terminal.heading(
        &format!("Nothing was done. A restart of {}:", dry_run.unit),
        Tone::Plain,
    )?;
    let rows = vec![
        vec![
            plain("restarts, in this order"),
            plain(dry_run.restarts.join(", ")),
        ],
        vec![plain("takes down"), plain(dry_run.affected.join(", "))],
        vec![
            plain("takes about"),
            plain(words::millis(dry_run.expected_downtime_ms)),
        ],
        vec![
            plain("costs about"),
            plain(format!(
                "{} failed requests",
                words::about_usually(dry_run.expected_cost, dry_run.usual_cost)
            )),
        ],
        vec![plain("would be refused now"), objections(&dry_run.refusals)],
        vec![
            plain("would be refused unattended"),
            objections(&dry_run.unattended_refusals),
        ],
    ];
    terminal.table(&[], rows)
}

fn objections(refusals: &[String]) -> super::terminal::Words {
    if refusals.is_empty() {
        ("no".to_owned(), Tone::Good)
    } else {
        (refusals.join("\n"), Tone::Attention)
    }
}
