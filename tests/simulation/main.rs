//! The client and an embedded cluster in one thread, on a paused clock, with everything random drawn from one seed.
//!
//! A seed stands for a cluster, for producers and readers with settings of their own, and for a schedule of faults
//! (`plan`). The run (`world`, `actors`) writes a history, and `checkers` say what must hold of it and of the logs.
//! `docs/simulation.md` says how to replay a seed and what the plants prove.

#![allow(unreachable_pub, reason = "the parts of a test are nobody else's")]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

mod actors;
mod checkers;
mod copier;
mod history;
mod member;
mod plan;
#[cfg(feature = "plants")]
mod plants;
mod trace;
mod world;
mod writer;

use checkers::{Violation, check};
use plan::Plan;
use world::{Run, run};

/// Runs a seed. `Err`: what went wrong, the plan, and how to see it again.
fn simulate(seed: u64) -> Result<(Run, Vec<Violation>), String> {
    simulate_plan(&Plan::draw(seed))
}

fn simulate_plan(plan: &Plan) -> Result<(Run, Vec<Violation>), String> {
    let done = catch_unwind(AssertUnwindSafe(|| run(plan)));
    let run = done.map_err(|_| format!("somebody panicked\n{}", story(plan)))?;
    let violations = check(plan, &run);
    Ok((run, violations))
}

/// What was planned, and how to run it again.
fn story(plan: &Plan) -> String {
    let troubles: Vec<_> = plan.troubles.iter().map(|(at, trouble)| format!("{at:>12.3?} {trouble:?}")).collect();
    format!(
        "{:?}\n{}\nreplay: MILENA_SIM_SEED={} cargo test --features full --test simulation replayed -- --nocapture",
        Plan { troubles: Vec::new(), ..plan.clone() },
        troubles.join("\n"),
        plan.seed
    )
}

/// Runs seeds that must not fail, and tells of all that do. Returns how much virtual time passed, in seconds.
fn sound(seeds: impl Iterator<Item = u64>) -> f64 {
    let (mut virtual_seconds, mut failed) = (0.0, Vec::new());
    for seed in seeds {
        match simulate(seed) {
            Ok((run, violations)) => {
                virtual_seconds += run.took.as_secs_f64();
                if !violations.is_empty() {
                    println!("\nseed {seed} breaks {} rules:", violations.len());
                    let mut shown = BTreeMap::<_, u32>::new();
                    for found in &violations {
                        let count = shown.entry(found.checker).or_default();
                        *count += 1;
                        if *count <= 3 {
                            println!("  {}: {}", found.checker, found.text);
                        }
                    }
                    println!("{}", story(&Plan::draw(seed)));
                    failed.push(seed);
                }
            }
            Err(story) => {
                println!("\nseed {seed}: {story}");
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
    virtual_seconds
}

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_goes_wrong() {
    let (begun, count) = (Instant::now(), number("MILENA_SIM_SEEDS", 40));
    let seconds = sound(0..count);
    let real = begun.elapsed().as_secs_f64();
    println!(
        "{count} seeds, {:.1} virtual minutes in {real:.1} s: {:.1} a second",
        seconds / 60.0,
        seconds / 60.0 / real
    );
}

/// Seeds that nobody has seen before, if asked for: `MILENA_SIM_FRESH=20`.
#[test]
fn fresh_seeds() {
    let count = number("MILENA_SIM_FRESH", 0);
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let first = number("MILENA_SIM_FIRST", since * 1_000);
    println!("{count} seeds from {first}");
    sound(first..first + count);
}

/// One seed with its whole history: `MILENA_SIM_SEED=… cargo test … replayed -- --nocapture`.
#[test]
fn replayed() {
    let Ok(seed) = std::env::var("MILENA_SIM_SEED").map(|seed| seed.parse().expect("a number")) else { return };
    println!("{}", story(&Plan::draw(seed)));
    trace::begin();
    let (run, violations) = simulate(seed).expect("nobody panics");
    run.history.events.iter().for_each(|(at, event)| println!("{at:>12.3?} {event:?}"));
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 0..20 {
        let hash = || simulate(seed).map(|(run, _)| (run.history.hash(), run.history.events.len(), run.took));
        let (first, second) = (hash().expect("it runs"), hash().expect("it runs"));
        assert_eq!(first, second, "seed {seed} is another run the second time");
    }
    let other = |seed| simulate(seed).expect("it runs").0.history.hash();
    assert_ne!(other(1), other(2));
}
