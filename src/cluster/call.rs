//! `Call`: any request of the protocol, typed in and typed out, on its way to whoever must have it.
//!
//! Rules this file keeps:
//! - nothing is sent before the call is awaited;
//! - the response is handed out as it came: error codes in it are the caller's, because what they mean depends on the
//!   message;
//! - an unstable version is spoken only where the caller said so.

use std::{any::Any, fmt, future::IntoFuture, pin::Pin, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    error::{Error, ErrorKind, Result},
    types::{BrokerId, FOREVER},
    wire::{Choice, ErrorCode, Request, Str, Uuid, messages::ProduceRequest},
};

use super::{Cluster, KeyType, Route, To, Traffic};

/// A request that is to be sent, made by [`Kafka::request`](crate::Kafka::request): say where to, then await it.
///
/// It goes to any broker, in the highest stable version that the broker has too, and waits for the answer for
/// `default.api.timeout.ms`, unless you say otherwise.
///
/// ```no_run
/// use milena::wire::messages::{DescribeClusterRequest, ListGroupsRequest};
/// # async fn run(kafka: milena::Kafka) -> milena::Result<()> {
/// let cluster = kafka.request(DescribeClusterRequest::default()).await?;
/// for broker in &cluster.brokers {
///     let answer = kafka.request(ListGroupsRequest::default()).broker(broker.broker_id).await?;
///     println!("broker {} coordinates {} groups ({:?})", broker.broker_id, answer.groups.len(), answer.error_code);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Which errors are whose
///
/// Awaiting it fails where there is no answer. An answer that says no is an answer: look at its error codes. Codes that
/// mean “not me” or “not yet” (`NOT_COORDINATOR`, `NOT_CONTROLLER`, `NOT_LEADER_OR_FOLLOWER`,
/// `COORDINATOR_LOAD_IN_PROGRESS`) are usual for a moment, on a new cluster and after a broker stopped. Where they stand
/// depends on the message: show [`elsewhere`](Self::elsewhere) the place, or call once more with
/// [`fresh`](Self::fresh).
///
/// A connection that is lost is mended silently, with backoff, within the call's time: always while the broker cannot
/// have seen the request, and afterwards for requests of which two do no more than one (reads, and writes that set a
/// value). Any other, a creation or a deletion for example, then fails with [`Error::maybe_written`].
///
/// # Errors
///
/// - `Timeout`: no answer in time. `Connect`, `Disconnected`: no connection in time; the text says what failed last.
/// - `UnsupportedVersion`: no version in common; or a field carries what the version cannot say.
/// - `UnknownTopic`, `Broker`: it was not to be found out who leads the partition or coordinates the key.
/// - `Protocol`: the answer cannot be read.
/// - `Config`: a Produce request with `acks` 0, which no broker answers.
///
/// # Cancel safety
///
/// Dropping the future gives the answer up. The request may be on its way, and what it does is done all the same.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until the call is awaited"]
pub struct Call<R: Request> {
    cluster: Cluster,
    request: R,
    to: Destination,
    timeout: Duration,
    choice: Choice,
    fresh: bool,
    code: Option<fn(&R::Response) -> ErrorCode>,
}

#[derive(Debug, Clone)]
enum Destination {
    Any,
    Controller,
    Broker(BrokerId),
    Coordinator(KeyType, Str),
    Leader(Str, i32),
}

impl<R: Request> Call<R> {
    pub(crate) fn new(cluster: Cluster, request: R, timeout: Duration) -> Self {
        Self { cluster, request, to: Destination::Any, timeout, choice: Choice::Stable, fresh: false, code: None }
    }

    /// To this broker, by its number in the cluster. A broker that is not there is waited for.
    pub fn broker(mut self, id: impl Into<BrokerId>) -> Self {
        self.to = Destination::Broker(id.into());
        self
    }

    /// To the controller. A KRaft cluster names some broker instead, which passes on what only the controller may do.
    pub fn controller(mut self) -> Self {
        self.to = Destination::Controller;
        self
    }

    /// To the coordinator of a group of any kind: classic, consumer, share or streams.
    pub fn coordinator_of_group(mut self, group: impl Into<Str>) -> Self {
        self.to = Destination::Coordinator(KeyType::Group, group.into());
        self
    }

    /// To the coordinator of a transactional id.
    pub fn coordinator_of_transaction(mut self, transactional_id: impl Into<Str>) -> Self {
        self.to = Destination::Coordinator(KeyType::Transaction, transactional_id.into());
        self
    }

    /// To the broker that keeps a share group's state of one partition (KIP-932). The group's members are coordinated
    /// by [`coordinator_of_group`](Self::coordinator_of_group).
    pub fn coordinator_of_share(mut self, group: &str, topic_id: Uuid, partition: i32) -> Self {
        let key = format!("{group}:{topic_id}:{partition}");
        self.to = Destination::Coordinator(KeyType::Share, key.into());
        self
    }

    /// To the leader of a partition. A topic that does not exist is waited for, for as long as the call may take.
    pub fn leader_of(mut self, topic: impl Into<Str>, partition: i32) -> Self {
        self.to = Destination::Leader(topic.into(), partition);
        self
    }

    /// How long the call may take, looking up where it goes and all repetitions included. Default 60 s. Java:
    /// `default.api.timeout.ms`. One attempt takes at most `request.timeout.ms`, so a broker that is told to wait longer
    /// (a long poll, `timeout_ms` in the request) needs that raised too.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(FOREVER);
        self
    }

    /// In this version only, even if Kafka calls it unstable. Default: the highest stable one that both sides have.
    pub fn version(mut self, version: i16) -> Self {
        self.choice = Choice::Exactly(version);
        self
    }

    /// In no higher version than this. Default: the highest stable one that both sides have.
    pub fn at_most(mut self, version: i16) -> Self {
        self.choice = Choice::AtMost(version);
        self
    }

    /// Unstable versions too, where the broker offers them (`unstable.api.versions.enable` there). Their format may
    /// change with any release of Kafka. Default: never.
    pub fn unstable(mut self) -> Self {
        self.choice = Choice::Unstable;
        self
    }

    /// Believes nothing that is remembered of where the call goes: looks the coordinator, leader or controller up anew.
    /// That costs a request. Default: what is remembered is believed until it is `metadata.max.age.ms` old or a
    /// request to it is lost.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Asks again, where it goes looked up anew, with backoff and within the call's time, while the error code that
    /// `code` finds in the answer says that the broker is not the one, or not yet, and so did nothing. Then, or when the
    /// time is over, the answer is handed out as it is. Default: every answer is.
    ///
    /// ```no_run
    /// # use milena::wire::messages::InitProducerIdRequest;
    /// # async fn run(kafka: milena::Kafka, request: InitProducerIdRequest) -> milena::Result<()> {
    /// let answer = kafka.request(request).coordinator_of_transaction("t").elsewhere(|answer| answer.error_code).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn elsewhere(mut self, code: fn(&R::Response) -> ErrorCode) -> Self {
        self.code = Some(code);
        self
    }

    async fn run(self) -> Result<R::Response> {
        let deadline = Instant::now() + self.timeout;
        let mut route =
            Route { to: self.to.borrowed(), traffic: Traffic::Request, choice: self.choice, fresh: self.fresh };
        let (mut failures, mut before) = (0, None);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = match (self.cluster.send(route, &self.request, left).await, before) {
                (Ok(answer), _) => answer,
                // The time ran out over another try: what is known is the answer to the last one.
                (Err(error), Some(answer)) if error.kind() == ErrorKind::Timeout && !error.maybe_written() => {
                    return Ok(answer);
                }
                (Err(error), _) => return Err(error),
            };
            failures += 1;
            let again = Instant::now() + self.cluster.config().retry_backoff.delay(failures, fastrand::f64());
            if !self.code.is_some_and(|code| is_elsewhere(code(&answer))) || again >= deadline {
                return Ok(answer);
            }
            sleep_until(again).await;
            before = Some(answer);
            route.fresh = true;
        }
    }
}

impl<R> IntoFuture for Call<R>
where
    R: Request + Send + Sync + 'static,
    R::Response: Send,
{
    type Output = Result<R::Response>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            if is_unanswered(&self.request) {
                let text = "a Produce request with acks=0 is not answered: a producer can send it, `request` cannot";
                return Err(Error::new(ErrorKind::Config, text));
            }
            self.run().await
        })
    }
}

impl Destination {
    fn borrowed(&self) -> To<'_> {
        match self {
            Self::Any => To::Any,
            Self::Controller => To::Controller,
            Self::Broker(broker) => To::Broker(*broker),
            Self::Coordinator(kind, key) => To::Coordinator(*kind, key),
            Self::Leader(topic, partition) => To::Leader(topic, *partition),
        }
    }
}

/// Whether the broker did nothing because another one must have the request, or this one cannot take it yet.
fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::NOT_CONTROLLER
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
    )
}

fn is_unanswered(request: &(impl Any + fmt::Debug)) -> bool {
    (request as &dyn Any).downcast_ref::<ProduceRequest>().is_some_and(|produce| produce.acks == 0)
}
