//! The `rekindle` command: reads its arguments, does what they say, and ends with a documented code.

use std::process::ExitCode;

/// Spans are made on one thread and dropped on another, hundreds of thousands a second. The C
/// library's allocator spends a quarter of the receiving path's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rekindle::cli::main(std::env::args_os()).into()
}
