//! A streams application's own description of its topology, for operators to read (KIP-1331; since Kafka 4.4).

use super::prelude::*;

message! {
    /// A member that was asked to describes its topology.
    request StreamsGroupTopologyDescriptionUpdateRequest = STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE,
        versions 0..=0, flexible 0 => StreamsGroupTopologyDescriptionUpdateResponse {
        /// The group.
        group_id: Str                             => since(0).entity(GroupId),
        /// The member.
        member_id: Str                            => since(0),
        /// The epoch of the topology that is described.
        topology_epoch: i32                       => since(0),
        /// The topology in the application's own words.
        topology_description: TopologyDescription => since(0),
    }

    /// A topology in the application's own words.
    struct TopologyDescription {
        /// The parts of the topology.
        subtopologies: Vec<TopologyDescriptionSubtopology> => since(0),
        /// The stores that every instance has whole.
        global_stores: Vec<TopologyDescriptionGlobalStore> => since(0),
    }

    /// A part of the topology whose tasks run on their own.
    struct TopologyDescriptionSubtopology {
        /// The subtopology.
        subtopology_id: Str                 => since(0),
        /// The nodes of its graph.
        nodes: Vec<TopologyDescriptionNode> => since(0),
    }

    /// A store that every instance has whole.
    struct TopologyDescriptionGlobalStore {
        /// The node that reads the store's topic.
        source: TopologyDescriptionNode    => since(0),
        /// The node that fills the store.
        processor: TopologyDescriptionNode => since(0),
    }

    /// A node of the processing graph.
    struct TopologyDescriptionNode {
        /// Its name, such as `KSTREAM-SOURCE-0000000000`.
        name: Str               => since(0),
        /// What it is: 1 a source, 2 a processor, 3 a sink.
        node_type: i8           => since(0),
        /// The topics that a source reads; empty if they are chosen while it runs.
        source_topics: Vec<Str> => since(0).entity(TopicName),
        /// The topic that a sink writes; null if it is chosen while it runs, and of other nodes.
        sink_topic: Option<Str> => since(0).nullable(0).entity(TopicName),
        /// The state stores that a processor uses.
        stores: Vec<Str>        => since(0),
        /// The nodes behind it.
        successors: Vec<Str>    => since(0),
    }
}

message! {
    /// Whether the description was taken.
    response StreamsGroupTopologyDescriptionUpdateResponse, versions 0..=0, flexible 0 {
        /// How many milliseconds the client must hold back because of a quota (KIP-219).
        throttle_time_ms: i32      => since(0),
        /// The error, or none.
        error_code: ErrorCode      => since(0),
        /// What the broker says about the error.
        error_message: Option<Str> => since(0).nullable(0),
    }
}
