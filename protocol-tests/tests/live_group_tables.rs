//! The tables of groups against a real broker: members of consumer, share and streams groups, by hand.

mod raw;

use milena::wire::{self, ErrorCode, Request, Str, messages::*};
use protocol_tests::unique;
use raw::{NONE, Wire, default};

/// A group with a coordinator. The first one of a new broker waits for the topic of all groups.
fn group(wire: &mut Wire) -> Str {
    let group_id = Str::from(unique("tables"));
    let asked = FindCoordinatorRequest { coordinator_keys: vec![group_id.clone()], ..default() };
    wire.until(|wire| (wire.last(asked.clone()).coordinators[0].error_code == NONE).then_some(group_id.clone()))
}

/// Asks again while the coordinator is still on its way.
fn settled<R: Request>(
    wire: &mut Wire,
    request: &R,
    version: i16,
    code: impl Fn(&R::Response) -> ErrorCode,
) -> R::Response {
    wire.until(|wire| Some(wire.ask(request, version)).filter(|answer| !code(answer).is_retriable()))
}

/// A member id as KIP-1082 wants it: a UUID that the member chose.
fn member() -> Str {
    Str::from(wire::Uuid(u128::from_be_bytes(std::array::from_fn(|_| fastrand::u8(..)))).to_string())
}

#[test]
fn a_consumer_joins_by_heartbeat_is_described_and_leaves() {
    let Some(mut wire) = Wire::open("a_consumer_joins_by_heartbeat_is_described_and_leaves") else { return };
    let topic = wire.topic(2);
    for version in wire.versions::<ConsumerGroupHeartbeatRequest>() {
        let group_id = group(&mut wire);
        let join = ConsumerGroupHeartbeatRequest {
            group_id: group_id.clone(),
            member_id: if version >= 1 { member() } else { Str::default() },
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec![topic.clone()]),
            server_assignor: Some("uniform".into()),
            topic_partitions: Some(Vec::new()),
            ..default()
        };
        let joined = settled(&mut wire, &join, version, |joined| joined.error_code);
        assert_eq!((joined.error_code, joined.member_epoch > 0), (NONE, true), "{joined:?}");
        let member_id = joined.member_id.clone().expect("a member id");
        let stay = ConsumerGroupHeartbeatRequest {
            group_id: group_id.clone(),
            member_id: member_id.clone(),
            member_epoch: joined.member_epoch,
            ..default()
        };
        let first = joined.assignment;
        let assignment = first.unwrap_or_else(|| wire.until(|wire| wire.ask(&stay, version).assignment));
        assert_eq!(assignment.topic_partitions[0].partitions.len(), 2, "{assignment:?}");
        let describe =
            |_| ConsumerGroupDescribeRequest { group_ids: vec![group_id.clone()], include_authorized_operations: true };
        wire.every(describe, |described| {
            let members = &described.groups[0].members;
            assert_eq!((members.len(), &members[0].member_id), (1, &member_id), "{described:?}");
            assert_eq!(members[0].target_assignment.topic_partitions[0].topic_name, topic);
        });
        let left = wire.ask(&ConsumerGroupHeartbeatRequest { member_epoch: -1, ..stay }, version);
        assert_eq!((left.error_code, left.member_epoch), (NONE, -1), "{left:?}");
    }
}

#[test]
fn a_member_of_a_share_group_acquires_and_acknowledges() {
    let Some(mut wire) = Wire::open("a_member_of_a_share_group_acquires_and_acknowledges") else { return };
    let topic = wire.topic(1);
    let (group_id, member_id) = (group(&mut wire), member());
    let join = ShareGroupHeartbeatRequest {
        group_id: group_id.clone(),
        member_id: member_id.clone(),
        subscribed_topic_names: Some(vec![topic.clone()]),
        ..default()
    };
    let newest = *wire.versions::<ShareGroupHeartbeatRequest>().end();
    let joined = settled(&mut wire, &join, newest, |joined| joined.error_code);
    assert_eq!(joined.error_code, NONE, "{joined:?}");
    let mut stay =
        ShareGroupHeartbeatRequest { member_epoch: joined.member_epoch, subscribed_topic_names: None, ..join };
    let mut assignment = joined.assignment;
    let assignment = wire.until(|wire| {
        let known = assignment.take().filter(|known| !known.topic_partitions.is_empty());
        known.or_else(|| {
            let told = wire.last(stay.clone());
            stay.member_epoch = told.member_epoch;
            assignment = told.assignment;
            None
        })
    });
    let topic_id = assignment.topic_partitions[0].topic_id;
    wire.every(
        |_| ShareGroupDescribeRequest { group_ids: vec![group_id.clone()], include_authorized_operations: true },
        |described| assert_eq!(described.groups[0].members[0].member_id, member_id, "{described:?}"),
    );
    for version in wire.versions::<ShareFetchRequest>() {
        let partitions = vec![ShareFetchPartition::default()];
        let fetch = ShareFetchRequest {
            group_id: Some(group_id.clone()),
            member_id: Some(member()),
            max_wait_ms: 100,
            max_records: 10,
            batch_size: 10,
            topics: vec![ShareFetchTopic { topic_id, partitions }],
            ..default()
        };
        let fetched = wire.ask(&fetch, version);
        assert_eq!(fetched.error_code, NONE, "{fetched:?}");
        let close = ShareAcknowledgeRequest {
            group_id: fetch.group_id.clone(),
            member_id: fetch.member_id.clone(),
            share_session_epoch: -1,
            ..default()
        };
        let closed = wire.ask(&close, version);
        assert_eq!(closed.error_code, NONE, "{closed:?}");
    }
    let groups = || vec![DescribeShareGroupOffsetsRequestGroup { group_id: group_id.clone(), topics: None }];
    wire.every(
        |_| DescribeShareGroupOffsetsRequest { groups: groups() },
        |offsets| assert_eq!(offsets.groups[0].error_code, NONE, "{offsets:?}"),
    );
    let left = wire.last(ShareGroupHeartbeatRequest { member_epoch: -1, ..stay });
    assert_eq!((left.error_code, left.member_epoch), (NONE, -1), "{left:?}");
    let start = AlterShareGroupOffsetsRequestPartition { partition_index: 0, start_offset: 0 };
    let topics = vec![AlterShareGroupOffsetsRequestTopic { topic_name: topic.clone(), partitions: vec![start] }];
    let altered = wire.last(AlterShareGroupOffsetsRequest { group_id: group_id.clone(), topics });
    assert_eq!((altered.error_code, altered.responses[0].partitions[0].error_code), (NONE, NONE), "{altered:?}");
    let topics = vec![DeleteShareGroupOffsetsRequestTopic { topic_name: topic.clone() }];
    let deleted = wire.last(DeleteShareGroupOffsetsRequest { group_id: group_id.clone(), topics });
    assert_eq!((deleted.error_code, deleted.responses[0].error_code), (NONE, NONE), "{deleted:?}");
}

#[test]
fn a_member_of_a_streams_group_joins_and_is_described() {
    let Some(mut wire) = Wire::open("a_member_of_a_streams_group_joins_and_is_described") else { return };
    let topic = wire.topic(1);
    let (group_id, member_id) = (group(&mut wire), member());
    let subtopology = StreamsGroupHeartbeatSubtopology {
        subtopology_id: "0".into(),
        source_topics: vec![topic.clone()],
        ..default()
    };
    let join = StreamsGroupHeartbeatRequest {
        group_id: group_id.clone(),
        member_id: member_id.clone(),
        rebalance_timeout_ms: 60_000,
        topology: Some(StreamsGroupHeartbeatTopology { epoch: 0, subtopologies: vec![subtopology] }),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: Some("p".into()),
        user_endpoint: Some(StreamsGroupHeartbeatEndpoint { host: "h".into(), port: 65_535 }),
        client_tags: Some(vec![StreamsGroupHeartbeatKeyValue { key: "zone".into(), value: "a".into() }]),
        ..default()
    };
    let newest = *wire.versions::<StreamsGroupHeartbeatRequest>().end();
    // The topic is new, and the coordinator may not have heard of it: 4.3.1 then looks up what an endpoint has of a topology
    // that could not be configured, and fails (NoSuchElementException in EndpointToPartitionsManager). Nothing is kept.
    let not_yet = |joined: &StreamsGroupHeartbeatResponse| joined.error_code == ErrorCode::UNKNOWN_SERVER_ERROR;
    let joined = wire.until(|wire| {
        let joined = settled(wire, &join, newest, |joined| joined.error_code);
        Some(joined).filter(|joined| !not_yet(joined))
    });
    assert_eq!((joined.error_code, joined.member_epoch > 0), (NONE, true), "{joined:?}");
    wire.every(
        |_| StreamsGroupDescribeRequest { group_ids: vec![group_id.clone()], ..default() },
        |described| {
            let member = &described.groups[0].members[0];
            assert_eq!((&member.member_id, member.is_classic), (&member_id, false), "{described:?}");
            assert_eq!(member.user_endpoint.as_ref().map(|endpoint| endpoint.port), Some(65_535));
        },
    );
    let leave = StreamsGroupHeartbeatRequest { group_id, member_id, member_epoch: -1, ..default() };
    let left = wire.last(leave);
    assert_eq!((left.error_code, left.member_epoch), (NONE, -1), "{left:?}");
}

#[test]
fn partitions_come_page_by_page_and_telemetry_and_resources_are_told() {
    let Some(mut wire) = Wire::open("partitions_come_page_by_page_and_telemetry_and_resources_are_told") else {
        return;
    };
    let topic = wire.topic(3);
    let mut cursor = None;
    for page in 0..3 {
        let topics = vec![DescribeTopicPartitionsTopicRequest { name: topic.clone() }];
        let asked = DescribeTopicPartitionsRequest { topics, response_partition_limit: 1, cursor };
        let told = wire.last(asked);
        assert_eq!(
            (told.topics[0].partitions.len(), told.topics[0].partitions[0].partition_index),
            (1, page),
            "{told:?}"
        );
        cursor = told.next_cursor;
    }
    assert_eq!(cursor, None);
    wire.every(
        |_| ListConfigResourcesRequest::default(),
        |resources| assert_eq!(resources.error_code, NONE, "{resources:?}"),
    );
    // A broker without a receiver of metrics does not even announce these (KIP-714).
    if wire.announced.iter().any(|api| api.api_key == GetTelemetrySubscriptionsRequest::API.0) {
        let wanted = wire.last(GetTelemetrySubscriptionsRequest::default());
        assert_eq!(wanted.error_code, NONE, "{wanted:?}");
    }
}
