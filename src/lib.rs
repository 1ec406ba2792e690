//! The library behind the `rekindle` binary.

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod demo;
mod engine;
pub mod entry;
pub mod exit;
mod nearest;
mod propagation;
pub mod view;
mod web;
mod words;
