//! Which requests tell most about a unit, for whoever looks into its restart afterwards?
//!
//! Those that the incident's ranking shows as examples: failed requests that touched the suspect, and
//! successful ones of the same types to compare them with. They are in memory, and asking is a lookup.

use std::sync::Arc;

use rekindle_model::TraceId;
use rekindle_recovery::UnitName;
use rekindle_recovery::around::Witness;
use tokio::sync::watch;

use super::backend;
use super::shared::Shared;
use crate::view::{IncidentView, SuspectView, View};

/// The analysis as a witness.
pub(crate) struct Remembers {
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) shared: Arc<Shared>,
}

impl Witness for Remembers {
    fn traces(
        &self,
        unit: &UnitName,
        incident: Option<u64>,
        at_most: usize,
    ) -> Vec<serde_json::Value> {
        let view = Arc::clone(&self.view.borrow());
        let incident = match incident {
            Some(id) => view.incident(id),
            // A person or a rule has ordered it: what fails now may have been why.
            None => view.open_incidents().next(),
        };
        let Some(incident) = incident else {
            return Vec::new();
        };
        examples(incident, unit.as_str(), at_most)
            .into_iter()
            .filter_map(|id| {
                let trace = backend::example(&self.shared.analyzer(), id)?;
                serde_json::to_value(trace).ok()
            })
            .collect()
    }
}

/// Failed examples first, then successful ones, about half of each; of the suspect that the unit is
/// restarted for, or of the first one.
fn examples(incident: &IncidentView, unit: &str, at_most: usize) -> Vec<TraceId> {
    let suspects = incident.ranking.as_ref().map(|ranking| &ranking.suspects);
    let suspects = suspects.map(Vec::as_slice).unwrap_or_default();
    let of_unit = |suspect: &&SuspectView| suspect.unit.as_deref() == Some(unit);
    let Some(suspect) = suspects.iter().find(of_unit).or(suspects.first()) else {
        return Vec::new();
    };
    let failed = suspect.examples_failed.iter().take(at_most.div_ceil(2));
    let ok = suspect.examples_ok.iter();
    failed
        .chain(ok)
        .filter_map(|id| id.parse().ok())
        .take(at_most)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::RankingView;

    fn suspect(unit: &str, failed: &[u8], ok: &[u8]) -> SuspectView {
        let ids = |numbers: &[u8]| {
            let ids = numbers.iter().map(|number| format!("{number:032x}"));
            ids.collect()
        };
        SuspectView {
            unit: Some(unit.to_owned()),
            examples_failed: ids(failed),
            examples_ok: ids(ok),
            ..SuspectView::default()
        }
    }

    #[test]
    fn failed_requests_of_the_unit_come_first_and_some_that_went_well_with_them() {
        let incident = IncidentView {
            ranking: Some(RankingView {
                suspects: vec![
                    suspect("cart", &[1, 2], &[3]),
                    suspect("bank", &[4, 5, 6, 7], &[8, 9, 10]),
                ],
                ..RankingView::default()
            }),
            ..IncidentView::default()
        };
        for (unit, at_most, expected) in [
            ("cart", 6, &[1, 2, 3][..]),
            ("bank", 4, &[4, 5, 8, 9]),
            ("bank", 1, &[4]),
            ("a unit above them", 6, &[1, 2, 3]),
            ("cart", 0, &[]),
        ] {
            let found: Vec<String> = examples(&incident, unit, at_most)
                .into_iter()
                .map(|id| id.to_string())
                .collect();
            let expected: Vec<String> = expected.iter().map(|id| format!("{id:032x}")).collect();
            assert_eq!(found, expected, "{unit} {at_most}");
        }
        assert!(examples(&IncidentView::default(), "cart", 6).is_empty());
    }
}
