//! What an operator asks for: topics, their partitions and their offsets.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    cluster::{Cluster, Route, To, Traffic},
    error::{Error, ErrorKind, Result},
    types::{BrokerId, Offset},
    wire::{
        Choice, ErrorCode, Str,
        messages::{
            CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsPartition,
            ListOffsetsRequest, ListOffsetsTopic,
        },
    },
};

/// Administers a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Cluster,
    timeout: Duration,
}

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct NewTopic {
    name: Str,
    partitions: i32,
    replication: i16,
    configs: Vec<(Str, Str)>,
}

impl NewTopic {
    /// A topic of so many partitions, each kept by `replication` brokers; −1 leaves either to the broker's default
    /// (`num.partitions`, `default.replication.factor`; Kafka 2.4 and later).
    pub fn new(name: impl Into<Str>, partitions: i32, replication: i16) -> Self {
        Self { name: name.into(), partitions, replication, configs: Vec::new() }
    }

    /// A setting of the topic, for example `max.message.bytes`.
    #[must_use]
    pub fn config(mut self, name: impl Into<Str>, value: impl Into<Str>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// The topic's name.
    pub name: Str,
    /// Who leads each partition now, by its number; `None` while there is nobody.
    pub leaders: Vec<Option<BrokerId>>,
}

/// A place in a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record that is still there.
    Earliest,
    /// Behind the last record that is replicated, those of open transactions included.
    Latest,
    /// The first record of this time (milliseconds since 1970) or later.
    Timestamp(i64),
}

impl Admin {
    pub(crate) fn new(cluster: Cluster, timeout: Duration) -> Self {
        Self { cluster, timeout }
    }

    /// How long a call may take. Default: 60 s. In Java `default.api.timeout.ms`, which is not read from the client's
    /// properties yet. A call of several steps may take longer, as each step has this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(crate::types::FOREVER);
        self
    }

    /// Makes a topic, and waits until every partition has a leader.
    ///
    /// # Errors
    /// `Broker(TOPIC_ALREADY_EXISTS)` and the broker's other refusals, with its own words; `Timeout`, also when the
    /// topic was made and some partition has no leader yet. If the connection was lost while the broker may have been
    /// at it, [`Error::maybe_written`] says so, and nothing is repeated: the second request would meet its own topic.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the topic may be made all the same.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<()> {
        let name = topic.name.clone();
        let deadline = Instant::now() + self.timeout;
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name,
                num_partitions: topic.partitions,
                replication_factor: topic.replication,
                configs: topic.configs.into_iter().map(config).collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: self.broker_timeout(),
            ..CreateTopicsRequest::default()
        };
        let mut under_way = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let response = self.cluster.call(To::Controller, Traffic::Other, &request, left).await?;
            let Some(result) = response.topics.into_iter().find(|result| result.name == name) else {
                return Err(Error::new(ErrorKind::Protocol, format!("no answer about topic {name}")));
            };
            match refusal(result.error_code, &format!("topic {name}"), result.error_message.as_deref()) {
                None => break,
                // The broker had begun, and could only not say in time that it was done.
                Some(_) if under_way && result.error_code == ErrorCode::TOPIC_ALREADY_EXISTS => break,
                Some(error) if error.is_retriable() && Instant::now() < deadline => {
                    under_way |= result.error_code == ErrorCode::REQUEST_TIMED_OUT;
                    // The controller may be another one by now.
                    self.cluster.request_refresh();
                    self.pause().await;
                }
                Some(error) => return Err(error),
            }
        }
        self.await_leaders(&name, deadline).await
    }

    /// Deletes a topic with all its records. Brokers may know it for a while longer.
    ///
    /// # Errors
    /// `Broker(UNKNOWN_TOPIC_OR_PARTITION)` and the broker's other refusals; `Timeout` and what keeps brokers from
    /// being reached; as with `create_topic`, a request that may have been acted on is not repeated.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the topic may be deleted all the same.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        // Version 6 names topics in another field; up to 5 every broker from 2.1 on takes them by name alone.
        let route = Route { to: To::Controller, traffic: Traffic::Other, choice: Choice::AtMost(5), fresh: false };
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: self.broker_timeout(),
            ..DeleteTopicsRequest::default()
        };
        let deadline = Instant::now() + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let response = self.cluster.send(route, &request, left).await?;
            let Some(result) = response.responses.into_iter().next() else {
                return Err(Error::new(ErrorKind::Protocol, format!("no answer about topic {name}")));
            };
            match refusal(result.error_code, &format!("topic {name}"), result.error_message.as_deref()) {
                None => return Ok(()),
                // The controller is another one by now, and this broker did nothing.
                Some(_) if result.error_code == ErrorCode::NOT_CONTROLLER && Instant::now() < deadline => {
                    self.cluster.request_refresh();
                    self.pause().await;
                }
                Some(error) => return Err(error),
            }
        }
    }

    /// Describes a topic as a broker sees it now. Waits until it is known, for as long as a call may take.
    ///
    /// # Errors
    /// `UnknownTopic`, or the broker's refusal.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up and changes nothing.
    pub async fn topic(&self, name: &str) -> Result<TopicDescription> {
        let metadata = self.cluster.topic_now(name, Instant::now() + self.timeout).await?;
        let leaders =
            metadata.topic(name).map(|topic| topic.partitions.iter().map(|partition| partition.leader).collect());
        Ok(TopicDescription { name: name.into(), leaders: leaders.unwrap_or_default() })
    }

    /// The offset of a place in every partition of a topic, in the order of the partitions; `None` where no record is
    /// of the asked time or later.
    ///
    /// # Errors
    /// `UnknownTopic`; a partition's refusal that did not pass in time.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up and changes nothing.
    pub async fn offsets(&self, topic: &str, spec: OffsetSpec) -> Result<Vec<Option<Offset>>> {
        let deadline = Instant::now() + self.timeout;
        let count = self.topic(topic).await?.leaders.len();
        let mut offsets = Vec::with_capacity(count);
        for partition in 0..count as i32 {
            offsets.push(self.offset(topic, partition, spec, deadline).await?);
        }
        Ok(offsets)
    }

    async fn offset(&self, topic: &str, partition: i32, spec: OffsetSpec, deadline: Instant) -> Result<Option<Offset>> {
        loop {
            let error = match self.try_offset(topic, partition, spec).await {
                Ok(offset) => return Ok(Some(offset).filter(|offset| *offset >= 0)),
                Err(error) => error,
            };
            if !error.is_retriable() || Instant::now() >= deadline {
                return Err(error);
            }
            self.cluster.request_refresh();
            self.pause().await;
        }
    }

    async fn try_offset(&self, topic: &str, partition: i32, spec: OffsetSpec) -> Result<Offset> {
        let metadata = self.cluster.topic(topic, Instant::now() + self.timeout).await?;
        let place = format!("{topic}-{partition}");
        let known = metadata.topic(topic).and_then(|topic| topic.partitions.get(partition as usize));
        let known = known.ok_or_else(|| Error::broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, &place))?;
        let leader = known.leader.ok_or_else(|| Error::broker(ErrorCode::LEADER_NOT_AVAILABLE, &place))?;
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.into(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    timestamp: spec.timestamp(),
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        let response = self.cluster.call(To::Broker(leader), Traffic::Other, &request, self.timeout).await?;
        let answer = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let answer = answer.ok_or_else(|| Error::new(ErrorKind::Protocol, format!("no answer about {place}")))?;
        refusal(answer.error_code, &place, None).map_or(Ok(answer.offset), Err)
    }

    async fn await_leaders(&self, name: &str, deadline: Instant) -> Result<()> {
        loop {
            let metadata = self.cluster.topic(name, deadline).await?;
            let led = |topic: &crate::machine::metadata::Topic| {
                topic.partitions.iter().all(|partition| partition.leader.is_some())
            };
            if metadata.topic(name).is_some_and(|topic| led(topic)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!("topic {name} was made, but not every partition has a leader yet"),
                ));
            }
            self.cluster.request_refresh();
            self.pause().await;
        }
    }

    /// The broker is given up on after the request timeout: it has to answer before.
    fn broker_timeout(&self) -> i32 {
        let timeout = self.timeout.min(self.cluster.config().request_timeout / 2);
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
    }

    async fn pause(&self) {
        tokio::time::sleep(self.cluster.config().retry_backoff.delay(1, fastrand::f64())).await;
    }
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::Timestamp(timestamp) => timestamp,
        }
    }
}

fn config((name, value): (Str, Str)) -> CreatableTopicConfig {
    CreatableTopicConfig { name, value: Some(value) }
}

/// The error of a refusal, with the broker's own words if it had any.
fn refusal(code: ErrorCode, what: &str, message: Option<&str>) -> Option<Error> {
    match (code, message) {
        (ErrorCode::NONE, _) => None,
        (code, Some(message)) if !message.is_empty() => Some(Error::broker(code, format_args!("{what}: {message}"))),
        (code, _) => Some(Error::broker(code, what)),
    }
}
