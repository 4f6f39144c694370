//! The state, topology and members of streams groups (KIP-1071).

use super::prelude::*;

message! {
    /// Asks the coordinator about its streams groups.
    request StreamsGroupDescribeRequest = STREAMS_GROUP_DESCRIBE, versions 0..=1, flexible 0
        => StreamsGroupDescribeResponse {
        /// The groups.
        group_ids: Vec<Str>                 => since(0).entity(GroupId),
        /// Whether to say what the client may do with each group.
        include_authorized_operations: bool => since(0),
        /// Whether to tell the application's own description of its topology.
        include_topology_description: bool  => since(1),
    }
}

message! {
    /// The streams groups. Version 1 (Kafka 4.4) has the application's own description (KIP-1331) and the assignor
    /// (KIP-1357).
    response StreamsGroupDescribeResponse, versions 0..=1, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32                   => since(0),
        /// The groups.
        groups: Vec<StreamsGroupDescribedGroup> => since(0),
    }

    /// A streams group.
    struct StreamsGroupDescribedGroup {
        /// The error, or none.
        error_code: ErrorCode                                                 => since(0),
        /// What the broker says about the error.
        error_message: Option<Str>                                            => since(0).nullable(0),
        /// The group.
        group_id: Str                                                         => since(0).entity(GroupId),
        /// The group's state, such as `Stable`; empty if it is not known.
        group_state: Str                                                      => since(0),
        /// Counts the changes of the group's members and subscriptions.
        group_epoch: i32                                                      => since(0),
        /// The group epoch that the target assignment was made for.
        assignment_epoch: i32                                                 => since(0),
        /// What the application computes; null if the group could not be described.
        topology: Option<StreamsGroupDescribeTopology>                        => since(0).nullable(0),
        /// The members.
        members: Vec<StreamsGroupDescribeMember>                              => since(0),
        /// What the client may do with it, a bit to an operation; the lowest number if it was not asked.
        authorized_operations: i32 = i32::MIN                                 => since(0),
        /// The topology in the application's own words; null unless the status is 3.
        topology_description: Option<StreamsGroupDescribeTopologyDescription> => since(1).nullable(1),
        /// Whether there is a description: 0 not asked for, 1 none stored, 2 the broker could not fetch it, 3 here it
        /// is.
        topology_description_status: i8                                       => since(1),
        /// The assignor in use; null if it is not known.
        assignor_name: Option<Str>                                            => since(1).nullable(1).ignorable(),
    }

    /// What the application computes, and from which topics.
    struct StreamsGroupDescribeTopology {
        /// The topology's epoch.
        epoch: i32                                                  => since(0),
        /// The parts of the topology; null while source topics are missing or have unfit partitions.
        subtopologies: Option<Vec<StreamsGroupDescribeSubtopology>> => since(0).nullable(0),
    }

    /// A member of a streams group.
    struct StreamsGroupDescribeMember {
        /// The member.
        member_id: Str                                        => since(0),
        /// The member's epoch.
        member_epoch: i32                                     => since(0),
        /// The name of a static member, which survives restarts (KIP-345); null for others.
        instance_id: Option<Str>                              => since(0).nullable(0),
        /// The member's rack; null if it has none.
        rack_id: Option<Str>                                  => since(0).nullable(0),
        /// The member's client id.
        client_id: Str                                        => since(0),
        /// Where the member connects from.
        client_host: Str                                      => since(0),
        /// The topology's epoch at the member.
        topology_epoch: i32                                   => since(0),
        /// The process of the member; several members may share one.
        process_id: Str                                       => since(0),
        /// Where the application answers queries; null if it does not.
        user_endpoint: Option<StreamsGroupDescribeEndpoint>   => since(0).nullable(0),
        /// Tags by which standby tasks are spread.
        client_tags: Vec<StreamsGroupDescribeKeyValue>        => since(0),
        /// How far each task has come in its changelogs, added up.
        task_offsets: Vec<StreamsGroupDescribeTaskOffset>     => since(0),
        /// Where those changelogs end, added up.
        task_end_offsets: Vec<StreamsGroupDescribeTaskOffset> => since(0),
        /// What the member has.
        assignment: StreamsGroupDescribeAssignment            => since(0),
        /// What the member shall have.
        target_assignment: StreamsGroupDescribeAssignment     => since(0),
        /// Whether the member still speaks the classic protocol.
        is_classic: bool                                      => since(0),
    }

    /// A topology in the application's own words.
    struct StreamsGroupDescribeTopologyDescription {
        /// The parts of the topology.
        subtopologies: Vec<StreamsGroupDescribeTopologyDescriptionSubtopology> => since(1),
        /// The stores that every instance has whole.
        global_stores: Vec<StreamsGroupDescribeTopologyDescriptionGlobalStore> => since(1),
    }

    /// A part of the topology whose tasks run on their own.
    struct StreamsGroupDescribeSubtopology {
        /// The subtopology.
        subtopology_id: Str                                           => since(0),
        /// The topics that it reads.
        source_topics: Vec<Str>                                       => since(0).entity(TopicName),
        /// The repartition topics that it writes.
        repartition_sink_topics: Vec<Str>                             => since(0).entity(TopicName),
        /// The topics that keep its state; the broker creates them.
        state_changelog_topics: Vec<StreamsGroupDescribeTopicInfo>    => since(0),
        /// The repartition topics that it reads; the broker creates them.
        repartition_source_topics: Vec<StreamsGroupDescribeTopicInfo> => since(0),
    }

    /// Where an application answers queries.
    struct StreamsGroupDescribeEndpoint {
        /// Its host.
        host: Str => since(0),
        /// Its port.
        port: u16 => since(0),
    }

    /// A name and its value.
    struct StreamsGroupDescribeKeyValue {
        /// The name.
        key: Str   => since(0),
        /// The value.
        value: Str => since(0),
    }

    /// How far a task has come.
    struct StreamsGroupDescribeTaskOffset {
        /// The subtopology.
        subtopology_id: Str => since(0),
        /// The partition.
        partition: i32      => since(0),
        /// The offsets of its changelogs, added up.
        offset: i64         => since(0),
    }

    /// An assignment.
    struct StreamsGroupDescribeAssignment {
        /// The tasks that it runs.
        active_tasks: Vec<StreamsGroupDescribeTaskIds>  => since(0),
        /// The tasks whose state it keeps a copy of.
        standby_tasks: Vec<StreamsGroupDescribeTaskIds> => since(0),
        /// The tasks whose state it copies in order to run them.
        warmup_tasks: Vec<StreamsGroupDescribeTaskIds>  => since(0),
    }

    /// A part of the topology whose tasks run on their own.
    struct StreamsGroupDescribeTopologyDescriptionSubtopology {
        /// The subtopology.
        subtopology_id: Str                                     => since(1),
        /// The nodes of its graph.
        nodes: Vec<StreamsGroupDescribeTopologyDescriptionNode> => since(1),
    }

    /// A store that every instance has whole.
    struct StreamsGroupDescribeTopologyDescriptionGlobalStore {
        /// The node that reads the store's topic.
        source: StreamsGroupDescribeTopologyDescriptionNode    => since(1),
        /// The node that fills the store.
        processor: StreamsGroupDescribeTopologyDescriptionNode => since(1),
    }

    /// A topic that the broker creates for the application.
    struct StreamsGroupDescribeTopicInfo {
        /// The topic's name.
        name: Str                                        => since(0).entity(TopicName),
        /// How many partitions it shall have; 0 if that follows from others.
        partitions: i32                                  => since(0),
        /// How many replicas it shall have; 0 for the broker's default.
        replication_factor: i16                          => since(0),
        /// Settings of the topic.
        topic_configs: Vec<StreamsGroupDescribeKeyValue> => since(0),
    }

    /// Tasks of one subtopology.
    struct StreamsGroupDescribeTaskIds {
        /// The subtopology.
        subtopology_id: Str  => since(0),
        /// The tasks, each named by the partition that it reads.
        partitions: Vec<i32> => since(0),
    }

    /// A node of the processing graph.
    struct StreamsGroupDescribeTopologyDescriptionNode {
        /// Its name, such as `KSTREAM-SOURCE-0000000000`.
        name: Str               => since(1),
        /// What it is: 1 a source, 2 a processor, 3 a sink.
        node_type: i8           => since(1),
        /// The topics that a source reads; empty if they are chosen while it runs.
        source_topics: Vec<Str> => since(1).entity(TopicName),
        /// The topic that a sink writes; null if it is chosen while it runs, and of other nodes.
        sink_topic: Option<Str> => since(1).nullable(1).entity(TopicName),
        /// The state stores that a processor uses.
        stores: Vec<Str>        => since(1),
        /// The nodes behind it.
        successors: Vec<Str>    => since(1),
    }
}
