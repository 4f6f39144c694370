//! All tables, as data: what tools and tests walk through that care for no message in particular.
//!
//! Rules this file keeps: whatever has a table stands here, in the order of the keys; a test counts.

use std::ops::RangeInclusive;

use super::{ApiKey, FieldSpec, Message, Request, messages::*};

/// The table of one message.
#[derive(Debug, Clone)]
pub struct Table {
    /// The name in Kafka's specifications.
    pub name: &'static str,
    /// The versions that the table has.
    pub versions: RangeInclusive<i16>,
    /// The first version with compact lengths and tagged fields; `i16::MAX` where none has.
    pub flexible_from: i16,
    /// The lines.
    pub fields: &'static [FieldSpec],
}

impl Table {
    const fn of<M: Message>() -> Self {
        Self { name: M::NAME, versions: M::VERSIONS, flexible_from: M::FLEXIBLE_FROM, fields: M::FIELDS }
    }
}

/// A request and the response to it.
#[derive(Debug, Clone)]
pub struct Api {
    /// The key in the request's header.
    pub key: ApiKey,
    /// The request.
    pub request: Table,
    /// The response.
    pub response: Table,
    /// The versions that may be negotiated.
    pub stable: RangeInclusive<i16>,
    /// The version of the [`RequestHeader`] in front of a version of the request.
    pub request_header_version: fn(i16) -> i16,
    /// The version of the [`ResponseHeader`] in front of a version of the response.
    pub response_header_version: fn(i16) -> i16,
}

impl Api {
    const fn of<R: Request>() -> Self {
        Self {
            key: R::API,
            request: Table::of::<R>(),
            response: Table::of::<R::Response>(),
            stable: R::STABLE,
            request_header_version: R::request_header_version,
            response_header_version: R::response_header_version,
        }
    }

    /// The API of this key, if there are tables for it.
    pub fn of_key(key: ApiKey) -> Option<&'static Self> {
        APIS.binary_search_by_key(&key, |api| api.key).ok().and_then(|index| APIS.get(index))
    }

    /// The API of this name, as Kafka and [`ApiKey::name`] spell it, in any case.
    pub fn of_name(name: &str) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key.name().eq_ignore_ascii_case(name))
    }
}

/// All APIs that have tables, by key.
pub const APIS: &[Api] = &[
    Api::of::<ProduceRequest>(),
    Api::of::<FetchRequest>(),
    Api::of::<ListOffsetsRequest>(),
    Api::of::<MetadataRequest>(),
    Api::of::<OffsetCommitRequest>(),
    Api::of::<OffsetFetchRequest>(),
    Api::of::<FindCoordinatorRequest>(),
    Api::of::<JoinGroupRequest>(),
    Api::of::<HeartbeatRequest>(),
    Api::of::<LeaveGroupRequest>(),
    Api::of::<SyncGroupRequest>(),
    Api::of::<DescribeGroupsRequest>(),
    Api::of::<ListGroupsRequest>(),
    Api::of::<SaslHandshakeRequest>(),
    Api::of::<ApiVersionsRequest>(),
    Api::of::<CreateTopicsRequest>(),
    Api::of::<DeleteTopicsRequest>(),
    Api::of::<DeleteRecordsRequest>(),
    Api::of::<InitProducerIdRequest>(),
    Api::of::<OffsetForLeaderEpochRequest>(),
    Api::of::<AddPartitionsToTxnRequest>(),
    Api::of::<AddOffsetsToTxnRequest>(),
    Api::of::<EndTxnRequest>(),
    Api::of::<WriteTxnMarkersRequest>(),
    Api::of::<TxnOffsetCommitRequest>(),
    Api::of::<DescribeAclsRequest>(),
    Api::of::<CreateAclsRequest>(),
    Api::of::<DeleteAclsRequest>(),
    Api::of::<DescribeConfigsRequest>(),
    Api::of::<AlterConfigsRequest>(),
    Api::of::<AlterReplicaLogDirsRequest>(),
    Api::of::<DescribeLogDirsRequest>(),
    Api::of::<SaslAuthenticateRequest>(),
    Api::of::<CreatePartitionsRequest>(),
    Api::of::<CreateDelegationTokenRequest>(),
    Api::of::<RenewDelegationTokenRequest>(),
    Api::of::<ExpireDelegationTokenRequest>(),
    Api::of::<DescribeDelegationTokenRequest>(),
    Api::of::<DeleteGroupsRequest>(),
    Api::of::<ElectLeadersRequest>(),
    Api::of::<IncrementalAlterConfigsRequest>(),
    Api::of::<AlterPartitionReassignmentsRequest>(),
    Api::of::<ListPartitionReassignmentsRequest>(),
    Api::of::<OffsetDeleteRequest>(),
    Api::of::<DescribeClientQuotasRequest>(),
    Api::of::<AlterClientQuotasRequest>(),
    Api::of::<DescribeUserScramCredentialsRequest>(),
    Api::of::<AlterUserScramCredentialsRequest>(),
    Api::of::<DescribeQuorumRequest>(),
    Api::of::<AlterPartitionRequest>(),
    Api::of::<UpdateFeaturesRequest>(),
    Api::of::<DescribeClusterRequest>(),
    Api::of::<DescribeProducersRequest>(),
    Api::of::<UnregisterBrokerRequest>(),
    Api::of::<DescribeTransactionsRequest>(),
    Api::of::<ListTransactionsRequest>(),
    Api::of::<AllocateProducerIdsRequest>(),
    Api::of::<ConsumerGroupHeartbeatRequest>(),
    Api::of::<ConsumerGroupDescribeRequest>(),
    Api::of::<GetTelemetrySubscriptionsRequest>(),
    Api::of::<PushTelemetryRequest>(),
    Api::of::<ListConfigResourcesRequest>(),
    Api::of::<DescribeTopicPartitionsRequest>(),
    Api::of::<ShareGroupHeartbeatRequest>(),
    Api::of::<ShareGroupDescribeRequest>(),
    Api::of::<ShareFetchRequest>(),
    Api::of::<ShareAcknowledgeRequest>(),
    Api::of::<AddRaftVoterRequest>(),
    Api::of::<RemoveRaftVoterRequest>(),
    Api::of::<UpdateRaftVoterRequest>(),
    Api::of::<StreamsGroupHeartbeatRequest>(),
    Api::of::<StreamsGroupDescribeRequest>(),
    Api::of::<DescribeShareGroupOffsetsRequest>(),
    Api::of::<AlterShareGroupOffsetsRequest>(),
    Api::of::<DeleteShareGroupOffsetsRequest>(),
    Api::of::<StreamsGroupTopologyDescriptionUpdateRequest>(),
    Api::of::<UnregisterControllerRequest>(),
];

/// All structures that travel outside of a body: the headers, and what other messages carry in bytes.
pub const DATA: &[Table] = &[
    Table::of::<RequestHeader>(),
    Table::of::<ResponseHeader>(),
    Table::of::<ConsumerProtocolSubscription>(),
    Table::of::<ConsumerProtocolAssignment>(),
    Table::of::<StickyAssignorUserData>(),
    Table::of::<CooperativeStickyAssignorUserData>(),
    Table::of::<DefaultPrincipalData>(),
    Table::of::<ControlRecordTypeSchema>(),
    Table::of::<EndTxnMarker>(),
    Table::of::<LeaderChangeMessage>(),
    Table::of::<SnapshotHeaderRecord>(),
    Table::of::<SnapshotFooterRecord>(),
    Table::of::<KRaftVersionRecord>(),
    Table::of::<VotersRecord>(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_are_found_by_key_and_by_name() {
        assert!(APIS.is_sorted_by_key(|api| api.key), "the search needs the order");
        for api in APIS {
            assert_eq!(Api::of_key(api.key).map(|api| api.request.name), Some(api.request.name));
            assert_eq!(api.request.name.strip_suffix("Request"), Some(api.key.name()));
            assert_eq!(Api::of_name(&api.key.name().to_lowercase()).map(|api| api.key), Some(api.key));
        }
        assert!(Api::of_key(ApiKey(999)).is_none() && Api::of_name("Produces").is_none());
    }

    #[test]
    fn an_answer_has_the_versions_of_its_question() {
        for api in APIS {
            assert_eq!(api.request.versions, api.response.versions, "{}", api.key);
            assert_eq!(api.request.flexible_from, api.response.flexible_from, "{}", api.key);
        }
    }
}
