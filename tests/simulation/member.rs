//! A member of a classic group, made of raw requests until the client has groups of its own.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
#[cfg(feature = "plants")]
use milena::plant::{self, Plant};
use milena::{
    Consumer, ErrorCode, Kafka, TopicPartition,
    consumer::{OffsetReset, StartFrom},
    wire::messages::{
        HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
        LeaveGroupRequest, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
        OffsetFetchRequest, OffsetFetchRequestTopic, SyncGroupRequest, SyncGroupRequestAssignment,
    },
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    actors::TOPIC,
    history::{Event, Recorder},
    plan::MemberPlan,
};

type Ends = watch::Receiver<Option<BTreeMap<i32, i64>>>;

/// Joins, reads what it is given, commits what it has read, until the group has read everything. A member that is to die
/// does so without a word.
pub async fn belong(kafka: Kafka, number: u16, plan: MemberPlan, partitions: i32, ends: Ends, recorder: Recorder) {
    sleep(plan.joins_at).await;
    let member = Member { kafka, number, partitions, recorder, id: String::new(), generation: -1 };
    let life = member.live(ends);
    match plan.lasts {
        Some(lasts) => drop(timeout(lasts, life).await),
        None => life.await,
    }
}

struct Member {
    kafka: Kafka,
    number: u16,
    partitions: i32,
    recorder: Recorder,
    id: String,
    generation: i32,
}

impl Member {
    async fn live(mut self, ends: Ends) {
        while !self.is_read(&ends).await {
            match self.join().await {
                Some(assigned) => {
                    let (member, generation) = (self.number, self.generation);
                    self.recorder.note(Event::Assigned { member, generation, partitions: assigned.clone() });
                    self.work(assigned, &ends).await;
                }
                None => sleep(PAUSE).await,
            }
        }
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), member_id: self.id.as_str().into(), ..Default::default() };
        let left = self.kafka.request(request).at_most(2).coordinator_of_group(GROUP).fresh().await;
        tracing::trace!(target: "milena::member", number = self.number, ?left, "left");
    }

    /// Joins the group and learns what is its own to read. `None`: it has to be tried again.
    async fn join(&mut self) -> Option<Vec<i32>> {
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 1_500,
            member_id: self.id.as_str().into(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "ours".into(), metadata: Bytes::new() }],
            ..Default::default()
        };
        let answer = self.kafka.request(request).coordinator_of_group(GROUP).fresh().await;
        tracing::trace!(target: "milena::member", number = self.number, ?answer, "joined");
        let answer = answer.ok()?;
        match answer.error_code {
            ErrorCode::NONE | ErrorCode::MEMBER_ID_REQUIRED => self.id = answer.member_id.to_string(),
            ErrorCode::UNKNOWN_MEMBER_ID => self.id.clear(),
            _ => {}
        }
        if answer.error_code != ErrorCode::NONE {
            return None;
        }
        self.generation = answer.generation_id;
        self.sync(&answer).await
    }

    async fn sync(&mut self, joined: &JoinGroupResponse) -> Option<Vec<i32>> {
        let share = |place: usize| -> Vec<i32> {
            let turn = |partition: &i32| *partition as usize % joined.members.len() == place || is_doubled(*partition);
            (0..self.partitions).filter(turn).collect()
        };
        let assign = |(place, member): (usize, &JoinGroupResponseMember)| SyncGroupRequestAssignment {
            member_id: member.member_id.clone(),
            assignment: share(place).iter().map(|partition| *partition as u8).collect::<Vec<_>>().into(),
        };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("ours".into()),
            assignments: joined.members.iter().enumerate().map(assign).collect(),
            ..Default::default()
        };
        let answer = self.kafka.request(request).coordinator_of_group(GROUP).fresh().await;
        tracing::trace!(target: "milena::member", number = self.number, ?answer, "synced");
        let answer = answer.ok()?;
        if answer.error_code == ErrorCode::UNKNOWN_MEMBER_ID {
            self.id.clear();
        }
        let assigned = answer.assignment.iter().map(|partition| i32::from(*partition));
        (answer.error_code == ErrorCode::NONE).then(|| assigned.collect())
    }

    /// Reads and commits until the group wants something else.
    async fn work(&mut self, assigned: Vec<i32>, ends: &Ends) {
        let Some(committed) = self.committed().await else { return };
        let from = |partition: i32| StartFrom::Offset(committed.get(&partition).copied().unwrap_or(0));
        let wanted = assigned.iter().map(|partition| (TopicPartition::new(TOPIC, *partition), from(*partition)));
        let Ok(mut consumer) = self.kafka.consumer().offset_reset(OffsetReset::None).assign(wanted).await else {
            return;
        };
        let mut told = Instant::now();
        loop {
            match timeout(Duration::from_millis(200), consumer.poll()).await {
                Ok(Ok(Some(batch))) => {
                    let partition = batch.partition();
                    for record in &batch {
                        self.recorder.note(Event::Handed { member: self.number, partition, offset: record.offset() });
                    }
                }
                Ok(Ok(None)) => return,
                // Whatever it is, the next generation begins where the last commit was.
                Ok(Err(_)) => return sleep(PAUSE).await,
                Err(_) => {}
            }
            if told.elapsed() > Duration::from_secs(1) {
                told = Instant::now();
                let stays = self.commit(&consumer, &assigned).await && self.beat().await;
                if !stays || self.is_read(ends).await {
                    return;
                }
            }
        }
    }

    /// Whether this member still belongs to the generation.
    async fn beat(&mut self) -> bool {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            ..Default::default()
        };
        let answer = self.kafka.request(request).coordinator_of_group(GROUP).fresh().await;
        tracing::trace!(target: "milena::member", number = self.number, ?answer, "beat");
        self.judge(answer.map_or(ErrorCode::NONE, |answer| answer.error_code))
    }

    fn judge(&mut self, code: ErrorCode) -> bool {
        if code == ErrorCode::UNKNOWN_MEMBER_ID {
            self.id.clear();
        }
        !matches!(code, ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION | ErrorCode::REBALANCE_IN_PROGRESS)
    }

    /// Commits the positions. `false` when the group has gone on without this member.
    async fn commit(&mut self, consumer: &Consumer, assigned: &[i32]) -> bool {
        let position = |partition: &i32| {
            let offset = consumer.position(&TopicPartition::new(TOPIC, *partition))? + i64::from(is_hasty());
            Some((*partition, offset))
        };
        let positions: Vec<_> = assigned.iter().filter_map(position).collect();
        let part = |(partition_index, committed_offset): &(i32, i64)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..Default::default()
        };
        let partitions = positions.iter().map(part).collect();
        let request = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.as_str().into(),
            topics: vec![OffsetCommitRequestTopic { name: TOPIC.into(), partitions, ..Default::default() }],
            ..Default::default()
        };
        let Ok(answer) = self.kafka.request(request).at_most(9).coordinator_of_group(GROUP).fresh().await else {
            return true;
        };
        for part in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let offset = positions.iter().find(|(partition, _)| *partition == part.partition_index);
            if let Some((partition, offset)) = offset.filter(|_| part.error_code == ErrorCode::NONE) {
                let (member, generation) = (self.number, self.generation);
                self.recorder.note(Event::Committed { member, generation, partition: *partition, offset: *offset });
            }
            if !self.judge(part.error_code) {
                return false;
            }
        }
        true
    }

    /// What the group has committed, by partition.
    async fn committed(&self) -> Option<BTreeMap<i32, i64>> {
        let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: (0..self.partitions).collect() };
        let request = OffsetFetchRequest { group_id: GROUP.into(), topics: Some(vec![topic]), ..Default::default() };
        let answer = self.kafka.request(request).at_most(7).coordinator_of_group(GROUP).fresh().await;
        tracing::trace!(target: "milena::member", number = self.number, ?answer, "committed");
        let answer = answer.ok()?;
        let parts: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
        let is_sound =
            answer.error_code == ErrorCode::NONE && parts.iter().all(|part| part.error_code == ErrorCode::NONE);
        is_sound.then(|| parts.iter().map(|part| (part.partition_index, part.committed_offset.max(0))).collect())
    }

    /// Whether the group has committed everything there is, once that is known.
    async fn is_read(&self, ends: &Ends) -> bool {
        let Some(ends) = ends.borrow().clone() else { return false };
        let committed = self.committed().await.unwrap_or_default();
        // Partitions that came later are nobody's.
        let own = ends.iter().filter(|(partition, _)| **partition < self.partitions);
        own.clone().all(|(partition, end)| committed.get(partition).is_some_and(|offset| offset >= end))
    }
}

/// Whether a partition is given to every member, which is a plant.
fn is_doubled(_partition: i32) -> bool {
    #[cfg(feature = "plants")]
    return _partition == 0 && plant::is(Plant::TwoOwners);
    #[cfg(not(feature = "plants"))]
    false
}

/// Whether more is committed than was read, which is a plant.
fn is_hasty() -> bool {
    #[cfg(feature = "plants")]
    return plant::is(Plant::CommitAhead);
    #[cfg(not(feature = "plants"))]
    false
}

const GROUP: &str = "readers";
const PAUSE: Duration = Duration::from_millis(100);
