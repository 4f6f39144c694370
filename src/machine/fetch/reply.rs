//! What a broker's reply does to a partition: data, and the meaning of each error code.
//!
//! Rules this file keeps:
//! - the caller has closed the ticket: a stale reply never gets here;
//! - an error asks for metadata, for the leader, for the reset policy or for the user, never for a new position;
//! - nothing is retried without a pause, except with news: another replica, another leader, a wider limit.

use std::time::Instant;

use crate::{
    error::{Error, ErrorKind},
    plant::{self, Plant},
    properties::OffsetReset,
    types::{BrokerId, Offset},
    wire::ErrorCode,
};

use super::{
    BEGINNING, END, Fetcher,
    partition::{Chunk, Leader, State, Watermarks},
};

/// One fetched batch, as its header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece<B> {
    pub(crate) base_offset: Offset,
    /// The offset behind the batch, which may lie behind its last record if that was compacted away.
    pub(crate) next_offset: Offset,
    /// Its size in the response.
    pub(crate) bytes: usize,
    pub(crate) batch: B,
}

/// What a Fetch response says about one partition.
#[derive(Debug)]
pub(crate) struct FetchReply<B> {
    pub(crate) slot: usize,
    pub(crate) error: ErrorCode,
    pub(crate) watermarks: Watermarks,
    /// The leader, where the broker knows better than we (KIP-951).
    pub(crate) leader: Option<Leader>,
    /// The replica to read from instead (KIP-392).
    pub(crate) follower: Option<BrokerId>,
    /// The whole batches of the reply.
    pub(crate) pieces: Vec<Piece<B>>,
    /// The size of the record bytes, the cut-off last batch included.
    pub(crate) bytes: usize,
}

/// What a ListOffsets response says about one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetReply {
    pub(crate) slot: usize,
    pub(crate) error: ErrorCode,
    /// −1: no record is that young.
    pub(crate) offset: Offset,
}

impl<B> Fetcher<B> {
    pub(super) fn apply(&mut self, now: Instant, from: BrokerId, reply: FetchReply<B>) {
        if reply.error != ErrorCode::NONE {
            return self.apply_error(now, from, reply);
        }
        let slot = reply.slot;
        let age = self.config.follower_age;
        let Some(partition) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        partition.succeeded();
        partition.watermarks = Some(reply.watermarks);
        if let Some(follower) = reply.follower {
            partition.follower = Some((follower, now + age));
        }
        let State::Fetching { next, .. } = &mut partition.state else { return };
        let start = *next;
        let cut_off = reply.pieces.is_empty() && reply.bytes > 0;
        let stale = !reply.pieces.is_empty();
        let pieces: Vec<_> = reply.pieces.into_iter().filter(|piece| piece.next_offset > start).collect();
        let Some(last) = pieces.last() else {
            return self.apply_nothing(now, slot, cut_off, stale);
        };
        *next = last.next_offset;
        partition.widened = 0;
        self.buffered += pieces.iter().map(|piece| piece.bytes).sum::<usize>();
        partition.chunks.push_back(Chunk { start, pieces: pieces.into_iter() });
        self.ready.push_back(slot);
        self.first = slot + 1;
    }

    /// No batch came that leads further: none at all (the end of the log), a part of one (the limit was too small for
    /// it), or only older ones (which no broker should send).
    fn apply_nothing(&mut self, now: Instant, slot: usize, cut_off: bool, stale: bool) {
        if stale {
            return self.retry(now, slot, None);
        }
        if !cut_off {
            return;
        }
        let Some(partition) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        partition.widened = (partition.widened + 1).min(MOST_WIDENED);
        partition.retry_at = (partition.widened == MOST_WIDENED).then_some(now + self.config.backoff_max);
    }

    fn apply_error(&mut self, now: Instant, from: BrokerId, reply: FetchReply<B>) {
        let slot = reply.slot;
        let Some(partition) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        let error = Error::broker(reply.error, format_args!("fetching {}", partition.name));
        if partition.leader != Some(from) {
            // Whatever a follower has against us, the leader decides (C4). At once: that is another broker.
            partition.follower = None;
            return;
        }
        if reply.error == ErrorCode::OFFSET_OUT_OF_RANGE {
            return self.apply_out_of_range(now, slot, error);
        }
        if let Some(leader) =
            reply.leader.filter(|leader| leader.broker.is_some() && leader.epoch > partition.leader_epoch)
        {
            partition.learn_leader(now, &leader, self.config.backoff);
            partition.want_metadata(now, &self.config);
            return;
        }
        self.apply_code(now, slot, reply.error, error);
    }

    fn apply_out_of_range(&mut self, now: Instant, slot: usize, error: Error) {
        let Some(partition) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        match self.config.reset {
            _ if plant::is(Plant::SkipOutOfRange) => partition.locate(now, END),
            OffsetReset::Earliest => partition.locate(now, BEGINNING),
            OffsetReset::Latest => partition.locate(now, END),
            OffsetReset::None => self.halt(slot, error),
        }
    }

    pub(super) fn apply_offset(&mut self, now: Instant, reply: OffsetReply) {
        let Some(partition) = self.slots.get_mut(reply.slot).and_then(Option::as_mut) else { return };
        if reply.error != ErrorCode::NONE {
            let error = Error::broker(reply.error, format_args!("looking up an offset of {}", partition.name));
            return self.apply_code(now, reply.slot, reply.error, error);
        }
        partition.succeeded();
        if reply.offset >= 0 {
            partition.located(reply.offset);
        } else {
            // No record is that young: the next one to be written will be.
            partition.locate(now, END);
        }
    }

    fn apply_code(&mut self, now: Instant, slot: usize, code: ErrorCode, error: Error) {
        if code.refreshes_metadata() || code.is_retriable() || code == ErrorCode::UNKNOWN_SERVER_ERROR {
            self.retry(now, slot, Some(error));
            let config = &self.config;
            if let Some(partition) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                partition.want_metadata(now, config);
            }
        } else {
            self.halt(slot, error);
        }
    }

    /// No broker judged the request. The leader may have moved, so metadata is asked for as well.
    pub(super) fn fail_on_the_way(&mut self, now: Instant, slot: usize, error: &Error) {
        self.retry(now, slot, Some(error.clone()));
        let config = &self.config;
        let Some(partition) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        partition.want_metadata(now, config);
        partition.follower = None;
        // These rarely heal by themselves, so they are told at once; trying goes on all the same.
        let stubborn =
            matches!(error.kind(), ErrorKind::UnsupportedVersion | ErrorKind::Authentication | ErrorKind::Tls);
        if stubborn && partition.failures == 1 {
            self.notices.push_back(error.clone());
        }
    }

    pub(super) fn retry(&mut self, now: Instant, slot: usize, error: Option<Error>) {
        let config = &self.config;
        let Some(partition) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        partition.failures = partition.failures.saturating_add(1);
        partition.retry_at = Some(now + config.pause(partition.failures));
        let trouble = partition.trouble.get_or_insert((now, None));
        trouble.1 = error.or(trouble.1.take());
    }
}

/// Ten doublings of 1 MiB: no broker accepts such a batch.
const MOST_WIDENED: u32 = 10;
