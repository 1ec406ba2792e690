//! The library behind the `rekindle` binary.

pub mod api;
mod nearest;
pub mod view;
mod web;
