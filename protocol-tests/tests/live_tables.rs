//! The tables against a real broker: every version that it announces is understood, does what it says, and is
//! answered in bytes that milena reads and would write the same.

mod raw;

use bytes::Bytes;
use milena::wire::{ErrorCode, Str, messages::*};
use protocol_tests::unique;
use raw::{NONE, Wire, default};

#[test]
fn settings_of_a_topic_change_and_come_back() {
    let Some(mut wire) = Wire::open("settings_of_a_topic_change_and_come_back") else { return };
    let topic = wire.topic(1);
    let resource = |configs| AlterConfigsResource { resource_type: 2, resource_name: topic.clone(), configs };
    let all = AlterableConfig { name: "retention.ms".into(), value: Some("60001".into()) };
    let resources = vec![resource(vec![all])];
    wire.every(
        |_| AlterConfigsRequest { resources: resources.clone(), validate_only: false },
        |answer| assert_eq!(answer.responses[0].error_code, NONE, "{answer:?}"),
    );
    let change = IncrementalAlterableConfig {
        name: "cleanup.policy".into(),
        config_operation: 2,
        value: Some("compact".into()),
    };
    let changed =
        vec![IncrementalAlterConfigsResource { resource_type: 2, resource_name: topic.clone(), configs: vec![change] }];
    wire.every(
        |_| IncrementalAlterConfigsRequest { resources: changed.clone(), validate_only: false },
        |answer| assert_eq!(answer.responses[0].error_code, NONE, "{answer:?}"),
    );
    let resources = vec![DescribeConfigsResource { resource_type: 2, resource_name: topic, configuration_keys: None }];
    let configs = wire.last(DescribeConfigsRequest { resources, ..default() }).results.remove(0).configs;
    let value = |name: &str| configs.iter().find(|config| config.name == *name).and_then(|config| config.value.clone());
    assert_eq!(value("retention.ms").as_deref(), Some("60001"));
    assert_eq!(value("cleanup.policy").as_deref(), Some("delete,compact"));
}

#[test]
fn an_acl_is_created_found_and_deleted() {
    let Some(mut wire) = Wire::open("an_acl_is_created_found_and_deleted") else { return };
    for version in wire.versions::<CreateAclsRequest>() {
        let (user, topic) = (Str::from(unique("User:reader")), Str::from(unique("acl")));
        let creation = AclCreation {
            resource_type: 2,
            resource_name: topic.clone(),
            resource_pattern_type: 4,
            principal: user.clone(),
            host: "*".into(),
            operation: 3,
            permission_type: 3,
        };
        let created = wire.ask(&CreateAclsRequest { creations: vec![creation] }, version);
        assert_eq!(created.results[0].error_code, NONE, "{created:?}");
        let (principal_filter, any) = (Some(user.clone()), 1);
        let described = DescribeAclsRequest {
            resource_type_filter: any,
            resource_name_filter: None,
            pattern_type_filter: any,
            principal_filter: principal_filter.clone(),
            host_filter: None,
            operation: any,
            permission_type: any,
        };
        let found = wire.until(|wire| wire.ask(&described, version).resources.pop());
        assert_eq!((&found.resource_name, found.pattern_type, found.acls[0].operation), (&topic, 4, 3), "{found:?}");
        let filter = DeleteAclsFilter {
            resource_type_filter: any,
            resource_name_filter: None,
            pattern_type_filter: any,
            principal_filter,
            host_filter: None,
            operation: any,
            permission_type: any,
        };
        let deleted = wire.ask(&DeleteAclsRequest { filters: vec![filter] }, version);
        assert_eq!(deleted.filter_results[0].matching_acls[0].principal, user, "{deleted:?}");
    }
}

#[test]
fn quotas_and_scram_credentials_are_set_and_told() {
    let Some(mut wire) = Wire::open("quotas_and_scram_credentials_are_set_and_told") else { return };
    let user = Str::from(unique("user"));
    let entity = || AlterClientQuotasRequestEntityData { entity_type: "user".into(), entity_name: Some(user.clone()) };
    let op = || OpData { key: "request_percentage".into(), value: 12.5, remove: false };
    wire.every(
        |_| {
            let entries = vec![AlterClientQuotasRequestEntryData { entity: vec![entity()], ops: vec![op()] }];
            AlterClientQuotasRequest { entries, validate_only: false }
        },
        |answer| assert_eq!(answer.entries[0].error_code, NONE, "{answer:?}"),
    );
    let component = || ComponentData { entity_type: "user".into(), match_type: 0, r#match: Some(user.clone()) };
    for version in wire.versions::<DescribeClientQuotasRequest>() {
        let asked = DescribeClientQuotasRequest { components: vec![component()], strict: true };
        let told = wire.until(|wire| wire.ask(&asked, version).entries.expect("entries").pop());
        assert_eq!((&*told.values[0].key, told.values[0].value), ("request_percentage", 12.5), "{told:?}");
    }
    let upsertion = ScramCredentialUpsertion {
        name: user.clone(),
        mechanism: 2,
        iterations: 4096,
        salt: Bytes::from_static(b"salt"),
        salted_password: Bytes::from_static(&[7; 64]),
    };
    let altered = wire.last(AlterUserScramCredentialsRequest { deletions: default(), upsertions: vec![upsertion] });
    assert_eq!(altered.results[0].error_code, NONE, "{altered:?}");
    let asked = DescribeUserScramCredentialsRequest { users: Some(vec![UserName { name: user.clone() }]) };
    let told = wire.until(|wire| wire.last(asked.clone()).results.remove(0).credential_infos.pop());
    assert_eq!(told, CredentialInfo { mechanism: 2, iterations: 4096 });
}

#[test]
fn replicas_are_described_elected_and_moved() {
    let Some(mut wire) = Wire::open("replicas_are_described_elected_and_moved") else { return };
    let topic = wire.topic(2);
    let asked = DescribableLogDirTopic { topic: topic.clone(), partitions: vec![0, 1] };
    let dirs = |_| DescribeLogDirsRequest { topics: Some(vec![asked.clone()]) };
    wire.every(dirs, |answer| {
        let dir = &answer.results[0];
        assert_eq!((&dir.topics[0].name, dir.topics[0].partitions.len(), dir.is_cordoned), (&topic, 2, false));
    });
    let dir = wire.last(dirs(0)).results.remove(0);
    assert!(0 < dir.usable_bytes && dir.usable_bytes < dir.total_bytes, "{dir:?}");
    let moved = AlterReplicaLogDirTopic { name: topic.clone(), partitions: vec![0] };
    wire.every(
        |_| AlterReplicaLogDirsRequest {
            dirs: vec![AlterReplicaLogDir { path: dir.log_dir.clone(), topics: vec![moved.clone()] }],
        },
        |answer| assert_eq!(answer.results[0].partitions[0].error_code, NONE, "it lies there already: {answer:?}"),
    );
    let elected = ElectLeadersTopicPartitions { topic: topic.clone(), partitions: vec![1] };
    wire.every(
        |_| ElectLeadersRequest { topic_partitions: Some(vec![elected.clone()]), ..default() },
        |answer| {
            let result = &answer.replica_election_results[0].partition_result[0];
            assert_eq!((result.partition_id, result.error_code), (1, ErrorCode::ELECTION_NOT_NEEDED), "{answer:?}");
        },
    );
    // Nothing moves, so there is nothing to cancel.
    let cancelled = ReassignablePartition { partition_index: 0, replicas: None };
    let topics = vec![ReassignableTopic { name: topic, partitions: vec![cancelled] }];
    wire.every(
        |_| AlterPartitionReassignmentsRequest { topics: topics.clone(), ..default() },
        |answer| {
            let code = answer.responses[0].partitions[0].error_code;
            assert_eq!(code, ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, "{answer:?}");
        },
    );
    let moves = wire.last(ListPartitionReassignmentsRequest::default());
    assert_eq!(moves.error_code, NONE, "{moves:?}");
}

#[test]
fn the_cluster_answers_for_itself() {
    let Some(mut wire) = Wire::open("the_cluster_answers_for_itself") else { return };
    let partitions = vec![DescribeQuorumRequestPartitionData { partition_index: 0 }];
    let topics = vec![DescribeQuorumRequestTopicData { topic_name: "__cluster_metadata".into(), partitions }];
    wire.every(
        |_| DescribeQuorumRequest { topics: topics.clone() },
        |answer| {
            let log = &answer.topics[0].partitions[0];
            assert_eq!((log.leader_id, log.current_voters[0].replica_id), (1, 1), "{answer:?}");
        },
    );
    let feature = FeatureUpdateKey { feature: "no.such.feature".into(), max_version_level: 1, ..default() };
    wire.every(
        |_| UpdateFeaturesRequest { feature_updates: vec![feature.clone()], ..default() },
        |answer| {
            let code = answer.results.first().map_or(answer.error_code, |result| result.error_code);
            assert_eq!(code, ErrorCode::INVALID_UPDATE_VERSION, "{answer:?}");
        },
    );
    let unknown = wire.last(UnregisterBrokerRequest { broker_id: 4711 });
    assert_eq!(unknown.error_code, ErrorCode::BROKER_ID_NOT_REGISTERED, "{unknown:?}");
}

/// Without a secret key in its configuration a broker makes no tokens; on a plain connection it would not either.
#[test]
fn delegation_tokens_are_refused_in_every_version() {
    let Some(mut wire) = Wire::open("delegation_tokens_are_refused_in_every_version") else { return };
    let codes = [ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, ErrorCode::DELEGATION_TOKEN_AUTH_DISABLED];
    let hmac = Bytes::from_static(&[9; 64]);
    wire.every(
        |version| CreateDelegationTokenRequest {
            owner_principal_type: if version < 3 { Some(default()) } else { None },
            owner_principal_name: if version < 3 { Some(default()) } else { None },
            renewers: vec![CreatableRenewers { principal_type: "User".into(), principal_name: "alice".into() }],
            max_lifetime_ms: -1,
        },
        |answer| assert!(codes.contains(&answer.error_code), "{answer:?}"),
    );
    wire.every(
        |_| RenewDelegationTokenRequest { hmac: hmac.clone(), renew_period_ms: -1 },
        |answer| assert!(codes.contains(&answer.error_code), "{answer:?}"),
    );
    wire.every(
        |_| ExpireDelegationTokenRequest { hmac: hmac.clone(), expiry_time_period_ms: -1 },
        |answer| assert!(codes.contains(&answer.error_code), "{answer:?}"),
    );
    wire.every(
        |_| DescribeDelegationTokenRequest { owners: None },
        |answer| assert!(codes.contains(&answer.error_code), "{answer:?}"),
    );
}

/// One transaction in each version of what clients send, seen from the side too.
#[test]
fn a_transaction_is_run_by_hand() {
    let Some(mut wire) = Wire::open("a_transaction_is_run_by_hand") else { return };
    let topic = wire.topic(1);
    let group = Str::from(unique("group"));
    for version in 0..=4 {
        let transactional_id = Str::from(unique("txn"));
        let (id, epoch) = wire.producer(&transactional_id);
        let topics = vec![AddPartitionsToTxnTopic { name: topic.clone(), partitions: vec![0] }];
        let added = wire.ask(
            &AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: transactional_id.clone(),
                v3_and_below_producer_id: id,
                v3_and_below_producer_epoch: epoch,
                v3_and_below_topics: topics,
                ..default()
            },
            version.min(3),
        );
        let result = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(result.partition_error_code, NONE, "{added:?}");
        wire.look_at_transaction(&transactional_id, id, &topic);
        let producer = (transactional_id, id, epoch);
        wire.commit_offset(&producer, &group, &topic, version);
        let (transactional_id, producer_id, producer_epoch) = producer;
        let ended =
            wire.ask(&EndTxnRequest { transactional_id, producer_id, producer_epoch, committed: true }, version);
        assert_eq!((ended.error_code, ended.producer_id), (NONE, -1), "{ended:?}");
        let producers = vec![DescribeProducersTopicRequest { name: topic.clone(), partition_indexes: vec![0] }];
        let told = wire.last(DescribeProducersRequest { topics: producers });
        assert_eq!(told.topics[0].partitions[0].error_code, NONE, "{told:?}");
    }
    wire.forget_offset(&group, &topic);
}

/// Since KIP-890 the commit of offsets adds the group itself, and the end of a transaction gives the next epoch.
#[test]
fn a_transaction_of_offsets_alone_is_run_by_hand() {
    let Some(mut wire) = Wire::open("a_transaction_of_offsets_alone_is_run_by_hand") else { return };
    let (topic, group, transactional_id) = (wire.topic(1), Str::from(unique("group")), Str::from(unique("txn")));
    let (producer_id, producer_epoch) = wire.producer(&transactional_id);
    let producer = (transactional_id.clone(), producer_id, producer_epoch);
    wire.commit_offset(&producer, &group, &topic, 5);
    let ended = wire.ask(&EndTxnRequest { transactional_id, producer_id, producer_epoch, committed: true }, 5);
    assert_eq!(
        (ended.error_code, ended.producer_id, ended.producer_epoch),
        (NONE, producer_id, producer_epoch + 1),
        "{ended:?}"
    );
}

/// What brokers ask coordinators: several transactions at once, to add partitions or only to look for them.
#[test]
fn partitions_are_added_and_verified_as_brokers_do() {
    let Some(mut wire) = Wire::open("partitions_are_added_and_verified_as_brokers_do") else { return };
    let topic = wire.topic(1);
    let topics = vec![AddPartitionsToTxnTopic { name: topic, partitions: vec![0] }];
    assert_eq!(wire.versions::<AddPartitionsToTxnRequest>(), 0..=5);
    for version in [4, 5] {
        let transactional_id = Str::from(unique("txn"));
        let (producer_id, producer_epoch) = wire.producer(&transactional_id);
        for (verify_only, expected) in [(true, ErrorCode::TRANSACTION_ABORTABLE), (false, NONE), (true, NONE)] {
            let (transactional_id, topics) = (transactional_id.clone(), topics.clone());
            let transaction =
                AddPartitionsToTxnTransaction { transactional_id, producer_id, producer_epoch, verify_only, topics };
            let asked = AddPartitionsToTxnRequest { transactions: vec![transaction], ..default() };
            let answer = wire.ask(&asked, version);
            let result = &answer.results_by_transaction[0].topic_results[0].results_by_partition[0];
            assert_eq!(result.partition_error_code, expected, "version {version}, verify {verify_only}: {answer:?}");
        }
    }
}

/// The request of brokers, in the versions of brokers.
#[test]
fn markers_are_written_in_every_version() {
    let Some(mut wire) = Wire::open("markers_are_written_in_every_version") else { return };
    let topic = wire.topic(1);
    wire.every(
        |version| WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: 77_000_000 + i64::from(version),
                producer_epoch: 3,
                topics: vec![WritableTxnMarkerTopic { name: topic.clone(), partition_indexes: vec![0] }],
                ..default()
            }],
        },
        |answer| assert_eq!(answer.markers[0].topics[0].partitions[0].error_code, NONE, "{answer:?}"),
    );
}

impl Wire {
    fn producer(&mut self, transactional_id: &Str) -> (i64, i16) {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: 60_000,
            ..default()
        };
        self.coordinator(1, transactional_id);
        self.until(|wire| {
            let answer = wire.ask(&request, 4);
            assert!(answer.error_code == NONE || answer.error_code.is_retriable(), "{answer:?}");
            (answer.error_code == NONE).then_some((answer.producer_id, answer.producer_epoch))
        })
    }

    /// The first group or transaction of a cluster makes the topic that keeps them, when somebody asks.
    fn coordinator(&mut self, key_type: i8, key: &Str) {
        let asked = FindCoordinatorRequest { key_type, coordinator_keys: vec![key.clone()], ..default() };
        self.until(|wire| {
            let code = wire.last(asked.clone()).coordinators[0].error_code;
            assert!(code == NONE || code.is_retriable(), "{code}");
            (code == NONE).then_some(())
        });
    }

    fn look_at_transaction(&mut self, transactional_id: &Str, id: i64, topic: &Str) {
        let told = self.last(DescribeTransactionsRequest { transactional_ids: vec![transactional_id.clone()] });
        let state = &told.transaction_states[0];
        assert_eq!((state.producer_id, &*state.transaction_state), (id, "Ongoing"), "{told:?}");
        assert_eq!((&state.topics[0].topic, &state.topics[0].partitions), (topic, &vec![0]), "{told:?}");
        let pattern = Some(transactional_id.clone());
        self.every(
            |version| ListTransactionsRequest {
                producer_id_filters: vec![id],
                transactional_id_pattern: pattern.clone().filter(|_| version >= 2),
                ..default()
            },
            |answer| assert_eq!(answer.transaction_states[0].transactional_id, *transactional_id, "{answer:?}"),
        );
    }

    fn commit_offset(&mut self, producer: &(Str, i64, i16), group: &Str, topic: &Str, version: i16) {
        let (transactional_id, producer_id, producer_epoch) = producer.clone();
        let group_id = group.clone();
        let offsets = AddOffsetsToTxnRequest { transactional_id, producer_id, producer_epoch, group_id };
        if version <= 4 {
            let added = self.ask(&offsets, version);
            assert_eq!(added.error_code, NONE, "{added:?}");
        }
        let partitions = vec![TxnOffsetCommitRequestPartition { committed_offset: 5, ..default() }];
        let request = TxnOffsetCommitRequest {
            transactional_id: offsets.transactional_id,
            group_id: offsets.group_id,
            producer_id,
            producer_epoch,
            topics: vec![TxnOffsetCommitRequestTopic { name: topic.clone(), partitions, ..Default::default() }],
            ..default()
        };
        self.coordinator(0, group);
        self.until(|wire| {
            let code = wire.ask(&request, version).topics[0].partitions[0].error_code;
            assert!(code == NONE || code.is_retriable(), "{code}");
            (code == NONE).then_some(())
        });
    }

    fn forget_offset(&mut self, group: &Str, topic: &Str) {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
        let topics = vec![OffsetDeleteRequestTopic { name: topic.clone(), partitions }];
        let forgotten = self.last(OffsetDeleteRequest { group_id: group.clone(), topics });
        assert_eq!(forgotten.error_code, NONE, "{forgotten:?}");
        assert_eq!(forgotten.topics[0].partitions[0].error_code, NONE, "{forgotten:?}");
    }
}
