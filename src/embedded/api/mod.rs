//! From a request frame to what is sent back: which requests are served, and how each is run.
//!
//! Rules this file keeps:
//! - no body reaches `kafka-protocol` before [`guard`] has walked it; of a header's lengths none reserves memory;
//! - only ApiVersions is answered in a version that is not served (KIP-511); anything else closes the connection, as
//!   Kafka does;
//! - a fault happens here, around the handler: a handler knows only what its answer must carry.

mod cluster;
mod configs;
mod consumer_groups;
mod fetch;
mod groups;
mod groups_admin;
mod groups_offsets;
mod offsets;
mod offsets_by_id;
mod partitions;
mod produce;
mod sasl;
mod topics;
mod transactions;
mod transactions_admin;

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, RequestHeader},
    protocol::{Decodable, Encodable, StrBytes},
};

use super::{
    Shared,
    faults::{Asked, FaultAction, When},
    guard, refusal,
    reply::{Body, Unanswered},
    sasl::Admission,
    session::Session,
};
use crate::wire;

/// Declares what is served: each request, and its first and last version. What ApiVersions tells, what is dispatched
/// and what faults can be made for cannot differ.
macro_rules! serve {
    ($($(#[$why:meta])* $api:ident($request:ident) $first:literal..=$last:literal;)*) => {
        /// Each request with its first and last version. A release that a cluster pretends to be tells less.
        pub(super) const SERVED: &[(ApiKey, i16, i16)] = &[$((ApiKey::$api, $first, $last)),*];

        /// A kind of request that the embedded cluster serves, by Kafka's numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub enum Api {
            $($api = ApiKey::$api as isize,)*
        }

        impl Api {
            /// The kind of a request that is served, if it is.
            pub(super) fn of(key: ApiKey) -> Option<Self> {
                match key {
                    $(ApiKey::$api => Some(Self::$api),)*
                    _ => None,
                }
            }
        }

        async fn dispatch(api: ApiKey, call: Call, reply: Addressed, body: Bytes) -> Outcome {
            use kafka_protocol::messages::*;
            use offsets_by_id::OffsetsOfTransaction;

            match api {
                $(ApiKey::$api => run::<$request>(call, reply, body).await,)*
                _ => Outcome::Close,
            }
        }
    };
}

serve! {
    // Told from 0 on, as Kafka 4 does although it refuses 0 to 2: older librdkafka looks for it (KAFKA-18659).
    Produce(ProduceRequest) 0..=13;
    Fetch(FetchRequest) 4..=17;
    ListOffsets(ListOffsetsRequest) 1..=10;
    Metadata(MetadataRequest) 0..=13;
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest) 2..=4;
    CreatePartitions(CreatePartitionsRequest) 0..=3;
    DeleteRecords(DeleteRecordsRequest) 0..=2;
    DescribeConfigs(DescribeConfigsRequest) 1..=4;
    AlterConfigs(AlterConfigsRequest) 0..=2;
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest) 0..=1;
    ListConfigResources(ListConfigResourcesRequest) 0..=1;
    DescribeLogDirs(DescribeLogDirsRequest) 1..=4;
    DescribeTopicPartitions(DescribeTopicPartitionsRequest) 0..=0;
    ElectLeaders(ElectLeadersRequest) 0..=2;
    OffsetCommit(OffsetCommitRequest) 2..=9;
    OffsetFetch(OffsetFetchRequest) 1..=9;
    FindCoordinator(FindCoordinatorRequest) 0..=6;
    JoinGroup(JoinGroupRequest) 0..=9;
    Heartbeat(HeartbeatRequest) 0..=4;
    LeaveGroup(LeaveGroupRequest) 0..=5;
    SyncGroup(SyncGroupRequest) 0..=5;
    DescribeGroups(DescribeGroupsRequest) 0..=6;
    ListGroups(ListGroupsRequest) 0..=5;
    DeleteGroups(DeleteGroupsRequest) 0..=2;
    OffsetDelete(OffsetDeleteRequest) 0..=0;
    SaslHandshake(SaslHandshakeRequest) 0..=1;
    ApiVersions(ApiVersionsRequest) 0..=4;
    CreateTopics(CreateTopicsRequest) 2..=7;
    DeleteTopics(DeleteTopicsRequest) 1..=6;
    InitProducerId(InitProducerIdRequest) 0..=5;
    SaslAuthenticate(SaslAuthenticateRequest) 0..=2;
    AddPartitionsToTxn(AddPartitionsToTxnRequest) 0..=5;
    AddOffsetsToTxn(AddOffsetsToTxnRequest) 0..=4;
    EndTxn(EndTxnRequest) 0..=5;
    WriteTxnMarkers(WriteTxnMarkersRequest) 1..=1;
    // The last one only if it is asked for: no release has it yet.
    TxnOffsetCommit(OffsetsOfTransaction) 0..=6;
    DescribeProducers(DescribeProducersRequest) 0..=0;
    DescribeTransactions(DescribeTransactionsRequest) 0..=0;
    ListTransactions(ListTransactionsRequest) 0..=2;
    DescribeCluster(DescribeClusterRequest) 0..=2;
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest) 0..=1;
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest) 0..=1;
}

/// What is to be done with a connection after a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Send this, then go on as told.
    Reply(Vec<Bytes>, Then),
    /// The request wants no answer.
    Nothing,
    /// Close the connection.
    Close,
    /// Keep the connection open and never answer on it again.
    Silence,
}

/// How a connection goes on after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Continue,
    /// Read nothing for so long (KIP-219).
    Mute(Duration),
    Close,
    Silence,
}

/// A request at hand: who serves it, and what a fault wants the handler to answer.
pub(super) struct Call {
    shared: Arc<Shared>,
    session: Arc<Session>,
    /// The broker that was asked.
    broker: i32,
    version: i16,
    /// What the client calls itself in this request.
    client_id: Option<StrBytes>,
    /// Length of the frame, which stored batches keep in memory.
    frame: usize,
    forced: Option<Forced>,
    throttle: Duration,
    /// Whether a fault wants the records of a Fetch to be damaged.
    corrupt: bool,
    /// What a fault wants to stand for the records of a Fetch.
    records: Option<Bytes>,
    /// Whether the connection ends after the answer.
    last: AtomicBool,
    /// Whether the handler knows what a fault wants.
    asked_for_code: AtomicBool,
}

struct Forced {
    code: i16,
    topic: Option<String>,
}

impl Call {
    /// The error code that a fault wants for this topic.
    fn forced(&self, topic: &str) -> Option<i16> {
        self.asked_for_code.store(true, Ordering::Relaxed);
        self.forced.as_ref().filter(|forced| forced.topic.as_deref().is_none_or(|name| name == topic)).map(|it| it.code)
    }

    /// The error code that a fault wants for the whole reply; 0 without one.
    fn forced_code(&self) -> i16 {
        self.asked_for_code.store(true, Ordering::Relaxed);
        self.forced.as_ref().map_or(0, |forced| forced.code)
    }

    /// Ends the connection after the answer.
    fn hang_up(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    fn throttle_ms(&self) -> i32 {
        i32::try_from(self.throttle.as_millis()).unwrap_or(i32::MAX)
    }

    fn encode<M: Encodable>(&self, message: &M) -> Result<Option<Body>, Unanswered> {
        Body::of(message, self.version).map(Some)
    }
}

/// What is asked for, each thing once and in its order: an answer grows with what there is, never with repetitions.
fn distinct<T, K: Ord>(asked: Vec<T>, key: impl Fn(&T) -> K) -> impl Iterator<Item = T> {
    let mut seen = BTreeSet::new();
    asked.into_iter().filter(move |item| seen.insert(key(item)))
}

/// How a request is read from its bytes; `None` if it cannot be.
trait Read: Sized {
    fn read(body: &mut Bytes, version: i16) -> Option<Self>;
}

impl<R: Decodable> Read for R {
    fn read(body: &mut Bytes, version: i16) -> Option<Self> {
        R::decode(body, version).ok()
    }
}

/// A request that the broker serves.
trait Serve: Read + Send {
    /// Whether the handler knows nothing of error codes that a fault wants, so that [`refusal`] answers in its place.
    /// Default: it asks [`Call::forced`] or [`Call::forced_code`] before it does anything; one that never asks is
    /// answered for all the same, but what it did is done.
    const REFUSED_BY_TABLE: bool = false;

    /// Whether the request is about this topic. Default: it is not; a topic that stands in it by name is found anyway.
    fn names(&self, _call: &Call, _topic: &str) -> bool {
        false
    }

    /// Does what is asked and answers; `None` where the protocol wants no answer.
    fn serve(self, call: &Call) -> impl Future<Output = Result<Option<Body>, Unanswered>> + Send;
}

/// Serves one frame (without its length) of a connection.
pub(super) async fn answer(shared: &Arc<Shared>, session: &Arc<Session>, frame: Bytes) -> Outcome {
    let preamble = preamble(&frame);
    match session.admit(preamble.map_or(-1, |(key, ..)| key)) {
        Admission::Serve => {}
        Admission::Token => return sasl::token(shared, session, &frame),
        Admission::Close => return Outcome::Close,
    }
    let Some((key, version, correlation_id)) = preamble else { return Outcome::Close };
    let Some((api, (first, last))) = known(shared, key) else {
        tracing::debug!(key, version, "a request that is not served");
        return Outcome::Close;
    };
    let served = (first.max(api.valid_versions().min)..=last).contains(&version);
    if !served {
        tracing::debug!(?api, version, "a version that is not served");
        return if api == ApiKey::ApiVersions { unsupported_version(shared, correlation_id) } else { Outcome::Close };
    }
    shared.requests.count(key, version);
    let mut body = frame.clone();
    let Ok(header) = RequestHeader::decode(&mut body, api.request_header_version(version)) else {
        return Outcome::Close;
    };
    match guard::check(api, version, &body) {
        Ok(size) => body.truncate(size),
        Err(why) => {
            tracing::warn!(?api, version, ?why, "a request that cannot be read");
            return Outcome::Close;
        }
    }
    let call = Call {
        shared: shared.clone(),
        session: session.clone(),
        broker: session.broker,
        version,
        client_id: header.client_id,
        frame: frame.len(),
        forced: None,
        throttle: Duration::ZERO,
        corrupt: false,
        records: None,
        last: AtomicBool::new(false),
        asked_for_code: AtomicBool::new(false),
    };
    let reply = Addressed { api, correlation_id, header_version: api.response_header_version(version) };
    dispatch(api, call, reply, body).await
}

/// To which request a reply belongs.
struct Addressed {
    api: ApiKey,
    correlation_id: i32,
    header_version: i16,
}

async fn run<R: Serve>(mut call: Call, mut reply: Addressed, mut body: Bytes) -> Outcome {
    let whole = body.clone();
    let Some(request) = R::read(&mut body, call.version).filter(|_| body.is_empty()) else {
        return Outcome::Close;
    };
    let asked = Asked {
        broker: call.broker,
        api: reply.api as i16,
        version: call.version,
        client_id: call.client_id.as_deref(),
        body: &whole,
    };
    let happening = call.shared.faults.happening(&asked, |topic| request.names(&call, topic));
    let mut action = None;
    match happening.map(|happening| (happening.action, happening.topic)) {
        Some((FaultAction::Disconnect(When::BeforeApplying), _)) => return Outcome::Close,
        Some((FaultAction::Silence(When::BeforeApplying), _)) => return Outcome::Silence,
        Some((FaultAction::Error(code), topic)) => call.forced = Some(Forced { code, topic }),
        Some((FaultAction::Throttle(time), _)) => call.throttle = time,
        Some((FaultAction::CorruptBatch, _)) => call.corrupt = true,
        Some((FaultAction::Records(records), _)) => call.records = Some(records),
        Some((other, _)) => action = Some(other),
        None => {}
    }
    if call.forced.is_none() && call.shared.offers.is_off(reply.api) {
        call.forced = Some(Forced { code: ResponseError::UnsupportedVersion.code(), topic: None });
    }
    let answer = if R::REFUSED_BY_TABLE && call.forced.is_some() { Ok(None) } else { request.serve(&call).await };
    let answer = match &call.forced {
        Some(forced) if !call.asked_for_code.load(Ordering::Relaxed) => {
            refuse(&reply, call.version, &whole, forced.code)
        }
        _ => answer,
    };
    match &action {
        Some(FaultAction::Disconnect(_)) => return Outcome::Close,
        Some(FaultAction::Silence(_)) => return Outcome::Silence,
        Some(FaultAction::Delay(time)) => tokio::time::sleep(*time).await,
        Some(FaultAction::WrongCorrelationId) => reply.correlation_id = reply.correlation_id.wrapping_add(1000),
        _ => {}
    }
    let answer = match answer {
        Ok(Some(body)) => body.into_frame(reply.correlation_id, reply.header_version),
        Ok(None) => return Outcome::Nothing,
        Err(unanswered) => Err(unanswered),
    };
    let frame = match answer {
        Ok(frame) => frame,
        Err(why) => {
            tracing::warn!(api = ?reply.api, version = call.version, ?why, "a request ends its connection");
            return Outcome::Close;
        }
    };
    let then = match call.throttle {
        _ if call.last.into_inner() => Then::Close,
        Duration::ZERO => Then::Continue,
        time => Then::Mute(time),
    };
    match action {
        Some(action) => spoil(frame, &action),
        None => Outcome::Reply(frame, then),
    }
}

/// The answer with this error code everywhere, nothing having been done.
fn refuse(reply: &Addressed, version: i16, request: &Bytes, code: i16) -> Result<Option<Body>, Unanswered> {
    let tables = wire::Api::of_key(wire::ApiKey(reply.api as i16)).ok_or(Unanswered::HangUp)?;
    let mut body = Body::default();
    body.splice(refusal::of(tables, version, request, code).into());
    Ok(Some(body))
}

/// Does to a reply what a fault wants.
fn spoil(frame: Vec<Bytes>, action: &FaultAction) -> Outcome {
    let mut bytes = frame.concat();
    let then = match action {
        FaultAction::CutReply(length) => {
            bytes.truncate(*length);
            Then::Close
        }
        FaultAction::Garbage(length) => {
            bytes = (0..*length).map(|_| fastrand::u8(..)).collect();
            Then::Close
        }
        FaultAction::ReplyLength(length) => {
            bytes.splice(..4, length.to_be_bytes());
            Then::Silence
        }
        _ => Then::Continue,
    };
    Outcome::Reply(vec![bytes.into()], then)
}

/// Key, version and correlation id, which stand first in every version of the header.
fn preamble(frame: &[u8]) -> Option<(i16, i16, i32)> {
    let bytes: [u8; 8] = *frame.first_chunk()?;
    let [k0, k1, v0, v1, c0, c1, c2, c3] = bytes;
    Some((i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]), i32::from_be_bytes([c0, c1, c2, c3])))
}

/// The request with this number and its versions, if the cluster knows it.
fn known(shared: &Shared, key: i16) -> Option<(ApiKey, (i16, i16))> {
    let api = ApiKey::try_from(key).ok()?;
    Some((api, shared.offers.range(api)?))
}

/// Answers ApiVersions of an unknown version: in version 0, which everybody reads (KIP-511).
fn unsupported_version(shared: &Shared, correlation_id: i32) -> Outcome {
    let response = shared.offers.unknown_version().with_error_code(ResponseError::UnsupportedVersion.code());
    match Body::of(&response, 0).and_then(|body| body.into_frame(correlation_id, 0)) {
        Ok(frame) => Outcome::Reply(frame, Then::Continue),
        Err(_) => Outcome::Close,
    }
}
