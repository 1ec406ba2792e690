//! `rekindle tree derive|lint|propose`: a first tree from what was observed, what is wrong with one, and what
//! past recoveries say about its shape. Everything is printed for a person to review; nothing is changed.

mod derive;
mod lint;
mod suggest;

pub(super) use self::derive::derive;
pub(super) use self::lint::lint;
pub(super) use self::suggest::suggest;
