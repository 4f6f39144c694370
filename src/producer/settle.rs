//! What an answer means for the batches of its request, and how their callers learn of it.

use std::collections::HashMap;

use crate::{
    error::{Error, ErrorKind},
    machine::{
        conn::Certainty,
        metadata::LeaderHint,
        queue::{BatchId, Done, Failure, Outcome, Verdict},
    },
    net::conn::Lost,
    types::BrokerId,
    wire::{
        ErrorCode, Uuid,
        messages::{NodeEndpoint, PartitionProduceResponse, ProduceResponse},
    },
};

use super::{
    delivery::BatchAck,
    sender::{Answer, Batch, Sender},
};
use tokio::time::Instant;

impl Sender {
    /// A request is answered, or never will be.
    pub(super) fn handle_answered(
        &mut self,
        broker: BrokerId,
        flight: Vec<(usize, BatchId)>,
        outcome: Result<Answer, Lost>,
    ) {
        if let Some(lane) = self.lanes.get_mut(&broker) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
        match outcome {
            Ok(Answer::Produced(response)) => self.handle_response(flight, response),
            Ok(Answer::Written) => {
                for (number, id) in flight {
                    self.slots[number].queue.handle_acked(id, -1, -1);
                    self.settle(number);
                }
            }
            Err(lost) => self.handle_lost(flight, &lost),
        }
    }

    fn handle_response(&mut self, flight: Vec<(usize, BatchId)>, response: ProduceResponse) {
        let endpoints = response.node_endpoints;
        let mut answers: HashMap<(Key, i32), PartitionProduceResponse> = HashMap::new();
        for topic in response.responses {
            let key = if topic.topic_id == Uuid::default() {
                Key::Name(topic.name.to_string())
            } else {
                Key::Id(topic.topic_id)
            };
            for answer in topic.partition_responses {
                // A partition named twice (P14): the first answer counts.
                answers.entry((key.clone(), answer.index)).or_insert(answer);
            }
        }
        for (number, id) in flight {
            let partition = &self.slots[number].partition;
            let topic_id = self.metadata.topic(&partition.topic).map_or(Uuid::default(), |topic| topic.id);
            let answer = answers
                .remove(&(Key::Id(topic_id), partition.index))
                .or_else(|| answers.remove(&(Key::Name(partition.topic.to_string()), partition.index)));
            match answer {
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
        let slot = &mut self.slots[number];
        if answer.error_code == ErrorCode::NONE {
            slot.queue.handle_acked(id, answer.base_offset, answer.log_append_time_ms);
            return self.settle(number);
        }
        let partition = format!("{}-{}", slot.partition.topic, slot.partition.index);
        tracing::debug!(%partition, code = %answer.error_code, message = ?answer.error_message, "batch refused");
        slot.last_error = Some(Error::broker(answer.error_code, partition));
        match slot.queue.handle_refused(Instant::now().into_std(), id, answer.error_code, wait) {
            Verdict::RetryElsewhere => self.core.cluster.request_refresh(),
            Verdict::Dead => {
                self.identity.handle_fatal();
                return self.die(answer.error_code);
            }
            _ => {}
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
        // The leader may have moved: that is how a dead broker shows.
        self.core.cluster.request_refresh();
        for (number, id) in flight {
            let wait = self.wait_after(self.slots[number].queue.failures());
            let slot = &mut self.slots[number];
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
        if self.slots[number].queue.poll_broken() {
            self.identity.handle_broken();
        }
        if let Some(at) = self.slots[number].queue.poll_timeout() {
            self.arm(number, Instant::from_std(at));
        }
        self.list(number);
    }

    fn finish(&mut self, number: usize, batch: Batch, outcome: Outcome) {
        let records = batch.sealed.record_count;
        let settled = match outcome {
            Outcome::Acked { base_offset, log_append_time } => {
                self.core.metrics.count_acked(records, batch.raw_len, batch.sealed.wire_len());
                Ok(BatchAck { base_offset, log_append_time })
            }
            Outcome::Failed { why, maybe_written } => {
                self.core.metrics.count_failed(records);
                Err(self.failure(number, &batch, why).with_maybe_written(maybe_written))
            }
        };
        let reserved = batch.reserved;
        batch.cell.0.settle(settled);
        drop(batch);
        self.core.accumulator.release(reserved);
    }

    fn failure(&self, number: usize, batch: &Batch, why: Failure) -> Error {
        let slot = &self.slots[number];
        let place = format!("{}-{}", slot.partition.topic, slot.partition.index);
        let with_last = |error: Error| match &slot.last_error {
            Some(last) => error.with_source(last.clone()),
            None => error,
        };
        match why {
            Failure::Refused(ErrorCode::PRODUCER_FENCED) => {
                Error::new(ErrorKind::Fenced, format!("{place}: a newer producer has taken over"))
            }
            Failure::Refused(code @ (ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE)) => {
                let (wire, raw) = (batch.sealed.wire_len(), batch.raw_len);
                Error::broker(code, format_args!("{place}: the batch takes {wire} bytes ({raw} before compression)"))
            }
            Failure::Refused(code) => Error::broker(code, place),
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

/// How an answer names its topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Id(Uuid),
}

/// The broker's answer leaves a partition out (P14): whether it wrote the batch nobody knows.
fn unanswered() -> Lost {
    let error = Error::new(ErrorKind::Protocol, "the broker's answer to Produce leaves out a partition that was asked");
    Lost { certainty: Certainty::MaybeSent, error }
}
