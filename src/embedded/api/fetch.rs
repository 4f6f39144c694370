//! Fetch: reads what there is, or waits for it.
//!
//! Rules this file keeps:
//! - batches go out whole; the first one of a reply goes out however large it is, else no reader could pass it;
//! - a reader without enough data sleeps until an append wakes it or its time is up, and costs nothing meanwhile;
//! - what a session leaves out of an answer is decided by `fetch_sessions.rs` alone, after everything was read.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, FetchRequest, FetchResponse, ProducerId, TopicName,
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
        },
    },
    protocol::StrBytes,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{Call, Serve};
use crate::embedded::{
    fetch_sessions::{Asked, Begun, FetchSessions, Key, Told, Wanted},
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
        }) || call.sessions(|sessions| {
            sessions.reads(self.session_id, |name, id| {
                name.as_str() == topic || call.shared.topics.by_id(id).is_some_and(|known| known.name == topic)
            })
        })
    }

    async fn serve(mut self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let asked = call.asked(&mut self);
        let begun = match call.sessions(|sessions| sessions.begin(Instant::now(), asked)) {
            Ok(begun) => begun,
            Err(error) => return call.encode(&call.fetch_response().with_error_code(error.code())),
        };
        let wait = Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or(0)).min(LONGEST_WAIT);
        let deadline = Instant::now() + wait;
        let max_bytes = usize::try_from(self.max_bytes).unwrap_or(0).min(call.shared.settings.max_fetch_bytes);
        let enough = usize::try_from(self.min_bytes).unwrap_or(0).min(max_bytes);
        let reader = Arc::new(Notify::new());
        loop {
            let found = call.gather(&begun, self.isolation_level, max_bytes, &reader);
            let ready = found.bytes >= enough || found.urgent || found.partitions.is_empty();
            if ready || Instant::now() >= deadline {
                return call.conclude(&begun, found).map(Some);
            }
            // Woken or timed out, the next round finds out what there is.
            let _ = timeout_at(deadline, reader.notified()).await;
        }
    }
}

/// A topic as it was named, and what it is.
type Resolved<'a> = (&'a TopicName, Uuid, Result<Arc<Topic>, ResponseError>);

/// What a round over the wanted partitions found.
struct Found {
    partitions: Vec<(PartitionData, Read)>,
    bytes: usize,
    /// Whether there is an error or a diverging epoch, which no reader shall wait for.
    urgent: bool,
}

/// The offsets that an answer tells of a partition.
struct Limits {
    start: i64,
    end: i64,
    last_stable: i64,
    /// Whose records in the answer are to be skipped. None unless committed records were asked for.
    aborted: Option<Vec<Aborted>>,
    /// Where what the reader has and what is here part (KIP-595).
    diverging: Option<(i32, i64)>,
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
        let (epoch, end_offset) = self.diverging.unwrap_or((-1, -1));
        partition
            .with_high_watermark(self.end)
            .with_last_stable_offset(self.last_stable)
            .with_log_start_offset(self.start)
            .with_aborted_transactions(aborted)
            .with_diverging_epoch(EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset))
    }
}

impl Call {
    fn fetch_response(&self) -> FetchResponse {
        FetchResponse::default().with_throttle_time_ms(if self.version >= 1 { self.throttle_ms() } else { 0 })
    }

    /// Does something with the sessions of this broker.
    fn sessions<T>(&self, act: impl FnOnce(&mut FetchSessions) -> T) -> T {
        let mut sessions = self.shared.fetch_sessions.lock().unwrap_or_else(PoisonError::into_inner);
        act(sessions.entry(self.broker).or_default())
    }

    /// What the request says about its session; its topics are taken out of it.
    fn asked(&self, request: &mut FetchRequest) -> Asked {
        let wanted = std::mem::take(&mut request.topics).into_iter().flat_map(|topic| {
            let (name, topic_id) = (topic.topic, topic.topic_id);
            topic.partitions.into_iter().map(move |partition| Wanted { topic: name.clone(), topic_id, partition })
        });
        let forgotten = std::mem::take(&mut request.forgotten_topics_data).into_iter().flat_map(|topic| {
            let (name, topic_id) = (topic.topic, topic.topic_id);
            topic.partitions.into_iter().map(move |partition| Key { topic: name.clone(), topic_id, partition })
        });
        Asked {
            session_id: request.session_id,
            session_epoch: request.session_epoch,
            by_id: self.version >= 13,
            wanted: wanted.collect(),
            forgotten: forgotten.collect(),
        }
    }

    /// Reads every partition once and registers `reader` with it.
    fn gather(&self, begun: &Begun, isolation_level: i8, max_bytes: usize, reader: &Arc<Notify>) -> Found {
        let mut found = Found { partitions: Vec::with_capacity(begun.wanted.len()), bytes: 0, urgent: false };
        let mut topic: Option<Resolved<'_>> = None;
        for wanted in &begun.wanted {
            if topic.as_ref().is_none_or(|(name, id, _)| **name != wanted.topic || *id != wanted.topic_id) {
                topic = Some((&wanted.topic, wanted.topic_id, self.fetched_topic(wanted)));
            }
            let known = topic.as_ref().map_or(Err(ResponseError::UnknownTopicId), |(_, _, known)| known.clone());
            let limits = (isolation_level, max_bytes.saturating_sub(found.bytes), found.bytes == 0);
            let head = PartitionData::default()
                .with_partition_index(wanted.partition.partition)
                .with_preferred_read_replica(BrokerId(-1))
                .with_aborted_transactions(None)
                .with_records(Some(Bytes::new()));
            let result = known
                .as_ref()
                .map_err(|error| error.code())
                .and_then(|topic| self.fetch_partition(topic, wanted, limits, reader));
            found.partitions.push(match result {
                Ok((limits, read)) => {
                    found.bytes += read.bytes;
                    found.urgent |= limits.diverging.is_some();
                    (limits.tell(head), read)
                }
                Err(code) => {
                    found.urgent = true;
                    let head = head.with_error_code(code).with_high_watermark(-1).with_last_stable_offset(-1);
                    let leader = known.ok().and_then(|topic| self.hint(&topic, wanted.partition.partition, code));
                    (head.with_log_start_offset(-1).with_current_leader(leader.unwrap_or_default()), Read::default())
                }
            });
        }
        found
    }

    fn fetched_topic(&self, wanted: &Wanted) -> Result<Arc<Topic>, ResponseError> {
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
        wanted: &Wanted,
        (isolation_level, left, first): (i8, usize, bool),
        reader: &Arc<Notify>,
    ) -> Result<(Limits, Read), i16> {
        if let Some(code) = self.forced(&topic.name) {
            return Err(code);
        }
        let wanted = &wanted.partition;
        let partition = topic.partition(wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition.code())?;
        let mut log = partition.log();
        partition.check_leader(self.broker, wanted.current_leader_epoch).map_err(|error| error.code())?;
        let committed = isolation_level == READ_COMMITTED;
        let (start, end, last_stable) = (log.start_offset(), log.end_offset(), log.last_stable_offset());
        let diverging = log.diverging(wanted.last_fetched_epoch, wanted.fetch_offset);
        if let Some(diverging) = diverging.map_err(|error| error.code())? {
            let limits = Limits { start, end, last_stable, aborted: None, diverging: Some(diverging) };
            return Ok((limits, Read::default()));
        }
        let limit = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(left);
        let until = if committed { last_stable } else { end };
        let read = log.read(wanted.fetch_offset, until, limit, first).map_err(|error| error.code())?;
        log.wait(reader);
        let aborted = committed.then(|| log.aborted_in(wanted.fetch_offset, read.end_offset));
        Ok((Limits { start, end, last_stable, aborted, diverging: None }, read))
    }

    /// Who leads the partition, for a reader that asked the wrong broker or in the wrong epoch (KIP-951).
    fn hint(&self, topic: &Topic, index: i32, code: i16) -> Option<LeaderIdAndEpoch> {
        let wrong = [ResponseError::NotLeaderOrFollower.code(), ResponseError::FencedLeaderEpoch.code()];
        if self.version < 16 || !wrong.contains(&code) || self.forced(&topic.name).is_some() {
            return None;
        }
        let (leader, epoch) = self.leader_of(topic, index)?;
        Some(LeaderIdAndEpoch::default().with_leader_id(leader).with_leader_epoch(epoch))
    }

    /// Ends the fetch: leaves out what the session knows already, and writes the rest.
    fn conclude(&self, begun: &Begun, found: Found) -> Result<Body, Unanswered> {
        let told = |(partition, read): &(PartitionData, Read)| Told {
            high_watermark: partition.high_watermark,
            log_start_offset: partition.log_start_offset,
            has_news: read.bytes > 0 || partition.diverging_epoch.end_offset >= 0,
            failed: partition.error_code != 0,
        };
        let told: Vec<Told> = found.partitions.iter().map(told).collect();
        let ended = match self.sessions(|sessions| sessions.end(Instant::now(), begun, &told)) {
            Ok(ended) => ended,
            Err(error) => return Body::of(&self.fetch_response().with_error_code(error.code()), self.version),
        };
        let mut topics: Vec<(FetchableTopicResponse, Vec<(PartitionData, Read)>)> = Vec::new();
        for ((wanted, answer), included) in begun.wanted.iter().zip(found.partitions).zip(ended.included) {
            let same =
                topics.last_mut().filter(|(topic, _)| topic.topic == wanted.topic && topic.topic_id == wanted.topic_id);
            match (included, same) {
                (false, _) => {}
                (true, Some((_, partitions))) => partitions.push(answer),
                (true, None) => {
                    let topic = FetchableTopicResponse::default().with_topic(wanted.topic.clone());
                    topics.push((topic.with_topic_id(wanted.topic_id), vec![answer]));
                }
            }
        }
        self.write(ended.session_id, topics)
    }

    /// Writes the reply around the stored batches, see [`Body::put_open`].
    fn write(
        &self,
        session_id: i32,
        topics: Vec<(FetchableTopicResponse, Vec<(PartitionData, Read)>)>,
    ) -> Result<Body, Unanswered> {
        let (version, flexible) = (self.version, self.version >= 12);
        let leaders = topics.iter().flat_map(|(_, partitions)| partitions);
        let endpoints = self.endpoints(leaders.map(|(partition, _)| partition.current_leader.leader_id)).map(|node| {
            let endpoint = NodeEndpoint::default().with_node_id(BrokerId(node.id)).with_port(node.port.into());
            endpoint.with_host(StrBytes::from_string(node.host))
        });
        let response = self.fetch_response().with_session_id(session_id);
        let with_endpoints = response.clone().with_node_endpoints(endpoints.collect());
        let mut body = Body::default();
        body.put_open(&response, version, flexible, topics.len())?;
        for (topic, partitions) in topics {
            body.put_open(&topic, version, flexible, partitions.len())?;
            for (partition, read) in partitions {
                self.write_partition(&mut body, &partition, read)?;
            }
            body.end(flexible);
        }
        body.end_like(&with_endpoints, &response, version, flexible)?;
        Ok(body)
    }

    fn write_partition(&self, body: &mut Body, partition: &PartitionData, mut read: Read) -> Result<(), Unanswered> {
        let (version, flexible) = (self.version, self.version >= 12);
        if read.bytes == 0 {
            // Whole, because it may have tagged fields, which stand behind the records.
            return body.put(partition, version);
        }
        if let Some(records) = &self.records {
            read = Read { bytes: records.len(), pieces: vec![records.clone()], ..read };
        }
        if let (true, Some(last)) = (self.corrupt, read.pieces.last_mut()) {
            *last = damaged(last);
        }
        body.put_open(partition, version, flexible, read.bytes)?;
        read.pieces.into_iter().for_each(|piece| body.splice(piece));
        body.end(flexible);
        Ok(())
    }
}

/// A copy with a bit of its last record wrong, where most records have their value: the checksum does not fit any more,
/// and nothing else shows the damage.
fn damaged(piece: &Bytes) -> Bytes {
    let mut copy = piece.to_vec();
    if let Some(byte) = copy.iter_mut().nth_back(1) {
        *byte ^= 0x10;
    }
    copy.into()
}

/// The isolation level that sees no record of an open or aborted transaction.
const READ_COMMITTED: i8 = 1;

/// No reader waits longer than this, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
