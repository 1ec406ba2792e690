//! The `rekindle` command: reads its arguments, does what they say, and ends with a documented code.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle::cli::main(std::env::args_os()).into()
}
