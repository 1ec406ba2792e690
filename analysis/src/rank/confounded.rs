//! What else may be to blame, because no request tells it from the suspect?
//!
//! A version that runs on one host only fails when the host does, and an instance that alone is asked for one operation
//! when that does. Where two are touched by exactly the same requests of the window, evidence for one is evidence for the
//! other, whatever their levels are. That is worth a word only where the other level has another value that requests
//! touched: the only host of all may be anything's.

use super::evidence::Tally;
use super::input::{Input, InputRow};
use crate::{Component, Level};

/// The components of other levels that no request tells from these, which stand for one suspect; sorted.
pub(super) fn confounded(input: &Input, tally: &Tally, subjects: &[usize]) -> Vec<Component> {
    let lead = subjects[0];
    let own = &input.subjects[lead].component;
    if matches!(own.level, Level::Service | Level::Dependency) {
        return Vec::new();
    }
    let mut rows: Vec<usize> = input.window.iter().map(|case| case.row).collect();
    rows.dedup();
    let (touching, others): (Vec<&InputRow>, Vec<&InputRow>) = rows
        .iter()
        .map(|row| &input.rows[*row])
        .partition(|row| row.state_of(lead).is_some());
    let Some(first) = touching.first() else {
        return Vec::new();
    };
    let mut same: Vec<usize> = first.touches.iter().map(|touch| touch.subject).collect();
    same.retain(|subject| {
        let component = &input.subjects[*subject].component;
        let is_near = component.service == own.service
            || own.level == Level::Host
            || component.level == Level::Host;
        let other_level = component.level != own.level
            && !matches!(component.level, Level::Service | Level::Dependency);
        is_near
            && other_level
            && touching.iter().all(|row| row.state_of(*subject).is_some())
            && others.iter().all(|row| row.state_of(*subject).is_none())
            && has_others(input, tally, *subject)
    });
    let names = same
        .iter()
        .map(|subject| &input.subjects[*subject].component);
    names.cloned().collect()
}

/// Whether requests touched another one of its level and service.
fn has_others(input: &Input, tally: &Tally, subject: usize) -> bool {
    let own = &input.subjects[subject].component;
    input.subjects.iter().enumerate().any(|(index, other)| {
        let other = &other.component;
        index != subject
            && other.level == own.level
            && other.service == own.service
            && tally.window[index].0 > 0
    })
}
