//! What the sender knows of one partition, and a batch on its way.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::Span;

use crate::{
    error::Error,
    machine::{
        metadata::Metadata,
        queue::{Queue, Stamp},
    },
    record::SealedBatch,
    wire::Uuid,
};

use super::{compressor::Codec, delivery::Settler, metrics::Tally, partition::Partition};

/// What the task knows of one partition.
pub(super) struct Slot {
    pub(super) partition: Arc<Partition>,
    pub(super) queue: Queue<Batch>,
    /// Its open batch has waited long enough.
    pub(super) due: bool,
    /// Where it stands in its broker's lists.
    pub(super) listed: Listed,
    /// The id under which its topic was asked for last: answers name it by that one, whatever was learnt since.
    pub(super) topic_id: Uuid,
    /// The id of the topic whose log its sequence numbers count in; zero before Kafka 2.8.
    pub(super) log_id: Uuid,
    /// The last error that one of its batches met since one was written.
    pub(super) last_error: Option<Error>,
    pub(super) codec: Codec,
    /// Where its topic is counted by itself, if that is asked for.
    pub(super) tally: Option<Arc<Tally>>,
    pub(super) armed: Option<Instant>,
    /// When its last batch was begun, or the partition was met.
    pub(super) last_used: Instant,
}

/// Whether a partition waits for its broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Nowhere,
    /// To be looked at as soon as a request may be sent.
    Ready,
    /// It has an open batch and nothing else, for which no request of its own is opened now.
    Held,
}

/// A sealed batch and who waits for it.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) sealed: SealedBatch,
    pub(super) cell: Settler,
    pub(super) reserved: usize,
    /// Before compression.
    pub(super) raw_len: usize,
    /// When its first record came.
    pub(super) created: Instant,
    /// When it was first sent.
    pub(super) sent: Option<Instant>,
    pub(super) span: Span,
    /// The header of its last attempt; the checksum is not summed again for the same stamp.
    pub(super) header: Option<(Option<Stamp>, Bytes)>,
}

impl Slot {
    /// Notices when the topic was made again: a name with another id is another topic (KIP-516).
    /// With `goes_on` it is no affair of the transaction that is open.
    pub(super) fn learn_id(&mut self, metadata: &Metadata, goes_on: bool) {
        let id = metadata.topic(&self.partition.topic).map(|topic| topic.id);
        let Some(id) = id.filter(|id| *id != Uuid::default()) else { return };
        let before = std::mem::replace(&mut self.log_id, id);
        if before != id && before != Uuid::default() {
            tracing::debug!(topic = %self.partition.topic, %before, now = %id, "the topic was made again");
            self.queue.handle_recreated(goes_on);
        }
    }
}
