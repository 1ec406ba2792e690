//! The library behind the `rekindle` binary.
