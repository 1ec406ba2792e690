#![no_main]

#[path = "../store_targets.rs"]
#[expect(dead_code, reason = "each binary runs one of the targets")]
mod targets;

libfuzzer_sys::fuzz_target!(
    // The `parquet` crate panics at some damages, and we make errors of it; libFuzzer's own hook would end there. What
    // isn't caught still ends the run.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| targets::parquet(data)
);
