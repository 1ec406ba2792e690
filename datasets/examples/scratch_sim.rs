//! Scratch.
use rekindle_datasets::simulate::{Options, Scenario, run};
fn main() {
    let mut args = std::env::args().skip(1);
    let scenario = match args.next().as_deref() {
        Some("policies") => Scenario::Policies,
        Some("mercury") => Scenario::Mercury,
        Some("fp") => Scenario::FalsePositives,
        Some("delay") => Scenario::DetectionDelay,
        _ => Scenario::Safety,
    };
    let mut o = Options::default();
    if let Some(n) = args.next() { o.seeds = n.parse().unwrap(); }
    if let Some(n) = args.next() { o.recoveries = n.parse().unwrap(); }
    if let Some(n) = args.next() { o.steps = n.parse().unwrap(); }
    let t = std::time::Instant::now();
    let r = run(scenario, &o).unwrap();
    for a in &r.assumptions { println!("- {a}"); }
    for t in &r.tables { println!("\n{}\n{}", t.title, t.header.join(" | ")); for row in &t.rows { println!("{}", row.join(" | ")); } }
    for c in &r.claims { println!("{} {}: {}", if c.holds {"OK  "} else {"FAIL"}, c.claim, c.found); }
    println!("{:?}", t.elapsed());
}
