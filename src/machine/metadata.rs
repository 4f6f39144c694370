//! What is known of the cluster, and how an answer changes it.
//!
//! Rules this file keeps:
//! - a view that briefly lacks a known topic, or answers for it with an error, does not unlearn it: it stays until
//!   several answers in a row agree that it is gone (P15);
//! - a leader of an older epoch than the known one is stale news and changes nothing (KIP-320);
//! - the same name with another id is another topic: nothing of the old one is kept (KIP-516);
//! - a leader hint of a Produce or Fetch answer is applied at once (KIP-951).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    plant::{self, Plant},
    types::{BrokerId, HashMap},
    wire::{
        ErrorCode, Str, Uuid,
        messages::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic},
    },
};

/// A view of the cluster. Readers hold it behind an `Arc`; an update makes a new one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata {
    pub(crate) cluster_id: Option<Str>,
    pub(crate) controller: Option<BrokerId>,
    brokers: BTreeMap<BrokerId, Node>,
    /// Apart from the places: a place that is named in passing (KIP-951) must not look new because it names no rack.
    racks: BTreeMap<BrokerId, Str>,
    topics: HashMap<Str, TopicView>,
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) host: Str,
    pub(crate) port: u16,
}

/// A topic as last described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: Str,
    /// Zero before Kafka 2.8.
    pub(crate) id: Uuid,
    /// In the order of their numbers, without holes.
    pub(crate) partitions: Vec<Partition>,
}

/// A partition as last described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) leader: Option<BrokerId>,
    /// −1 where the broker did not say.
    pub(crate) leader_epoch: i32,
}

/// What is known of a name.
#[derive(Debug, Clone)]
enum TopicView {
    /// Described; `doubts` answers in a row have since denied it, the last one with `code`.
    Known { topic: Arc<Topic>, doubts: u32, code: ErrorCode },
    /// Never described, or gone.
    Unknown { code: ErrorCode },
}

/// A leader that a broker named in passing (KIP-951).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    pub(crate) leader: BrokerId,
    pub(crate) leader_epoch: i32,
}

impl Metadata {
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        match self.topics.get(name)? {
            TopicView::Known { topic, .. } => Some(topic),
            TopicView::Unknown { .. } => None,
        }
    }

    /// The error that the last answer gave for this name, if it gave one.
    pub(crate) fn topic_error(&self, name: &str) -> Option<ErrorCode> {
        match self.topics.get(name)? {
            TopicView::Known { doubts: 0, .. } => None,
            TopicView::Known { code, .. } | TopicView::Unknown { code } => Some(*code),
        }
    }

    pub(crate) fn node(&self, broker: BrokerId) -> Option<&Node> {
        self.brokers.get(&broker)
    }

    /// The rack that a broker is in, where it says so.
    pub(crate) fn rack(&self, broker: BrokerId) -> Option<&Str> {
        self.racks.get(&broker)
    }

    pub(crate) fn brokers(&self) -> impl ExactSizeIterator<Item = BrokerId> + '_ {
        self.brokers.keys().copied()
    }

    /// Takes in an answer to a request that named `asked`.
    pub(crate) fn handle_response(&mut self, response: &MetadataResponse, asked: &[Str]) {
        self.cluster_id = response.cluster_id.as_ref().map(Str::detached);
        self.controller = Some(BrokerId(response.controller_id)).filter(|id| id.0 >= 0);
        if !response.brokers.is_empty() {
            let nodes = response.brokers.iter().filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                Some((BrokerId(broker.node_id), Node { host: broker.host.detached(), port }))
            });
            self.brokers = nodes.collect();
            let rack = |rack: &Str| Some(rack.detached()).filter(|rack| !rack.is_empty());
            let racks = response.brokers.iter();
            self.racks =
                racks.filter_map(|broker| Some((BrokerId(broker.node_id), rack(broker.rack.as_ref()?)?))).collect();
        }
        for described in &response.topics {
            let Some(name) = &described.name else { continue };
            match described.error_code {
                ErrorCode::NONE => self.describe(name, described),
                code => self.doubt(name, code),
            }
        }
        let missing = |name: &&Str| !response.topics.iter().any(|topic| topic.name.as_ref() == Some(*name));
        for name in asked.iter().filter(missing) {
            self.doubt(name, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        // Names that nobody asks for any more would pile up, and what is known of them grow old (KIP-526).
        let answered = response.topics.iter().filter_map(|topic| topic.name.as_ref());
        let current: BTreeSet<&str> = asked.iter().chain(answered).map(|name| &**name).collect();
        self.topics.retain(|name, _| current.contains(&**name));
    }

    /// Takes in a leader named in passing. Answers whether it was news.
    pub(crate) fn handle_hint(&mut self, name: &str, partition: i32, hint: LeaderHint) -> bool {
        let Some(TopicView::Known { topic, .. }) = self.topics.get_mut(name) else { return false };
        let news = usize::try_from(partition)
            .ok()
            .and_then(|index| topic.partitions.get(index))
            .is_some_and(|known| hint.leader_epoch > known.leader_epoch && hint.leader.0 >= 0)
            && !plant::is(Plant::StaleMetadata);
        if news {
            let partition = &mut Arc::make_mut(topic).partitions[partition as usize];
            *partition = Partition { leader: Some(hint.leader), leader_epoch: hint.leader_epoch };
        }
        news
    }

    /// Takes in where a broker listens, named in passing. Answers whether it was news.
    pub(crate) fn handle_endpoint(&mut self, broker: BrokerId, host: &Str, port: i32) -> bool {
        let Ok(port) = u16::try_from(port) else { return false };
        let node = Node { host: host.detached(), port };
        self.brokers.insert(broker, node.clone()) != Some(node)
    }

    fn describe(&mut self, name: &Str, described: &MetadataResponseTopic) {
        let known = self.topic(name).filter(|known| known.id == described.topic_id).cloned();
        let mut partitions: Vec<&MetadataResponsePartition> = described.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        let in_one_piece =
            partitions.iter().enumerate().all(|(number, partition)| partition.partition_index == number as i32);
        if !in_one_piece || partitions.is_empty() {
            return self.doubt(name, ErrorCode::LEADER_NOT_AVAILABLE);
        }
        let partitions = partitions.iter().enumerate().map(|(number, partition)| {
            let fresh = Partition {
                leader: Some(BrokerId(partition.leader_id)).filter(|id| id.0 >= 0),
                leader_epoch: partition.leader_epoch,
            };
            let known = known.as_ref().and_then(|topic| topic.partitions.get(number));
            known
                .filter(|known| {
                    known.leader_epoch > fresh.leader_epoch && fresh.leader_epoch >= 0
                        || plant::is(Plant::StaleMetadata)
                })
                .cloned()
                .unwrap_or(fresh)
        });
        let name = name.detached();
        let topic = Topic { name: name.clone(), id: described.topic_id, partitions: partitions.collect() };
        let topic = match known {
            Some(known) if *known == topic => known,
            _ => Arc::new(topic),
        };
        self.topics.insert(name, TopicView::Known { topic, doubts: 0, code: ErrorCode::NONE });
    }

    fn doubt(&mut self, name: &Str, code: ErrorCode) {
        let view = match self.topics.remove(&**name) {
            Some(TopicView::Known { topic, doubts, .. }) if doubts < MAX_DOUBTS => {
                TopicView::Known { topic, doubts: doubts + 1, code }
            }
            _ => TopicView::Unknown { code },
        };
        self.topics.insert(name.detached(), view);
    }
}

/// So many answers in a row may deny a known topic before it is unlearnt.
const MAX_DOUBTS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::MetadataResponseBroker;

    /// An answer that describes topic `t` with one partition, or denies it.
    fn answer(id: u128, leader: i32, epoch: i32, error_code: ErrorCode) -> MetadataResponse {
        let partition = MetadataResponsePartition {
            leader_id: leader,
            leader_epoch: epoch,
            ..MetadataResponsePartition::default()
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker { node_id: 1, host: "one".into(), port: 9092, ..Default::default() }],
            controller_id: 1,
            topics: vec![MetadataResponseTopic {
                error_code,
                name: Some("t".into()),
                topic_id: Uuid(id),
                partitions: if error_code == ErrorCode::NONE { vec![partition] } else { Vec::new() },
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn leader(metadata: &Metadata) -> Option<(i32, i32)> {
        let partition = &metadata.topic("t")?.partitions[0];
        Some((partition.leader?.0, partition.leader_epoch))
    }

    #[test]
    fn p15_a_known_topic_survives_a_flicker() {
        let mut metadata = Metadata::default();
        metadata.handle_response(&answer(1, 1, 0, ErrorCode::NONE), &[]);
        metadata.handle_response(&answer(1, 0, 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), &[]);
        metadata.handle_response(&MetadataResponse::default(), &["t".into()]);
        assert_eq!(leader(&metadata), Some((1, 0)));
        assert_eq!(metadata.topic_error("t"), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        assert_eq!(metadata.brokers().count(), 1, "an answer without brokers does not unlearn them");
    }

    #[test]
    fn a_topic_that_stays_away_is_gone() {
        let mut metadata = Metadata::default();
        metadata.handle_response(&answer(1, 1, 0, ErrorCode::NONE), &[]);
        for _ in 0..=MAX_DOUBTS {
            metadata.handle_response(&MetadataResponse::default(), &["t".into()]);
        }
        assert_eq!(leader(&metadata), None);
    }

    #[test]
    fn a_name_that_nobody_asks_for_any_more_is_forgotten() {
        let mut metadata = Metadata::default();
        metadata.handle_response(&MetadataResponse::default(), &["a".into(), "b".into()]);
        assert!(metadata.topic_error("a").is_some());
        metadata.handle_response(&MetadataResponse::default(), &["b".into()]);
        assert_eq!((metadata.topic_error("a"), metadata.topics.len()), (None, 1));
    }

    #[test]
    fn c6_a_stale_leader_epoch_changes_nothing() {
        let mut metadata = Metadata::default();
        metadata.handle_response(&answer(1, 1, 5, ErrorCode::NONE), &[]);
        metadata.handle_response(&answer(1, 2, 4, ErrorCode::NONE), &[]);
        assert_eq!(leader(&metadata), Some((1, 5)));
        metadata.handle_response(&answer(1, 2, 6, ErrorCode::NONE), &[]);
        assert_eq!(leader(&metadata), Some((2, 6)));
    }

    #[test]
    fn a_new_id_is_a_new_topic() {
        let mut metadata = Metadata::default();
        metadata.handle_response(&answer(1, 1, 5, ErrorCode::NONE), &[]);
        metadata.handle_response(&answer(2, 2, 0, ErrorCode::NONE), &[]);
        assert_eq!(leader(&metadata), Some((2, 0)));
    }

    #[test]
    fn a_hint_is_taken_only_if_it_is_newer() {
        let mut metadata = Metadata::default();
        metadata.handle_response(&answer(1, 1, 5, ErrorCode::NONE), &[]);
        let hint = |epoch| LeaderHint { leader: BrokerId(2), leader_epoch: epoch };
        assert!(!metadata.handle_hint("t", 0, hint(5)));
        assert!(!metadata.handle_hint("t", 1, hint(9)), "there is no such partition");
        assert!(metadata.handle_hint("t", 0, hint(6)));
        assert_eq!(leader(&metadata), Some((2, 6)));
    }
}
