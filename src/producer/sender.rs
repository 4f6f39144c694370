//! The task of one producer: it fetches sealed batches, sends what the queues allow, and settles what is answered.
//!
//! Rules this file keeps:
//! - every decision is `machine::queue`'s and `machine::identity`'s; this loop moves batches and wakes waiters;
//! - a partition is looked at when something happened to it, never because time passed by; partitions are not scanned;
//! - a batch is sealed early only if it can go out now: while the broker is busy its records keep joining;
//! - the answers of one connection are handled in the order of its requests.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::field::Empty;

use crate::{
    cluster::Watch,
    error::{Error, ErrorKind, Result},
    machine::{
        identity::{Identity, ProducerId, Standing},
        metadata::Metadata,
        queue::{BatchId, Failure, Queue, Rules},
    },
    net::conn::Connection,
    record::SealedBatch,
    types::{BrokerId, FOREVER, HashMap},
    wire::{ErrorCode, Str, Uuid},
};

use super::{
    Core,
    compressor::{Compressor, Part},
    delivery::Cell,
    lane::Lane,
    line::Landed,
    partition::{Partition, Sealed},
    slot::{Batch, Listed, Slot},
    transaction,
};

/// Everything the task owns. `lane.rs` sends with it, `settle.rs` takes answers in.
pub(super) struct Sender {
    pub(super) core: Arc<Core>,
    pub(super) metadata: Arc<Metadata>,
    pub(super) identity: Identity,
    pub(super) slots: Vec<Slot>,
    pub(super) lanes: HashMap<BrokerId, Lane>,
    pub(super) outbox: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    pub(super) compressor: Compressor,
    /// When to look at which partition: one entry for each at most.
    timers: BTreeSet<(Instant, usize)>,
    watch: Watch,
    /// How often a leader was asked for in a row, and when it may be again.
    asked: u32,
    asks_again_at: Instant,
    /// Before that no topic can have been idle for long enough.
    pub(super) forgets_at: Instant,
    /// Everything that is open is to go out, whatever its linger.
    flushing: bool,
    /// So is everything that is begun: the producer is being closed, or somebody waits for memory.
    pressed: bool,
    /// When what is left is to fail, because the producer is being closed.
    abandon_at: Option<Instant>,
    /// Only with a transactional id.
    pub(super) transaction: Option<Box<transaction::Driver>>,
}

/// What happens to the task from outside.
#[derive(Debug)]
pub(super) enum Event {
    /// `again` is when the next dial may begin, if this one failed.
    Connected {
        broker: BrokerId,
        outcome: Result<Connection>,
        again: Option<Instant>,
    },
    Landed(Landed),
    Compressed {
        number: usize,
        id: BatchId,
        batch: SealedBatch,
    },
    Split {
        number: usize,
        id: BatchId,
        parts: Result<[Part; 2]>,
    },
    Granted(Result<ProducerId, (Error, Option<ErrorCode>)>),
    Transaction(transaction::Event),
    Retry(BrokerId),
    Unthrottled,
    AskAgain,
    /// A caller who does not wait needs a topic.
    Learn(Box<str>),
    /// Everything is to go out, and to fail if it is not settled with so much patience.
    Flush {
        reply: oneshot::Sender<Vec<Arc<Cell>>>,
        patience: Option<Duration>,
    },
}

impl Sender {
    pub(super) fn new(
        core: Arc<Core>,
        events: mpsc::UnboundedReceiver<Event>,
        outbox: mpsc::UnboundedSender<Event>,
    ) -> Self {
        // Watched first: what changes between the two is seen twice, not never.
        let watch = core.cluster.watch();
        let metadata = core.cluster.metadata();
        let is_in_process = core.cluster.is_in_process();
        let transaction = core.settings.transaction.clone().map(|settings| {
            let transaction::Settings { id, timeout, link } = settings;
            Box::new(transaction::Driver::new(id, timeout, core.settings.max_block, link))
        });
        Self {
            core,
            metadata,
            identity: Identity::new(),
            slots: Vec::new(),
            lanes: HashMap::default(),
            compressor: Compressor::new(is_in_process, outbox.clone()),
            outbox,
            events,
            timers: BTreeSet::new(),
            watch,
            asked: 0,
            asks_again_at: Instant::now(),
            forgets_at: Instant::now(),
            flushing: false,
            pressed: false,
            abandon_at: None,
            transaction,
        }
    }

    /// Runs until the producer is closed, or dropped, and everything it took is settled.
    pub(super) async fn run(mut self) {
        loop {
            self.turn();
            if self.is_finished() {
                return;
            }
            let due = self.timers.first().map(|(at, _)| *at);
            let ends = self.transaction.as_ref().and_then(|driver| driver.timeout());
            let timer = due.into_iter().chain(ends).chain(self.abandon_at).min();
            tokio::select! {
                // Answers before new records: they free places in flight and memory. Timers last: what they would
                // fail, an answer may just have settled.
                biased;
                Some(event) = self.events.recv() => self.handle(event),
                () = self.core.accumulator.wake.notified() => {}
                metadata = self.watch.changed() => self.handle_metadata(metadata),
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
            }
        }
    }

    /// Takes in all that happened, then sends all that may be sent.
    fn turn(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.handle(event);
        }
        self.handle_timers();
        if self.abandon_at.is_some_and(|at| at <= Instant::now()) {
            self.abandon();
        }
        let pressed = self.core.accumulator.is_closed() || self.core.accumulator.has_blocked();
        if pressed && !self.pressed {
            self.make_all_due();
        }
        self.pressed = pressed;
        for number in self.core.accumulator.take_ready() {
            self.visit(number);
        }
        self.tend_identity();
        self.tend_transaction();
        self.send();
        // What was held back has to be added to the transaction first.
        self.tend_transaction();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected { broker, outcome, again } => self.handle_connected(broker, outcome, again),
            Event::Unthrottled => {}
            Event::Retry(broker) => self.handle_retry(broker),
            Event::Landed(landed) => self.handle_landed(landed),
            Event::Compressed { number, id, batch } => {
                self.compressor.handle_done();
                let Some(slot) = self.slots.get_mut(number) else { return };
                if let Some(waiting) = slot.queue.handle_sealed(id) {
                    waiting.sealed = batch;
                }
                self.list(number);
            }
            Event::Split { number, id, parts } => {
                self.compressor.handle_done();
                self.handle_split(number, id, parts);
            }
            Event::Granted(outcome) => self.handle_granted(outcome),
            Event::Transaction(event) => self.handle_transaction(event),
            Event::AskAgain => self.identity.handle_refused(false),
            Event::Learn(topic) => drop(tokio::spawn(self.core.clone().look_for(topic))),
            Event::Flush { reply, patience } => {
                // Whoever is told of what fails is told by the transaction, too.
                self.follow_transaction();
                let _ = reply.send(self.flush());
                let until = patience.map(|patience| Instant::now() + patience.min(FOREVER));
                self.abandon_at = self.abandon_at.into_iter().chain(until).min();
            }
        }
    }

    /// Looks at a partition: takes its sealed batches, and starts the linger of its open one.
    fn visit(&mut self, number: usize) {
        self.learn_slots(number);
        if self.is_aborting() && number < self.slots.len() {
            // Its caller had not heard of the failure yet (T8).
            return self.fail_partition(number);
        }
        let Some(slot) = self.slots.get_mut(number) else { return };
        let (mut sealed, mut opened) = slot.partition.fetch();
        let (now, settings) = (Instant::now(), &self.core.settings);
        if opened.is_some_and(|opened| opened + settings.delivery_timeout <= now) {
            // It could not go out in all its time; in the queue it fails.
            sealed.extend(slot.partition.seal());
            opened = None;
        }
        slot.due = opened.is_some_and(|opened| self.flushing || self.pressed || opened + settings.linger <= now);
        // A batch that is due is sealed when it can go out, which may be never.
        let wait = if slot.due { settings.delivery_timeout } else { settings.linger.min(settings.delivery_timeout) };
        self.push(number, sealed);
        if let Some(opened) = opened {
            self.arm(number, opened + wait);
        }
        self.list(number);
    }

    /// Sealed batches join the queue; those to be compressed go to a worker first.
    pub(super) fn push(&mut self, number: usize, sealed: VecDeque<Sealed>) {
        for Sealed { batch, cell, created, reserved } in sealed {
            let slot = &mut self.slots[number];
            slot.last_used = slot.last_used.max(created);
            let codec = slot.codec;
            let ready = codec.is_none();
            let (records, raw_len) = (batch.record_count, batch.wire_len());
            self.core.metrics.count_fetched(records);
            let work = (!ready).then(|| batch.clone());
            let partition = &slot.partition;
            let span = tracing::debug_span!(
                target: TARGET,
                "batch",
                topic = %partition.topic,
                partition = partition.index,
                records,
                raw_bytes = raw_len,
                wire_bytes = Empty,
                offset = Empty,
                error = Empty,
            );
            let batch = Batch { sealed: batch, cell, reserved, raw_len, created, sent: None, span, header: None };
            let id = slot.queue.push(created.into_std(), records, batch, ready);
            if let Some(batch) = work {
                self.compressor.push(number, id, codec, batch);
            }
        }
        if let Some(at) = self.slots[number].queue.poll_timeout() {
            self.arm(number, Instant::from_std(at));
        }
    }

    /// Puts a partition into the list of its leader, if there may be something to send.
    pub(super) fn list(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let is_listed = match slot.listed {
            Listed::Nowhere => !(slot.due || slot.queue.has_waiting()),
            Listed::Ready => true,
            // What is sealed is not held back.
            Listed::Held => !slot.queue.has_waiting(),
        };
        if is_listed {
            return;
        }
        let Some(leader) = leader(&self.metadata, &slot.partition) else { return self.ask_for_leader(number) };
        let slot = &mut self.slots[number];
        slot.listed = Listed::Ready;
        self.lanes.entry(leader).or_default().ready.push_back(number);
    }

    /// Nobody leads the partition, as far as is known. All partitions ask together: soon at first, for an election takes
    /// some tenths of a second, then less often.
    fn ask_for_leader(&mut self, number: usize) {
        let now = Instant::now();
        let is_new = self.core.cluster.name_topic(&self.slots[number].partition.topic);
        if is_new || self.asks_again_at <= now {
            let is_first = self.asks_again_at + LEADERLESS <= now;
            self.asked = if is_first { 1 } else { self.asked.saturating_add(1) };
            let wait = self.core.cluster.config().retry_backoff.delay(self.asked.min(MOST_ASKED), fastrand::f64());
            self.asks_again_at = now + wait;
            self.core.cluster.request_refresh();
        }
        self.arm(number, self.asks_again_at);
    }

    /// Takes a partition out of the list of a broker that leads it no more. That broker may be dead or silent, and its
    /// list is looked at only when a request can go there.
    fn unlist(&mut self, number: usize, broker: Option<BrokerId>) {
        if let Some(lane) = broker.and_then(|broker| self.lanes.get_mut(&broker)) {
            lane.forget(number);
            self.slots[number].listed = Listed::Nowhere;
        }
        broker.into_iter().for_each(|broker| self.note_idle(broker));
    }

    /// Comes back to a partition at a time. A timer that is too early costs a look, one too late cannot be: when it
    /// fires, every reason to come back is weighed anew.
    pub(super) fn arm(&mut self, number: usize, at: Instant) {
        let slot = &mut self.slots[number];
        if slot.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        if let Some(later) = slot.armed.replace(at) {
            self.timers.remove(&(later, number));
        }
        self.timers.insert((at, number));
    }

    fn handle_timers(&mut self) {
        let now = Instant::now();
        while let Some(&(at, number)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let slot = &mut self.slots[number];
            slot.armed = None;
            slot.queue.handle_timeout(now.into_std());
            self.settle(number);
            self.visit(number);
        }
    }

    pub(super) fn handle_metadata(&mut self, metadata: Arc<Metadata>) {
        let before = std::mem::replace(&mut self.metadata, metadata);
        self.core.update_topics(&self.metadata);
        for number in 0..self.slots.len() {
            let slot = &mut self.slots[number];
            let old = leader(&before, &slot.partition);
            let new = leader(&self.metadata, &slot.partition);
            if is_elsewhere(&before, &self.metadata, &slot.partition.topic, new) {
                slot.queue.handle_moved();
            }
            let is_outside = self.transaction.as_ref().is_some_and(|driver| driver.is_outside(number));
            slot.learn_id(&self.metadata, is_outside);
            if old != new {
                slot.queue.handle_leader_known();
                self.unlist(number, old);
            }
            // A topic that was made again ends the epoch here.
            self.settle(number);
        }
        // After those that moved have left the lists, or they would be listed by the new leader twice.
        self.handle_newcomers(&before);
        self.forget_idle_topics();
    }

    /// Asks for an identity if one is needed.
    fn tend_identity(&mut self) {
        // That of a transactional id is its coordinator's affair.
        if !self.core.settings.idempotent || self.transaction.is_some() {
            return;
        }
        let wanted = || self.slots.iter().any(|slot| slot.due || !slot.queue.is_empty());
        if self.identity.standing() == Standing::Wait && wanted() && self.identity.poll_ask() {
            tokio::spawn(super::init::ask(self.core.clone(), self.outbox.clone()));
        }
    }

    fn handle_granted(&mut self, outcome: Result<ProducerId, (Error, Option<ErrorCode>)>) {
        match outcome {
            Ok(producer) => {
                tracing::debug!(producer.id, producer.epoch, "producer id granted");
                self.identity.handle_granted(producer);
                (0..self.slots.len()).for_each(|number| self.list(number));
            }
            Err((error, dead)) => {
                tracing::debug!(%error, "no producer id yet");
                self.slots.iter_mut().for_each(|slot| slot.last_error = Some(error.clone()));
                if let Some(code) = dead {
                    self.identity.handle_refused(true);
                    return self.die(code, error);
                }
                // The state stays "asking" until it is time to ask again.
                let (outbox, wait) =
                    (self.outbox.clone(), self.core.cluster.config().retry_backoff.delay(3, fastrand::f64()));
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _ = outbox.send(Event::AskAgain);
                });
            }
        }
    }

    /// The producer may not write any more: everything fails, and so does whatever is asked of it from now on.
    pub(super) fn die(&mut self, code: ErrorCode, why: Error) {
        self.core.accumulator.fail(why);
        self.fail_all(Failure::Refused(code));
    }

    /// Nobody waits for the rest any longer: it fails, and what is on the wire may have been written.
    fn abandon(&mut self) {
        self.abandon_at = None;
        self.fail_all(Failure::Abandoned);
        self.give_up_transaction();
    }

    fn fail_all(&mut self, why: Failure) {
        self.learn_slots(usize::MAX);
        for number in 0..self.slots.len() {
            let sealed = self.slots[number].partition.seal();
            self.push(number, sealed);
            self.slots[number].queue.handle_dead(why);
            self.settle(number);
        }
    }

    /// Seals everything, and answers with what has to be waited for.
    pub(super) fn flush(&mut self) -> Vec<Arc<Cell>> {
        self.learn_slots(usize::MAX);
        let mut cells = Vec::new();
        for number in 0..self.slots.len() {
            let sealed = self.slots[number].partition.seal();
            self.push(number, sealed);
            self.slots[number].due = false;
            cells.extend(self.slots[number].queue.batches().map(|batch| batch.cell.0.clone()));
            self.list(number);
        }
        cells
    }

    fn make_all_due(&mut self) {
        self.learn_slots(usize::MAX);
        self.flushing = true;
        (0..self.slots.len()).for_each(|number| self.visit(number));
        self.flushing = false;
    }

    /// Partitions that callers have met since the last look get their queues.
    pub(super) fn learn_slots(&mut self, number: usize) {
        if number < self.slots.len() {
            return;
        }
        let rules = Rules {
            idempotent: self.core.settings.idempotent,
            max_in_flight: self.core.settings.max_in_flight,
            delivery_timeout: self.core.settings.delivery_timeout,
            retries: self.core.settings.retries,
        };
        let (core, now) = (&self.core, Instant::now());
        let tally = |topic: &Str| core.settings.topic_metrics.then(|| core.metrics.topic(topic));
        let metadata = &self.metadata;
        self.slots.extend(core.partitions_from(self.slots.len()).into_iter().map(|partition| Slot {
            log_id: metadata.topic(&partition.topic).map_or(Uuid::default(), |topic| topic.id),
            codec: core.settings.codec(&partition.topic),
            tally: tally(&partition.topic),
            partition,
            queue: Queue::new(rules),
            due: false,
            listed: Listed::Nowhere,
            topic_id: Uuid::default(),
            last_error: None,
            armed: None,
            last_used: now,
        }));
    }

    /// Whether nobody can say anything more.
    pub(super) fn is_orphaned(&self) -> bool {
        // In this order: what was said before the last handle was dropped is in the queue by then.
        self.core.handles.load(Ordering::Acquire) == 0 && self.events.is_empty()
    }

    fn is_finished(&mut self) -> bool {
        if !self.core.accumulator.is_closed() && self.core.handles.load(Ordering::Acquire) > 0 {
            return false;
        }
        // A partition may have got its first record since the last look, just before `close`.
        self.learn_slots(usize::MAX);
        self.events.is_empty()
            && !self.transaction.as_ref().is_some_and(|driver| driver.is_busy())
            && self.slots.iter().all(|slot| slot.queue.is_empty() && !slot.due && slot.partition.is_empty())
    }

    pub(super) fn wait_after(&self, failures: u32) -> Duration {
        self.core.cluster.config().retry_backoff.delay(failures + 1, fastrand::f64())
    }
}

impl Drop for Sender {
    /// If this comes before all is done, the runtime has ended or the task has panicked: nobody may wait for ever, and
    /// nothing may be accepted that nobody sends (P12).
    fn drop(&mut self) {
        self.release_topics();
        if self.is_finished() {
            return;
        }
        let why = "the producer's task has ended before the producer: its runtime is gone";
        self.core.accumulator.fail(Error::new(ErrorKind::Closed, why));
        self.learn_slots(usize::MAX);
        for slot in &self.slots {
            // Their deliveries hear of it as these are dropped.
            drop(slot.partition.seal());
        }
    }
}

/// Under which spans and events of what is sent are found.
pub(super) const TARGET: &str = "milena::producer";
/// After so long without asking, the next one is the first again.
const LEADERLESS: Duration = Duration::from_secs(2);
/// From then on the time between two questions for a leader does not grow.
const MOST_ASKED: u32 = 2;

/// Whether a leader's number now means another machine (N11), or the topic's name another topic.
fn is_elsewhere(before: &Metadata, now: &Metadata, topic: &str, leader: Option<BrokerId>) -> bool {
    let id = |metadata: &Metadata| metadata.topic(topic).map(|topic| topic.id);
    let place = |metadata: &Metadata| leader.and_then(|leader| metadata.node(leader).cloned());
    id(before) != id(now) || place(before) != place(now)
}

/// Who leads a partition, as far as is known.
pub(super) fn leader(metadata: &Metadata, partition: &Partition) -> Option<BrokerId> {
    let index = usize::try_from(partition.index).ok()?;
    metadata.topic(&partition.topic)?.partitions.get(index)?.leader
}
