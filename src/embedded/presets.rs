//! What a broker pretends to be: which requests, versions and features it tells of.
//!
//! Rules this file keeps:
//! - told is what that release tells and this broker serves, never more; what is not told is not served;
//! - the table is that of released brokers: 2.1.1, 3.9.1 and 4.3.1 by what they answered (`protocol-tests/golden`),
//!   2.8.2 and 4.0.0 by the specifications in their jars;
//! - a feature is finalized at a level or absent, as level 0 is to Kafka; every change counts the epoch up (KIP-584).

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
    protocol::StrBytes,
};

use super::api::{Api, SERVED};
use crate::{Error, ErrorKind, Result};

/// A release of Kafka that an embedded cluster can pretend to be, see [`Builder::version`](super::Builder::version).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum KafkaVersion {
    /// Kafka 2.1: the oldest that clients of today need to know (KIP-896). No flexible versions, no topic ids, an
    /// unknown version of ApiVersions is refused without naming a better one.
    V2_1,
    /// Kafka 2.8, on ZooKeeper.
    V2_8,
    /// Kafka 3.9, the last of its line.
    V3_9,
    /// Kafka 4.0: without the versions that KIP-896 removed, with `transaction.version` 2 and `group.version` 1.
    V4_0,
    /// Kafka 4.3. The default.
    #[default]
    V4_3,
}

impl FromStr for KafkaVersion {
    type Err = Error;

    /// Reads `2.1`, `2.8`, `3.9`, `4.0` or `4.3`.
    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "2.1" => Self::V2_1,
            "2.8" => Self::V2_8,
            "3.9" => Self::V3_9,
            "4.0" => Self::V4_0,
            "4.3" => Self::V4_3,
            _ => {
                let what = format!("`{}` is none of 2.1, 2.8, 3.9, 4.0 and 4.3", text.escape_debug());
                return Err(Error::new(ErrorKind::Config, what));
            }
        })
    }
}

/// What a cluster tells about itself in ApiVersions.
#[derive(Debug)]
pub(super) struct Offers {
    release: KafkaVersion,
    /// By number of the request.
    ranges: Vec<Option<(i16, i16)>>,
    features: Mutex<Features>,
}

#[derive(Debug)]
struct Features {
    epoch: i64,
    finalized: BTreeMap<String, i16>,
}

/// What a builder changes about a release.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    pub(super) ranges: BTreeMap<Api, Option<RangeInclusive<i16>>>,
    pub(super) features: BTreeMap<String, i16>,
}

impl Offers {
    pub(super) fn new(release: KafkaVersion, changes: &Changes) -> Self {
        let mut ranges = Vec::new();
        for (api, first, last) in SERVED {
            let told = released(*api, release).map(|(low, high)| (low.max(*first), high.min(*last)));
            let told = match (told, Api::of(*api).and_then(|api| changes.ranges.get(&api))) {
                (Some(_), Some(Some(range))) => Some(((*first).max(*range.start()), (*last).min(*range.end()))),
                (_, Some(None)) => None,
                (told, _) => told,
            };
            let at = *api as usize;
            ranges.resize(ranges.len().max(at + 1), None);
            ranges[at] = told.filter(|(low, high)| low <= high);
        }
        let finalized = FEATURES.iter().map(|feature| (feature.name.to_owned(), feature.at(release).1));
        let mut finalized: BTreeMap<String, i16> = finalized.chain(changes.features.clone()).collect();
        finalized.retain(|_, level| *level > 0);
        Self { release, ranges, features: Mutex::new(Features { epoch: 1, finalized }) }
    }

    /// The first and last version of a request that this cluster knows.
    pub(super) fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.ranges.get(api as usize).copied().flatten()
    }

    /// The finalized level of a feature; 0 without one.
    pub(super) fn feature(&self, name: &str) -> i16 {
        self.features().finalized.get(name).copied().unwrap_or(0)
    }

    /// Whether a request is told of, but refused with UNSUPPORTED_VERSION until a feature is finalized.
    pub(super) fn is_off(&self, api: ApiKey) -> bool {
        let of_new_groups = matches!(api, ApiKey::ConsumerGroupHeartbeat | ApiKey::ConsumerGroupDescribe);
        of_new_groups && self.feature("group.version") == 0
    }

    pub(super) fn set_feature(&self, name: &str, level: i16) {
        let mut features = self.features();
        features.epoch += 1;
        match level {
            0 => features.finalized.remove(name),
            _ => features.finalized.insert(name.to_owned(), level),
        };
    }

    /// The answer to ApiVersions in this version.
    pub(super) fn response(&self, version: i16) -> ApiVersionsResponse {
        let keys = (0..).zip(&self.ranges).filter_map(|(key, range)| range.map(|range| told(key, range)));
        let response = ApiVersionsResponse::default().with_api_keys(keys.collect());
        if version < 3 || self.release < KafkaVersion::V2_8 {
            return response;
        }
        let features = self.features();
        // Readers of version 3 take a lowest level of 0 for an error, so such features are told from 4 on only.
        let supported = FEATURES.iter().filter(|_| self.release > KafkaVersion::V2_8).map(|feature| {
            let (low, _, high) = feature.at(self.release);
            (feature.name.to_owned(), low, high)
        });
        let named = |name: &str| StrBytes::from_string(name.to_owned());
        let supported = supported.filter(|(_, low, high)| high > low && (version >= 4 || *low > 0));
        let supported = supported.map(|(name, low, high)| {
            SupportedFeatureKey::default().with_name(named(&name)).with_min_version(low).with_max_version(high)
        });
        let finalized = features.finalized.iter().map(|(name, level)| {
            FinalizedFeatureKey::default()
                .with_name(named(name))
                .with_min_version_level(*level)
                .with_max_version_level(*level)
        });
        response
            .with_supported_features(supported.collect())
            .with_finalized_features_epoch(features.epoch)
            .with_finalized_features(finalized.collect())
    }

    /// The answer, in version 0, to a version of ApiVersions that is not known: it names the versions of ApiVersions
    /// itself (KIP-511, since Kafka 2.4).
    pub(super) fn unknown_version(&self) -> ApiVersionsResponse {
        let own = self.range(ApiKey::ApiVersions).filter(|_| self.release >= KafkaVersion::V2_8);
        let own = own.map(|range| told(ApiKey::ApiVersions as i16, range));
        ApiVersionsResponse::default().with_api_keys(own.into_iter().collect())
    }

    fn features(&self) -> MutexGuard<'_, Features> {
        self.features.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(key: i16, (low, high): (i16, i16)) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(low).with_max_version(high)
}

/// The versions of a request that a release tells.
pub(super) fn released(api: ApiKey, release: KafkaVersion) -> Option<(i16, i16)> {
    let (_, columns) = RELEASED.iter().find(|(key, _)| *key == api)?;
    columns.get(release as usize).copied().filter(|range| *range != NONE)
}

/// A feature of KRaft clusters.
struct Feature {
    name: &'static str,
    /// Of Kafka 3.9, 4.0 and 4.3: the lowest level, the one of a new cluster, and the highest.
    levels: [(i16, i16, i16); 3],
}

impl Feature {
    fn at(&self, release: KafkaVersion) -> (i16, i16, i16) {
        let column = (release as usize).checked_sub(KafkaVersion::V3_9 as usize);
        column.and_then(|column| self.levels.get(column)).copied().unwrap_or_default()
    }
}

/// Without those of share groups and of streams groups, which are not served.
const FEATURES: &[Feature] = &[
    Feature { name: "eligible.leader.replicas.version", levels: [(0, 0, 0), (0, 0, 1), (0, 1, 1)] },
    Feature { name: "group.version", levels: [(0, 0, 0), (0, 1, 1), (0, 1, 1)] },
    Feature { name: "kraft.version", levels: [(0, 0, 1), (0, 0, 1), (0, 0, 1)] },
    Feature { name: "metadata.version", levels: [(1, 21, 21), (7, 25, 25), (7, 30, 30)] },
    Feature { name: "transaction.version", levels: [(0, 0, 0), (0, 2, 2), (0, 2, 2)] },
];

/// What a release does not know.
const NONE: (i16, i16) = (0, -1);

/// The first and last version of each request in 2.1, 2.8, 3.9, 4.0 and 4.3. Kafka 4 tells Produce from 0 on although
/// it refuses 0 to 2: older librdkafka looks for it (KAFKA-18659).
#[rustfmt::skip]
const RELEASED: &[(ApiKey, [(i16, i16); 5])] = &[
    (ApiKey::Produce, [(0, 7), (0, 9), (0, 11), (0, 12), (0, 13)]),
    (ApiKey::Fetch, [(0, 10), (0, 12), (0, 17), (4, 17), (4, 18)]),
    (ApiKey::ListOffsets, [(0, 4), (0, 6), (0, 9), (1, 10), (1, 11)]),
    (ApiKey::Metadata, [(0, 7), (0, 11), (0, 12), (0, 13), (0, 13)]),
    (ApiKey::OffsetCommit, [(0, 6), (0, 8), (0, 9), (2, 9), (2, 10)]),
    (ApiKey::OffsetFetch, [(0, 5), (0, 7), (0, 9), (1, 9), (1, 10)]),
    (ApiKey::FindCoordinator, [(0, 2), (0, 3), (0, 6), (0, 6), (0, 6)]),
    (ApiKey::JoinGroup, [(0, 3), (0, 7), (0, 9), (2, 9), (0, 9)]),
    (ApiKey::Heartbeat, [(0, 2), (0, 4), (0, 4), (0, 4), (0, 4)]),
    (ApiKey::LeaveGroup, [(0, 2), (0, 4), (0, 5), (0, 5), (0, 5)]),
    (ApiKey::SyncGroup, [(0, 2), (0, 5), (0, 5), (0, 5), (0, 5)]),
    (ApiKey::DescribeGroups, [(0, 2), (0, 5), (0, 5), (0, 6), (0, 6)]),
    (ApiKey::ListGroups, [(0, 2), (0, 4), (0, 5), (0, 5), (0, 5)]),
    (ApiKey::SaslHandshake, [(0, 1), (0, 1), (0, 1), (0, 1), (0, 1)]),
    (ApiKey::ApiVersions, [(0, 2), (0, 3), (0, 4), (0, 4), (0, 4)]),
    (ApiKey::CreateTopics, [(0, 3), (0, 7), (0, 7), (2, 7), (2, 7)]),
    (ApiKey::DeleteTopics, [(0, 3), (0, 6), (0, 6), (1, 6), (1, 6)]),
    (ApiKey::DeleteRecords, [(0, 1), (0, 2), (0, 2), (0, 2), (0, 2)]),
    (ApiKey::InitProducerId, [(0, 1), (0, 4), (0, 5), (0, 5), (0, 5)]),
    (ApiKey::OffsetForLeaderEpoch, [(0, 2), (0, 4), (0, 4), (2, 4), (2, 4)]),
    (ApiKey::AddPartitionsToTxn, [(0, 1), (0, 3), (0, 5), (0, 5), (0, 5)]),
    (ApiKey::AddOffsetsToTxn, [(0, 1), (0, 3), (0, 4), (0, 4), (0, 4)]),
    (ApiKey::EndTxn, [(0, 1), (0, 3), (0, 4), (0, 5), (0, 5)]),
    (ApiKey::WriteTxnMarkers, [(0, 0), (0, 1), (0, 1), (1, 1), (1, 2)]),
    (ApiKey::TxnOffsetCommit, [(0, 2), (0, 3), (0, 4), (0, 5), (0, 5)]),
    (ApiKey::DescribeAcls, [(0, 1), (0, 2), (0, 3), (1, 3), (1, 3)]),
    (ApiKey::CreateAcls, [(0, 1), (0, 2), (0, 3), (1, 3), (1, 3)]),
    (ApiKey::DeleteAcls, [(0, 1), (0, 2), (0, 3), (1, 3), (1, 3)]),
    (ApiKey::DescribeConfigs, [(0, 2), (0, 4), (0, 4), (1, 4), (1, 4)]),
    (ApiKey::AlterConfigs, [(0, 1), (0, 2), (0, 2), (0, 2), (0, 2)]),
    (ApiKey::AlterReplicaLogDirs, [(0, 1), (0, 2), (0, 2), (1, 2), (1, 2)]),
    (ApiKey::DescribeLogDirs, [(0, 1), (0, 2), (0, 4), (1, 4), (1, 5)]),
    (ApiKey::SaslAuthenticate, [(0, 0), (0, 2), (0, 2), (0, 2), (0, 2)]),
    (ApiKey::CreatePartitions, [(0, 1), (0, 3), (0, 3), (0, 3), (0, 3)]),
    (ApiKey::CreateDelegationToken, [(0, 1), (0, 2), (0, 3), (1, 3), (1, 3)]),
    (ApiKey::RenewDelegationToken, [(0, 1), (0, 2), (0, 2), (1, 2), (1, 2)]),
    (ApiKey::ExpireDelegationToken, [(0, 1), (0, 2), (0, 2), (1, 2), (1, 2)]),
    (ApiKey::DescribeDelegationToken, [(0, 1), (0, 2), (0, 3), (1, 3), (1, 3)]),
    (ApiKey::DeleteGroups, [(0, 1), (0, 2), (0, 2), (0, 2), (0, 2)]),
    (ApiKey::ElectLeaders, [NONE, (0, 2), (0, 2), (0, 2), (0, 2)]),
    (ApiKey::IncrementalAlterConfigs, [NONE, (0, 1), (0, 1), (0, 1), (0, 1)]),
    (ApiKey::AlterPartitionReassignments, [NONE, (0, 0), (0, 0), (0, 0), (0, 1)]),
    (ApiKey::ListPartitionReassignments, [NONE, (0, 0), (0, 0), (0, 0), (0, 0)]),
    (ApiKey::OffsetDelete, [NONE, (0, 0), (0, 0), (0, 0), (0, 0)]),
    (ApiKey::DescribeClientQuotas, [NONE, (0, 1), (0, 1), (0, 1), (0, 1)]),
    (ApiKey::AlterClientQuotas, [NONE, (0, 1), (0, 1), (0, 1), (0, 1)]),
    (ApiKey::DescribeUserScramCredentials, [NONE, (0, 0), (0, 0), (0, 0), (0, 0)]),
    (ApiKey::AlterUserScramCredentials, [NONE, (0, 0), (0, 0), (0, 0), (0, 0)]),
    (ApiKey::DescribeQuorum, [NONE, NONE, (0, 2), (0, 2), (0, 2)]),
    (ApiKey::UpdateFeatures, [NONE, (0, 0), (0, 1), (0, 2), (0, 2)]),
    (ApiKey::DescribeCluster, [NONE, (0, 0), (0, 1), (0, 2), (0, 2)]),
    (ApiKey::DescribeProducers, [NONE, (0, 0), (0, 0), (0, 0), (0, 0)]),
    (ApiKey::UnregisterBroker, [NONE, NONE, (0, 0), (0, 0), (0, 0)]),
    (ApiKey::DescribeTransactions, [NONE, NONE, (0, 0), (0, 0), (0, 0)]),
    (ApiKey::ListTransactions, [NONE, NONE, (0, 1), (0, 1), (0, 2)]),
    (ApiKey::ConsumerGroupHeartbeat, [NONE, NONE, (0, 0), (0, 1), (0, 1)]),
    (ApiKey::ConsumerGroupDescribe, [NONE, NONE, (0, 0), (0, 1), (0, 1)]),
    (ApiKey::GetTelemetrySubscriptions, [NONE, NONE, (0, 0), (0, 0), (0, 0)]),
    (ApiKey::PushTelemetry, [NONE, NONE, (0, 0), (0, 0), (0, 0)]),
    (ApiKey::ListConfigResources, [NONE, NONE, (0, 0), (0, 0), (0, 1)]),
    (ApiKey::DescribeTopicPartitions, [NONE, NONE, (0, 0), (0, 0), (0, 0)]),
    (ApiKey::ShareGroupHeartbeat, [NONE, NONE, NONE, NONE, (1, 1)]),
    (ApiKey::ShareGroupDescribe, [NONE, NONE, NONE, NONE, (1, 1)]),
    (ApiKey::ShareFetch, [NONE, NONE, NONE, NONE, (1, 2)]),
    (ApiKey::ShareAcknowledge, [NONE, NONE, NONE, NONE, (1, 2)]),
    (ApiKey::AddRaftVoter, [NONE, NONE, (0, 0), (0, 0), (0, 1)]),
    (ApiKey::RemoveRaftVoter, [NONE, NONE, (0, 0), (0, 0), (0, 0)]),
    (ApiKey::InitializeShareGroupState, [NONE, NONE, NONE, NONE, (0, 0)]),
    (ApiKey::ReadShareGroupState, [NONE, NONE, NONE, NONE, (0, 0)]),
    (ApiKey::WriteShareGroupState, [NONE, NONE, NONE, NONE, (0, 1)]),
    (ApiKey::DeleteShareGroupState, [NONE, NONE, NONE, NONE, (0, 0)]),
    (ApiKey::ReadShareGroupStateSummary, [NONE, NONE, NONE, NONE, (0, 1)]),
    (ApiKey::DescribeShareGroupOffsets, [NONE, NONE, NONE, NONE, (0, 1)]),
    (ApiKey::AlterShareGroupOffsets, [NONE, NONE, NONE, NONE, (0, 0)]),
    (ApiKey::DeleteShareGroupOffsets, [NONE, NONE, NONE, NONE, (0, 0)]),
];
