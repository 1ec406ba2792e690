//! The library behind the `rekindle` binary.

pub mod api;
pub mod config;
mod nearest;
pub mod view;
mod web;
mod words;
