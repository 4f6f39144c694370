//! Everything about membership in a streams group (KIP-1071).

use super::prelude::*;

message! {
    /// Joins the group, stays in it or leaves it. What has not changed since the last heartbeat is null. Version 1 is
    /// that of the response.
    request StreamsGroupHeartbeatRequest = STREAMS_GROUP_HEARTBEAT, versions 0..=1, flexible 0
        => StreamsGroupHeartbeatResponse {
        /// The group.
        group_id: Str                                                  => since(0).entity(GroupId),
        /// The member's id, a UUID that it chooses for its lifetime.
        member_id: Str                                                 => since(0),
        /// The epoch that the member knows; 0 joins, −1 leaves, −2 leaves for a restart of a static member.
        member_epoch: i32                                              => since(0),
        /// The last endpoint epoch that the member was told.
        endpoint_information_epoch: i32                                => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others and where unchanged.
        instance_id: Option<Str>                                       => since(0).nullable(0),
        /// The member's rack; null if it has none and where unchanged.
        rack_id: Option<Str>                                           => since(0).nullable(0),
        /// How many milliseconds the member may take to give up tasks; −1 where unchanged.
        rebalance_timeout_ms: i32 = -1                                 => since(0),
        /// What the application computes; sent on joining, null otherwise.
        topology: Option<StreamsGroupHeartbeatTopology>                => since(0).nullable(0),
        /// The tasks that the member runs; null where unchanged.
        active_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>        => since(0).nullable(0),
        /// The tasks whose state it keeps a copy of; null where unchanged.
        standby_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>       => since(0).nullable(0),
        /// The tasks whose state it copies in order to run them; null where unchanged.
        warmup_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>        => since(0).nullable(0),
        /// The process of the member, where several members may share one; null where unchanged.
        process_id: Option<Str>                                        => since(0).nullable(0),
        /// Where the application answers queries; null if it does not, and where unchanged.
        user_endpoint: Option<StreamsGroupHeartbeatEndpoint>           => since(0).nullable(0),
        /// Tags by which standby tasks are spread; null where unchanged.
        client_tags: Option<Vec<StreamsGroupHeartbeatKeyValue>>        => since(0).nullable(0),
        /// How far each task has come in its changelogs, added up; null where unchanged. Brokers before Kafka 4.4
        /// refuse any.
        task_offsets: Option<Vec<StreamsGroupHeartbeatTaskOffset>>     => since(0).nullable(0),
        /// Where those changelogs end, added up; null where unchanged. Brokers before Kafka 4.4 refuse any.
        task_end_offsets: Option<Vec<StreamsGroupHeartbeatTaskOffset>> => since(0).nullable(0),
        /// Whether the whole application shall stop.
        shutdown_application: bool                                     => since(0),
    }

    /// What the application computes, and from which topics.
    struct StreamsGroupHeartbeatTopology {
        /// The topology's epoch; another one than the group's is refused or reported.
        epoch: i32                                           => since(0),
        /// The parts of the topology.
        subtopologies: Vec<StreamsGroupHeartbeatSubtopology> => since(0),
    }

    /// Tasks of one subtopology.
    struct StreamsGroupHeartbeatTaskIds {
        /// The subtopology.
        subtopology_id: Str  => since(0),
        /// The tasks, each named by the partition that it reads.
        partitions: Vec<i32> => since(0),
    }

    /// Where an application answers queries.
    struct StreamsGroupHeartbeatEndpoint {
        /// Its host.
        host: Str => since(0),
        /// Its port.
        port: u16 => since(0),
    }

    /// A name and its value.
    struct StreamsGroupHeartbeatKeyValue {
        /// The name.
        key: Str   => since(0),
        /// The value.
        value: Str => since(0),
    }

    /// How far a task has come.
    struct StreamsGroupHeartbeatTaskOffset {
        /// The subtopology.
        subtopology_id: Str => since(0),
        /// The partition.
        partition: i32      => since(0),
        /// The offsets of its changelogs, added up.
        offset: i64         => since(0),
    }

    /// A part of the topology whose tasks run on their own.
    struct StreamsGroupHeartbeatSubtopology {
        /// The subtopology.
        subtopology_id: Str                                            => since(0),
        /// The topics that it reads.
        source_topics: Vec<Str>                                        => since(0).entity(TopicName),
        /// Regular expressions for the names of more topics that it reads.
        source_topic_regex: Vec<Str>                                   => since(0),
        /// The topics that keep its state; the broker creates them.
        state_changelog_topics: Vec<StreamsGroupHeartbeatTopicInfo>    => since(0),
        /// The repartition topics that it writes.
        repartition_sink_topics: Vec<Str>                              => since(0).entity(TopicName),
        /// The repartition topics that it reads; the broker creates them.
        repartition_source_topics: Vec<StreamsGroupHeartbeatTopicInfo> => since(0),
        /// Which of the topics it reads must have equally many partitions.
        copartition_groups: Vec<CopartitionGroup>                      => since(0),
    }

    /// A topic that the broker creates for the application.
    struct StreamsGroupHeartbeatTopicInfo {
        /// The topic's name.
        name: Str                                         => since(0).entity(TopicName),
        /// How many partitions it shall have; 0 if that follows from others.
        partitions: i32                                   => since(0),
        /// How many replicas it shall have; 0 for the broker's default.
        replication_factor: i16                           => since(0),
        /// Settings of the topic.
        topic_configs: Vec<StreamsGroupHeartbeatKeyValue> => since(0),
    }

    /// Source topics that must have equally many partitions. Each is named by its place in a list of the subtopology.
    struct CopartitionGroup {
        /// Places in the list of topics.
        source_topics: Vec<i16>             => since(0),
        /// Places in the list of regular expressions.
        source_topic_regex: Vec<i16>        => since(0),
        /// Places in the list of repartition topics.
        repartition_source_topics: Vec<i16> => since(0),
    }
}

message! {
    /// The member's epoch, and its tasks where they have changed. Version 1 (Kafka 4.4) has the lag in eight bytes and
    /// may ask for a description of the topology (KIP-1331).
    response StreamsGroupHeartbeatResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                                          => since(0),
        /// The error, or none.
        error_code: ErrorCode                                          => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                                     => since(0).nullable(0),
        /// The member's id.
        member_id: Str                                                 => since(0),
        /// The member's epoch, to be sent with the next heartbeat.
        member_epoch: i32                                              => since(0),
        /// After how many milliseconds the next heartbeat is due.
        heartbeat_interval_ms: i32                                     => since(0),
        /// How many records a task that warms up may be behind when it takes over, in version 0.
        acceptable_recovery_lag_legacy: i32                            => versions(0, 0),
        /// After how many milliseconds the offsets of tasks are wanted again.
        task_offset_interval_ms: i32                                   => since(0),
        /// The same since version 1; −1 if it is not told.
        acceptable_recovery_lag: i64 = -1                              => since(1).ignorable(),
        /// What the member should know about the group; null where there is nothing.
        status: Option<Vec<Status>> = empty()                          => since(0).nullable(0),
        /// The tasks that the member shall run; null where unchanged.
        active_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>        => since(0).nullable(0),
        /// The tasks whose state it shall keep a copy of; null where unchanged.
        standby_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>       => since(0).nullable(0),
        /// The tasks whose state it shall copy in order to run them; null where unchanged.
        warmup_tasks: Option<Vec<StreamsGroupHeartbeatTaskIds>>        => since(0).nullable(0),
        /// Whether the member shall describe its topology.
        topology_description_required: bool                            => since(1).ignorable(),
        /// Counts the changes of the endpoints.
        endpoint_information_epoch: i32                                => since(0),
        /// Which partitions can be queried where; null where unchanged.
        partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>> => since(0).nullable(0),
    }

    /// Something about the group that the member should know.
    struct Status {
        /// 0 the topology is out of date, 1 source topics are missing, 2 topics have unfit partitions, 3 topics to be
        /// created are missing, 4 the application shall stop, 5 the assignment comes later, 6 client tags are missing
        /// (since version 1).
        status_code: i8    => since(0),
        /// The status in words, with the topics that it is about.
        status_detail: Str => since(0),
    }

    /// Which partitions can be queried at an endpoint.
    struct EndpointToPartitions {
        /// The endpoint.
        user_endpoint: StreamsGroupHeartbeatEndpoint                 => since(0),
        /// The partitions of tasks that run there.
        active_partitions: Vec<StreamsGroupHeartbeatTopicPartition>  => since(0),
        /// The partitions of tasks whose state is copied there.
        standby_partitions: Vec<StreamsGroupHeartbeatTopicPartition> => since(0),
    }

    /// Partitions of one topic.
    struct StreamsGroupHeartbeatTopicPartition {
        /// The topic's name.
        topic: Str           => since(0).entity(TopicName),
        /// The partitions.
        partitions: Vec<i32> => since(0),
    }
}
