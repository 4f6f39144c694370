//! Which requests may be sent again when nobody knows whether the first one was acted on.
//!
//! Rules this file keeps:
//! - a request is repeated only if two have the effect of one *and* the second is answered as the first would have been:
//!   reads, and writes that set something to a value;
//! - not repeated is what makes something new, what is refused the second time because the first one worked, what says
//!   “all that is there now”, and what counts rounds (sessions, members, transactions);
//! - a request nobody here knows is not repeated.
//!
//! Machines with rules of their own (the producer, groups, transactions) decide for themselves and do not ask here.

use crate::wire::ApiKey;

/// Whether a request that may have been acted on can be sent again without harm.
pub(super) fn may_repeat(api: ApiKey) -> bool {
    is_read(api) || sets_a_value(api)
}

/// Two answers may differ, as the world does; nothing else happens.
fn is_read(api: ApiKey) -> bool {
    matches!(
        api,
        // In a fetch session the second request is refused (INVALID_FETCH_SESSION_EPOCH); nothing is lost by that.
        ApiKey::FETCH
            | ApiKey::LIST_OFFSETS
            // May make a topic; it makes it once.
            | ApiKey::METADATA
            | ApiKey::OFFSET_FETCH
            | ApiKey::FIND_COORDINATOR
            | ApiKey::DESCRIBE_GROUPS
            | ApiKey::LIST_GROUPS
            | ApiKey::API_VERSIONS
            | ApiKey::OFFSET_FOR_LEADER_EPOCH
            | ApiKey::DESCRIBE_ACLS
            | ApiKey::DESCRIBE_CONFIGS
            | ApiKey::DESCRIBE_LOG_DIRS
            | ApiKey::DESCRIBE_DELEGATION_TOKEN
            | ApiKey::LIST_PARTITION_REASSIGNMENTS
            | ApiKey::DESCRIBE_CLIENT_QUOTAS
            | ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS
            | ApiKey::DESCRIBE_QUORUM
            | ApiKey::FETCH_SNAPSHOT
            | ApiKey::DESCRIBE_CLUSTER
            | ApiKey::DESCRIBE_PRODUCERS
            | ApiKey::DESCRIBE_TRANSACTIONS
            | ApiKey::LIST_TRANSACTIONS
            | ApiKey::CONSUMER_GROUP_DESCRIBE
            | ApiKey::LIST_CONFIG_RESOURCES
            | ApiKey::DESCRIBE_TOPIC_PARTITIONS
            | ApiKey::SHARE_GROUP_DESCRIBE
            | ApiKey::READ_SHARE_GROUP_STATE
            | ApiKey::READ_SHARE_GROUP_STATE_SUMMARY
            | ApiKey::STREAMS_GROUP_DESCRIBE
            | ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS
    )
}

/// Done twice it is as if done once, and the second answer says what the first one would have.
fn sets_a_value(api: ApiKey) -> bool {
    matches!(
        api,
        // The same offsets, fenced by the same generation.
        ApiKey::OFFSET_COMMIT
            // “I live.”
            | ApiKey::HEARTBEAT
            // Hands out what the leader of the generation decided, as often as a member asks.
            | ApiKey::SYNC_GROUP
            // At worst an id or an epoch is skipped that nobody used.
            | ApiKey::INIT_PRODUCER_ID
            // A set, to which the same things are added.
            | ApiKey::CREATE_ACLS
            // All settings of a resource, replaced by these; not so the incremental kind, which appends to lists.
            | ApiKey::ALTER_CONFIGS
            | ApiKey::ALTER_REPLICA_LOG_DIRS
            | ApiKey::ALTER_CLIENT_QUOTAS
            // From now on, both times.
            | ApiKey::RENEW_DELEGATION_TOKEN
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a request is not repeated.
    const REFUSED: &[(&str, &[ApiKey])] = &[
        (
            "two make two",
            &[
                ApiKey::PRODUCE,
                ApiKey::CREATE_DELEGATION_TOKEN,
                ApiKey::WRITE_TXN_MARKERS,
                ApiKey::PUSH_TELEMETRY,
                ApiKey::ALLOCATE_PRODUCER_IDS,
                // A config operation may append to a list.
                ApiKey::INCREMENTAL_ALTER_CONFIGS,
            ],
        ),
        (
            "the second is refused or finds nothing, because the first one worked",
            &[
                ApiKey::CREATE_TOPICS,
                ApiKey::DELETE_TOPICS,
                ApiKey::CREATE_PARTITIONS,
                ApiKey::DELETE_ACLS,
                ApiKey::DELETE_GROUPS,
                ApiKey::OFFSET_DELETE,
                ApiKey::EXPIRE_DELEGATION_TOKEN,
                ApiKey::ALTER_PARTITION_REASSIGNMENTS,
                ApiKey::ALTER_USER_SCRAM_CREDENTIALS,
                ApiKey::ELECT_LEADERS,
                ApiKey::UPDATE_FEATURES,
                ApiKey::UNREGISTER_BROKER,
                ApiKey::UNREGISTER_CONTROLLER,
                ApiKey::ADD_RAFT_VOTER,
                ApiKey::REMOVE_RAFT_VOTER,
                ApiKey::LEAVE_GROUP,
                ApiKey::GET_TELEMETRY_SUBSCRIPTIONS,
                ApiKey::DELETE_SHARE_GROUP_OFFSETS,
                ApiKey::STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE,
            ],
        ),
        (
            "it means all that is there when it comes, and nothing fences it",
            &[ApiKey::DELETE_RECORDS, ApiKey::ALTER_SHARE_GROUP_OFFSETS],
        ),
        (
            "it is a step of a member, a session or a transaction, and a late twin would be another step",
            &[
                ApiKey::JOIN_GROUP,
                // Before transaction.version 2 all transactions of a producer have one epoch, so a late twin can join or
                // end the next one (KIP-890).
                ApiKey::ADD_PARTITIONS_TO_TXN,
                ApiKey::ADD_OFFSETS_TO_TXN,
                ApiKey::TXN_OFFSET_COMMIT,
                ApiKey::END_TXN,
                ApiKey::CONSUMER_GROUP_HEARTBEAT,
                ApiKey::SHARE_GROUP_HEARTBEAT,
                ApiKey::STREAMS_GROUP_HEARTBEAT,
                ApiKey::SHARE_FETCH,
                ApiKey::SHARE_ACKNOWLEDGE,
                ApiKey::SASL_HANDSHAKE,
                ApiKey::SASL_AUTHENTICATE,
            ],
        ),
        (
            "only brokers and controllers send it",
            &[
                ApiKey::LEADER_AND_ISR,
                ApiKey::STOP_REPLICA,
                ApiKey::UPDATE_METADATA,
                ApiKey::CONTROLLED_SHUTDOWN,
                ApiKey::VOTE,
                ApiKey::BEGIN_QUORUM_EPOCH,
                ApiKey::END_QUORUM_EPOCH,
                ApiKey::ALTER_PARTITION,
                ApiKey::ENVELOPE,
                ApiKey::BROKER_REGISTRATION,
                ApiKey::BROKER_HEARTBEAT,
                ApiKey::CONTROLLER_REGISTRATION,
                ApiKey::ASSIGN_REPLICAS_TO_DIRS,
                ApiKey::UPDATE_RAFT_VOTER,
                ApiKey::INITIALIZE_SHARE_GROUP_STATE,
                ApiKey::WRITE_SHARE_GROUP_STATE,
                ApiKey::DELETE_SHARE_GROUP_STATE,
            ],
        ),
    ];

    #[test]
    fn every_request_is_decided_once() {
        for key in (0..=94).map(ApiKey) {
            let refusals = REFUSED.iter().flat_map(|(_, keys)| *keys).filter(|refused| **refused == key).count();
            let decisions = [is_read(key), sets_a_value(key), refusals == 1];
            assert_eq!(decisions.iter().filter(|decided| **decided).count(), 1, "{key}: {decisions:?}, {refusals}");
            assert_eq!(may_repeat(key), refusals == 0, "{key}");
        }
    }

    #[test]
    fn a_request_from_the_future_is_not_repeated() {
        assert_eq!(ApiKey(95).name(), "unknown", "decide about the new key, here and above");
        assert!(!may_repeat(ApiKey(95)) && !may_repeat(ApiKey(-1)));
    }
}
