//! In which order do a few actions cost the least, if one of several hypotheses is true and each
//! action cures some of them?
//!
//! Exact, by dynamic programming over the set of actions that have failed. With `S(T)` the
//! probability that nothing in `T` cures, `V(T)` the expected cost from there on times `S(T)`:
//!
//! ```text
//! V(T) = min over a of  S(T)·cost(a) + S(T ∪ a)·confirming(a) + V(T ∪ a)
//!        and            S(T)·giving_up
//! ```
//!
//! Restarts are nested, so the theorem that orders independent actions by p/c does not hold, and
//! nothing simpler than this is right for several suspects with shared ancestors. For one child and
//! its parent it comes down to: child first iff p₁ > (c₁+d)/(c₂+d).

/// What can be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Action {
    /// Failed requests that it costs by itself.
    pub(super) cost: f64,
    /// Failed requests until it is known that it didn't cure; only paid if it didn't.
    pub(super) confirming: f64,
}

/// What may be the matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hypothesis {
    /// Its probability; the sum over all needn't be 1.
    pub(super) weight: f64,
    /// A bit for each action that cures it.
    pub(super) cured_by: u32,
}

/// One action, or giving up, with the best that follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Course {
    /// The action; `None` is giving up.
    pub(super) action: Option<usize>,
    /// The chance that it cures.
    pub(super) probability: f64,
    /// Expected cost in all.
    pub(super) total: f64,
    /// What is done as long as nothing cures, the action first.
    pub(super) ladder: Vec<Option<usize>>,
}

/// At most so many actions can be told apart by the bits; time and memory double with each. 8192
/// sets of 13 take well under a millisecond.
pub(super) const MAX_ACTIONS: usize = 13;

/// All sets of failed actions, by their bits.
struct Table<'a> {
    actions: &'a [Action],
    /// The probability that nothing in the set cures.
    surviving: Vec<f64>,
    /// What it comes to from there on, times that probability.
    value: Vec<f64>,
    /// What comes next.
    next: Vec<Option<usize>>,
}

impl<'a> Table<'a> {
    fn fill(actions: &'a [Action], hypotheses: &[Hypothesis], giving_up: f64) -> Self {
        let size = 1usize << actions.len();
        // First the weight of what exactly this set cures, then of what any part of it cures at most
        // (sums over subsets, one bit at a time); what survives a set is cured within the rest.
        let mut within = vec![0.0; size];
        for hypothesis in hypotheses {
            within[hypothesis.cured_by as usize & (size - 1)] += hypothesis.weight;
        }
        for bit in 0..actions.len() {
            for set in 0..size {
                if set & (1 << bit) != 0 {
                    within[set] += within[set ^ (1 << bit)];
                }
            }
        }
        let surviving = (0..size).map(|set| within[(size - 1) ^ set]).collect();
        let mut table = Self {
            actions,
            surviving,
            value: vec![0.0; size],
            next: vec![None; size],
        };
        for failed in (0..size).rev() {
            let mut best = (table.surviving[failed] * giving_up, None);
            for action in 0..actions.len() {
                if let Some(price) = table.price(failed, action)
                    && price < best.0
                {
                    best = (price, Some(action));
                }
            }
            (table.value[failed], table.next[failed]) = best;
        }
        table
    }

    /// What `action` comes to after `failed`, times the probability of getting there; `None` when
    /// it can't cure what is left.
    fn price(&self, failed: usize, action: usize) -> Option<f64> {
        // Relative, because after many failures all that is left may be tiny.
        const NO_GAIN: f64 = 1e-12;
        let with = failed | (1 << action);
        let (before, after) = (self.surviving[failed], self.surviving[with]);
        if with == failed || before - after <= before * NO_GAIN {
            return None;
        }
        let Action { cost, confirming } = self.actions[action];
        Some(before * cost + after * confirming + self.value[with])
    }

    fn ladder(&self, first: usize) -> Vec<Option<usize>> {
        let mut ladder = vec![Some(first)];
        let mut failed = 1usize << first;
        while self.surviving[failed] > 0.0 {
            ladder.push(self.next[failed]);
            match self.next[failed] {
                Some(action) => failed |= 1 << action,
                None => break,
            }
        }
        ladder
    }
}

/// Every action that could come first, and giving up, cheapest first. Of equally cheap ones the
/// earlier in `actions` comes first, and giving up last. Actions past [`MAX_ACTIONS`] are not
/// looked at.
pub(super) fn solve(actions: &[Action], hypotheses: &[Hypothesis], giving_up: f64) -> Vec<Course> {
    let actions = &actions[..actions.len().min(MAX_ACTIONS)];
    let table = Table::fill(actions, hypotheses, giving_up);
    let all = table.surviving[0];
    if all <= 0.0 {
        return vec![Course {
            action: None,
            probability: 0.0,
            total: giving_up,
            ladder: vec![None],
        }];
    }
    let mut options: Vec<Course> = Vec::new();
    for action in 0..actions.len() {
        let Some(price) = table.price(0, action) else {
            continue;
        };
        options.push(Course {
            action: Some(action),
            probability: 1.0 - table.surviving[1 << action] / all,
            total: price / all,
            ladder: table.ladder(action),
        });
    }
    options.push(Course {
        action: None,
        probability: 0.0,
        total: giving_up,
        ladder: vec![None],
    });
    options.sort_by(|a, b| a.total.total_cmp(&b.total));
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A child (action 0) and its parent (action 1), which cures surely.
    fn child_first(p: f64, child: f64, parent: f64, confirming: f64) -> bool {
        let action = |cost| Action { cost, confirming };
        let hypotheses = [
            Hypothesis {
                weight: p,
                cured_by: 0b11,
            },
            Hypothesis {
                weight: 1.0 - p,
                cured_by: 0b10,
            },
        ];
        let options = solve(&[action(child), action(parent)], &hypotheses, 1e12);
        options[0].action == Some(0)
    }

    /// All orders of all subsets, one by one.
    fn by_hand(actions: &[Action], hypotheses: &[Hypothesis], giving_up: f64, failed: u32) -> f64 {
        let surviving = |failed: u32| -> f64 {
            let left = hypotheses.iter().filter(|h| h.cured_by & failed == 0);
            left.map(|h| h.weight).sum()
        };
        let mut best = surviving(failed) * giving_up;
        for (index, action) in actions.iter().enumerate() {
            let with = failed | (1 << index);
            if with != failed {
                let price = surviving(failed) * action.cost
                    + surviving(with) * action.confirming
                    + by_hand(actions, hypotheses, giving_up, with);
                best = best.min(price);
            }
        }
        best
    }

    proptest! {
        #[test]
        fn child_first_iff_its_chance_is_worth_it(
            p in 0.0f64..1.0, child in 0.0f64..100.0, more in 0.1f64..1000.0, d in 0.0f64..100.0,
        ) {
            let parent = child + more;
            let limit = (child + d) / (parent + d);
            prop_assume!((p - limit).abs() > 1e-9);
            prop_assert_eq!(child_first(p, child, parent, d), p > limit);
        }

        #[test]
        fn no_order_is_cheaper(
            costs in proptest::collection::vec((0.0f64..50.0, 0.0f64..20.0), 1..5),
            weights in proptest::collection::vec((0.01f64..1.0, 0u32..32), 1..6),
            giving_up in 1.0f64..500.0,
        ) {
            let actions: Vec<Action> = costs
                .iter()
                .map(|(cost, confirming)| Action { cost: *cost, confirming: *confirming })
                .collect();
            let hypotheses: Vec<Hypothesis> = weights
                .iter()
                .map(|(weight, cured_by)| Hypothesis { weight: *weight, cured_by: *cured_by })
                .collect();
            let all: f64 = weights.iter().map(|weight| weight.0).sum();
            let expected = by_hand(&actions, &hypotheses, giving_up, 0) / all;
            let found = solve(&actions, &hypotheses, giving_up)[0].total;
            prop_assert!((found - expected).abs() < 1e-6 * expected.max(1.0), "{} {}", found, expected);
        }
    }

    #[test]
    fn known_points_of_the_literature() {
        // A microreboot of 78 failed requests against a restart of 3917 pays at 2 %; in Mercury,
        // 5.76 s against 24.75 s pay at 23 %.
        assert!(child_first(0.021, 78.0, 3917.0, 0.0) && !child_first(0.019, 78.0, 3917.0, 0.0));
        assert!(child_first(0.24, 5.76, 24.75, 0.0) && !child_first(0.22, 5.76, 24.75, 0.0));
    }

    #[test]
    fn what_cannot_cure_is_not_tried() {
        let action = Action {
            cost: 0.0,
            confirming: 0.0,
        };
        let hypothesis = Hypothesis {
            weight: 1.0,
            cured_by: 0,
        };
        let options = solve(&[action], &[hypothesis], 10.0);
        assert_eq!(options.len(), 1);
        assert_eq!(options[0].action, None);
    }
}
