//! What a cluster has switched on: finalized feature levels (KIP-584).
//!
//! Rules this file keeps:
//! - a level is what the cluster finalized; it is never guessed from the versions of APIs (T1);
//! - levels count only with their epoch, and of two answers the one with the newer epoch is right;
//! - a feature nobody here knows is kept under its name.

use std::collections::BTreeMap;

use super::{Str, messages::ApiVersionsResponse};

/// The features of a cluster and their finalized levels. They change when an operator upgrades the cluster
/// (`kafka-features.sh`, the request UpdateFeatures), also while connections are open.
///
/// The methods with a feature's name give its level, 0 where it is off or the cluster does not know it: Kafka means the
/// same by both. [`level`](Self::level) tells them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    epoch: Option<i64>,
    levels: BTreeMap<Str, i16>,
}

impl Features {
    /// The features in an answer to ApiVersions. Brokers before 2.7, and those that do not know the epoch, tell none.
    pub fn from_response(response: &ApiVersionsResponse) -> Self {
        let epoch = Some(response.finalized_features_epoch).filter(|epoch| *epoch >= 0);
        let finalized = response.finalized_features.iter().filter(|_| epoch.is_some());
        // The highest level is the cluster's; the lowest one only says how far brokers may lag behind.
        let levels = finalized.map(|feature| (feature.name.detached(), feature.max_version_level));
        Self { epoch, levels: levels.collect() }
    }

    /// Grows with every change of any level; `None` where the broker told no features.
    pub fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// The finalized level of a feature; `None` where the cluster has finalized none.
    pub fn level(&self, name: &str) -> Option<i16> {
        self.levels.get(name).copied()
    }

    /// Every finalized feature and its level, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, i16)> {
        self.levels.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// `metadata.version`: which records the controllers write, and with it what the cluster can do. 1 is 3.0-IV1, 7 is
    /// 3.3-IV3, the first of a KRaft cluster in production; 0 on ZooKeeper.
    pub fn metadata_version(&self) -> i16 {
        self.of("metadata.version")
    }

    /// `kraft.version`: 1 where the controllers' quorum can be changed while it runs (KIP-853).
    pub fn kraft_version(&self) -> i16 {
        self.of("kraft.version")
    }

    /// `transaction.version`: 1 with flexible records in the transaction log, 2 where brokers add partitions to
    /// transactions themselves and every transaction has its own epoch (KIP-890).
    pub fn transaction_version(&self) -> i16 {
        self.of("transaction.version")
    }

    /// `group.version`: 1 where consumer groups may use the protocol of KIP-848.
    pub fn group_version(&self) -> i16 {
        self.of("group.version")
    }

    /// `share.version`: 1 where there are share groups (KIP-932).
    pub fn share_version(&self) -> i16 {
        self.of("share.version")
    }

    /// `streams.version`: 1 where there are streams groups (KIP-1071).
    pub fn streams_version(&self) -> i16 {
        self.of("streams.version")
    }

    /// `eligible.leader.replicas.version`: 1 where partitions keep eligible leader replicas (KIP-966).
    pub fn eligible_leader_replicas_version(&self) -> i16 {
        self.of("eligible.leader.replicas.version")
    }

    /// Takes over what another answer says, if that is newer. Answers whether it was.
    pub(crate) fn renew(&mut self, seen: &Self) -> bool {
        // `None` is older than any epoch.
        let newer = seen.epoch > self.epoch;
        if newer {
            self.clone_from(seen);
        }
        newer
    }

    fn of(&self, name: &str) -> i16 {
        self.level(name).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::FinalizedFeatureKey;

    fn answer(epoch: i64, levels: &[(&'static str, i16)]) -> ApiVersionsResponse {
        let feature = |(name, level): &(&'static str, i16)| FinalizedFeatureKey {
            name: Str::from_static(name),
            max_version_level: *level,
            min_version_level: 1,
        };
        ApiVersionsResponse {
            finalized_features_epoch: epoch,
            finalized_features: levels.iter().map(feature).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn t1_levels_count_only_with_their_epoch() {
        let told = [("transaction.version", 2), ("group.version", 1), ("from.the.future", 7)];
        let unknown = Features::from_response(&answer(-1, &told));
        assert_eq!((unknown.epoch(), unknown.transaction_version(), unknown.iter().len()), (None, 0, 0));
        let known = Features::from_response(&answer(42, &told));
        assert_eq!((known.epoch(), known.transaction_version(), known.group_version()), (Some(42), 2, 1));
        assert_eq!(
            (known.level("from.the.future"), known.level("share.version"), known.share_version()),
            (Some(7), None, 0)
        );
        let names: Vec<_> = known.iter().collect();
        assert_eq!(names, [("from.the.future", 7), ("group.version", 1), ("transaction.version", 2)]);
    }

    #[test]
    fn every_named_feature_reads_its_own_level() {
        let names = [
            "metadata.version",
            "kraft.version",
            "transaction.version",
            "group.version",
            "share.version",
            "streams.version",
            "eligible.leader.replicas.version",
        ];
        for (number, name) in names.into_iter().enumerate() {
            let features = Features::from_response(&answer(0, &[(name, 9)]));
            let levels = [
                features.metadata_version(),
                features.kraft_version(),
                features.transaction_version(),
                features.group_version(),
                features.share_version(),
                features.streams_version(),
                features.eligible_leader_replicas_version(),
            ];
            let expected: Vec<i16> = (0..names.len()).map(|at| if at == number { 9 } else { 0 }).collect();
            assert_eq!(levels.to_vec(), expected, "{name}");
        }
    }

    #[test]
    fn the_newer_epoch_is_right() {
        let mut features = Features::default();
        assert!(!features.renew(&Features::default()), "knowing nothing is no news");
        let table = [(3, 1, true, 1), (2, 2, false, 1), (3, 2, false, 1), (4, 0, true, 0)];
        for (epoch, level, news, kept) in table {
            let seen = Features::from_response(&answer(epoch, &[("group.version", level)]));
            assert_eq!((features.renew(&seen), features.group_version()), (news, kept), "epoch {epoch}");
        }
        assert!(!features.renew(&Features::default()), "a broker that tells nothing makes nothing unknown");
    }
}
