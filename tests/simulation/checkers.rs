//! What must hold of every run, whatever went wrong in it.
//!
//! Each checker has a name, and `plants.rs` has at least one bug that makes it fire.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use milena::consumer::IsolationLevel;

use super::{
    history::{Event, Id, Stored, Transaction, Truth},
    plan::Plan,
    world::{BOUND, MARKER, Run},
};

/// Something that does not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    pub checker: &'static str,
    pub text: String,
}

type Checker = fn(&Plan, &Run, &mut dyn FnMut(String));

/// All of them.
pub const CHECKERS: &[(&str, Checker)] = &[
    ("lost", lost),
    ("doubled", doubled),
    ("reordered", reordered),
    ("unwritten", unwritten),
    ("foreign", foreign),
    ("gave up", gave_up),
    ("late", late),
    ("unsettled", unsettled),
    ("stuck", stuck),
    ("memory", memory),
    ("left behind", left_behind),
    ("skipped", skipped),
    ("repeated", repeated),
    ("damaged", damaged),
    ("aborted", aborted),
    ("atomic", atomic),
    ("two owners", two_owners),
    ("commit ahead", commit_ahead),
    ("unread", unread),
    ("exactly once", exactly_once),
];

/// What does not hold of this run.
pub fn check(plan: &Plan, run: &Run) -> Vec<Violation> {
    let mut found = Vec::new();
    for (checker, check) in CHECKERS {
        check(plan, run, &mut |text| found.push(Violation { checker, text }));
    }
    found
}

/// Nothing acknowledged is lost, and it stands where the acknowledgement says.
fn lost(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let written = run.truth.places();
    for (at, event) in &run.history.events {
        let Event::Acked { record, partition, offset } = event else { continue };
        let places = written.get(record).map(Vec::as_slice).unwrap_or_default();
        if !places.iter().any(|(of, place)| of == partition && offset.is_none_or(|offset| offset == *place)) {
            tell(format!("{record:?}, acknowledged at {at:?} at {partition}@{offset:?}, stands at {places:?}"));
        }
    }
}

/// Nothing stands in the logs twice.
fn doubled(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    for (record, places) in run.truth.places().iter().filter(|(_, places)| places.len() > 1) {
        tell(format!("{record:?} stands at {places:?}"));
    }
}

/// In a partition the records of a producer stand in the order in which it enqueued them.
fn reordered(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    for (partition, log) in &run.truth.partitions {
        let mut last: BTreeMap<u16, Id> = BTreeMap::new();
        for record in log.iter().filter_map(|stored| stored.value.as_ref().ok()) {
            if let Some(before) = last.insert(record.0, *record).filter(|before| before.1 > record.1) {
                tell(format!("{record:?} stands behind {before:?} in {partition}"));
            }
        }
    }
}

/// What failed as not written, or was refused, is not written.
fn unwritten(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let written = run.truth.places();
    for (at, event) in &run.history.events {
        let (Event::Failed { record, maybe_written: false, error } | Event::Refused { record, error }) = event else {
            continue;
        };
        if let Some(places) = written.get(record) {
            tell(format!("{record:?}, failed at {at:?} as not written ({error}), stands at {places:?}"));
        }
    }
}

/// The logs hold nothing but what was enqueued, and the partition that was told.
fn foreign(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let enqueued = run.history.events.iter().filter_map(|(_, event)| match event {
        Event::Enqueued { record, partition } => Some((*record, *partition)),
        _ => None,
    });
    let enqueued: BTreeSet<_> = enqueued.collect();
    for (partition, log) in &run.truth.partitions {
        for stored in log.iter().filter(|stored| stored.value.as_ref().err().is_none_or(|text| text != MARKER)) {
            let known = stored.value.as_ref().is_ok_and(|record| enqueued.contains(&(*record, *partition)));
            if !known {
                tell(format!("{:?} stands at {partition}@{} and was not enqueued", stored.value, stored.offset));
            }
        }
    }
}

/// Where the trouble is shorter than what a producer sits out, nothing fails.
fn gave_up(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    for (at, event) in run.history.events.iter().filter(|_| !plan.is_harsh) {
        match event {
            Event::Failed { record, error, .. } | Event::Refused { record, error } => {
                tell(format!("{record:?} failed at {at:?}: {error}"));
            }
            Event::Ended { writer, wish: true, committed, .. } if *committed != Some(true) => {
                tell(format!("writer {writer} was told {committed:?} at {at:?} of what it had committed"));
            }
            _ => {}
        }
    }
}

/// A record is settled within its delivery timeout and the time of one request.
fn late(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let mut enqueued: BTreeMap<Id, Duration> = BTreeMap::new();
    for (at, event) in &run.history.events {
        match event {
            Event::Enqueued { record, .. } => drop(enqueued.insert(*record, *at)),
            Event::Acked { record, .. } | Event::Failed { record, .. } => {
                let took = *at - enqueued.get(record).copied().unwrap_or_default();
                let limit = plan
                    .producers
                    .get(record.0 as usize)
                    .map_or(Duration::MAX, |producer| producer.delivery_timeout + plan.request_timeout + SLACK);
                if took > limit {
                    tell(format!("{record:?} was settled after {took:?}, at {at:?}; the limit is {limit:?}"));
                }
            }
            _ => {}
        }
    }
}

/// What was enqueued is acknowledged or fails, once.
fn unsettled(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let mut open: BTreeMap<Id, i32> = BTreeMap::new();
    for (_, event) in &run.history.events {
        match event {
            Event::Enqueued { record, .. } => *open.entry(*record).or_default() += 1,
            Event::Acked { record, .. } | Event::Failed { record, .. } => *open.entry(*record).or_default() -= 1,
            Event::Ended { records, .. } => records.iter().for_each(|record| *open.entry(*record).or_default() -= 1),
            _ => {}
        }
    }
    open.iter().filter(|(_, count)| **count != 0).for_each(|(record, _)| tell(format!("{record:?} was not settled")));
}

/// Everybody is done within a bound after the last fault.
fn stuck(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    for (at, event) in &run.history.events {
        if let Event::Stuck { who } = event {
            tell(format!("{who} is not done at {at:?}, {BOUND:?} after it could be"));
        }
    }
}

/// All memory of a producer comes back.
fn memory(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    for (at, event) in &run.history.events {
        if let Event::Emptied { producer, held: held @ 1.. } = event {
            tell(format!("producer {producer} still holds {held} bytes at {at:?}"));
        }
    }
}

/// No connection of a client's and no task outlives those who used them.
fn left_behind(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    for (at, event) in &run.history.events {
        if let Event::Left { connections, tasks } = event
            && (*connections, *tasks) != (0, 0)
        {
            tell(format!("{connections} connections and {tasks} tasks are left at {at:?}"));
        }
    }
}

/// What reading found that it should not have found.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Slip {
    Skipped,
    Repeated,
    Damaged,
    Aborted,
}

fn skipped(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    slips(plan, run, Slip::Skipped, tell);
}

fn repeated(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    slips(plan, run, Slip::Repeated, tell);
}

fn damaged(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    slips(plan, run, Slip::Damaged, tell);
}

fn aborted(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    slips(plan, run, Slip::Aborted, tell);
}

/// Every reader gets, partition by partition, what the log holds from where it began or sought to, each record once and
/// as it stands there; readers of committed records only those.
fn slips(plan: &Plan, run: &Run, wanted: Slip, tell: &mut dyn FnMut(String)) {
    for (number, reader) in (0..).zip(&plan.readers) {
        let is_visible = |stored: &&Stored| {
            let is_record = stored.value.as_ref().err().is_none_or(|text| text != MARKER);
            is_record && (reader.isolation == IsolationLevel::ReadUncommitted || stored.is_committed())
        };
        for (partition, log) in &run.truth.partitions {
            let mut slip = |slip: Slip, text: String| {
                if slip == wanted {
                    tell(format!("reader {number}, {partition}: {text}"));
                }
            };
            let mut next = 0;
            for (at, event) in &run.history.events {
                match event {
                    Event::Sought { reader, partition: of, to } if (reader, of) == (&number, partition) => next = *to,
                    Event::Delivered { reader, partition: of, offset, value }
                        if (reader, of) == (&number, partition) =>
                    {
                        let due = log.iter().filter(is_visible).find(|stored| stored.offset >= next);
                        let stored = log.iter().find(|stored| stored.offset == *offset);
                        match (due, stored) {
                            _ if *offset < next => slip(Slip::Repeated, format!("{offset} at {at:?}, {next} was next")),
                            (_, Some(stored)) if stored.value != *value => {
                                slip(
                                    Slip::Damaged,
                                    format!("{offset} at {at:?} is {value:?} instead of {:?}", stored.value),
                                );
                            }
                            (_, Some(stored)) if !is_visible(&stored) => {
                                slip(Slip::Aborted, format!("{offset} at {at:?}, which is {:?}", stored.transaction));
                            }
                            (Some(due), _) if due.offset < *offset => {
                                slip(Slip::Skipped, format!("{} at {at:?}, delivered was {offset}", due.offset));
                            }
                            (_, None) => slip(Slip::Damaged, format!("{offset} at {at:?}, which is not in the log")),
                            _ => {}
                        }
                        next = *offset + 1;
                    }
                    _ => {}
                }
            }
            let was_stuck = run.history.events.iter().any(|(_, event)| matches!(event, Event::Stuck { .. }));
            let rest = log.iter().filter(is_visible).find(|stored| stored.offset >= next);
            if let Some(rest) = rest.filter(|_| !was_stuck) {
                slip(Slip::Skipped, format!("{} and what follows was never delivered", rest.offset));
            }
        }
    }
}

/// Of a transaction all records are committed or none, and which of the two is what its writer was told.
fn atomic(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let stored = run.truth.partitions.values().flatten();
    let fates: BTreeMap<Id, Transaction> =
        stored.filter_map(|stored| Some((*stored.value.as_ref().ok()?, stored.transaction))).collect();
    for (at, event) in &run.history.events {
        let Event::Ended { records, committed, .. } = event else { continue };
        let is_committed = |record: &&Id| fates.get(record) == Some(&Transaction::Committed);
        let count = records.iter().filter(is_committed).count();
        let sound = match committed {
            Some(true) => count == records.len(),
            Some(false) => count == 0 || takes_late_batches(plan),
            None => count == 0 || count == records.len(),
        };
        if !sound || records.iter().any(|record| fates.get(record) == Some(&Transaction::Open)) {
            let fates: Vec<_> = records.iter().map(|record| (record, fates.get(record))).collect();
            tell(format!("told {committed:?} at {at:?}, and the log says {fates:?}"));
        }
    }
}

/// Brokers before 3.6 do not look whether a batch's transaction is open. One that was given up while it was on its way comes
/// after the abort then, and is committed with the next transaction, whose client has a new epoch and cannot prevent it
/// (KIP-890). Batches are given up in harsh plans.
fn takes_late_batches(plan: &Plan) -> bool {
    plan.is_harsh && !plan.verifies && plan.transaction_version < 2
}

/// In a generation of the group a partition belongs to one member.
fn two_owners(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let mut owners: BTreeMap<(i32, i32), u16> = BTreeMap::new();
    for (at, event) in &run.history.events {
        let Event::Assigned { member, generation, partitions } = event else { continue };
        for partition in partitions {
            if let Some(other) = owners.insert((*generation, *partition), *member).filter(|other| other != member) {
                tell(format!("{partition} belongs to {other} and {member} in generation {generation}, at {at:?}"));
            }
        }
    }
}

/// What lies before a committed offset was handed to somebody before.
fn commit_ahead(_: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let mut handed: BTreeSet<(i32, i64)> = BTreeSet::new();
    for (at, event) in &run.history.events {
        match event {
            Event::Handed { partition, offset, .. } => drop(handed.insert((*partition, *offset))),
            Event::Committed { member, partition, offset, .. } => {
                let records = run.truth.records(*partition).filter(|stored| stored.offset < *offset);
                let missed =
                    records.map(|stored| stored.offset).find(|offset| !handed.contains(&(*partition, *offset)));
                if let Some(missed) = missed {
                    tell(format!(
                        "member {member} committed {offset} of {partition} at {at:?}, {missed} was not handed out"
                    ));
                }
                let end =
                    run.truth.partitions.get(partition).and_then(|log| log.last()).map_or(0, |last| last.offset + 1);
                if *offset > end {
                    tell(format!("member {member} committed {offset} of {partition} at {at:?}, which ends at {end}"));
                }
            }
            _ => {}
        }
    }
}

/// A group that sees it through is handed every record at least once.
fn unread(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let was_stuck = run.history.events.iter().any(|(_, event)| matches!(event, Event::Stuck { .. }));
    if plan.members.is_empty() || was_stuck {
        return;
    }
    let handed = run.history.events.iter().filter_map(|(_, event)| match event {
        Event::Handed { partition, offset, .. } => Some((*partition, *offset)),
        _ => None,
    });
    let handed: BTreeSet<_> = handed.collect();
    // Those that came later are nobody's.
    for partition in run.truth.partitions.keys().filter(|partition| **partition < plan.partitions) {
        let missed = run.truth.records(*partition).find(|stored| !handed.contains(&(*partition, stored.offset)));
        missed.into_iter().for_each(|stored| tell(format!("{}@{} was handed to no member", partition, stored.offset)));
    }
}

/// The committed copies of a partition are its committed records, each once and in their order.
fn exactly_once(plan: &Plan, run: &Run, tell: &mut dyn FnMut(String)) {
    let was_stuck = run.history.events.iter().any(|(_, event)| matches!(event, Event::Stuck { .. }));
    if plan.copier.is_none() || was_stuck || takes_late_batches(plan) {
        return;
    }
    for partition in 0..plan.partitions {
        let committed = |log: Option<&Vec<Stored>>| -> Vec<_> {
            let visible = log.into_iter().flatten().filter(|stored| stored.is_committed());
            visible.filter_map(|stored| stored.value.as_ref().ok().copied()).collect()
        };
        let expected = committed(run.truth.partitions.get(&partition));
        let copied = committed(run.truth.copies.get(&partition));
        if expected != copied {
            let at = expected.iter().zip(&copied).position(|(one, other)| one != other);
            let at = at.unwrap_or(expected.len().min(copied.len()));
            let (wanted, found) = (expected.get(at), copied.get(at));
            let (all, made) = (expected.len(), copied.len());
            tell(format!("{partition}: copy {at} is {found:?} instead of {wanted:?}; {made} copies of {all} records"));
        }
    }
}

impl Truth {
    /// What a partition holds but for markers.
    fn records(&self, partition: i32) -> impl Iterator<Item = &Stored> {
        let log = self.partitions.get(&partition).into_iter().flatten();
        log.filter(|stored| stored.value.as_ref().err().is_none_or(|text| text != MARKER))
    }

    /// Where each record stands, by partition and offset.
    fn places(&self) -> BTreeMap<Id, Vec<(i32, i64)>> {
        let mut places: BTreeMap<Id, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, log) in &self.partitions {
            for stored in log {
                if let Ok(record) = stored.value {
                    places.entry(record).or_default().push((*partition, stored.offset));
                }
            }
        }
        places
    }
}

/// Timers of a millisecond, and tasks that have to wait their turn.
const SLACK: Duration = Duration::from_millis(1_500);
