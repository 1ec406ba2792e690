//! `rekindle learned export`: what was learned, in the form that another daemon takes.

use super::Failure;
use super::terminal::Terminal;
use crate::client::Client;
use crate::exit::Exit;
use crate::view::LearnedView;

/// Prints all of it.
pub(super) fn export(terminal: &mut Terminal, client: &Client) -> Result<Exit, Failure> {
    let learned: LearnedView = client.get("/learned")?;
    let yaml = serde_saphyr::to_string(&learned)
        .map_err(|error| anyhow::anyhow!("failed writing it as YAML: {error}"))?;
    terminal.answer(&learned, |terminal, learned| {
        terminal.line(format!(
            "# {} kinds of faults and the costs of {} kinds of restarts, for `restart.learned` of another configuration.",
            learned.beliefs.len(),
            learned.costs.len()
        ))?;
        yaml.lines().try_for_each(|line| terminal.line(line))
    })?;
    Ok(Exit::Ok)
}
