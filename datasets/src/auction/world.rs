//! What is for sale, and who bids: pure functions of the seed.
//!
//! Every process makes its own database from the same seed, and whoever asks a question with a
//! known answer computes the answer from it too: nobody needs to read another one's store. The
//! generator is a hash of (seed, purpose, index), not a stream, so a new kind of data never shifts
//! the old ones.

use serde::{Deserialize, Serialize};

/// How much data there is. Every count is at least 1; items at least [`RESERVED_ITEMS`] + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Items for sale.
    pub items: u32,
    /// Bids already placed.
    pub bids: u32,
    /// Registered users.
    pub users: u32,
}

impl Scale {
    /// A tenth of the default: for a slow machine, and where users count and rows don't.
    pub const SMALL: Self = Self {
        items: 6_000,
        bids: 15_000,
        users: 1_000,
    };
}

impl Default for Scale {
    /// Half of the items of the microreboot paper, a tenth of its bids, its users (132 thousand, 1.5
    /// million, 10 thousand): enough that loading them is real work (about 0.15 s for the search
    /// index in release), little enough for a laptop.
    fn default() -> Self {
        Self {
            items: 60_000,
            bids: 150_000,
            users: 10_000,
        }
    }
}

/// The last items are never touched by users: what they cost stays what the seed says, so that a
/// probe can ask for it.
pub const RESERVED_ITEMS: u32 = 10;

/// The kinds of goods. Few, so that each has a long list.
pub const CATEGORIES: [&str; 20] = [
    "Antiques",
    "Art",
    "Books",
    "Cameras",
    "Clocks",
    "Coins",
    "Computers",
    "Dolls",
    "Furniture",
    "Garden",
    "Glass",
    "Instruments",
    "Jewelry",
    "Maps",
    "Music",
    "Pottery",
    "Sports",
    "Stamps",
    "Tools",
    "Toys",
];

const ADJECTIVES: [&str; 24] = [
    "amber", "antique", "battered", "bright", "carved", "copper", "curious", "dark", "early",
    "faded", "fine", "gilded", "heavy", "ivory", "large", "late", "painted", "plain", "polished",
    "rare", "rustic", "silver", "small", "worn",
];

/// What users search for.
pub const NOUNS: [&str; 48] = [
    "anvil",
    "armchair",
    "atlas",
    "banjo",
    "barometer",
    "basket",
    "bellows",
    "bicycle",
    "bookcase",
    "bracelet",
    "bugle",
    "cabinet",
    "candlestick",
    "cello",
    "chessboard",
    "compass",
    "decanter",
    "drum",
    "easel",
    "engraving",
    "fiddle",
    "globe",
    "goblet",
    "hammer",
    "harp",
    "inkwell",
    "kettle",
    "lamp",
    "lantern",
    "locket",
    "loom",
    "mandolin",
    "mirror",
    "music-box",
    "ornament",
    "pendulum",
    "phonograph",
    "pitcher",
    "postcard",
    "quilt",
    "radio",
    "saddle",
    "sextant",
    "spinning-wheel",
    "teapot",
    "telescope",
    "typewriter",
    "vase",
];

/// Sessions that the session store has to load from the beginning.
const MAX_SEED_SESSIONS: u32 = 5_000;

/// Words of one description; with its title, what an item gives the search index to work on.
const DESCRIPTION_WORDS: u64 = 24;

/// A bid that the seed placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedBid {
    /// On which item.
    pub item: u32,
    /// By which user.
    pub user: u32,
    /// How much, in cents.
    pub cents: i64,
}

/// The world that a seed makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// The seed.
    pub seed: u64,
    /// How much of everything.
    pub scale: Scale,
}

/// What a hash is for, so that no two purposes share their draws.
#[derive(Clone, Copy)]
enum Purpose {
    Title = 1,
    Category = 2,
    Price = 3,
    Word = 4,
    Nick = 5,
    Password = 6,
    BidItem = 7,
    BidUser = 8,
    Session = 9,
}

impl World {
    /// The title of item `1..=items`; its last word is the item's own and nobody else's.
    pub fn title(&self, item: u32) -> String {
        let draw = self.draw(Purpose::Title, u64::from(item));
        let adjective = pick(&ADJECTIVES, draw);
        let noun = pick(&NOUNS, draw >> 16);
        format!("{adjective} {noun} {}", Self::item_word(item))
    }

    /// The word that only this item's title has.
    pub fn item_word(item: u32) -> String {
        format!("no{item:06}")
    }

    /// The description of an item.
    pub fn description(&self, item: u32) -> String {
        let mut text = String::new();
        for index in 0..DESCRIPTION_WORDS {
            let draw = self.draw(Purpose::Word, u64::from(item) * DESCRIPTION_WORDS + index);
            let word = if index % 2 == 0 {
                pick(&ADJECTIVES, draw)
            } else {
                pick(&NOUNS, draw)
            };
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The category of an item, an index into [`CATEGORIES`].
    pub fn category(&self, item: u32) -> usize {
        (self.draw(Purpose::Category, u64::from(item)) % CATEGORIES.len() as u64) as usize
    }

    /// What bidding for an item starts at, in cents: 1.00 to 500.99.
    pub fn price_cents(&self, item: u32) -> i64 {
        100 + (self.draw(Purpose::Price, u64::from(item)) % 50_000) as i64
    }

    /// The nickname of user `1..=users`.
    pub fn nick(&self, user: u32) -> String {
        let noun = pick(&NOUNS, self.draw(Purpose::Nick, u64::from(user)));
        format!("{noun}-{user}")
    }

    /// The password of a user. There are no secrets in a testbed.
    pub fn password(&self, user: u32) -> String {
        format!(
            "{:012x}",
            self.draw(Purpose::Password, u64::from(user)) >> 16
        )
    }

    /// How many users are logged in from the start: the first ones.
    pub fn seed_sessions(&self) -> u32 {
        self.scale.users.min(MAX_SEED_SESSIONS)
    }

    /// The session of a user who is logged in from the start. Nobody ends it.
    pub fn session(&self, user: u32) -> String {
        format!("seed-{:016x}", self.draw(Purpose::Session, u64::from(user)))
    }

    /// Bid `0..bids`. Later bids on an item are higher than earlier ones.
    pub fn bid(&self, index: u32) -> SeedBid {
        let items = u64::from(self.scale.items);
        let item = 1 + (self.draw(Purpose::BidItem, u64::from(index)) % items) as u32;
        let users = u64::from(self.scale.users);
        let user = 1 + (self.draw(Purpose::BidUser, u64::from(index)) % users) as u32;
        SeedBid {
            item,
            user,
            cents: self.price_cents(item) + 10 * (i64::from(index) + 1),
        }
    }

    /// The items that users may touch: `1..=` this.
    pub fn open_items(&self) -> u32 {
        self.scale.items.saturating_sub(RESERVED_ITEMS).max(1)
    }

    /// An item that no user touches.
    pub fn reserved_item(&self) -> u32 {
        self.scale.items
    }

    fn draw(&self, purpose: Purpose, index: u64) -> u64 {
        let keyed = self.seed ^ (purpose as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        finalize(finalize(keyed).wrapping_add(index.wrapping_mul(0xd134_2543_de82_ef95)))
    }
}

/// Stafford's 13th variant of the 64-bit finalizer, as in SplitMix64: every input bit changes half
/// of the output bits.
pub(crate) fn finalize(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn pick<'a>(words: &[&'a str], draw: u64) -> &'a str {
    words[(draw % words.len() as u64) as usize]
}

/// Cents as people write them: `12.05`.
pub fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(seed: u64) -> World {
        World {
            seed,
            scale: Scale::default(),
        }
    }

    #[test]
    fn the_seed_decides_everything_and_another_seed_otherwise() {
        assert_eq!(world(7).title(3), world(7).title(3));
        assert_eq!(world(7).bid(11), world(7).bid(11));
        let different =
            (1..100).filter(|&item| world(7).description(item) != world(8).description(item));
        assert_eq!(different.count(), 99);
    }

    #[test]
    fn later_bids_on_an_item_are_higher() {
        let world = world(1);
        let mut highest = std::collections::BTreeMap::new();
        for index in 0..world.scale.bids {
            let bid = world.bid(index);
            assert!((1..=world.scale.items).contains(&bid.item));
            assert!((1..=world.scale.users).contains(&bid.user));
            let before = highest.insert(bid.item, bid.cents).unwrap_or(0);
            assert!(bid.cents > before && bid.cents > world.price_cents(bid.item));
        }
    }

    #[test]
    fn categories_are_about_even() {
        let world = world(5);
        let mut counts = [0_u32; CATEGORIES.len()];
        for item in 1..=world.scale.items {
            counts[world.category(item)] += 1;
        }
        assert!(
            counts.iter().all(|&count| (2_600..3_400).contains(&count)),
            "{counts:?}"
        );
    }

    #[test]
    fn money_has_two_decimals() {
        assert_eq!(money(1205), "12.05");
        assert_eq!(money(5), "0.05");
    }
}
