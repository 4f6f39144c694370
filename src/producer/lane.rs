//! The way to one broker: its line, and the partitions that have something for it.
//!
//! Rules this file keeps:
//! - a request carries every ready partition of its broker, up to the request's limit of bytes, written as header pieces
//!   and the batches' own bytes;
//! - so many requests are in flight as allowed; a request for open batches alone is begun only while that makes them
//!   arrive earlier (`machine::window`), and when a request goes out, they go along;
//! - while a broker wants silence (KIP-219) its batches wait here, where their deadlines count.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{Span, field::Empty};

use crate::{
    error::{Error, ErrorKind, Result},
    machine::{
        conn::{Certainty, MAX_THROTTLE},
        identity::Standing,
        metadata::Metadata,
        queue::{BatchId, Stamp},
    },
    net::conn::{Connection, Lost},
    plant::{self, Plant},
    record::header,
    types::{BrokerId, HashMap},
    wire::{
        Records, Str, Uuid,
        messages::{PartitionProduceData, ProduceRequest, TopicProduceData},
    },
};

use super::{
    Acks,
    line::{Landed, Line, Reply},
    sender::{Event, Sender, TARGET},
    slot::{Batch, Listed},
};
use crate::cluster::Traffic;

/// The way to one broker.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Partitions to look at when a request may be sent.
    pub(super) ready: VecDeque<usize>,
    /// Partitions with an open batch that waits for the next request, or for fewer requests in flight. Those that are
    /// listed elsewhere by now are passed over.
    held: Vec<usize>,
    /// The machine at this address asked for silence until then (KIP-219). The connection would keep it, too; but what
    /// waits there is on its way and has no deadline, what waits here has.
    quiet: Option<(Arc<str>, Instant)>,
    link: Link,
    /// How many lines there were.
    lines: u64,
}

#[derive(Debug, Default)]
enum Link {
    #[default]
    Down,
    /// With the line before: if the broker's number led elsewhere for a moment only, it is the one that is found.
    Connecting(Option<Line>),
    /// The last dial failed; the next one has its time, which is the pool's to say.
    Waiting,
    Up(Line),
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty()
    }

    /// A partition has nothing more to do with this broker.
    pub(super) fn forget(&mut self, number: usize) {
        self.ready.retain(|listed| *listed != number);
        self.held.retain(|held| *held != number);
    }

    /// Whether a request for open batches alone is worth sending.
    fn opens(&self) -> bool {
        match &self.link {
            Link::Up(line) => line.opens(),
            _ => true,
        }
    }

    /// Whether another request may be under way, whatever it carries.
    fn has_room(&self, max_in_flight: usize) -> bool {
        match &self.link {
            Link::Up(line) => line.in_flight() < max_in_flight,
            _ => true,
        }
    }

    /// Whether the machine at `address` wants silence now.
    fn is_quiet(&self, address: &str) -> bool {
        self.quiet.as_ref().is_some_and(|(quiet, until)| **quiet == *address && Instant::now() < *until)
    }
}

impl Link {
    fn into_line(self) -> Option<Line> {
        match self {
            Self::Up(line) => Some(line),
            Self::Connecting(before) => before,
            Self::Down | Self::Waiting => None,
        }
    }
}

/// A request that is being put together.
struct Load {
    broker: BrokerId,
    now: Instant,
    standing: Standing,
    /// Open batches are sealed for it.
    opens: bool,
    batches: Vec<(usize, BatchId)>,
    bytes: usize,
}

impl Sender {
    /// Sends all that may be sent.
    pub(super) fn send(&mut self) {
        let brokers: Vec<BrokerId> =
            self.lanes.iter().filter(|(_, lane)| !lane.ready.is_empty()).map(|(broker, _)| *broker).collect();
        for broker in brokers {
            let mut took = false;
            while self.send_one(broker) {
                took = true;
            }
            self.note_progress(broker, took);
        }
    }

    /// Notes whether a broker takes what is ready for it, for those who choose partitions (KIP-794).
    fn note_progress(&self, broker: BrokerId, took: bool) {
        if self.core.settings.spread.availability_timeout.is_zero() {
            return;
        }
        let stall = self.core.stalls.of(broker);
        let waits = self.lanes.get(&broker).is_some_and(|lane| !lane.is_idle());
        if waits && !took { stall.begin() } else { stall.end() }
    }

    /// A broker for which nothing is ready any more has nothing to take: it counts as well until something is.
    pub(super) fn note_idle(&self, broker: BrokerId) {
        let is_idle = self.lanes.get(&broker).is_none_or(Lane::is_idle);
        if is_idle && !self.core.settings.spread.availability_timeout.is_zero() {
            self.core.stalls.of(broker).end();
        }
    }

    /// Sends one request to a broker. `false` when nothing more can go there now.
    fn send_one(&mut self, broker: BrokerId) -> bool {
        let Some(connection) = self.connection(broker) else { return false };
        let max_in_flight = self.core.settings.max_in_flight;
        let may_send = |lane: &Lane| lane.has_room(max_in_flight) && !lane.is_quiet(&connection.peer().address);
        if !self.lanes.get(&broker).is_some_and(may_send) {
            return false;
        }
        let batches = self.gather(broker);
        if batches.is_empty() {
            return false;
        }
        let outcome = self.request(&connection, &batches).and_then(|(request, version)| {
            let timeout = self.core.cluster.config().request_timeout;
            Ok(match self.core.settings.acks {
                Acks::None => Reply::Written(connection.tell_at(&request, version, timeout)?),
                _ => Reply::Answer(connection.start_at(&request, version, timeout)?),
            })
        });
        self.core.metrics.count_request(batches.len());
        let span = self.request_span(broker, &batches);
        match outcome {
            Ok(reply) => self.launch(broker, batches, reply, span),
            Err(error) => {
                self.handle_lost(batches, &Lost { certainty: Certainty::NotSent, error });
                return false;
            }
        }
        true
    }

    /// It lasts until the request is answered, and follows from the spans of its batches.
    fn request_span(&self, broker: BrokerId, batches: &[(usize, BatchId)]) -> Span {
        let found = || batches.iter().filter_map(|(number, id)| self.slots[*number].queue.batch(*id));
        let span = tracing::debug_span!(
            target: TARGET,
            "produce",
            broker = broker.0,
            batches = batches.len(),
            records = found().map(|batch| i64::from(batch.sealed.record_count)).sum::<i64>(),
            wire_bytes = found().map(|batch| batch.sealed.wire_len()).sum::<usize>(),
            error = Empty,
        );
        if !span.is_disabled() {
            found().for_each(|batch| {
                span.follows_from(batch.span.id());
            });
        }
        span
    }

    /// Takes a batch from every partition of the list that has one to send.
    fn gather(&mut self, broker: BrokerId) -> Vec<(usize, BatchId)> {
        let opens = self.lanes.get(&broker).is_none_or(Lane::opens);
        let (now, standing) = (Instant::now(), self.identity.standing());
        let mut load = Load { broker, now, standing, opens, batches: Vec::new(), bytes: 0 };
        while let Some(number) = self.lanes.get_mut(&broker).and_then(|lane| lane.ready.pop_front()) {
            if !self.take(number, &mut load) {
                break;
            }
            if !load.opens && !load.batches.is_empty() {
                // It goes out anyway: what was held back goes along.
                load.opens = true;
                self.release(broker);
            }
        }
        // They may have more for the next request.
        load.batches.iter().for_each(|(number, _)| self.list(*number));
        load.batches
    }

    /// Takes a partition's next batch into a request. `false` when there is no room for it.
    fn take(&mut self, number: usize, load: &mut Load) -> bool {
        self.slots[number].listed = Listed::Nowhere;
        if super::sender::leader(&self.metadata, &self.slots[number].partition) != Some(load.broker) {
            self.list(number);
            return true;
        }
        if !self.admits(number) {
            self.arm_queue(number);
            return true;
        }
        if !self.seal_if_due(number, load) {
            return true;
        }
        let slot = &mut self.slots[number];
        let len = slot.queue.next().map_or(0, |batch| batch.sealed.wire_len());
        if load.bytes > 0 && load.bytes + len > self.core.settings.request_bytes {
            // First in the next request. What is there is sealed, so nothing is waited for meanwhile.
            slot.listed = Listed::Ready;
            self.lanes.entry(load.broker).or_default().ready.push_front(number);
            return false;
        }
        let Some(send) = slot.queue.poll_send(load.now.into_std(), load.broker, load.standing) else {
            self.arm_queue(number);
            return true;
        };
        if self.transaction.is_some() {
            send.batch.sealed.attributes |= header::TRANSACTIONAL;
        }
        send.batch.stamp(send.stamp);
        match send.batch.sent {
            None => self.core.metrics.count_first_try(load.now - send.batch.created),
            Some(_) => self.core.metrics.count_retry(slot.tally.as_deref(), send.batch.sealed.record_count),
        }
        send.batch.sent.get_or_insert(load.now);
        load.bytes += send.batch.sealed.wire_len();
        load.batches.push((number, send.id));
        true
    }

    /// An open batch whose time has come is sealed, if it can go out now; otherwise records keep joining it. `false`: it
    /// could, but comes no later with the next request.
    fn seal_if_due(&mut self, number: usize, load: &Load) -> bool {
        let slot = &mut self.slots[number];
        if !slot.due || !slot.queue.could_send(load.now.into_std(), load.broker, load.standing) {
            return true;
        }
        if !load.opens {
            slot.listed = Listed::Held;
            self.lanes.entry(load.broker).or_default().held.push(number);
            return false;
        }
        slot.due = false;
        let sealed = slot.partition.seal();
        self.push(number, sealed);
        true
    }

    /// Partitions that were held back are ready again.
    fn release(&mut self, broker: BrokerId) {
        let held = self.lanes.get_mut(&broker).map(|lane| std::mem::take(&mut lane.held)).unwrap_or_default();
        for number in held {
            if self.slots[number].listed == Listed::Held {
                self.slots[number].listed = Listed::Nowhere;
                self.list(number);
            }
        }
    }

    /// A request is on the wire no more: others may go.
    pub(super) fn land(&mut self, landed: &Landed) {
        let broker = landed.broker;
        let Some(lane) = self.lanes.get_mut(&broker) else { return };
        if let Link::Up(line) | Link::Connecting(Some(line)) = &mut lane.link {
            line.handle_landed(landed);
        }
        self.release_if_open(broker);
    }

    fn release_if_open(&mut self, broker: BrokerId) {
        if self.lanes.get(&broker).is_some_and(Lane::opens) {
            self.release(broker);
        }
        // What had been held back may have failed, or left, meanwhile.
        self.note_idle(broker);
    }

    fn arm_queue(&mut self, number: usize) {
        if let Some(at) = self.slots[number].queue.poll_timeout() {
            self.arm(number, Instant::from_std(at));
        }
    }

    /// The request for these batches, and its version.
    fn request(&mut self, connection: &Connection, batches: &[(usize, BatchId)]) -> Result<(ProduceRequest, i16)> {
        let newest = connection.versions().pick::<ProduceRequest>()?;
        let mut topics: Vec<TopicProduceData> = Vec::new();
        let mut places: HashMap<Str, usize> = HashMap::default();
        let mut named = true;
        for (number, id) in batches {
            let slot = &mut self.slots[*number];
            let partition = &slot.partition;
            let place = *places.entry(partition.topic.clone()).or_insert_with(|| {
                let topic_id = self.metadata.topic(&partition.topic).map_or(Uuid::default(), |topic| topic.id);
                named &= topic_id != Uuid::default();
                topics.push(TopicProduceData { name: partition.topic.clone(), topic_id, ..Default::default() });
                topics.len() - 1
            });
            slot.topic_id = topics[place].topic_id;
            let records = slot.queue.batch(*id).and_then(Batch::records);
            let stray = plant::is(Plant::WrongPartition) && slot.queue.failures() > 0;
            let index = if stray { 0 } else { partition.index };
            topics[place].partition_data.push(PartitionProduceData { index, records });
        }
        // Version 13 names topics by id alone, which brokers before 2.8 did not tell.
        let version = if named { newest } else { newest.min(12) };
        let (transactional_id, version) = self.as_transactional(version)?;
        let request = ProduceRequest {
            transactional_id,
            acks: self.core.settings.acks.code(),
            timeout_ms: i32::try_from(self.core.cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics,
        };
        Ok((request, version))
    }

    /// The transactional id, and the version that its transaction allows (T2).
    fn as_transactional(&self, version: i16) -> Result<(Option<Str>, i16)> {
        let Some(driver) = &self.transaction else { return Ok((None, version)) };
        let (id, least, most) = driver.produce();
        if version < least {
            let text =
                format!("the broker has Produce up to version {version}, the cluster's transactions need {least}");
            return Err(Error::new(ErrorKind::UnsupportedVersion, text));
        }
        Ok((Some(id), version.min(most)))
    }

    fn launch(&mut self, broker: BrokerId, batches: Vec<(usize, BatchId)>, reply: Reply, span: Span) {
        let Some(Lane { link: Link::Up(line), .. }) = self.lanes.get_mut(&broker) else { return };
        self.core.metrics.count_launched();
        line.launch(batches, reply, span);
    }

    /// The open connection to a broker; starts a dial if there is none.
    fn connection(&mut self, broker: BrokerId) -> Option<Connection> {
        let lane = self.lanes.get_mut(&broker)?;
        if let Link::Up(Line { connection, .. }) = &lane.link
            && !connection.is_closed()
            && self.core.cluster.leads_to(connection, broker)
        {
            return Some(connection.clone());
        }
        if matches!(lane.link, Link::Down | Link::Up(..)) {
            let before = std::mem::take(&mut lane.link).into_line();
            lane.link = Link::Connecting(before);
            let (cluster, outbox) = (self.core.cluster.clone(), self.outbox.clone());
            tokio::spawn(async move {
                let outcome = cluster.connection(broker, Traffic::Produce).await;
                let again = cluster.dials_again_at(broker, Traffic::Produce);
                let _ = outbox.send(Event::Connected { broker, outcome, again });
            });
        }
        None
    }

    pub(super) fn handle_connected(&mut self, broker: BrokerId, outcome: Result<Connection>, again: Option<Instant>) {
        let Some(lane) = self.lanes.get_mut(&broker) else { return };
        match outcome {
            Ok(connection) => {
                let before = std::mem::take(&mut lane.link).into_line();
                lane.link = Link::Up(before.filter(|line| line.connection.is(&connection)).unwrap_or_else(|| {
                    lane.lines += 1;
                    let (outbox, metrics) = (self.outbox.clone(), self.core.metrics.clone());
                    Line::new((broker, lane.lines), connection, self.core.settings.max_in_flight, outbox, metrics)
                }));
                // It was held back for answers that the connection before may owe for long.
                self.release(broker);
            }
            Err(error) => self.handle_unreachable(broker, error, again),
        }
    }

    /// A broker cannot be reached: its partitions may have moved, and the next dial has to wait until `again`.
    fn handle_unreachable(&mut self, broker: BrokerId, error: Error, again: Option<Instant>) {
        tracing::debug!(%broker, %error, "cannot connect to produce");
        let Some(lane) = self.lanes.get_mut(&broker) else { return };
        lane.link = Link::Waiting;
        for number in &lane.ready {
            self.slots[*number].last_error = Some(error.clone());
        }
        self.core.cluster.request_refresh();
        let (outbox, again) = (self.outbox.clone(), again.unwrap_or_else(|| Instant::now() + self.wait_after(1)));
        tokio::spawn(async move {
            tokio::time::sleep_until(again).await;
            let _ = outbox.send(Event::Retry(broker));
        });
    }

    /// A broker asks to be left alone for a while.
    pub(super) fn handle_throttle(&mut self, broker: BrokerId, address: Arc<str>, time: Duration) {
        let Some(lane) = self.lanes.get_mut(&broker).filter(|_| !time.is_zero()) else { return };
        self.core.metrics.count_throttle(time);
        if matches!(&lane.link, Link::Up(line) if line.connection.peer().address != address) {
            return;
        }
        let until = Instant::now() + time.min(MAX_THROTTLE);
        let before = lane.quiet.take().filter(|(quiet, before)| *quiet == address && *before > until);
        lane.quiet = Some(before.unwrap_or((address, until)));
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            // The turn that follows sends what has waited.
            let _ = outbox.send(Event::Unthrottled);
        });
    }

    /// Brokers that have joined, or moved, are dialled at once. Whatever the machine before owes, what is held back for its
    /// answers can go to the new one.
    pub(super) fn handle_newcomers(&mut self, before: &Metadata) {
        let is_new = |broker: &&BrokerId| {
            let node = self.metadata.node(**broker);
            node.is_some() && node != before.node(**broker)
        };
        let newcomers: Vec<BrokerId> = self.lanes.keys().filter(is_new).copied().collect();
        for broker in newcomers {
            self.handle_retry(broker);
            self.release(broker);
        }
    }

    /// The wait after a failed dial is over. Partitions that moved meanwhile go where they belong.
    pub(super) fn handle_retry(&mut self, broker: BrokerId) {
        let Some(lane) = self.lanes.get_mut(&broker).filter(|lane| matches!(lane.link, Link::Waiting)) else { return };
        lane.link = Link::Down;
        for number in std::mem::take(&mut lane.ready) {
            self.slots[number].listed = Listed::Nowhere;
            self.list(number);
        }
        self.note_idle(broker);
    }
}

impl Batch {
    /// Sums the checksum over this stamp, unless the last attempt had the same.
    fn stamp(&mut self, stamp: Option<Stamp>) {
        if self.header.as_ref().is_some_and(|(before, _)| *before == stamp) {
            return;
        }
        let header = match stamp {
            Some(stamp) => self.sealed.stamp(stamp.producer.id, stamp.producer.epoch, stamp.sequence),
            None => self.sealed.stamp(-1, -1, -1),
        };
        self.header = Some((stamp, header));
    }

    fn records(&self) -> Option<Records> {
        let (_, header) = self.header.as_ref()?;
        Some(Records::from_pieces(self.sealed.pieces(header.clone())))
    }
}

#[cfg(test)]
mod tests;
