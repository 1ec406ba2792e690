//! Tests of the root package over real sockets and the real binary.

mod api;
mod cli;
mod config;
mod conventions;
mod fixture;
mod middleware;
mod pages;
mod replay;
mod store;
