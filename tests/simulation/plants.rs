//! Known bugs, switched on one at a time: the simulation has to find each of them, by the checker that is meant for it.
//!
//! A checker that never fired has proven nothing, so the last test here looks for a plant for every checker.

use std::time::Duration;

use milena::{
    embedded::{Api, FaultAction},
    plant::{Plant, sow},
};

use super::{
    checkers::CHECKERS,
    plan::{Placing, Plan, Trouble},
    simulate, simulate_plan,
};

/// A bug, and the checkers that have to see it.
const PLANTS: &[(Plant, &[&str])] = &[
    (Plant::RetryBehind, &["reordered"]),
    (Plant::ReuseNumbers, &["lost"]),
    (Plant::BumpWhileInFlight, &["doubled"]),
    (Plant::NewSequenceOnRetry, &["doubled"]),
    (Plant::MaybeSentIsNotSent, &["unwritten"]),
    (Plant::ForgetOnDisconnect, &["unsettled", "stuck"]),
    (Plant::NeverTimeOut, &["late"]),
    (Plant::AckOnDisconnect, &["lost"]),
    (Plant::FailEarly, &["gave up"]),
    (Plant::LeakMemory, &["memory"]),
    (Plant::LeakConnections, &["left behind"]),
    (Plant::StaleMetadata, &["stuck"]),
    (Plant::SkipOutOfRange, &["skipped"]),
    (Plant::StaleFetch, &["skipped"]),
    (Plant::BeforeOffset, &["repeated"]),
    (Plant::IgnoreCrc, &["damaged"]),
    (Plant::WrongPartition, &["foreign"]),
    (Plant::UnknownIsCommitted, &["atomic"]),
    (Plant::NeverAdd, &["atomic"]),
    (Plant::ForgetOffsets, &["exactly once"]),
    (Plant::DeliverAborted, &["aborted"]),
    (Plant::TwoOwners, &["two owners"]),
    (Plant::CommitAhead, &["commit ahead", "unread"]),
];

/// Sown until it is dropped.
struct Sown;

impl Drop for Sown {
    fn drop(&mut self) {
        sow(None);
    }
}

/// Runs seeds until each of these checkers has fired, and says which seed made it.
fn finds(plant: Plant) {
    let (_, wanted) = PLANTS.iter().find(|(of, _)| *of == plant).expect("it stands in the table");
    let _sown = Sown;
    let mut open: Vec<&str> = wanted.to_vec();
    for seed in 0..SEEDS {
        sow(Some(plant));
        // A plant may make an actor panic, which is found as well, but by no checker.
        let Ok((_, violations)) = simulate(seed) else { continue };
        for violation in violations {
            if let Some(at) = open.iter().position(|checker| *checker == violation.checker) {
                println!("{plant:?}: seed {seed}, {}: {}", violation.checker, violation.text);
                open.remove(at);
            }
        }
        if open.is_empty() {
            return;
        }
    }
    panic!("{plant:?} was not seen by {open:?} in {SEEDS} seeds");
}

macro_rules! found {
    ($($name:ident $plant:ident)*) => {
        $(
            #[test]
            fn $name() {
                finds(Plant::$plant);
            }
        )*

        /// Each plant has its test, and each checker its plant.
        #[test]
        fn every_checker_is_proven() {
            let tested = [$(Plant::$plant),*];
            assert!(PLANTS.iter().all(|(plant, _)| tested.contains(plant)) && tested.len() == PLANTS.len());
            for (checker, _) in CHECKERS {
                let by = PLANTS.iter().find(|(_, checkers)| checkers.contains(checker));
                let Some((plant, _)) = by else { panic!("no plant proves the checker `{checker}`") };
                println!("{checker:12} {plant:?}");
            }
        }
    };
}

found! {
    p2_a_retry_that_joins_the_end_of_the_queue RetryBehind
    p4_the_numbers_of_a_batch_that_may_be_written_used_again ReuseNumbers
    p6_a_new_epoch_while_batches_are_in_flight BumpWhileInFlight
    a_new_sequence_number_for_a_batch_that_is_sent_again NewSequenceOnRetry
    a_request_that_may_have_been_sent_passes_for_not_sent MaybeSentIsNotSent
    p12_batches_of_a_lost_connection_forgotten ForgetOnDisconnect
    p5_a_delivery_timeout_that_nobody_keeps NeverTimeOut
    batches_of_a_lost_connection_taken_for_written AckOnDisconnect
    an_error_that_passes_told_to_the_caller FailEarly
    memory_of_failed_batches_kept LeakMemory
    connections_that_outlive_their_users LeakConnections
    a_leader_that_moved_and_is_not_looked_for StaleMetadata
    an_offset_out_of_range_that_skips_to_the_end SkipOutOfRange
    c1_an_answer_to_a_fetch_from_before_the_seek StaleFetch
    c13_records_before_the_position BeforeOffset
    c14_a_checksum_that_nobody_looks_at IgnoreCrc
    p10_a_batch_that_is_sent_again_elsewhere WrongPartition
    t4_an_unknown_outcome_taken_for_a_commit UnknownIsCommitted
    t3_a_partition_that_counts_as_added_and_is_not NeverAdd
    t8_offsets_that_are_not_in_their_transaction ForgetOffsets
    t10_records_of_aborted_transactions DeliverAborted
    c10_a_partition_that_is_given_to_two_members TwoOwners
    an_offset_committed_before_its_record_is_handed_out CommitAhead
}

/// P1 needs the first two batches of a partition in flight together and the first alone refused, which hardly any drawn
/// plan brings about. This one does at every seed: one partition, many small batches at once, one refusal at the start.
#[test]
fn p1_a_second_batch_before_the_first_is_acknowledged() {
    let _sown = Sown;
    let seen = |plant: Option<Plant>| {
        (0..20).find_map(|seed| {
            sow(plant);
            let (_, violations) = simulate_plan(&first_batch_refused(seed)).ok()?;
            violations.first().map(|found| (seed, found.checker, found.text.clone()))
        })
    };
    assert_eq!(seen(None), None, "a sound client passes these plans");
    let (seed, checker, text) = seen(Some(Plant::SecondBeforeFirst)).expect("it is found");
    println!("SecondBeforeFirst: seed {seed}, {checker}: {text}");
}

fn first_batch_refused(seed: u64) -> Plan {
    let refused = FaultAction::Error(NOT_LEADER_OR_FOLLOWER);
    let trouble = Trouble::Fault { api: Api::Produce, action: refused, broker: None, skip: 0, times: 1 };
    // Faults are taken back after the last trouble, so that there is a later one.
    let later = (Duration::from_secs(20), Trouble::MoveLeader { partition: 0, broker: 0 });
    let mut plan = Plan { partitions: 1, troubles: vec![(Duration::ZERO, trouble), later], ..Plan::draw(seed) };
    plan.is_harsh = false;
    plan.producers.truncate(1);
    // Nobody else is to be refused in its stead.
    plan.writers.clear();
    plan.copier = None;
    for producer in &mut plan.producers {
        (producer.burst, producer.length, producer.placing) = (20, 200, Placing::Named);
        (producer.batch_size, producer.max_in_flight, producer.linger) = (300, 5, Duration::ZERO);
        producer.delivery_timeout = Duration::from_secs(1800);
    }
    plan
}

const NOT_LEADER_OR_FOLLOWER: i16 = 6;

/// The fixed range of seeds in which every plant is found.
const SEEDS: u64 = 200;
