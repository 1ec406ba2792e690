//! What is kept for the next ranking of an open incident: is it what it would be from scratch?

use proptest::prelude::*;

use super::*;
use crate::rank::Input;

/// So many seconds of one fault: some of them bring components, rows and callee sets that were never there, or take
/// them away.
const KINDS: [Fault; 6] = [
    Fault::None,
    Fault::SearchRaises,
    Fault::CatalogTwoKilled,
    Fault::ItemSlow,
    Fault::SearchRetriedAccountsRaise,
    Fault::BiddingKilled,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// However long which fault lasts, whatever falls out of the window and whatever is forgotten: the same bytes.
    #[test]
    fn what_is_kept_is_what_it_would_be_anew(
        faults in prop::collection::vec((1u64..25, 0usize..6), 3..7),
        max_rows in prop::sample::select(vec![40usize, 20_000]),
    ) {
        let mut site = Site::with(AnalysisConfig {
            window: Duration::from_secs(60),
            max_rows,
            ..AnalysisConfig::default()
        });
        site.run(60, Fault::None).run(5, Fault::SearchRaises);
        prop_assert!(!site.analyzer.incidents().is_empty());
        for (at, (seconds, fault)) in faults.into_iter().enumerate() {
            if at == 2 {
                let until = site.now.plus(Duration::from_millis(1_500));
                site.analyzer.intervene(restart_of_bidding(site.now, Some(until)));
            }
            // Right after the counts were brought up to a second, and in between.
            for step in 0..seconds * 2 {
                for _ in 0..if step % 2 == 0 { 3 } else { 7 } {
                    let trace = site.make(KINDS[fault]);
                    site.take(&trace);
                }
                for incident in site.analyzer.incidents() {
                    let told = |input: Option<Input>| format!("{:?}", input.expect("an incident"));
                    prop_assert_eq!(
                        told(site.analyzer.input(incident.id)),
                        told(site.analyzer.input_anew(incident.id))
                    );
                }
            }
        }
    }
}
