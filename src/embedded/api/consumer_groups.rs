//! Consumer groups of KIP-848: ConsumerGroupHeartbeat and ConsumerGroupDescribe.
//!
//! Rules this file keeps:
//! - it translates; what a group does is decided in `groups/consumer`;
//! - every heartbeat is answered at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse, GroupId, TopicName, consumer_group_describe_response as described,
        consumer_group_heartbeat_response as answered,
    },
    protocol::StrBytes,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Call, Serve, configs::GROUP, distinct, groups_admin::ALL_OPERATIONS};
use crate::embedded::{
    groups::{
        Group, Members,
        consumer::{Answer, Assignment, Catalog, Consumer, Heartbeat, Limits, Member, Refusal},
    },
    reply::{Body, Unanswered},
    topics::Topics,
};

impl Serve for ConsumerGroupHeartbeatRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let response = ConsumerGroupHeartbeatResponse::default().with_throttle_time_ms(call.throttle_ms());
        if let Err(code) = call.coordinates(&self.group_id) {
            return call.encode(&response.with_error_code(code));
        }
        let group_id = self.group_id.to_string();
        call.encode(&match call.beat(&group_id, read(self, call)) {
            Ok(answer) => response
                .with_member_id(Some(answer.member_id.into()))
                .with_member_epoch(answer.member_epoch)
                .with_heartbeat_interval_ms(wire_millis(call.consumer_limits(&group_id).heartbeat_interval))
                .with_assignment(answer.assignment.as_ref().map(assignment)),
            Err(refusal) => {
                response.with_error_code(refusal.error.code()).with_error_message(Some(refusal.message.into()))
            }
        })
    }
}

impl Call {
    fn beat(&self, group_id: &str, mut heartbeat: Heartbeat) -> Result<Answer, Refusal> {
        if group_id.trim().is_empty() {
            return Err(Refusal::new(ResponseError::InvalidRequest, "GroupId can't be empty."));
        }
        heartbeat.validate(self.version)?;
        let joins = heartbeat.member_epoch == 0;
        // Only version 0 lets the coordinator choose.
        if heartbeat.member_id.is_empty() {
            heartbeat.member_id = Uuid::from_u128(fastrand::u128(2..)).to_string();
        }
        let limits = self.consumer_limits(group_id);
        let groups = &self.shared.groups;
        let act = |group: &mut Group, now: Instant| {
            let consumer = group.members.as_consumer(joins, groups.budget());
            let consumer = consumer.ok_or_else(|| not_found(group_id, "is not a consumer group"))?;
            consumer.heartbeat(heartbeat, &self.shared.topics, &limits, now)
        };
        if joins {
            let full = |error| Refusal::new(error, "There is no room for another group.");
            groups.with_new(&self.shared, group_id, act).map_err(full)?
        } else {
            groups.with(&self.shared, group_id, act).unwrap_or_else(|| Err(not_found(group_id, "not found")))
        }
    }

    /// What the group's own settings say, and the broker's where they say nothing.
    fn consumer_limits(&self, group_id: &str) -> Limits {
        let own = self.shared.configs_of(GROUP, group_id);
        let time = |name: &str, default: Duration| {
            own.get(name).and_then(|millis| millis.parse().ok()).map_or(default, Duration::from_millis)
        };
        let settings = &self.shared.settings;
        Limits {
            session_timeout: time("consumer.session.timeout.ms", settings.consumer_session_timeout),
            heartbeat_interval: time("consumer.heartbeat.interval.ms", settings.consumer_heartbeat_interval),
            max_members: settings.group_max_size,
        }
    }

    fn describe_consumer_group(&self, id: &GroupId, operations: i32) -> described::DescribedGroup {
        let group = described::DescribedGroup::default().with_group_id(id.clone()).with_authorized_operations(i32::MIN);
        if let Err(code) = self.coordinates(id) {
            return group.with_error_code(code);
        }
        let known = self.shared.groups.with(&self.shared, id, |group, _| match &group.members {
            Members::Consumer(consumer) => Ok(self.describe(consumer)),
            _ => Err(not_found(id, "is not a consumer group")),
        });
        match known.unwrap_or_else(|| Err(not_found(id, "not found"))) {
            Ok(found) => found.with_group_id(id.clone()).with_authorized_operations(operations),
            Err(refusal) => {
                group.with_error_code(refusal.error.code()).with_error_message(Some(refusal.message.into()))
            }
        }
    }

    fn describe(&self, consumer: &Consumer) -> described::DescribedGroup {
        let names: BTreeMap<Uuid, StrBytes> =
            consumer.topics().map(|(name, id)| (id, StrBytes::from_string(name.clone()))).collect();
        let members = consumer.members().map(|(member, target)| self.describe_member(member, target, &names));
        described::DescribedGroup::default()
            .with_group_state(StrBytes::from_static_str(consumer.state().name()))
            .with_group_epoch(consumer.epoch())
            .with_assignment_epoch(consumer.assignment_epoch())
            .with_assignor_name(StrBytes::from_static_str(consumer.assignor_name()))
            .with_members(members.collect())
    }

    fn describe_member(
        &self,
        member: &Member,
        target: Option<&Assignment>,
        names: &BTreeMap<Uuid, StrBytes>,
    ) -> described::Member {
        let text = |text: &Option<String>| text.clone().map(StrBytes::from_string);
        let topics = member.topic_names.iter().map(|name| TopicName(name.clone().into()));
        described::Member::default()
            .with_member_id(member.id.clone().into())
            .with_member_epoch(member.epoch)
            .with_instance_id(text(&member.instance_id))
            .with_rack_id(text(&member.rack_id))
            .with_client_id(member.client_id.clone().into())
            .with_client_host(member.client_host.clone().into())
            .with_subscribed_topic_names(topics.collect())
            .with_subscribed_topic_regex(text(&member.topic_regex))
            .with_assignment(described_assignment(Some(&member.assigned), names))
            .with_target_assignment(described_assignment(target, names))
            // Version 1 tells members of the classic protocol (0) from those of this one.
            .with_member_type(if self.version >= 1 { 1 } else { -1 })
    }
}

impl Serve for ConsumerGroupDescribeRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let operations = if self.include_authorized_operations { ALL_OPERATIONS } else { i32::MIN };
        let groups = distinct(self.group_ids, GroupId::clone).map(|id| call.describe_consumer_group(&id, operations));
        let response = ConsumerGroupDescribeResponse::default().with_throttle_time_ms(call.throttle_ms());
        call.encode(&response.with_groups(groups.collect()))
    }
}

impl Catalog for Topics {
    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        let topic = self.by_name(name)?;
        Some((topic.id, i32::try_from(topic.partitions.len()).ok()?))
    }

    fn names(&self) -> BTreeSet<String> {
        self.all().iter().map(|topic| topic.name.clone()).collect()
    }
}

fn read(request: ConsumerGroupHeartbeatRequest, call: &Call) -> Heartbeat {
    let text = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let names = |names: Vec<TopicName>| names.into_iter().map(|name| name.to_string()).collect();
    let owned = request.topic_partitions.map(|topics| {
        let mut owned = Assignment::new();
        for topic in topics {
            owned.entry(topic.topic_id).or_default().extend(topic.partitions);
        }
        owned
    });
    Heartbeat {
        member_id: request.member_id.to_string(),
        member_epoch: request.member_epoch,
        instance_id: text(request.instance_id),
        rack_id: text(request.rack_id),
        client_id: call.client_id.as_ref().map(StrBytes::to_string).unwrap_or_default(),
        client_host: call.session.peer.clone(),
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms).ok().map(Duration::from_millis),
        topic_names: request.subscribed_topic_names.map(names),
        topic_regex: text(request.subscribed_topic_regex),
        assignor: text(request.server_assignor),
        owned,
    }
}

fn assignment(owned: &Assignment) -> answered::Assignment {
    let topics = owned.iter().map(|(id, partitions)| {
        let partitions = partitions.iter().copied().collect();
        answered::TopicPartitions::default().with_topic_id(*id).with_partitions(partitions)
    });
    answered::Assignment::default().with_topic_partitions(topics.collect())
}

/// What is left of topics that are no more has no name and is not told.
fn described_assignment(owned: Option<&Assignment>, names: &BTreeMap<Uuid, StrBytes>) -> described::Assignment {
    let topics = owned.into_iter().flatten().filter_map(|(id, partitions)| {
        let topic = described::TopicPartitions::default()
            .with_topic_id(*id)
            .with_topic_name(TopicName(names.get(id)?.clone()))
            .with_partitions(partitions.iter().copied().collect());
        Some(topic)
    });
    described::Assignment::default().with_topic_partitions(topics.collect())
}

fn not_found(group_id: &str, why: &str) -> Refusal {
    Refusal::new(ResponseError::GroupIdNotFound, format!("Group {group_id} {why}."))
}

fn wire_millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
