//! What an answer means for the batches of its request, and how their callers learn of it.

use crate::{
    error::{Error, ErrorKind, Result},
    machine::{
        conn::Certainty,
        identity::Standing,
        metadata::LeaderHint,
        queue::{BatchId, Done, Failure, Outcome, Refusal, Verdict},
        txn,
    },
    net::conn::Lost,
    plant::{self, Plant},
    types::{BrokerId, HashMap},
    wire::{
        ErrorCode, Request, Str, Uuid,
        messages::{NodeEndpoint, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse},
    },
};

use super::{
    compressor::Part,
    delivery::{BatchAck, Settler},
    interceptor::SettledBatch,
    line::{Answer, Landed},
    sender::Sender,
    slot::Batch,
};
use tokio::time::Instant;

impl Sender {
    /// A request is answered, or never will be.
    pub(super) fn handle_landed(&mut self, landed: Landed) {
        self.land(&landed);
        let Landed { broker, batches, outcome, address, .. } = landed;
        match outcome {
            Ok(Answer::Produced(response)) => {
                self.handle_throttle(broker, address, ProduceRequest::throttle_time(&response));
                self.handle_response(batches, response);
            }
            Ok(Answer::Written) => {
                for (number, id) in batches {
                    self.slots[number].queue.handle_acked(id, -1, -1);
                    self.settle(number);
                }
            }
            Err(lost) => self.handle_lost(batches, &lost),
        }
    }

    fn handle_response(&mut self, flight: Vec<(usize, BatchId)>, response: ProduceResponse) {
        let endpoints = response.node_endpoints;
        let mut answers = Answers::new(response.responses);
        for (number, id) in flight {
            let slot = &self.slots[number];
            match answers.take(slot.topic_id, &slot.partition.topic, slot.partition.index) {
                Some(answer) => {
                    self.handle_answer(number, id, &answer);
                    self.handle_hint(number, &answer, &endpoints);
                }
                None => self.handle_lost(vec![(number, id)], &unanswered()),
            }
        }
    }

    fn handle_answer(&mut self, number: usize, id: BatchId, answer: &PartitionProduceResponse) {
        let wait = self.wait_after(self.slots[number].queue.failures());
        // The markers of the transaction before are being written (T5).
        let is_soon = answer.error_code == ErrorCode::CONCURRENT_TRANSACTIONS;
        let wait = if is_soon { wait.min(txn::SOON) } else { wait };
        let slot = &mut self.slots[number];
        if answer.error_code == ErrorCode::NONE {
            slot.queue.handle_acked(id, answer.base_offset, answer.log_append_time_ms);
            return self.settle(number);
        }
        self.core.metrics.count_refused(answer.error_code);
        let partition = format!("{}-{}", slot.partition.topic, slot.partition.index);
        tracing::debug!(%partition, code = %answer.error_code, message = ?answer.error_message, "batch refused");
        slot.last_error = Some(Error::broker(answer.error_code, &partition));
        let refusal = Refusal { code: answer.error_code, log_start_offset: answer.log_start_offset };
        match slot.queue.handle_refused(Instant::now().into_std(), id, refusal, wait) {
            Verdict::RetryElsewhere => self.core.cluster.request_refresh(),
            Verdict::TooLarge => self.split(number, id),
            Verdict::Dead => {
                self.handle_refused_for_good(answer.error_code, &partition);
                return self.settle(number);
            }
            _ => {}
        }
        self.settle(number);
    }

    /// The broker takes no batch of this size (KIP-126): a worker halves it, and later ones are begun smaller.
    fn split(&mut self, number: usize, id: BatchId) {
        let slot = &self.slots[number];
        let Some(batch) = slot.queue.batch(id) else { return };
        slot.partition.limit_to(batch.raw_len / 2);
        self.core.metrics.count_split();
        self.compressor.split(number, id, slot.codec, batch.sealed.clone());
    }

    /// A batch that was too large is two now.
    pub(super) fn handle_split(&mut self, number: usize, id: BatchId, parts: Result<[Part; 2]>) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        match parts {
            Ok(parts) => slot.queue.handle_split(id, |whole| {
                slot.partition.count_queued();
                whole.into_parts(parts)
            }),
            Err(error) => {
                slot.last_error = Some(error);
                slot.queue.handle_unsplit(id, ErrorCode::MESSAGE_TOO_LARGE);
            }
        }
        self.settle(number);
    }

    /// The new leader, where the refusal names it (KIP-951).
    fn handle_hint(&self, number: usize, answer: &PartitionProduceResponse, endpoints: &[NodeEndpoint]) {
        let hint = LeaderHint {
            leader: BrokerId(answer.current_leader.leader_id),
            leader_epoch: answer.current_leader.leader_epoch,
        };
        if hint.leader.0 >= 0 {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.node_id == hint.leader.0);
            let endpoint = endpoint.map(|endpoint| (&endpoint.host, endpoint.port));
            let partition = &self.slots[number].partition;
            self.core.cluster.apply_hint(&partition.topic, partition.index, hint, endpoint);
        }
    }

    /// There will be no answer for these batches.
    pub(super) fn handle_lost(&mut self, flight: Vec<(usize, BatchId)>, lost: &Lost) {
        tracing::debug!(error = %lost.error, certainty = ?lost.certainty, batches = flight.len(), "produce request lost");
        self.core.metrics.count_lost();
        // The leader may have moved: that is how a dead broker shows.
        self.core.cluster.request_refresh();
        for (number, id) in flight {
            if plant::is(Plant::ForgetOnDisconnect) {
                continue;
            }
            let wait = self.wait_after(self.slots[number].queue.failures());
            let slot = &mut self.slots[number];
            if plant::is(Plant::AckOnDisconnect) {
                slot.queue.handle_acked(id, -1, -1);
            }
            slot.last_error = Some(lost.error.clone());
            slot.queue.handle_lost(Instant::now().into_std(), id, lost.certainty, wait);
            self.settle(number);
        }
    }

    /// Tells the callers of every batch whose fate is known, and sees to what that means for the partition.
    pub(super) fn settle(&mut self, number: usize) {
        while let Some(Done { batch, outcome }) = self.slots[number].queue.poll_done() {
            self.finish(number, batch, outcome);
        }
        if let Some(broken) = self.slots[number].queue.poll_broken() {
            tracing::debug!(topic = %self.slots[number].partition.topic, ?broken, "the producer's epoch is over here");
            let is_current = self.identity.standing() == Standing::Ready(broken);
            match &mut self.transaction {
                // An identity that is over was that of a transaction before.
                Some(_) if !is_current => {}
                Some(driver) => driver.handle_broken(self.slots[number].last_error.as_ref()),
                None => self.identity.handle_broken(broken),
            }
        }
        if let Some(at) = self.slots[number].queue.poll_timeout() {
            self.arm(number, Instant::from_std(at));
        }
        self.list(number);
    }

    fn finish(&mut self, number: usize, batch: Batch, outcome: Outcome) {
        let records = batch.sealed.record_count;
        self.slots[number].partition.count_settled();
        let settled = match outcome {
            Outcome::Acked { base_offset, log_append_time } => {
                self.slots[number].last_error = None;
                let (tally, sizes) = (self.slots[number].tally.as_deref(), (batch.raw_len, batch.sealed.wire_len()));
                self.core.metrics.count_acked(tally, records, sizes, batch.created.elapsed());
                Ok(BatchAck { base_offset, log_append_time })
            }
            Outcome::Failed { why, maybe_written } => {
                let error = self.failure(number, &batch, why).with_maybe_written(maybe_written);
                self.core.metrics.count_failed(self.slots[number].tally.as_deref(), records, error.kind());
                Err(error)
            }
        };
        self.core.metrics.count_settled(records);
        if let Some(driver) = &mut self.transaction {
            driver.handle_settled(settled.as_ref().err());
        }
        batch.end_span(settled.as_ref());
        let Batch { cell, reserved, .. } = batch;
        // Before anybody wakes: whoever hears of the last batch finds its memory free.
        if settled.is_ok() || !plant::is(Plant::LeakMemory) {
            self.core.accumulator.release(reserved);
        }
        let interceptors = &self.core.settings.interceptors;
        if !interceptors.is_empty() {
            let partition = &self.slots[number].partition;
            interceptors.tell(&SettledBatch::new(&partition.topic, partition.index, records, &settled));
        }
        let has_failed = settled.is_err();
        cell.0.settle(settled);
        // What fails in a transaction is told by its commit; what is aborted was meant to be.
        if has_failed && self.transaction.is_none() {
            self.core.note_failure(&cell.0);
        }
    }

    fn failure(&self, number: usize, batch: &Batch, why: Failure) -> Error {
        let slot = &self.slots[number];
        let place = format!("{}-{}", slot.partition.topic, slot.partition.index);
        let with_last = |error: Error| match &slot.last_error {
            Some(last) => error.with_source(last.clone()),
            None => error,
        };
        match why {
            Failure::Aborted => self.abort_error(&place),
            Failure::Refused(code @ ErrorCode::PRODUCER_FENCED) => refused(code, &place),
            Failure::Refused(code @ (ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE)) => {
                let (wire, raw) = (batch.sealed.wire_len(), batch.raw_len);
                Error::broker(code, format_args!("{place}: the batch takes {wire} bytes ({raw} before compression)"))
            }
            Failure::Refused(code) => Error::broker(code, place),
            Failure::Abandoned => {
                let message = format!("{place}: not acknowledged by the time at which the producer was to be closed");
                with_last(Error::new(ErrorKind::Closed, message))
            }
            Failure::TimedOut { .. } => {
                let limit = self.core.settings.delivery_timeout;
                let last = slot.last_error.as_ref().map_or_else(|| "no broker answered".to_owned(), Error::to_string);
                let message = format!("{place}: not acknowledged within {limit:?} (delivery.timeout.ms); last: {last}");
                with_last(Error::new(ErrorKind::Timeout, message))
            }
            Failure::TriedTooOften { .. } => {
                let tries = self.core.settings.retries.saturating_add(1);
                let last = slot.last_error.as_ref().map_or_else(String::new, |error| format!("; last: {error}"));
                with_last(Error::new(ErrorKind::Timeout, format!("{place}: tried {tries} times (retries){last}")))
            }
        }
    }
}

impl Batch {
    /// What became of it stands in its span.
    fn end_span(&self, settled: Result<&BatchAck, &Error>) {
        if self.span.is_disabled() {
            return;
        }
        self.span.record("wire_bytes", self.sealed.wire_len());
        match settled {
            Ok(ack) => self.span.record("offset", ack.base_offset),
            Err(error) => self.span.record("error", tracing::field::display(error)),
        };
    }

    /// The batch's parts. Who waits for a record of it waits for its part from now on.
    fn into_parts(self, parts: [Part; 2]) -> Vec<(i32, Batch)> {
        let cells = self.cell.0.split(parts.each_ref().map(|part| part.sealed.record_count));
        let (created, sent, span) = (self.created, self.sent, self.span);
        let first = self.reserved / 2;
        let reserved = [first, self.reserved - first];
        let part = |((Part { sealed, raw_len }, cell), reserved)| {
            let (cell, span) = (Settler(cell), span.clone());
            (sealed.record_count, Batch { sealed, cell, reserved, raw_len, created, sent, span, header: None })
        };
        parts.into_iter().zip(cells).zip(reserved).map(part).collect()
    }
}

/// The parts of one answer, each to be taken once.
struct Answers(HashMap<(Key, i32), PartitionProduceResponse>);

/// How an answer names its topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Name(Str),
    Id(Uuid),
}

impl Answers {
    fn new(topics: Vec<TopicProduceResponse>) -> Self {
        let mut answers = HashMap::default();
        for topic in topics {
            let named = topic.topic_id == Uuid::default();
            let key = if named { Key::Name(topic.name) } else { Key::Id(topic.topic_id) };
            for answer in topic.partition_responses {
                // A partition named twice (P14): the first answer counts.
                answers.entry((key.clone(), answer.index)).or_insert(answer);
            }
        }
        Self(answers)
    }

    fn take(&mut self, id: Uuid, name: &Str, partition: i32) -> Option<PartitionProduceResponse> {
        self.0.remove(&(Key::Id(id), partition)).or_else(|| self.0.remove(&(Key::Name(name.clone()), partition)))
    }
}

/// Why a producer cannot go on that was refused for good.
pub(super) fn refused(code: ErrorCode, place: &str) -> Error {
    match code {
        ErrorCode::PRODUCER_FENCED => {
            Error::new(ErrorKind::Fenced, format!("{place}: a newer producer has taken over"))
        }
        code => Error::broker(code, place),
    }
}

/// The broker's answer leaves a partition out (P14): whether it wrote the batch nobody knows.
fn unanswered() -> Lost {
    let error = Error::new(ErrorKind::Protocol, "the broker's answer to Produce leaves out a partition that was asked");
    Lost { certainty: Certainty::MaybeSent, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u128, name: &str, partitions: &[(i32, i64)]) -> TopicProduceResponse {
        let part = |&(index, base_offset): &(i32, i64)| PartitionProduceResponse {
            index,
            base_offset,
            ..PartitionProduceResponse::default()
        };
        TopicProduceResponse {
            name: name.into(),
            topic_id: Uuid(id),
            partition_responses: partitions.iter().map(part).collect(),
        }
    }

    #[test]
    fn p14_a_partition_named_twice_or_not_at_all() {
        for id in [0, 7] {
            let name = if id == 0 { "t" } else { "" };
            let topics = vec![answer(id, name, &[(0, 10), (0, 11)]), answer(id, name, &[(0, 12), (2, 20), (9, 90)])];
            let mut answers = Answers::new(topics);
            let mut take = |partition| answers.take(Uuid(id), &"t".into(), partition).map(|part| part.base_offset);
            assert_eq!(take(0), Some(10), "the first answer counts");
            assert_eq!(take(0), None, "and counts once");
            assert_eq!((take(1), take(2)), (None, Some(20)));
        }
        assert_eq!(unanswered().certainty, Certainty::MaybeSent, "what is left out keeps its stamp and is asked again");
    }

    #[test]
    fn p14_an_answer_about_another_topic_of_the_same_name_is_none() {
        let mut answers = Answers::new(vec![answer(8, "", &[(0, 10)])]);
        assert!(answers.take(Uuid(7), &"t".into(), 0).is_none());
    }
}
