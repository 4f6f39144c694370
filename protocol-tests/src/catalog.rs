//! Every message that milena has a table for, without its type: what tests over all messages walk through.
//!
//! Rules this file keeps: a message that is not in the list here is not tested, so a test compares the list with milena's own.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use milena::wire::{self, FieldSpec, Message, Request};

use crate::fuzz::Checks;

/// What tests need of one message.
#[derive(Debug)]
pub struct Table {
    /// The name in Kafka's specifications.
    pub name: &'static str,
    /// The API key; `None` of a structure that travels outside of a body.
    pub api: Option<i16>,
    /// The versions of the table.
    pub versions: RangeInclusive<i16>,
    /// The last version that may be negotiated.
    pub last_stable: i16,
    /// The first flexible version.
    pub flexible_from: i16,
    /// The lines of the table.
    pub fields: &'static [FieldSpec],
    /// Reads a body with milena and writes it again.
    pub ours: Copier,
    /// Reads a body with the crate kafka-protocol and writes it again.
    pub theirs: Copier,
    /// The versions that kafka-protocol has.
    pub their_versions: RangeInclusive<i16>,
    /// What has to hold of any bytes; the fuzz targets call it.
    pub checks: Checks,
}

/// Reads a body in a version and writes it again.
pub type Copier = fn(Bytes, i16) -> Result<Bytes, String>;

macro_rules! catalog {
    ({ $($request:ident => $response:ident $(($alone:ident))?,)* } { $($data:ident $(($data_alone:ident))?,)* }) => {
        /// All tables, a request before its response.
        pub fn catalog() -> Vec<Table> {
            vec![$(
                table::<wire::messages::$request, wire::messages::$request>(peer!($request $($alone)?), Checks::of_request::<wire::messages::$request>()),
                table::<wire::messages::$request, wire::messages::$response>(peer!($response $($alone)?), Checks::of_response::<wire::messages::$request>()),
            )* $(
                data::<wire::messages::$data>(peer!($data $($data_alone)?)),
            )*]
        }
    };
}

/// The same message in kafka-protocol; `alone` where it has none, so that no version can be compared.
macro_rules! peer {
    ($name:ident) => {
        peer::<kafka_protocol::messages::$name>()
    };
    ($name:ident alone) => {
        (|_, _| Err("kafka-protocol does not have it".into()), RangeInclusive::new(0, -1))
    };
}

catalog! {
    {
        ProduceRequest => ProduceResponse,
        FetchRequest => FetchResponse,
        ListOffsetsRequest => ListOffsetsResponse,
        MetadataRequest => MetadataResponse,
        OffsetCommitRequest => OffsetCommitResponse,
        OffsetFetchRequest => OffsetFetchResponse,
        FindCoordinatorRequest => FindCoordinatorResponse,
        JoinGroupRequest => JoinGroupResponse,
        HeartbeatRequest => HeartbeatResponse,
        LeaveGroupRequest => LeaveGroupResponse,
        SyncGroupRequest => SyncGroupResponse,
        DescribeGroupsRequest => DescribeGroupsResponse,
        ListGroupsRequest => ListGroupsResponse,
        SaslHandshakeRequest => SaslHandshakeResponse,
        ApiVersionsRequest => ApiVersionsResponse,
        CreateTopicsRequest => CreateTopicsResponse,
        DeleteTopicsRequest => DeleteTopicsResponse,
        DeleteRecordsRequest => DeleteRecordsResponse,
        InitProducerIdRequest => InitProducerIdResponse,
        OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse,
        AddPartitionsToTxnRequest => AddPartitionsToTxnResponse,
        AddOffsetsToTxnRequest => AddOffsetsToTxnResponse,
        EndTxnRequest => EndTxnResponse,
        WriteTxnMarkersRequest => WriteTxnMarkersResponse,
        TxnOffsetCommitRequest => TxnOffsetCommitResponse,
        DescribeAclsRequest => DescribeAclsResponse,
        CreateAclsRequest => CreateAclsResponse,
        DeleteAclsRequest => DeleteAclsResponse,
        DescribeConfigsRequest => DescribeConfigsResponse,
        AlterConfigsRequest => AlterConfigsResponse,
        AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse,
        DescribeLogDirsRequest => DescribeLogDirsResponse,
        SaslAuthenticateRequest => SaslAuthenticateResponse,
        CreatePartitionsRequest => CreatePartitionsResponse,
        CreateDelegationTokenRequest => CreateDelegationTokenResponse,
        RenewDelegationTokenRequest => RenewDelegationTokenResponse,
        ExpireDelegationTokenRequest => ExpireDelegationTokenResponse,
        DescribeDelegationTokenRequest => DescribeDelegationTokenResponse,
        DeleteGroupsRequest => DeleteGroupsResponse,
        ElectLeadersRequest => ElectLeadersResponse,
        IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse,
        AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse,
        ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse,
        OffsetDeleteRequest => OffsetDeleteResponse,
        DescribeClientQuotasRequest => DescribeClientQuotasResponse,
        AlterClientQuotasRequest => AlterClientQuotasResponse,
        DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse,
        AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse,
        DescribeQuorumRequest => DescribeQuorumResponse,
        AlterPartitionRequest => AlterPartitionResponse,
        UpdateFeaturesRequest => UpdateFeaturesResponse,
        DescribeClusterRequest => DescribeClusterResponse,
        DescribeProducersRequest => DescribeProducersResponse,
        UnregisterBrokerRequest => UnregisterBrokerResponse,
        DescribeTransactionsRequest => DescribeTransactionsResponse,
        ListTransactionsRequest => ListTransactionsResponse,
        AllocateProducerIdsRequest => AllocateProducerIdsResponse,
        ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse,
        ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse,
        GetTelemetrySubscriptionsRequest => GetTelemetrySubscriptionsResponse,
        PushTelemetryRequest => PushTelemetryResponse,
        ListConfigResourcesRequest => ListConfigResourcesResponse,
        DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse,
        ShareGroupHeartbeatRequest => ShareGroupHeartbeatResponse,
        ShareGroupDescribeRequest => ShareGroupDescribeResponse,
        ShareFetchRequest => ShareFetchResponse,
        ShareAcknowledgeRequest => ShareAcknowledgeResponse,
        AddRaftVoterRequest => AddRaftVoterResponse,
        RemoveRaftVoterRequest => RemoveRaftVoterResponse,
        UpdateRaftVoterRequest => UpdateRaftVoterResponse,
        StreamsGroupHeartbeatRequest => StreamsGroupHeartbeatResponse (alone),
        StreamsGroupDescribeRequest => StreamsGroupDescribeResponse (alone),
        DescribeShareGroupOffsetsRequest => DescribeShareGroupOffsetsResponse,
        AlterShareGroupOffsetsRequest => AlterShareGroupOffsetsResponse,
        DeleteShareGroupOffsetsRequest => DeleteShareGroupOffsetsResponse,
        StreamsGroupTopologyDescriptionUpdateRequest => StreamsGroupTopologyDescriptionUpdateResponse (alone),
        UnregisterControllerRequest => UnregisterControllerResponse (alone),
    }
    {
        RequestHeader,
        ResponseHeader,
        ConsumerProtocolSubscription,
        ConsumerProtocolAssignment,
        StickyAssignorUserData (alone),
        CooperativeStickyAssignorUserData (alone),
        DefaultPrincipalData,
        ControlRecordTypeSchema (alone),
        EndTxnMarker,
        LeaderChangeMessage,
        SnapshotHeaderRecord,
        SnapshotFooterRecord,
        KRaftVersionRecord,
        VotersRecord,
    }
}

fn table<R: Request, M: Message>(peer: (Copier, RangeInclusive<i16>), checks: Checks) -> Table {
    Table { api: Some(R::API.0), last_stable: *R::STABLE.end(), checks, ..data::<M>(peer) }
}

fn data<M: Message>((theirs, their_versions): (Copier, RangeInclusive<i16>)) -> Table {
    Table {
        name: M::NAME,
        api: None,
        versions: M::VERSIONS,
        last_stable: *M::VERSIONS.end(),
        flexible_from: M::FLEXIBLE_FROM,
        fields: M::FIELDS,
        ours: ours::<M>,
        theirs,
        their_versions,
        checks: Checks::of_data::<M>(),
    }
}

fn peer<P: kafka_protocol::protocol::Message + Decodable + Encodable>() -> (Copier, RangeInclusive<i16>) {
    (theirs::<P>, P::VERSIONS.min..=P::VERSIONS.max)
}

fn ours<M: Message>(body: Bytes, version: i16) -> Result<Bytes, String> {
    let message: M = wire::decode_body(body, version).map_err(|error| error.to_string())?;
    let written = wire::encode_body(&message, version).map_err(|error| format!("{message:?}: {error}"))?;
    assert_eq!(written.len(), message.size(version), "the size of {message:?} in version {version}");
    Ok(written)
}

fn theirs<P: Decodable + Encodable>(mut body: Bytes, version: i16) -> Result<Bytes, String> {
    let message = P::decode(&mut body, version).map_err(|error| error.to_string())?;
    if !body.is_empty() {
        return Err(format!("{} bytes are left over", body.len()));
    }
    let mut out = BytesMut::new();
    message.encode(&mut out, version).map_err(|error| error.to_string())?;
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_milena_is_in_the_catalog() {
        let apis =
            wire::APIS.iter().flat_map(|api| [(Some(api.key.0), &api.request), (Some(api.key.0), &api.response)]);
        let data = wire::DATA.iter().map(|table| (None, table));
        let milena: Vec<_> = apis.chain(data).map(|(key, table)| (key, table.name)).collect();
        let here: Vec<_> = catalog().iter().map(|table| (table.api, table.name)).collect();
        assert_eq!(here, milena);
    }
}
