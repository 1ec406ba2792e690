//! What a user does next: a Markov chain over the site's operations.
//!
//! The shares follow the paper's mix roughly: half of the requests only read the catalog, a tenth
//! change something. Every row adds up to 1.

use serde::{Deserialize, Serialize};

/// A request that users make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The first page.
    Home,
    /// The items of a category.
    Category,
    /// Looks for items.
    Search,
    /// An item's page.
    Item,
    /// Bids on an item.
    History,
    /// What to bid at least.
    Quote,
    /// Places a bid.
    Bid,
    /// Makes an account.
    Register,
    /// Logs in.
    Login,
    /// The own account.
    Account,
    /// Logs out.
    Logout,
}

use Operation::{
    Account, Bid, Category, History, Home, Item, Login, Logout, Quote, Register, Search,
};

/// What comes after an operation: another one, or (`None`) the user goes away.
type Next = &'static [(Option<Operation>, f64)];

impl Operation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Home, Category, Search, Item, History, Quote, Bid, Register, Login, Account, Logout,
    ];

    /// Whether the user has got what they came for: an action ends here.
    pub const fn commits(self) -> bool {
        match self {
            Home | Category | Search | Quote => false,
            Item | History | Bid | Register | Login | Account | Logout => true,
        }
    }

    const fn transitions(self) -> Next {
        match self {
            Home => &[
                (Some(Category), 0.40),
                (Some(Search), 0.35),
                (Some(Login), 0.12),
                (Some(Register), 0.05),
                (Some(Account), 0.08),
            ],
            Category => &[
                (Some(Item), 0.80),
                (Some(Category), 0.10),
                (Some(Home), 0.05),
                (None, 0.05),
            ],
            Search => &[(Some(Item), 0.70), (Some(Search), 0.20), (None, 0.10)],
            Item => &[
                (Some(History), 0.30),
                (Some(Quote), 0.30),
                (Some(Search), 0.20),
                (Some(Home), 0.15),
                (None, 0.05),
            ],
            History => &[(Some(Quote), 0.45), (Some(Home), 0.35), (None, 0.20)],
            Quote => &[(Some(Bid), 0.85), (None, 0.15)],
            Bid => &[
                (Some(Home), 0.60),
                (Some(Account), 0.25),
                (Some(Logout), 0.15),
            ],
            Register => &[(Some(Home), 0.5), (Some(Search), 0.5)],
            Login => &[
                // Most who log in had been about to bid on what they saw last.
                (Some(Quote), 0.60),
                (Some(Home), 0.20),
                (Some(Search), 0.20),
            ],
            Account => &[(Some(Home), 0.75), (Some(Logout), 0.25)],
            Logout => &[(None, 1.0)],
        }
    }

    /// What a user does after this, for a draw in `[0, 1)`; `None` is to go away. Who isn't logged
    /// in and wants what needs it logs in first; who is doesn't do it again.
    pub(crate) fn next(self, logged_in: bool, draw: f64) -> Option<Self> {
        let mut sum = 0.0;
        let mut chosen = None;
        for (next, share) in self.transitions() {
            sum += share;
            chosen = *next;
            if draw < sum {
                break;
            }
        }
        match chosen? {
            Quote | Bid | Account | Logout if !logged_in => Some(Login),
            Login | Register if logged_in => Some(Account),
            next => Some(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_adds_up_to_one() {
        for operation in Operation::ALL {
            let sum: f64 = operation.transitions().iter().map(|(_, share)| share).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{operation:?}: {sum}");
        }
    }

    #[test]
    fn nobody_bids_without_a_session_or_logs_in_twice() {
        for operation in Operation::ALL {
            for step in 0..100 {
                let draw = f64::from(step) / 100.0;
                let out = operation.next(false, draw);
                assert!(
                    !matches!(out, Some(Quote | Bid | Account | Logout)),
                    "{operation:?}"
                );
                let within = operation.next(true, draw);
                assert!(!matches!(within, Some(Login | Register)), "{operation:?}");
            }
        }
    }

    #[test]
    fn draws_choose_by_their_share() {
        assert_eq!(Home.next(false, 0.0), Some(Category));
        assert_eq!(Home.next(false, 0.41), Some(Search));
        assert_eq!(Quote.next(true, 0.84), Some(Bid));
        assert_eq!(Quote.next(true, 0.99), None);
        assert_eq!(Logout.next(true, 0.5), None);
    }
}
