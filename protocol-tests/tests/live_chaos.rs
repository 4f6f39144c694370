//! What was acknowledged stands in the log of a real cluster, once and in order, whatever breaks meanwhile.
//!
//! ```text
//! compose/with-kafka --brokers 3 --no-registry cargo test --package protocol-tests --features full --test live_chaos
//! ```
//! A longer run, or the same again: `MILENA_CHAOS_SECONDS=600 MILENA_CHAOS_SEED=1` in its environment.

use std::{sync::Mutex, time::Duration};

use protocol_tests::{
    PATIENCE,
    chaos::{Chaos, Fault, Producing, judge::Verdict},
    live,
};

/// The relay's ports are there once.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// `None` without a cluster of three, which the other live tests have no use for.
fn run(test: &'static str, chaos: Chaos) -> Option<Verdict> {
    let live = live(test)?;
    let routes = std::env::var("MILENA_RELAYED").unwrap_or_default();
    if routes.split(',').count() < 3 {
        eprintln!("SKIPPED {test}: it needs three brokers. To run it: {HOW}");
        return None;
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let most = chaos.length + 4 * PATIENCE;
    let verdict = runtime.block_on(async { tokio::time::timeout(most, chaos.run(live, &routes)).await });
    Some(verdict.expect("in time").expect("no error"))
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_reordered() {
    let chaos = Chaos::from_environment();
    let seed = chaos.seed;
    let Some(verdict) = run("nothing_acknowledged_is_lost_doubled_or_reordered", chaos) else { return };
    assert!(verdict.is_pass() && verdict.failed == 0, "seed {seed}: {verdict}");
}

/// Each transaction goes on where the group's offset says, which the one before committed: what is aborted, lost on the way
/// or tried by a producer that was fenced may neither be seen nor leave a gap.
#[test]
fn every_number_is_committed_once_by_transactions_that_go_on_where_their_offset_says() {
    let chaos = Chaos::of_transactions_from_environment();
    let seed = chaos.seed;
    let test = "every_number_is_committed_once_by_transactions_that_go_on_where_their_offset_says";
    let Some(verdict) = run(test, chaos) else { return };
    assert!(verdict.is_pass() && verdict.failed == 0, "seed {seed}: {verdict}");
}

/// A judge that never convicts has proven nothing.
#[test]
fn a_producer_that_asks_for_no_acknowledgement_is_convicted() {
    let (faults, producing) = (vec![Fault::Swallow, Fault::Cut], Producing::Reckless);
    let chaos = Chaos { seed: 1, length: Duration::ZERO, faults, producing };
    let Some(verdict) = run("a_producer_that_asks_for_no_acknowledgement_is_convicted", chaos) else { return };
    assert!(verdict.lost > 0 && !verdict.is_pass(), "{verdict}");
}

const HOW: &str = "compose/with-kafka --brokers 3 --no-registry \
    cargo test --package protocol-tests --features full --test live_chaos";
