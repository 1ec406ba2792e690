//! How are targets fuzzed on a stable compiler? Real inputs, damaged in many ways.
//!
//! `fuzz TARGET [SECONDS [SEED]]`; without a target it names them. What fails is written to the temporary directory
//! before it is shown. `fuzz TARGET seeds FOLDER` only writes what is damaged, for `tests/fuzz` to begin with.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Inputs grow no longer than this: more is more of the same.
const MAX_BYTES: usize = 16 << 10;

type Seeds = Vec<Vec<u8>>;

/// A target by its name. It fails by panicking.
type Named = (&'static str, fn(&[u8]));

/// Does what the program's arguments say, of these targets by name, with what `seeds` gives for each.
pub(crate) fn run(
    targets: &[Named],
    seeds: impl Fn(&str) -> Result<Seeds, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let Some((_, target)) = targets.iter().find(|(it, _)| *it == name) else {
        let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
        return Err(format!("usage: fuzz {} [SECONDS [SEED]]", names.join("|")).into());
    };
    let seeds = seeds(name)?;
    if let [_, word, folder] = &arguments[..]
        && word == "seeds"
    {
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(
                std::path::Path::new(folder).join(format!("seed-{number}")),
                seed,
            )?;
        }
        return Ok(());
    }
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |it| it.parse());
    let (seconds, seed) = (number(1, 10)?, number(2, 1)?);
    let mut random = fastrand::Rng::with_seed(seed);
    let (began, mut runs) = (Instant::now(), 0u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut input = seeds[random.usize(..seeds.len())].clone();
        for _ in 0..random.u32(0..6) {
            damage(&mut input, &seeds, &mut random);
        }
        input.truncate(MAX_BYTES);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            let path = std::env::temp_dir().join(format!("fuzz-{name}-{seed}-{runs}"));
            std::fs::write(&path, &input)?;
            println!("run {runs} failed with {}", path.display());
            resume_unwind(panic);
        }
        runs += 1;
    }
    println!("{name}: {runs} inputs in {seconds} s, none failed");
    Ok(())
}

/// One of the ways in which bytes go wrong.
fn damage(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut fastrand::Rng) {
    /// Values at the edges of what bytes mean.
    const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\\'];
    let at = random.usize(..=input.len());
    let rest = input.len() - at;
    let length = random.usize(..=rest.min(64));
    match random.u8(..8) {
        0 => input.truncate(at),
        1 => input.insert(at, EDGES[random.usize(..EDGES.len())]),
        2 => drop(input.drain(at..at + length)),
        3 => {
            let again = input[at..at + length].to_vec();
            input.splice(at..at, again);
        }
        4 => {
            let other = &seeds[random.usize(..seeds.len())];
            let from = random.usize(..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        5 if rest > 0 => input[at] = EDGES[random.usize(..EDGES.len())],
        6 if rest > 0 => input[at] ^= 1 << random.u8(..8),
        7 if rest > 0 => input[at] = random.u8(..),
        _ => {}
    }
}
