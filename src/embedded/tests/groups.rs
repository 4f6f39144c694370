//! Consumer groups of the classic protocol, spoken to in every version.

use std::time::Duration;

use kafka_protocol::{
    ResponseError::{self, *},
    messages::{
        DeleteGroupsRequest, DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, GroupId,
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, SyncGroupRequest,
        SyncGroupResponse, join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
};

use super::*;
use crate::embedded::{Api, Fault, FaultAction};

/// A member as these tests play one.
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) id: String,
    pub(super) generation: i32,
}

impl Member {
    pub(super) fn new(client: Client) -> Self {
        Self { client, id: String::new(), generation: -1 }
    }

    /// Sends JoinGroup; with [`Member::joined`] for its answer.
    async fn join(&mut self, version: i16) {
        let request = join_request(&self.id);
        self.client.send(version, &request).await;
    }

    async fn joined(&mut self, version: i16) -> JoinGroupResponse {
        let response = self.client.receive::<JoinGroupRequest>(version, self.client.correlation_id).await;
        self.id = response.member_id.to_string();
        self.generation = response.generation_id;
        response
    }

    /// Joins as a client of this version does: again with the id that it is told, if it is told one (KIP-394).
    pub(super) async fn become_member(&mut self, version: i16) -> JoinGroupResponse {
        self.join(version).await;
        let response = self.joined(version).await;
        if response.error_code != MemberIdRequired.code() {
            return response;
        }
        self.join(version).await;
        self.joined(version).await
    }

    async fn sync(&mut self, version: i16, assignments: &[(&str, &str)]) {
        let assignments = assignments.iter().map(|(id, assignment)| {
            let assignment = Bytes::copy_from_slice(assignment.as_bytes());
            SyncGroupRequestAssignment::default().with_member_id(text(id)).with_assignment(assignment)
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group("billing"))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(assignments.collect());
        let named = request.clone().with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
        self.client.send(version, if version >= 5 { &named } else { &request }).await;
    }

    async fn synced(&mut self, version: i16) -> SyncGroupResponse {
        self.client.receive::<SyncGroupRequest>(version, self.client.correlation_id).await
    }

    /// Joins alone and leads itself.
    pub(super) async fn lead(&mut self) {
        assert_eq!(self.become_member(9).await.error_code, 0);
        let id = self.id.clone();
        self.sync(5, &[(&id, "all")]).await;
        assert_eq!(self.synced(5).await.error_code, 0);
    }

    pub(super) async fn heartbeat(&mut self, version: i16) -> Option<ResponseError> {
        let request = HeartbeatRequest::default()
            .with_group_id(group("billing"))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id));
        ResponseError::try_from_code(self.client.call(version, &request).await.error_code)
    }

    async fn leave(&mut self, version: i16) -> i16 {
        let request = LeaveGroupRequest::default().with_group_id(group("billing"));
        if version < 3 {
            return self.client.call(version, &request.with_member_id(text(&self.id))).await.error_code;
        }
        let member = MemberIdentity::default().with_member_id(text(&self.id));
        let response = self.client.call(version, &request.with_members(vec![member])).await;
        response.members[0].error_code
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

pub(super) fn join_request(member_id: &str) -> JoinGroupRequest {
    let metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff");
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(metadata);
    JoinGroupRequest::default()
        .with_group_id(group("billing"))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(text(member_id))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

async fn describe(client: &mut Client, version: i16) -> DescribeGroupsResponse {
    client.call(version, &DescribeGroupsRequest::default().with_groups(vec![group("billing")])).await
}

#[tokio::test]
async fn two_members_live_together_in_every_version() {
    let (cluster, client) = start(EmbeddedCluster::builder().topic("orders", 2)).await;
    let (mut one, mut two) = (Member::new(client), Member::new(Client::to(&cluster).await));
    let mut generation = 0;
    for join in 0..=9 {
        let (sync, heartbeat, leave) = (join.min(5), join.min(4), join.min(5));
        (one.id, two.id) = Default::default();
        generation += 1;
        let joined = one.become_member(join).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, generation), "version {join}");
        assert_eq!((joined.leader, joined.members.len()), (text(&one.id), 1));
        assert_eq!(joined.protocol_name, Some(text("range")));
        assert_eq!(joined.protocol_type, (join >= 7).then(|| text("consumer")), "KIP-559");
        one.sync(sync, &[(&one.id.clone(), "all")]).await;
        assert_eq!(one.synced(sync).await.assignment, "all");
        // The second one comes.
        generation += 1;
        if join >= 4 {
            two.join(join).await;
            assert_eq!(two.joined(join).await.error_code, MemberIdRequired.code());
        }
        two.join(join).await;
        while one.heartbeat(heartbeat).await != Some(RebalanceInProgress) {}
        one.join(join).await;
        assert_eq!((one.joined(join).await.members.len(), two.joined(join).await.members.len()), (2, 0));
        two.sync(sync, &[]).await;
        one.sync(sync, &[(&one.id.clone(), "half"), (&two.id.clone(), "rest")]).await;
        assert_eq!(
            (one.synced(sync).await.assignment, two.synced(sync).await.assignment),
            ("half".into(), "rest".into())
        );
        assert_eq!((one.heartbeat(heartbeat).await, two.heartbeat(heartbeat).await), (None, None));
        let listed = cluster.group_members("billing");
        assert!(listed.iter().all(|it| it.client_id == "test" && it.generation == generation), "{listed:?}");
        // Both go.
        assert_eq!((one.leave(leave).await, two.heartbeat(heartbeat).await), (0, Some(RebalanceInProgress)));
        assert_eq!((two.leave(leave).await, two.leave(leave).await), (0, UnknownMemberId.code()));
        generation += 1;
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_admin_tools_see_in_every_version() {
    let (cluster, client) = start(EmbeddedCluster::builder().topic("orders", 2)).await;
    let mut member = Member::new(Client::to(&cluster).await);
    member.lead().await;
    let mut admin = client;
    for version in 0..=6 {
        let described = describe(&mut admin, version).await.groups.remove(0);
        assert_eq!((described.error_code, described.group_state), (0, text("Stable")));
        assert_eq!((described.protocol_type, described.protocol_data), (text("consumer"), text("range")));
        let member = &described.members[0];
        assert_eq!((&member.client_id, &member.client_host), (&text("test"), &text("/127.0.0.1")));
        assert_eq!((member.member_metadata.len(), &member.member_assignment[..]), (18, &b"all"[..]));
    }
    for version in 0..=5 {
        let listed = admin.call(version, &ListGroupsRequest::default()).await.groups.remove(0);
        assert_eq!((listed.group_id, listed.protocol_type), (group("billing"), text("consumer")));
        assert_eq!(listed.group_state, if version >= 4 { text("Stable") } else { text("") });
        assert_eq!(listed.group_type, if version >= 5 { text("classic") } else { text("") });
    }
    for (states, types, found) in [
        (vec!["stable"], vec![], 1),
        (vec!["Empty", "PreparingRebalance"], vec![], 0),
        (vec![], vec!["Classic"], 1),
        (vec!["Stable"], vec!["consumer"], 0),
    ] {
        let filter = |wanted: &[&str]| wanted.iter().map(|it| text(it)).collect();
        let request =
            ListGroupsRequest::default().with_states_filter(filter(&states)).with_types_filter(filter(&types));
        assert_eq!(admin.call(5, &request).await.groups.len(), found, "{states:?} {types:?}");
    }
    let request = DescribeGroupsRequest::default().with_groups(vec![group("nobody's")]);
    let older = admin.call(5, &request).await.groups.remove(0);
    assert_eq!((older.error_code, older.group_state), (0, text("Dead")));
    let newer = admin.call(6, &request.with_include_authorized_operations(true)).await.groups.remove(0);
    assert_eq!((newer.error_code, newer.authorized_operations), (GroupIdNotFound.code(), 3400), "KIP-1043");
    cluster.shutdown().await;
}

#[tokio::test]
async fn only_the_coordinator_answers_and_faults_take_its_place() {
    let (cluster, mut client) = start(EmbeddedCluster::builder().brokers(3)).await;
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("billing")]);
    let found = client.call(4, &find).await.coordinators.remove(0);
    for (id, address) in (0..).zip(cluster.bootstrap().split(',')) {
        let mut member = Member::new(Client::at(address).await);
        let expected = if id == found.node_id.0 { MemberIdRequired } else { NotCoordinator };
        member.join(9).await;
        assert_eq!(member.joined(9).await.error_code, expected.code());
        let heartbeat = if id == found.node_id.0 { UnknownMemberId } else { NotCoordinator };
        member.id = "x".to_owned();
        assert_eq!(member.heartbeat(4).await, Some(heartbeat));
        let listed = member.client.call(5, &ListGroupsRequest::default()).await.groups.len();
        assert_eq!(listed, usize::from(id == found.node_id.0), "each broker lists its own");
    }
    let mut member = Member::new(Client::at(&format!("{}:{}", found.host, found.port)).await);
    for error in [CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator] {
        cluster.inject(Fault::on(Api::Heartbeat, FaultAction::Error(error.code())));
        assert_eq!(member.heartbeat(3).await, Some(error));
    }
    // The group outlives its coordinator: another broker has it, members and all.
    member.id.clear();
    member.lead().await;
    cluster.kill(found.node_id.0).await;
    let alive = cluster.bootstrap().split(',').nth(((found.node_id.0 + 1) % 3) as usize).unwrap().to_owned();
    let mut client = Client::at(&alive).await;
    let next = client.call(4, &find).await.coordinators.remove(0);
    assert_ne!(next.node_id, found.node_id);
    member.client = Client::at(&format!("{}:{}", next.host, next.port)).await;
    assert_eq!(member.heartbeat(4).await, None);
    cluster.shutdown().await;
}

#[tokio::test]
async fn joins_that_cannot_be() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    let good = join_request("");
    for (what, request, expected) in [
        ("a session too short", good.clone().with_session_timeout_ms(5999), InvalidSessionTimeout),
        ("a session too long", good.clone().with_session_timeout_ms(1_800_001), InvalidSessionTimeout),
        ("a negative session", good.clone().with_session_timeout_ms(-1), InvalidSessionTimeout),
        ("no group", good.clone().with_group_id(group("")), InvalidGroupId),
        ("no assignor", good.clone().with_protocols(Vec::new()), InconsistentGroupProtocol),
        ("no kind", good.clone().with_protocol_type(text("")), InconsistentGroupProtocol),
        ("an id in a group that nobody knows", join_request("x").with_group_id(group("unknown")), UnknownMemberId),
    ] {
        for version in 0..=9 {
            assert_eq!(client.call(version, &request).await.error_code, expected.code(), "{what}, version {version}");
        }
    }
    let unknown = LeaveGroupRequest::default().with_group_id(group("unknown"));
    let nobody = MemberIdentity::default().with_member_id(text("x"));
    let left = client.call(5, &unknown.with_members(vec![nobody])).await;
    assert_eq!((left.error_code, left.members[0].error_code), (0, UnknownMemberId.code()));
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn sessions_and_rebalances_end_on_the_clusters_clock() {
    let network = MemoryNetwork::new();
    let cluster = EmbeddedCluster::builder().memory(&network).start().await.unwrap();
    let mut one = Member::new(Client::within(&network, 0).await);
    one.lead().await;
    let began = tokio::time::Instant::now();
    let mut two = Member::new(Client::within(&network, 0).await);
    two.join(3).await;
    // The first one never joins again: its session ends, and the second is alone.
    assert_eq!(two.joined(3).await.members.len(), 1);
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(one.heartbeat(4).await, Some(UnknownMemberId));

    // A third one hangs up while it waits. It is taken for a member until its session has ended.
    let mut three = Member::new(Client::within(&network, 0).await);
    three.join(3).await;
    while two.heartbeat(4).await != Some(RebalanceInProgress) {}
    drop(three);
    two.join(3).await;
    assert_eq!(two.joined(3).await.members.len(), 2);
    for seconds in 0..9 {
        assert_eq!(two.heartbeat(4).await, None, "after {seconds} seconds");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(two.heartbeat(4).await, Some(RebalanceInProgress));
    assert_eq!(cluster.group_members("billing").len(), 1);

    // Nobody lives, nothing was committed: after a while the group is forgotten.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(describe(&mut two.client, 5).await.groups[0].group_state, text("Empty"));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(describe(&mut two.client, 5).await.groups[0].group_state, text("Dead"));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_group_has_one_timer_whatever_its_clients_do() {
    let (cluster, mut client) = start(EmbeddedCluster::builder()).await;
    for session in (60..260).rev() {
        // Each deadline is nearer than the one before.
        let request = join_request("").with_session_timeout_ms(session * 1000);
        assert_eq!(client.call(4, &request).await.error_code, MemberIdRequired.code());
        assert_eq!(cluster.shared.timers.of_groups(), 1);
    }
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group("billing")]);
    assert_eq!(client.call(2, &request).await.results[0].error_code, 0);
    assert_eq!(cluster.shared.timers.of_groups(), 0);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_member_can_be_expired_by_hand() {
    let (cluster, client) = start(EmbeddedCluster::builder()).await;
    let mut member = Member::new(client);
    member.lead().await;
    assert!(!cluster.expire_member("billing", "nobody"));
    assert!(cluster.expire_member("billing", &member.id));
    assert_eq!(member.heartbeat(4).await, Some(UnknownMemberId));
    member.id.clear();
    member.lead().await;
    assert_eq!(member.generation, 3, "one for the empty group between");
    cluster.shutdown().await;
}
