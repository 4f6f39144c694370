//! A transactional writer, made of raw requests until the client has one of its own, which then takes its place here.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
#[cfg(feature = "plants")]
use milena::plant::{self, Plant};
use milena::{
    Error, ErrorCode, Kafka,
    record::{BatchBuilder, ChunkPool, header::TRANSACTIONAL},
    wire::{
        Records,
        messages::{
            AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, EndTxnRequest, InitProducerIdRequest,
            PartitionProduceData, ProduceRequest, TopicProduceData,
        },
    },
};
use tokio::time::sleep;

use super::{
    actors::TOPIC,
    history::{Event, Recorder, value_of},
    plan::WriterPlan,
};

/// What a transactional producer can do.
#[allow(async_fn_in_trait, reason = "nobody but this test uses it")]
pub trait Transactional {
    /// Writes one value within the open transaction, which begins with the first. `Err`: it can only be aborted.
    async fn send(&mut self, partition: i32, value: &str) -> Result<(), String>;
    /// Ends the transaction. `None`: what became of it is not known, and another may begin all the same.
    async fn end(&mut self, commit: bool) -> Option<bool>;
}

/// Writes transactions, commits most of them, and aborts the others.
pub async fn write(mut client: impl Transactional, number: u16, plan: WriterPlan, partitions: i32, recorder: Recorder) {
    let (mut rng, mut at) = (Rng::with_seed(fastrand::u64(..)), 0);
    for _ in 0..plan.transactions {
        let (mut records, mut sound) = (Vec::new(), true);
        for _ in 0..rng.u32(1..=plan.records) {
            let (record, partition) = ((number, at), rng.i32(0..partitions));
            at += 1;
            recorder.note(Event::Enqueued { record, partition });
            records.push(record);
            sound = client.send(partition, &value_of(record, 20)).await.is_ok();
            if !sound {
                break;
            }
            if rng.bool() {
                sleep(plan.pause.mul_f64(rng.f64() / 4.0)).await;
            }
        }
        let committed = client.end(sound && rng.u8(..3) > 0).await;
        recorder.note(Event::Ended { writer: number, records, committed });
        sleep(plan.pause).await;
    }
}

/// Raw requests, and what a transactional producer keeps in mind.
pub struct RawWriter {
    kafka: Kafka,
    transactional_id: String,
    producer: Option<(i64, i16)>,
    sequences: BTreeMap<i32, i32>,
    added: Vec<i32>,
    chunks: ChunkPool,
}

/// What to do about an answer.
enum Verdict {
    Done,
    Again,
    Over(ErrorCode),
}

impl RawWriter {
    pub fn new(kafka: Kafka, number: u16) -> Self {
        let (producer, sequences, added) = (None, BTreeMap::new(), Vec::new());
        Self {
            kafka,
            transactional_id: format!("writer-{number}"),
            producer,
            sequences,
            added,
            chunks: ChunkPool::default(),
        }
    }

    /// The identity; asks for one, which also ends what an earlier one left open.
    async fn identity(&mut self) -> (i64, i16) {
        loop {
            if let Some(producer) = self.producer {
                return producer;
            }
            let request = InitProducerIdRequest {
                transactional_id: Some(self.transactional_id.as_str().into()),
                transaction_timeout_ms: 8_000,
                ..Default::default()
            };
            let answer = self.kafka.request(request).coordinator_of_transaction(&*self.transactional_id).fresh().await;
            tracing::trace!(target: "milena::writer", ?answer, "asked for an identity");
            if let Some(answer) = answer.ok().filter(|answer| answer.error_code == ErrorCode::NONE) {
                self.producer = Some((answer.producer_id, answer.producer_epoch));
                (self.sequences, self.added) = (BTreeMap::new(), Vec::new());
            } else {
                sleep(PAUSE).await;
            }
        }
    }

    async fn add(&mut self, partition: i32) -> Result<(), String> {
        let (id, epoch) = self.identity().await;
        while !self.added.contains(&partition) {
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: self.transactional_id.as_str().into(),
                v3_and_below_producer_id: id,
                v3_and_below_producer_epoch: epoch,
                v3_and_below_topics: vec![AddPartitionsToTxnTopic { name: TOPIC.into(), partitions: vec![partition] }],
                ..Default::default()
            };
            let call = self.kafka.request(request).at_most(3);
            let answer = call.coordinator_of_transaction(&*self.transactional_id).fresh().await;
            let code = answer.map(|answer| {
                let results = answer.results_by_topic_v3_and_below.first();
                results.and_then(|topic| topic.results_by_partition.first()).map(|part| part.partition_error_code)
            });
            match verdict(code) {
                Verdict::Done => self.added.push(partition),
                Verdict::Again => sleep(PAUSE).await,
                Verdict::Over(code) => return Err(code.to_string()),
            }
        }
        Ok(())
    }

    fn records(&self, (id, epoch): (i64, i16), sequence: i32, value: &str) -> Records {
        let mut batch = BatchBuilder::new(&self.chunks);
        batch.append(1_760_000_000_000, None, Some(value.as_bytes()), &[]).expect("it fits");
        let mut sealed = batch.seal();
        sealed.attributes |= TRANSACTIONAL;
        Records::from_pieces(sealed.pieces(sealed.stamp(id, epoch, sequence)))
    }
}

impl Transactional for RawWriter {
    async fn send(&mut self, partition: i32, value: &str) -> Result<(), String> {
        self.add(partition).await?;
        let producer = self.identity().await;
        let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        let records = self.records(producer, sequence, value);
        loop {
            let part = PartitionProduceData { index: partition, records: Some(records.clone()) };
            let topic = TopicProduceData { name: TOPIC.into(), partition_data: vec![part], ..Default::default() };
            let request = ProduceRequest {
                transactional_id: Some(self.transactional_id.as_str().into()),
                acks: -1,
                timeout_ms: 5_000,
                topic_data: vec![topic],
            };
            // The last version of transactions that name their partitions first (KIP-890).
            let answer = self.kafka.request(request).at_most(11).leader_of(TOPIC, partition).fresh().await;
            let code = answer.map(|answer| {
                let part = answer.responses.first().and_then(|topic| topic.partition_responses.first());
                part.map(|part| part.error_code)
            });
            match verdict(code) {
                Verdict::Done | Verdict::Over(ErrorCode::DUPLICATE_SEQUENCE_NUMBER) => break,
                Verdict::Again => sleep(PAUSE).await,
                Verdict::Over(code) => return Err(code.to_string()),
            }
        }
        self.sequences.insert(partition, sequence + 1);
        Ok(())
    }

    async fn end(&mut self, commit: bool) -> Option<bool> {
        let (producer_id, producer_epoch) = self.identity().await;
        if self.added.is_empty() {
            return Some(false);
        }
        loop {
            let request = EndTxnRequest {
                transactional_id: self.transactional_id.as_str().into(),
                producer_id,
                producer_epoch,
                committed: commit,
            };
            let call = self.kafka.request(request).at_most(4);
            let answer = call.coordinator_of_transaction(&*self.transactional_id).fresh().await;
            match verdict(answer.map(|answer| Some(answer.error_code))) {
                Verdict::Done => break self.added.clear(),
                Verdict::Again => sleep(PAUSE).await,
                #[cfg(feature = "plants")]
                Verdict::Over(_) if plant::is(Plant::UnknownIsCommitted) => {
                    self.producer = None;
                    break;
                }
                Verdict::Over(_) => {
                    self.producer = None;
                    self.identity().await;
                    return None;
                }
            }
        }
        Some(commit)
    }
}

/// Whatever is not final is asked again, in the same words: the coordinator and the log know them.
fn verdict(code: Result<Option<ErrorCode>, Error>) -> Verdict {
    tracing::trace!(target: "milena::writer", ?code, "answered");
    match code {
        Ok(Some(ErrorCode::NONE)) => Verdict::Done,
        Ok(Some(code)) if !code.is_retriable() && code != ErrorCode::UNKNOWN_SERVER_ERROR => Verdict::Over(code),
        _ => Verdict::Again,
    }
}

const PAUSE: Duration = Duration::from_millis(100);
