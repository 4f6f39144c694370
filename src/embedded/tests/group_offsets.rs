//! Committed offsets: who may commit, who sees what, and how long it lasts.

use std::time::Duration;

use kafka_protocol::{
    ResponseError::{self, *},
    messages::{
        DeleteGroupsRequest, DeleteTopicsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
    },
};

use super::{
    groups::{Member, group, text},
    *,
};
use crate::embedded::{
    Api, Fault, FaultAction,
    groups::{Committed, Membership},
};

/// A commit for one partition from outside the group.
fn commit(topic: &str, index: i32, offset: i64, metadata: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(metadata)));
    let topic = OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    OffsetCommitRequest::default().with_group_id(group("billing")).with_topics(vec![topic])
}

/// The error code of the only partition of a commit.
async fn committed(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> Option<ResponseError> {
    let response = client.call(version, request).await;
    ResponseError::try_from_code(response.topics[0].partitions[0].error_code)
}

/// What the group has for partition 0 of `orders`: offset, leader epoch, metadata, error code.
async fn fetch(client: &mut Client, version: i16, stable: bool) -> (i64, i32, String, i16) {
    if version < 8 {
        let topic = OffsetFetchRequestTopic::default().with_name(name("orders")).with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default().with_group_id(group("billing")).with_topics(Some(vec![topic]));
        let response = client.call(version, &request.with_require_stable(stable)).await;
        let it = &response.topics[0].partitions[0];
        let metadata = it.metadata.clone().unwrap_or_default().to_string();
        return (it.committed_offset, it.committed_leader_epoch, metadata, it.error_code);
    }
    let topic = OffsetFetchRequestTopics::default().with_name(name("orders")).with_partition_indexes(vec![0]);
    let wanted = OffsetFetchRequestGroup::default().with_group_id(group("billing")).with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_topics(Some(Vec::new())).with_groups(vec![wanted]);
    let response = client.call(version, &request.with_require_stable(stable)).await;
    let it = &response.groups[0].topics[0].partitions[0];
    let metadata = it.metadata.clone().unwrap_or_default().to_string();
    (it.committed_offset, it.committed_leader_epoch, metadata, it.error_code)
}

#[tokio::test]
async fn what_is_committed_is_told_in_every_version() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 2)).await;
    for version in 1..=9 {
        assert_eq!(fetch(&mut client, version, version >= 7).await, (-1, -1, String::new(), 0), "nothing yet");
    }
    for version in 2..=9 {
        let mut request = commit("orders", 0, version.into(), "here");
        if version >= 6 {
            request.topics[0].partitions[0].committed_leader_epoch = 3;
        }
        assert_eq!(committed(&mut client, version, &request).await, None, "version {version}");
        assert_eq!(cluster.committed_offset("billing", "orders", 0), Some(version.into()));
        let epoch = if version >= 6 { 3 } else { -1 };
        assert_eq!(
            fetch(&mut client, version, false).await,
            (version.into(), if version >= 5 { epoch } else { -1 }, "here".into(), 0)
        );
    }
    assert_eq!(cluster.committed_offset("billing", "orders", 1), None);
    cluster.shutdown().await;
}

#[tokio::test]
async fn all_partitions_and_several_groups_at_once() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 2).topic("bills", 1)).await;
    for (topic, index) in [("orders", 1), ("bills", 0), ("orders", 0)] {
        assert_eq!(committed(&mut client, 8, &commit(topic, index, 7, "")).await, None);
    }
    let all = OffsetFetchRequest::default().with_group_id(group("billing")).with_topics(None);
    for version in 2..=7 {
        let topics = client.call(version, &all).await.topics;
        let told: Vec<_> = topics.iter().map(|it| (it.name.as_str(), it.partitions.len())).collect();
        assert_eq!(told, [("bills", 1), ("orders", 2)], "version {version}");
    }
    let groups =
        ["billing", "unknown"].map(|id| OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(None));
    let request = OffsetFetchRequest::default().with_topics(Some(Vec::new())).with_groups(groups.to_vec());
    for version in 8..=9 {
        let told = client.call(version, &request).await.groups;
        let told: Vec<_> = told.iter().map(|it| (it.group_id.as_str(), it.error_code, it.topics.len())).collect();
        assert_eq!(told, [("billing", 0, 2), ("unknown", 0, 0)], "version {version}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn commits_that_are_refused() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 1).offset_metadata_bytes(10)).await;
    let mut member = Member::new(Client::to(&cluster).await);
    member.lead().await;
    let from = |id: &str, generation: i32| {
        let request = commit("orders", 0, 1, "").with_member_id(text(id));
        request.with_generation_id_or_member_epoch(generation)
    };
    let elsewhere = |request: OffsetCommitRequest| request.with_group_id(group("unknown"));
    let instance = from(&member.id, member.generation).with_group_instance_id(Some(text("one")));
    for (what, version, request, expected) in [
        ("a member", 7, from(&member.id, member.generation), None),
        ("a former generation", 7, from(&member.id, member.generation - 1), Some(IllegalGeneration)),
        ("a stranger", 7, from("x", member.generation), Some(UnknownMemberId)),
        ("nobody in particular", 7, commit("orders", 0, 1, ""), Some(UnknownMemberId)),
        ("an unknown instance", 7, instance, Some(UnknownMemberId)),
        ("a member of no group, before", 8, elsewhere(from("x", 1)), Some(IllegalGeneration)),
        ("a member of no group", 9, elsewhere(from("x", 1)), Some(GroupIdNotFound)),
        ("an unknown topic", 8, elsewhere(commit("other", 0, 1, "")), Some(UnknownTopicOrPartition)),
        ("an unknown partition", 8, elsewhere(commit("orders", 1, 1, "")), Some(UnknownTopicOrPartition)),
        ("as much as may be", 8, elsewhere(commit("orders", 0, 1, "0123456789")), None),
        ("metadata too long", 8, elsewhere(commit("orders", 0, 1, "0123456789a")), Some(OffsetMetadataTooLarge)),
    ] {
        assert_eq!(committed(&mut client, version, &request).await, expected, "{what}");
    }
    for (fault, expected) in [
        (Fault::on(Api::OffsetCommit, FaultAction::Error(CoordinatorLoadInProgress.code())), CoordinatorLoadInProgress),
        (
            Fault::on(Api::OffsetCommit, FaultAction::Error(UnstableOffsetCommit.code())).topic("orders"),
            UnstableOffsetCommit,
        ),
    ] {
        cluster.inject(fault);
        let request = elsewhere(commit("orders", 0, 2, ""));
        assert_eq!(committed(&mut client, 8, &request).await, Some(expected));
        assert_eq!(cluster.committed_offset("unknown", "orders", 0), Some(1), "nothing was done");
    }
    for version in [1, 7, 8, 9] {
        cluster.inject(Fault::on(Api::OffsetFetch, FaultAction::Error(UnstableOffsetCommit.code())).topic("orders"));
        assert_eq!(fetch(&mut client, version, false).await.3, UnstableOffsetCommit.code(), "version {version}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn the_memory_of_groups_has_an_end() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 100).group_bytes(10_000)).await;
    let mut kept = 0;
    while committed(&mut client, 8, &commit("orders", kept, 1, "0123456789")).await.is_none() {
        kept += 1;
    }
    assert!((20..40).contains(&kept), "{kept} offsets in 10,000 bytes");
    assert_eq!(committed(&mut client, 8, &commit("orders", kept, 1, "")).await, Some(InvalidCommitOffsetSize));
    let mut member = Member::new(client);
    assert_eq!(member.become_member(3).await.error_code, GroupMaxSizeReached.code());
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group("billing")]);
    assert_eq!(member.client.call(2, &request).await.results[0].error_code, 0);
    assert_eq!(member.become_member(3).await.error_code, 0, "all of it was given back");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_transactions_offsets_wait_for_its_end() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 1)).await;
    let groups = &cluster.shared.groups;
    let stage = |producer, offset| {
        let committed = Committed { offset, leader_epoch: 2, metadata: "tx".to_owned(), commit_timestamp: 0 };
        groups.stage_offsets("billing", producer, vec![("orders".to_owned(), 0, committed)]).unwrap();
    };
    stage(1, 10);
    assert_eq!(fetch(&mut client, 7, false).await.0, -1, "not yet");
    for version in 7..=9 {
        assert_eq!(
            fetch(&mut client, version, true).await,
            (-1, -1, String::new(), UnstableOffsetCommit.code()),
            "KIP-447"
        );
    }
    groups.end_transaction(2, true);
    assert_eq!(fetch(&mut client, 7, true).await.3, UnstableOffsetCommit.code(), "another producer's");
    groups.end_transaction(1, true);
    assert_eq!(fetch(&mut client, 9, true).await, (10, 2, "tx".to_owned(), 0));
    stage(1, 20);
    groups.end_transaction(1, false);
    assert_eq!(fetch(&mut client, 9, true).await.0, 10, "aborted");
    // Of two commits the later one stays, whenever the transaction ends.
    stage(1, 30);
    assert_eq!(committed(&mut client, 8, &commit("orders", 0, 31, "")).await, None);
    groups.end_transaction(1, true);
    assert_eq!(fetch(&mut client, 9, true).await.0, 31);

    let mut member = Member::new(client);
    member.lead().await;
    let check = |member_id: &str, generation_or_epoch| {
        let sender = Membership { member_id: member_id.to_owned(), generation_or_epoch, group_instance_id: None };
        (groups.check_member("billing", &sender), groups.check_member("unknown", &sender))
    };
    assert_eq!(check(&member.id, member.generation), (Ok(()), Err(IllegalGeneration)));
    assert_eq!(check("", -1), (Ok(()), Ok(())), "producers before KIP-447 say nothing");
    assert_eq!(check("x", member.generation), (Err(UnknownMemberId), Err(IllegalGeneration)));
    cluster.shutdown().await;
}

#[tokio::test]
async fn offsets_and_groups_are_deleted() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().topic("orders", 1).topic("bills", 1)).await;
    for topic in ["orders", "bills"] {
        assert_eq!(committed(&mut client, 8, &commit(topic, 0, 5, "")).await, None);
    }
    let mut member = Member::new(Client::to(&cluster).await);
    member.lead().await;
    let delete = |topic: &str| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
        let topic = OffsetDeleteRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        OffsetDeleteRequest::default().with_group_id(group("billing")).with_topics(vec![topic])
    };
    for (topic, expected) in
        [("orders", GroupSubscribedToTopic.code()), ("bills", 0), ("other", UnknownTopicOrPartition.code())]
    {
        let response = client.call(0, &delete(topic)).await;
        assert_eq!((response.error_code, response.topics[0].partitions[0].error_code), (0, expected), "{topic}");
    }
    assert_eq!(cluster.committed_offset("billing", "orders", 0), Some(5));
    assert_eq!(cluster.committed_offset("billing", "bills", 0), None);
    let unknown = delete("orders").with_group_id(group("unknown"));
    assert_eq!(client.call(0, &unknown).await.error_code, GroupIdNotFound.code());

    let ids = ["billing", "unknown", ""].map(group);
    let request = DeleteGroupsRequest::default().with_groups_names(ids.to_vec());
    for version in 0..=2 {
        let codes: Vec<_> = client.call(version, &request).await.results.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [NonEmptyGroup, GroupIdNotFound, InvalidGroupId].map(|it| it.code()), "version {version}");
    }
    assert!(cluster.expire_member("billing", &member.id));
    assert_eq!(client.call(2, &request).await.results[0].error_code, 0);
    assert_eq!(cluster.committed_offset("billing", "orders", 0), None);

    // A topic that is gone takes its offsets along: one that is made anew begins at 0.
    assert_eq!(committed(&mut client, 8, &commit("orders", 0, 5, "")).await, None);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name("orders")]);
    assert_eq!(client.call(5, &request).await.responses[0].error_code, 0);
    assert_eq!(cluster.committed_offset("billing", "orders", 0), None);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_outlive_the_group_by_their_retention() {
    let network = MemoryNetwork::new();
    let builder = EmbeddedCluster::builder().memory(&network).topic("orders", 1);
    let cluster = builder.offsets_retention(Duration::from_secs(3600)).start().await.unwrap();
    let mut member = Member::new(Client::within(&network, 0).await);
    member.lead().await;
    let request = commit("orders", 0, 5, "").with_member_id(text(&member.id));
    let request = request.with_generation_id_or_member_epoch(member.generation);
    for _ in 0..800 {
        // Commits alone keep a session of 10 seconds alive.
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(committed(&mut member.client, 8, &request).await, None);
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(cluster.committed_offset("billing", "orders", 0), Some(5), "its last member left 3,590 seconds ago");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(cluster.committed_offset("billing", "orders", 0), None);
    cluster.shutdown().await;
}
