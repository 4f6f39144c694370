//! What admin tools ask about groups: ListGroups, DescribeGroups, DeleteGroups, OffsetDelete.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        list_groups_response::ListedGroup,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
    protocol::StrBytes,
};

use super::{Call, Serve, distinct};
use crate::embedded::{
    groups::{Classic, Described, Group, Listed, Members},
    reply::{Body, Unanswered},
};

impl Serve for ListGroupsRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let mut response = ListGroupsResponse::default().with_error_code(call.forced_code());
        if call.version >= 1 {
            response.throttle_time_ms = call.throttle_ms();
        }
        let any = |filter: &[StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
        };
        let mine = |id: &str| call.shared.coordinator(id).is_some_and(|node| node.id == call.broker);
        let wanted = |group: &Listed| {
            mine(&group.id) && any(&self.states_filter, group.state) && any(&self.types_filter, group.kind)
        };
        if response.error_code == 0 {
            let found = call.shared.groups.list().into_iter().filter(wanted);
            response.groups = found.map(|group| call.listed(group)).collect();
        }
        call.encode(&response)
    }
}

impl Call {
    fn listed(&self, group: Listed) -> ListedGroup {
        let mut listed = ListedGroup::default()
            .with_group_id(GroupId(group.id.into()))
            .with_protocol_type(group.protocol_type.into());
        if self.version >= 4 {
            listed.group_state = StrBytes::from_static_str(group.state); // KIP-518
        }
        if self.version >= 5 {
            listed.group_type = StrBytes::from_static_str(group.kind); // KIP-848
        }
        listed
    }

    fn described_group(&self, id: GroupId, with_operations: bool) -> DescribedGroup {
        let described = DescribedGroup::default().with_group_id(id.clone());
        if let Err(code) = self.coordinates(&id) {
            return described.with_error_code(code);
        }
        let act = |group: &mut Group, _| match &group.members {
            Members::Classic(classic) => Some(self.describe_classic(described.clone(), classic)),
            Members::Empty => Some(described.clone().with_group_state(StrBytes::from_static_str("Empty"))),
            Members::Consumer(_) => None,
        };
        let known = self.shared.groups.with(&self.shared, &id, act);
        let why = if known.is_some() { "is not a classic group" } else { "is not known" };
        let found = known.flatten().unwrap_or_else(|| {
            let dead = described.clone().with_group_state(StrBytes::from_static_str("Dead"));
            if self.version < 6 {
                return dead;
            }
            let message = format!("Group {} {why}.", id.as_str());
            // KIP-1043: a group that is not there is told from one that nobody is in.
            dead.with_error_code(ResponseError::GroupIdNotFound.code()).with_error_message(Some(message.into()))
        });
        // Nobody is forbidden anything.
        if with_operations { found.with_authorized_operations(ALL_OPERATIONS) } else { found }
    }

    fn describe_classic(&self, described: DescribedGroup, classic: &Classic) -> DescribedGroup {
        let member = |it: Described| {
            let member = DescribedGroupMember::default()
                .with_member_id(it.member_id.into())
                .with_client_id(it.client_id.into())
                .with_client_host(it.client_host.into())
                .with_member_metadata(it.metadata)
                .with_member_assignment(it.assignment);
            let instance = it.group_instance_id.filter(|_| self.version >= 4);
            member.with_group_instance_id(instance.map(Into::into))
        };
        described
            .with_group_state(StrBytes::from_static_str(classic.state()))
            .with_protocol_type(classic.protocol_type().to_owned().into())
            .with_protocol_data(classic.protocol_name().to_owned().into())
            .with_members(classic.describe().into_iter().map(member).collect())
    }
}

impl Serve for DescribeGroupsRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let mut response = DescribeGroupsResponse::default();
        if call.version >= 1 {
            response.throttle_time_ms = call.throttle_ms();
        }
        let operations = self.include_authorized_operations;
        response.groups =
            distinct(self.groups, GroupId::clone).map(|id| call.described_group(id, operations)).collect();
        call.encode(&response)
    }
}

impl Serve for DeleteGroupsRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let delete = |id: &GroupId| {
            call.coordinates(id)?;
            if id.is_empty() {
                return Err(ResponseError::InvalidGroupId.code());
            }
            call.shared.groups.delete(&call.shared, id).map_err(|error| error.code())
        };
        let results = self.groups_names.into_iter().map(|id| {
            let code = delete(&id).err().unwrap_or_default();
            DeletableGroupResult::default().with_group_id(id).with_error_code(code)
        });
        let response = DeleteGroupsResponse::default().with_results(results.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Serve for OffsetDeleteRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let response = OffsetDeleteResponse::default().with_throttle_time_ms(call.throttle_ms());
        let deleted = call.coordinates(&self.group_id).and_then(|()| {
            let act = |group: &mut Group, _| {
                group.members.check_delete_offsets().map_err(|error| error.code())?;
                Ok(call.delete_offsets(group, &self))
            };
            let deleted = call.shared.groups.with(&call.shared, &self.group_id, act);
            deleted.unwrap_or(Err(ResponseError::GroupIdNotFound.code()))
        });
        call.encode(&match deleted {
            Ok(topics) => response.with_topics(topics),
            Err(code) => response.with_error_code(code),
        })
    }
}

impl Call {
    fn delete_offsets(&self, group: &mut Group, request: &OffsetDeleteRequest) -> Vec<OffsetDeleteResponseTopic> {
        let topics = request.topics.iter().map(|topic| {
            let known = self.shared.topics.by_name(&topic.name).is_some();
            let subscribed = group.members.is_subscribed_to(&topic.name);
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let code = match self.forced(&topic.name) {
                    Some(code) => code,
                    None if !known => ResponseError::UnknownTopicOrPartition.code(),
                    None if subscribed => ResponseError::GroupSubscribedToTopic.code(),
                    None => {
                        group.offsets.delete(&topic.name, index);
                        0
                    }
                };
                OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code)
            });
            OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        topics.collect()
    }
}

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, each a bit (KIP-430).
pub(super) const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
