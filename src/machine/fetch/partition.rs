//! One assigned partition: where it stands, who leads it, what of it is buffered.
//!
//! Rules this file keeps:
//! - at most one ticket is open per partition, and every move of the position from outside closes it;
//! - a leader of an older epoch than the known one is not believed (C6).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
    vec,
};

use crate::{
    error::{Error, ErrorKind},
    types::{BrokerId, Offset, TopicPartition},
    wire::Uuid,
};

use super::{FetchConfig, FetchPart, Piece, StartFrom};

/// A slot of the assignment as it was at one time: a seek or a new owner of the slot makes it stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) slot: usize,
    pub(crate) epoch: u64,
}

/// What metadata says about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) broker: Option<BrokerId>,
    /// −1: the broker is too old to say.
    pub(crate) epoch: i32,
    /// Zero: the broker is too old to say.
    pub(crate) topic_id: Uuid,
}

/// The ends of a partition's log, as a fetch reply told them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Watermarks {
    /// The offset behind the last record that is replicated.
    pub(crate) high: Offset,
    /// The offset behind the last record that no open transaction holds back.
    pub(crate) stable: Offset,
    /// The first offset of the log.
    pub(crate) start: Offset,
}

/// See the diagram in `fetch.rs`.
#[derive(Debug)]
pub(super) enum State {
    /// The offset that belongs to `timestamp` is not known yet.
    Locating { timestamp: i64, flight: Option<u64> },
    /// `next` is the offset to be fetched next; what lies before it is buffered or delivered.
    Fetching { next: Offset, flight: Option<u64> },
    /// Nothing more is fetched until a seek.
    Halted(Error),
}

/// The batches that one reply brought.
#[derive(Debug)]
pub(super) struct Chunk<B> {
    /// The offset that had been asked for.
    pub(super) start: Offset,
    pub(super) pieces: vec::IntoIter<Piece<B>>,
}

#[derive(Debug)]
pub(super) struct Partition<B> {
    pub(super) name: TopicPartition,
    pub(super) epoch: u64,
    pub(super) paused: bool,
    pub(super) state: State,
    pub(super) chunks: VecDeque<Chunk<B>>,
    /// The bytes of the batch that is being decoded for delivery.
    pub(super) held: Option<usize>,
    /// The offset behind the last batch delivered.
    pub(super) delivered: Offset,
    /// Where a damaged batch was met, if nothing was delivered since.
    pub(super) suspect: Option<Offset>,
    pub(super) watermarks: Option<Watermarks>,
    pub(super) leader: Option<BrokerId>,
    pub(super) leader_epoch: i32,
    pub(super) topic_id: Uuid,
    /// The replica that the leader told us to read from, and until when (KIP-392).
    pub(super) follower: Option<(BrokerId, Instant)>,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// When to ask for metadata.
    pub(super) refresh_at: Option<Instant>,
    pub(super) refreshes: u32,
    /// Since when, and why, nothing has worked.
    pub(super) trouble: Option<(Instant, Option<Error>)>,
    /// `max.partition.fetch.bytes` is doubled this often, because not even one whole batch came.
    pub(super) widened: u32,
}

impl<B> Partition<B> {
    pub(super) fn new(name: TopicPartition, epoch: u64, start: StartFrom, now: Instant) -> Self {
        let mut partition = Self {
            name,
            epoch,
            paused: false,
            state: State::Locating { timestamp: super::BEGINNING, flight: None },
            chunks: VecDeque::new(),
            held: None,
            delivered: 0,
            suspect: None,
            watermarks: None,
            leader: None,
            leader_epoch: -1,
            topic_id: Uuid::default(),
            follower: None,
            failures: 0,
            retry_at: None,
            refresh_at: Some(now),
            refreshes: 0,
            trouble: Some((now, None)),
            widened: 0,
        };
        partition.start(start);
        partition
    }

    fn start(&mut self, from: StartFrom) {
        match from.resolve() {
            Ok(offset) => self.move_to(offset),
            Err(timestamp) => self.state = State::Locating { timestamp, flight: None },
        }
    }

    /// The buffer is empty: the position is `offset`, and so is what is fetched next.
    fn move_to(&mut self, offset: Offset) {
        self.state = State::Fetching { next: offset, flight: None };
        self.delivered = offset;
    }

    pub(super) fn seek(&mut self, now: Instant, epoch: u64, to: StartFrom) {
        self.epoch = epoch;
        self.suspect = None;
        (self.failures, self.retry_at, self.widened) = (0, None, 0);
        if self.leader.is_none() && self.refresh_at.is_none() {
            self.refresh_at = Some(now);
        }
        self.start(to);
    }

    /// Asks for the offset of `timestamp`; the position stays until all that is buffered is delivered.
    pub(super) fn locate(&mut self, now: Instant, timestamp: i64) {
        self.state = State::Locating { timestamp, flight: None };
        self.trouble.get_or_insert((now, None));
    }

    /// The lookup answered. What was fetched before it is still to be delivered first.
    pub(super) fn located(&mut self, offset: Offset) {
        if self.has_buffer() {
            self.state = State::Fetching { next: offset, flight: None };
        } else {
            self.move_to(offset);
        }
    }

    /// Fetches from `offset` again, not before `retry_at`.
    pub(super) fn rewind(&mut self, offset: Offset, retry_at: Instant) {
        self.move_to(offset);
        self.retry_at = Some(retry_at);
    }

    pub(super) fn position(&self) -> Option<Offset> {
        match &self.state {
            _ if self.has_buffer() => Some(self.delivered),
            State::Locating { .. } => None,
            State::Fetching { next, .. } => Some(*next),
            State::Halted(_) => Some(self.delivered),
        }
    }

    pub(super) fn has_buffer(&self) -> bool {
        self.held.is_some() || !self.chunks.is_empty()
    }

    /// Empties the buffer; returns the bytes that it held.
    pub(super) fn drop_buffer(&mut self) -> usize {
        let chunks = std::mem::take(&mut self.chunks);
        let waiting: usize = chunks.iter().flat_map(|chunk| chunk.pieces.as_slice()).map(|piece| piece.bytes).sum();
        waiting + self.held.take().unwrap_or(0)
    }

    /// The broker to fetch from: the follower that the leader named, or else the leader.
    pub(super) fn source(&self) -> Option<BrokerId> {
        self.follower.map(|(broker, _)| broker).or(self.leader)
    }

    pub(super) fn fetch_due(&self, now: Instant, broker: BrokerId) -> bool {
        matches!(self.state, State::Fetching { flight: None, .. })
            && !self.paused
            && self.source() == Some(broker)
            && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The broker to ask for an offset, if one is to be asked now. Lookups go to the leader only.
    pub(super) fn lookup_due(&self, now: Instant) -> Option<BrokerId> {
        let wanted = matches!(self.state, State::Locating { flight: None, .. });
        self.leader.filter(|_| wanted && self.retry_at.is_none_or(|at| at <= now))
    }

    pub(super) fn open_fetch(&mut self, slot: usize, ticket: u64, limit: usize) -> Option<FetchPart> {
        let State::Fetching { next, flight } = &mut self.state else { return None };
        *flight = Some(ticket);
        Some(FetchPart {
            slot,
            name: self.name.clone(),
            topic_id: self.topic_id,
            offset: *next,
            leader_epoch: self.leader_epoch,
            max_bytes: limit.saturating_mul(1 << self.widened).min(WIDEST),
        })
    }

    /// Whether the name now belongs to another topic than the one we read from.
    pub(super) fn is_another_topic(&self, id: Uuid) -> bool {
        let unknown = Uuid::default();
        self.topic_id != unknown && id != unknown && self.topic_id != id
    }

    /// Believes `leader`, unless it is older than what we know.
    pub(super) fn learn_leader(&mut self, now: Instant, leader: &Leader, backoff: Duration) {
        if self.is_another_topic(leader.topic_id) {
            (self.leader, self.leader_epoch, self.watermarks) = (None, -1, None);
        }
        if leader.epoch >= 0 && leader.epoch < self.leader_epoch {
            return;
        }
        if leader.topic_id != Uuid::default() {
            self.topic_id = leader.topic_id;
        }
        self.refresh_at = match leader.broker {
            Some(_) => None,
            None => Some(self.refresh_at.filter(|at| *at > now).unwrap_or(now + backoff)),
        };
        let moved = leader.broker != self.leader;
        let newer = leader.epoch > self.leader_epoch;
        // Another leader of whom no epoch is told (C3): the one we know is not its own, and would be refused as too old.
        let forgets = moved && leader.broker.is_some() && leader.epoch < 0;
        self.leader_epoch = if forgets { -1 } else { leader.epoch.max(self.leader_epoch) };
        self.leader = leader.broker;
        if moved {
            self.follow_leader(now);
        } else if newer {
            self.retry_at = None;
        }
    }

    /// The leader is another broker: what the old one still answers is void, the position is not.
    fn follow_leader(&mut self, now: Instant) {
        match &mut self.state {
            State::Locating { flight, .. } | State::Fetching { flight, .. } => *flight = None,
            State::Halted(_) => return,
        }
        (self.follower, self.retry_at) = (None, None);
        if self.leader.is_none() {
            self.trouble.get_or_insert((now, None));
        }
    }

    /// Asks for metadata: at once the first time, then at growing distances until something succeeds.
    pub(super) fn want_metadata(&mut self, now: Instant, config: &FetchConfig) {
        let wait = if self.refreshes == 0 { Duration::ZERO } else { config.pause(self.refreshes) };
        self.refresh_at.get_or_insert(now + wait);
    }

    pub(super) fn succeeded(&mut self) {
        (self.failures, self.refreshes, self.retry_at, self.trouble) = (0, 0, None, None);
    }

    /// When this partition needs the clock.
    pub(super) fn timeout(&self, patience: Duration) -> Option<Instant> {
        let trouble = self.trouble.as_ref().map(|(since, _)| *since + patience);
        let follower = self.follower.map(|(_, until)| until);
        let active = !matches!(self.state, State::Halted(_)) && !self.paused;
        [self.retry_at, self.refresh_at, trouble, follower].into_iter().flatten().min().filter(|_| active)
    }

    /// The error to tell when nothing has worked for too long. Trying goes on, and so does counting.
    pub(super) fn impatience(&mut self, now: Instant, patience: Duration) -> Option<Error> {
        let (since, cause) = self.trouble.as_mut().filter(|(since, _)| !self.paused && *since + patience <= now)?;
        *since = now;
        Some(cause.clone().unwrap_or_else(|| {
            let text = format!("{}: no broker has said for {patience:?} that it leads this partition", self.name);
            Error::new(ErrorKind::UnknownTopic, text)
        }))
    }
}

/// The widest a partition's limit grows to; far above any batch a broker accepts by default.
const WIDEST: usize = 1 << 30;
