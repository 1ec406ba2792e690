//! `rekindle rejuvenation`: what is restarted before it fails, and what that gave back.

use std::io;

use super::Failure;
use super::terminal::{Terminal, Tone, Words, plain};
use crate::client::Client;
use crate::exit::Exit;
use crate::view::RejuvenationView;
use crate::words;

pub(super) fn rejuvenation(terminal: &mut Terminal, client: &Client) -> Result<Exit, Failure> {
    let rules: Vec<RejuvenationView> = client.get("/rejuvenation")?;
    terminal.answer(&rules, |terminal, rules| show(terminal, rules))?;
    Ok(Exit::Ok)
}

fn show(terminal: &mut Terminal, rules: &[RejuvenationView]) -> io::Result<()> {
    if rules.is_empty() {
        return terminal.line(
            "Nothing is restarted before it fails: the configuration has no `restart.rejuvenate`",
        );
    }
    let rows = rules.iter().map(row).collect();
    terminal.table(&["Rule", "State", "Reading", "Alarm", "Enough"], rows)?;
    for rule in rules {
        terminal.line("")?;
        terminal.heading(&format!("{}: {}", rule.name, rule.words), Tone::Plain)?;
        let turns = rule.order.iter().enumerate();
        let turns = turns.map(|(place, turn)| {
            vec![
                plain((place + 1).to_string()),
                plain(&turn.unit),
                plain(words::gave_back(&turn.gave)),
            ]
        });
        terminal.table(&["", "Restarted", "Gave back"], turns.collect())?;
    }
    Ok(())
}

fn row(rule: &RejuvenationView) -> Vec<Words> {
    use rekindle_recovery::rejuvenate::RuleState;
    let tone = match rule.state {
        RuleState::Halted => Tone::Bad,
        RuleState::Rolling | RuleState::Restarting | RuleState::Settling => Tone::Attention,
        RuleState::Resting => Tone::Plain,
    };
    vec![
        plain(&rule.name),
        (words::rule_state(rule.state).to_owned(), tone),
        plain(&rule.reading),
        plain(&rule.alarm),
        plain(&rule.sufficient),
    ]
}
