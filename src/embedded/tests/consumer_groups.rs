//! Consumer groups of KIP-848, spoken to over the wire on paused time.

use std::time::Duration;

use kafka_protocol::{
    ResponseError::{self, *},
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        DescribeGroupsRequest, IncrementalAlterConfigsRequest, LeaveGroupRequest, ListGroupsRequest,
        OffsetCommitRequest, OffsetFetchRequest,
        consumer_group_describe_response::DescribedGroup,
        consumer_group_heartbeat_request::TopicPartitions,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};

use super::{
    groups::{Member, group, text},
    *,
};

/// A consumer as these tests play one: it does at once what it is told.
struct Consumer {
    client: Client,
    id: String,
    epoch: i32,
    owned: Vec<TopicPartitions>,
}

impl Consumer {
    async fn new(network: &MemoryNetwork, id: &str) -> Self {
        Self { client: Client::within(network, 0).await, id: id.to_owned(), epoch: 0, owned: Vec::new() }
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group("billing"))
            .with_member_id(text(&self.id))
            .with_member_epoch(self.epoch)
            .with_topic_partitions(Some(self.owned.clone()))
    }

    fn joining(&self) -> ConsumerGroupHeartbeatRequest {
        let names = Some(vec![name("orders")]);
        self.request().with_rebalance_timeout_ms(10_000).with_subscribed_topic_names(names)
    }

    async fn send(&mut self, version: i16, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let response = self.client.call(version, &request).await;
        if response.error_code == 0 {
            self.epoch = response.member_epoch;
            self.id = response.member_id.as_ref().unwrap().to_string();
            if let Some(assignment) = &response.assignment {
                let owned = assignment.topic_partitions.iter().map(|topic| {
                    let partitions = topic.partitions.clone();
                    TopicPartitions::default().with_topic_id(topic.topic_id).with_partitions(partitions)
                });
                self.owned = owned.collect();
            }
        }
        response
    }

    async fn join(&mut self) -> i32 {
        let response = self.send(1, self.joining()).await;
        assert_eq!(response.error_code, 0, "{:?}", response.error_message);
        self.count()
    }

    /// Beats until nothing changes any more, and says how many partitions it owns.
    async fn beat(&mut self) -> i32 {
        loop {
            let response = self.send(1, self.request()).await;
            assert_eq!(response.error_code, 0, "{:?}", response.error_message);
            if response.assignment.is_none() {
                return self.count();
            }
        }
    }

    async fn error(&mut self, request: ConsumerGroupHeartbeatRequest) -> Option<ResponseError> {
        ResponseError::try_from_code(self.client.call(1, &request).await.error_code)
    }

    fn count(&self) -> i32 {
        self.owned.iter().map(|topic| topic.partitions.len() as i32).sum()
    }

    async fn commit(&mut self, version: i16, epoch: i32) -> i16 {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        let topic = OffsetCommitRequestTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group("billing"))
            .with_member_id(text(&self.id))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        self.client.call(version, &request).await.topics[0].partitions[0].error_code
    }

    async fn fetch(&mut self, epoch: i32) -> (i16, i64) {
        let topic = OffsetFetchRequestTopics::default().with_name(name("orders")).with_partition_indexes(vec![0]);
        let wanted = OffsetFetchRequestGroup::default()
            .with_group_id(group("billing"))
            .with_member_id(Some(text(&self.id)))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let answer =
            self.client.call(9, &OffsetFetchRequest::default().with_groups(vec![wanted])).await.groups.remove(0);
        (answer.error_code, answer.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset))
    }

    async fn describe(&mut self, version: i16) -> DescribedGroup {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("billing")]);
        self.client.call(version, &request).await.groups.remove(0)
    }
}

async fn start_in_memory() -> (EmbeddedCluster, MemoryNetwork) {
    let network = MemoryNetwork::new();
    let cluster = EmbeddedCluster::builder().topic("orders", 6).memory(&network).start().await.unwrap();
    (cluster, network)
}

#[tokio::test(start_paused = true)]
async fn members_share_a_topic_and_a_dead_one_is_replaced() {
    let (cluster, network) = start_in_memory().await;
    let (mut one, mut two) = (Consumer::new(&network, "one").await, Consumer::new(&network, "two").await);
    let response = one.send(1, one.joining()).await;
    assert_eq!((response.member_epoch, response.heartbeat_interval_ms, one.count()), (1, 5000, 6));
    assert_eq!(two.join().await, 0);
    assert_eq!((two.beat().await, one.beat().await, two.beat().await), (0, 3, 3));
    assert_eq!(two.beat().await, 3);
    // The first one dies. Its session ends after 45 seconds, and the other one hears of it with its next heartbeat.
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        two.beat().await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.group_members("billing").len(), 1);
    assert_eq!(two.beat().await, 6);
    assert_eq!(one.error(one.request()).await, Some(UnknownMemberId));
    // It comes back with nothing.
    one.epoch = 0;
    one.owned.clear();
    assert_eq!(one.join().await, 0);
    assert_eq!((two.beat().await, one.beat().await), (3, 3));
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_has_times_of_its_own() {
    let network = MemoryNetwork::new();
    let builder = EmbeddedCluster::builder().topic("orders", 6).memory(&network);
    let builder = builder.consumer_session_timeout(Duration::from_secs(50));
    let cluster = builder.consumer_heartbeat_interval(Duration::from_secs(7)).start().await.unwrap();
    let mut one = Consumer::new(&network, "one").await;
    assert_eq!(one.send(1, one.joining()).await.heartbeat_interval_ms, 7000, "the cluster's");
    let set = |key, value| AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)));
    let configs = vec![set("consumer.heartbeat.interval.ms", "6000"), set("consumer.session.timeout.ms", "46000")];
    let resource = AlterConfigsResource::default().with_resource_type(32).with_resource_name(text("billing"));
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource.with_configs(configs)]);
    assert_eq!(one.client.call(1, &request).await.responses[0].error_code, 0);
    assert_eq!(one.send(1, one.request()).await.heartbeat_interval_ms, 6000);
    tokio::time::sleep(Duration::from_millis(45_999)).await;
    assert_eq!(cluster.group_members("billing").len(), 1);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(cluster.group_members("billing").len(), 0);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn version_0_gives_ids_and_version_1_wants_them() {
    let (cluster, network) = start_in_memory().await;
    let mut one = Consumer::new(&network, "").await;
    assert_eq!(one.error(one.joining()).await, Some(InvalidRequest));
    assert_eq!(one.error(one.joining().with_group_id(group(""))).await, Some(InvalidRequest));
    assert_eq!(one.send(0, one.joining()).await.error_code, 0);
    assert_eq!((one.id.len(), one.count()), (36, 6));
    assert_eq!(one.error(one.request().with_member_epoch(2)).await, Some(FencedMemberEpoch));
    let unknown = one.request().with_group_id(group("unknown"));
    assert_eq!(one.error(unknown).await, Some(GroupIdNotFound));
    let assignor = one.joining().with_member_epoch(0).with_server_assignor(Some(text("best")));
    assert_eq!(one.error(assignor.with_topic_partitions(Some(Vec::new()))).await, Some(UnsupportedAssignor));
    let regex = one.request().with_subscribed_topic_regex(Some(text("(")));
    assert_eq!(one.error(regex).await, Some(InvalidRegularExpression));
    assert_eq!(one.send(1, one.request().with_member_epoch(-1)).await.member_epoch, -1);
    assert_eq!(cluster.group_members("billing").len(), 0);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn topics_that_come_later_are_assigned() {
    let (cluster, network) = start_in_memory().await;
    let mut one = Consumer::new(&network, "one").await;
    let regex = one.joining().with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text("orders.*")));
    assert_eq!(one.send(1, regex).await.error_code, 0);
    assert_eq!(one.count(), 6);
    cluster.create_topic("orders.eu", 2).unwrap();
    assert_eq!(one.beat().await, 8);
    cluster.create_topic("invoices", 2).unwrap();
    assert_eq!(one.beat().await, 8);
    let described = one.describe(1).await;
    assert_eq!(described.members[0].subscribed_topic_regex, Some(text("orders.*")));
    let names: Vec<_> =
        described.members[0].assignment.topic_partitions.iter().map(|it| it.topic_name.as_str()).collect();
    assert!(names.contains(&"orders") && names.contains(&"orders.eu"), "{names:?}");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_tools_see() {
    let (cluster, network) = start_in_memory().await;
    let mut one = Consumer::new(&network, "one").await;
    let missing = one.describe(1).await;
    assert_eq!(
        (missing.error_code, missing.error_message),
        (GroupIdNotFound.code(), Some(text("Group billing not found.")))
    );
    one.join().await;
    for version in 0..=1 {
        let described = one.describe(version).await;
        assert_eq!((described.group_state, described.group_epoch, described.assignment_epoch), (text("Stable"), 1, 1));
        assert_eq!((described.assignor_name, described.authorized_operations), (text("uniform"), i32::MIN));
        let member = &described.members[0];
        assert_eq!((&member.member_id, &member.client_id, member.member_epoch), (&text("one"), &text("test"), 1));
        assert_eq!(member.subscribed_topic_names, [name("orders")]);
        assert_eq!(member.assignment.topic_partitions[0].partitions, [0, 1, 2, 3, 4, 5]);
        assert_eq!(member.target_assignment, member.assignment);
        assert_eq!(member.member_type, if version == 0 { -1 } else { 1 });
    }
    let listed = one.client.call(5, &ListGroupsRequest::default()).await.groups.remove(0);
    assert_eq!((listed.group_type, listed.group_state), (text("consumer"), text("Stable")));
    let wanted = ListGroupsRequest::default().with_types_filter(vec![text("classic")]);
    assert_eq!(one.client.call(5, &wanted).await.groups.len(), 0);
    let request = DescribeGroupsRequest::default().with_groups(vec![group("billing")]);
    assert_eq!(one.client.call(6, &request).await.groups[0].error_code, GroupIdNotFound.code());
    Consumer::new(&network, "two").await.join().await;
    assert_eq!(one.describe(1).await.group_state, text("Reconciling"));
    one.send(1, one.request().with_member_epoch(-1)).await;
    assert_eq!(one.describe(1).await.group_state, text("Assigning"));
    assert!(cluster.expire_member("billing", "two"));
    assert_eq!(one.describe(1).await.group_state, text("Empty"));
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_in_the_members_epoch() {
    let (cluster, network) = start_in_memory().await;
    let mut one = Consumer::new(&network, "one").await;
    one.join().await;
    for (version, epoch, expected) in
        [(9, 1, 0), (9, 0, StaleMemberEpoch.code()), (9, 2, StaleMemberEpoch.code()), (8, 1, UnsupportedVersion.code())]
    {
        assert_eq!(one.commit(version, epoch).await, expected, "version {version}, epoch {epoch}");
    }
    assert_eq!(one.fetch(1).await, (0, 7));
    assert_eq!(one.fetch(2).await, (StaleMemberEpoch.code(), -1));
    let mut stranger = Consumer::new(&network, "stranger").await;
    assert_eq!(stranger.commit(9, 1).await, UnknownMemberId.code());
    assert_eq!(stranger.fetch(1).await, (UnknownMemberId.code(), -1));
    // Nobody is left: a tool may commit.
    one.send(1, one.request().with_member_epoch(-1)).await;
    stranger.id.clear();
    assert_eq!(stranger.commit(9, -1).await, 0);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_changes_its_protocol_only_while_nobody_is_in_it() {
    let (cluster, network) = start_in_memory().await;
    let mut classic = Member::new(Client::within(&network, 0).await);
    classic.lead().await;
    let mut modern = Consumer::new(&network, "one").await;
    assert_eq!(modern.error(modern.joining()).await, Some(GroupIdNotFound));
    assert_eq!(modern.describe(1).await.error_message, Some(text("Group billing is not a consumer group.")));
    assert!(cluster.expire_member("billing", &classic.id));
    modern.id.clear();
    assert_eq!(modern.commit(9, -1).await, 0);
    modern.id = "one".to_owned();
    assert_eq!(modern.join().await, 6);
    assert_eq!(modern.fetch(1).await, (0, 7), "offsets are kept");
    assert_eq!(classic.heartbeat(4).await, Some(UnknownMemberId));
    classic.id.clear();
    assert_eq!(classic.become_member(9).await.error_code, InconsistentGroupProtocol.code());
    assert!(cluster.expire_member("billing", "one"));
    classic.lead().await;
    assert_eq!(modern.error(modern.request()).await, Some(GroupIdNotFound));
    assert_eq!(cluster.committed_offset("billing", "orders", 0), Some(7));
    cluster.shutdown().await;
}

/// As Java's `Admin.removeMembersFromConsumerGroup` does it.
#[tokio::test(start_paused = true)]
async fn an_administrator_removes_members() {
    let (_cluster, network) = start_in_memory().await;
    let mut fixed = Consumer::new(&network, "a").await;
    let joining = fixed.joining().with_instance_id(Some(text("i")));
    assert_eq!(fixed.send(1, joining).await.error_code, 0);
    let mut dynamic = Consumer::new(&network, "b").await;
    dynamic.join().await;
    let mut admin = Client::within(&network, 0).await;
    let table = [
        ("", Some("other"), UnknownMemberId.code()),
        ("c", None, UnknownMemberId.code()),
        ("b", Some("i"), FencedInstanceId.code()),
        ("", Some("i"), 0),
        ("", Some("i"), UnknownMemberId.code()),
        ("b", None, 0),
    ];
    for (id, instance, expected) in table {
        let member = MemberIdentity::default().with_member_id(text(id)).with_group_instance_id(instance.map(text));
        let request = LeaveGroupRequest::default().with_group_id(group("billing")).with_members(vec![member]);
        let answer = admin.call(5, &request).await;
        assert_eq!((answer.error_code, answer.members[0].error_code), (0, expected), "{id} {instance:?}");
    }
    let told = fixed.send(1, fixed.request().with_instance_id(Some(text("i")))).await;
    assert_eq!(told.error_code, UnknownMemberId.code());
}
