//! The library behind the `rekindle` binary.

pub mod view;
