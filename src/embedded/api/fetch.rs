//! Fetch: reads what there is, or waits for it.
//!
//! Rules this file keeps:
//! - batches go out whole; the first one of a reply goes out however large it is, else no reader could pass it;
//! - a reader without enough data sleeps until an append wakes it or its time is up, and costs nothing meanwhile;
//! - no session is ever opened: session id 0 in the reply means just that (KIP-227).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, FetchRequest, FetchResponse, ProducerId,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
    },
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Call, Serve};
use crate::embedded::{
    isolation::Aborted,
    log::Read,
    reply::{Body, Unanswered},
    topics::Topic,
};

impl Serve for FetchRequest {
    fn names(&self, call: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| {
            if call.version >= 13 {
                call.shared.topics.by_id(&wanted.topic_id).is_some_and(|known| known.name == topic)
            } else {
                wanted.topic.as_str() == topic
            }
        })
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        if self.session_id != 0 {
            let error = ResponseError::FetchSessionIdNotFound.code();
            return call.encode(&call.fetch_response().with_error_code(error));
        }
        let wait = Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0)).min(LONGEST_WAIT);
        let deadline = Instant::now() + wait;
        let max_bytes = usize::try_from(self.max_bytes).unwrap_or(0).min(call.shared.settings.max_fetch_bytes);
        let enough = usize::try_from(self.min_bytes).unwrap_or(0).min(max_bytes);
        let reader = Arc::new(Notify::new());
        loop {
            let found = call.gather(&self, max_bytes, &reader);
            let ready = found.bytes >= enough || found.failed || found.topics.is_empty();
            if ready || Instant::now() >= deadline {
                return call.write(found).map(Some);
            }
            // Woken or timed out, the next round finds out what there is.
            let _ = timeout_at(deadline, reader.notified()).await;
        }
    }
}

/// What a round over the wanted partitions found.
struct Found {
    topics: Vec<(FetchableTopicResponse, Vec<(PartitionData, Read)>)>,
    bytes: usize,
    failed: bool,
}

/// The offsets that an answer tells of a partition.
struct Limits {
    start: i64,
    end: i64,
    last_stable: i64,
    /// Whose records in the answer are to be skipped. None unless committed records were asked for.
    aborted: Option<Vec<Aborted>>,
}

impl Limits {
    fn tell(self, partition: PartitionData) -> PartitionData {
        let aborted = self.aborted.map(|aborted| {
            let one = |aborted: &Aborted| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(aborted.producer_id))
                    .with_first_offset(aborted.first_offset)
            };
            aborted.iter().map(one).collect()
        });
        partition
            .with_high_watermark(self.end)
            .with_last_stable_offset(self.last_stable)
            .with_log_start_offset(self.start)
            .with_aborted_transactions(aborted)
    }
}

impl Call {
    fn fetch_response(&self) -> FetchResponse {
        FetchResponse::default().with_throttle_time_ms(self.throttle_ms())
    }

    /// Reads every partition once and registers `reader` with it.
    fn gather(&self, request: &FetchRequest, max_bytes: usize, reader: &Arc<Notify>) -> Found {
        let mut found = Found { topics: Vec::with_capacity(request.topics.len()), bytes: 0, failed: false };
        for wanted in &request.topics {
            let topic = self.fetched_topic(wanted);
            let partitions = wanted
                .partitions
                .iter()
                .map(|partition| {
                    let left = max_bytes.saturating_sub(found.bytes);
                    let first = found.bytes == 0;
                    let result = topic.as_ref().map_err(|error| error.code()).and_then(|topic| {
                        self.fetch_partition(topic, partition, request.isolation_level, left, first, reader)
                    });
                    let head = PartitionData::default()
                        .with_partition_index(partition.partition)
                        .with_preferred_read_replica(BrokerId(-1))
                        .with_aborted_transactions(None)
                        .with_records(Some(Bytes::new()));
                    match result {
                        Ok((limits, read)) => {
                            found.bytes += read.bytes;
                            (limits.tell(head), read)
                        }
                        Err(code) => {
                            found.failed = true;
                            let head = head.with_error_code(code).with_high_watermark(-1);
                            (head.with_last_stable_offset(-1).with_log_start_offset(-1), Read::default())
                        }
                    }
                })
                .collect();
            let head =
                FetchableTopicResponse::default().with_topic(wanted.topic.clone()).with_topic_id(wanted.topic_id);
            found.topics.push((head, partitions));
        }
        found
    }

    fn fetched_topic(&self, wanted: &FetchTopic) -> Result<Arc<Topic>, ResponseError> {
        if self.version >= 13 {
            self.shared.topics.by_id(&wanted.topic_id).ok_or(ResponseError::UnknownTopicId) // KIP-516
        } else {
            self.shared.topics.by_name(&wanted.topic).ok_or(ResponseError::UnknownTopicOrPartition)
        }
    }

    /// The limits and the batches of one partition.
    fn fetch_partition(
        &self,
        topic: &Topic,
        wanted: &FetchPartition,
        isolation_level: i8,
        left: usize,
        first: bool,
        reader: &Arc<Notify>,
    ) -> Result<(Limits, Read), i16> {
        if let Some(code) = self.forced(&topic.name) {
            return Err(code);
        }
        let partition = topic.partition(wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition.code())?;
        let mut log = partition.log();
        partition.check_leader(self.broker, wanted.current_leader_epoch).map_err(|error| error.code())?;
        let limit = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left);
        let committed = isolation_level == READ_COMMITTED;
        let until = if committed { log.last_stable_offset() } else { log.end_offset() };
        let read = log.read(wanted.fetch_offset, until, limit, first).map_err(|error| error.code())?;
        log.wait(reader);
        let aborted = committed.then(|| log.aborted_in(wanted.fetch_offset, read.end_offset));
        let (start, end, last_stable) = (log.start_offset(), log.end_offset(), log.last_stable_offset());
        Ok((Limits { start, end, last_stable, aborted }, read))
    }

    /// Writes the reply around the stored batches, see [`Body::put_open`].
    fn write(&self, found: Found) -> Result<Body, Unanswered> {
        let (version, flexible) = (self.version, self.version >= 12);
        let mut body = Body::default();
        body.put_open(&self.fetch_response(), version, flexible, found.topics.len())?;
        for (topic, partitions) in found.topics {
            body.put_open(&topic, version, flexible, partitions.len())?;
            for (partition, mut read) in partitions {
                if let Some(records) = self.records.as_ref().filter(|_| read.bytes > 0) {
                    read = Read { bytes: records.len(), pieces: vec![records.clone()], ..read };
                }
                if let (true, Some(last)) = (self.corrupt, read.pieces.last_mut()) {
                    *last = damaged(last);
                }
                body.put_open(&partition, version, flexible, read.bytes)?;
                read.pieces.into_iter().for_each(|piece| body.splice(piece));
                body.end(flexible);
            }
            body.end(flexible);
        }
        body.end(flexible);
        Ok(body)
    }
}

/// A copy with its last byte wrong: the checksum of the batch does not fit any more.
fn damaged(piece: &Bytes) -> Bytes {
    let mut copy = piece.to_vec();
    if let Some(byte) = copy.last_mut() {
        *byte ^= 0x10;
    }
    copy.into()
}

/// The isolation level that sees no record of an open or aborted transaction.
const READ_COMMITTED: i8 = 1;

/// No reader waits longer than this, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
