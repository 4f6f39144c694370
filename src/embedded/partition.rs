//! A partition: who leads it in which epoch, which brokers hold it, and its log.
//!
//! Rules this file keeps:
//! - replicas are bookkeeping: all of them see the one log, so that whoever is alive has caught up at once;
//! - only a replica in sync may lead, unless the topic allows another where none is alive; the last replica in sync
//!   stays in sync when it dies, and leads again when it comes back;
//! - every change of the leader, and its end too, is a new leader epoch.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI32, Ordering},
};

use kafka_protocol::ResponseError;

use super::log::Log;

#[derive(Debug)]
pub(super) struct Partition {
    /// The leader, or the last one if that is dead.
    leader: AtomicI32,
    leader_epoch: AtomicI32,
    /// Locked for itself alone.
    replicas: Mutex<Replicas>,
    log: Mutex<Log>,
}

/// The brokers that hold a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replicas {
    /// The preferred leader first.
    pub(super) assigned: Vec<i32>,
    pub(super) in_sync: Vec<i32>,
}

impl Partition {
    /// An empty partition on these brokers, led by the first.
    pub(super) fn new(assigned: Vec<i32>, log: Log) -> Self {
        Self {
            leader: AtomicI32::new(assigned.first().copied().unwrap_or_default()),
            leader_epoch: AtomicI32::new(0),
            replicas: Mutex::new(Replicas { in_sync: assigned.clone(), assigned }),
            log: Mutex::new(log),
        }
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leader(&self) -> i32 {
        self.leader.load(Ordering::Acquire)
    }

    pub(super) fn leader_epoch(&self) -> i32 {
        self.leader_epoch.load(Ordering::Acquire)
    }

    pub(super) fn replicas(&self) -> Replicas {
        self.lock_replicas().clone()
    }

    /// Whether so many replicas are in sync, or all there are.
    pub(super) fn has_in_sync(&self, wanted: usize) -> bool {
        let replicas = self.lock_replicas();
        replicas.in_sync.len() >= wanted.min(replicas.assigned.len())
    }

    fn lock_replicas(&self) -> MutexGuard<'_, Replicas> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the partition to another broker, in a new leader epoch, and wakes whoever reads it at the old one. A broker
    /// that does not hold it takes the place of the old leader.
    pub(super) fn move_leader(&self, broker: i32) {
        let old = self.leader();
        {
            let Replicas { assigned, in_sync } = &mut *self.lock_replicas();
            if !assigned.contains(&broker) {
                for list in [&mut *assigned, &mut *in_sync] {
                    list.iter_mut().filter(|id| **id == old).for_each(|id| *id = broker);
                }
            }
            if !in_sync.contains(&broker) {
                in_sync.push(broker);
            }
        }
        self.lead(broker);
    }

    /// Begins a new leader epoch.
    fn lead(&self, broker: i32) {
        let mut log = self.log();
        self.lead_locked(broker, &mut log);
    }

    fn lead_locked(&self, broker: i32, log: &mut Log) {
        let epoch = self.leader_epoch.fetch_add(1, Ordering::AcqRel) + 1;
        self.leader.store(broker, Ordering::Release);
        let end_offset = log.end_offset();
        log.epochs.begin(epoch, end_offset);
        log.wake();
    }

    /// Loses what stands at `offset` and behind it, in a new leader epoch; returns how much memory that freed.
    pub(super) fn truncate(&self, offset: i64, log: &mut Log) -> usize {
        let freed = log.truncate(offset);
        self.lead_locked(self.leader(), log);
        freed
    }

    pub(super) fn broker_died(&self, broker: i32, alive: &[i32]) {
        let unclean = self.log().configs.current().unclean;
        let next = {
            let Replicas { assigned, in_sync } = &mut *self.lock_replicas();
            if in_sync.len() > 1 {
                in_sync.retain(|id| *id != broker);
            }
            if self.leader() != broker {
                return;
            }
            let mut living = assigned.iter().copied().filter(|id| alive.contains(id));
            let clean = living.clone().find(|id| in_sync.contains(id));
            let dirty = || living.next().filter(|_| unclean).inspect(|id| *in_sync = vec![*id]);
            clean.or_else(dirty)
        };
        self.lead(next.unwrap_or(broker));
    }

    pub(super) fn broker_came(&self, broker: i32, alive: &[i32]) {
        let unclean = self.log().configs.current().unclean;
        let leader = self.leader();
        let led = leader != broker && alive.contains(&leader);
        {
            let Replicas { assigned, in_sync } = &mut *self.lock_replicas();
            if !assigned.contains(&broker) || (!led && !unclean && !in_sync.contains(&broker)) {
                return;
            }
            if !led && !in_sync.contains(&broker) {
                in_sync.clear();
            }
            let missing: Vec<i32> =
                assigned.iter().copied().filter(|id| alive.contains(id) && !in_sync.contains(id)).collect();
            in_sync.extend(missing);
        }
        if !led {
            self.lead(broker);
        }
    }

    /// Makes the preferred leader the leader, or with `unclean` any living replica where nobody leads (KIP-460).
    pub(super) fn elect(&self, unclean: bool, alive: &[i32]) -> Result<(), ResponseError> {
        let leader = self.leader();
        let Replicas { assigned, in_sync } = self.replicas();
        let wanted = if unclean {
            if alive.contains(&leader) {
                return Err(ResponseError::ElectionNotNeeded);
            }
            assigned.iter().find(|id| alive.contains(id)).ok_or(ResponseError::EligibleLeadersNotAvailable)?
        } else {
            let preferred = assigned.first().ok_or(ResponseError::PreferredLeaderNotAvailable)?;
            if leader == *preferred && alive.contains(preferred) {
                return Err(ResponseError::ElectionNotNeeded);
            }
            let able = in_sync.contains(preferred) && alive.contains(preferred);
            Some(preferred).filter(|_| able).ok_or(ResponseError::PreferredLeaderNotAvailable)?
        };
        self.move_leader(*wanted);
        Ok(())
    }

    /// Whether `broker` may serve a request whose sender believes in `epoch` (−1 for no belief; KIP-320).
    pub(super) fn check_leader(&self, broker: i32, epoch: i32) -> Result<(), ResponseError> {
        let current = self.leader_epoch();
        match epoch {
            _ if self.leader() != broker => Err(ResponseError::NotLeaderOrFollower),
            epoch if epoch >= 0 && epoch < current => Err(ResponseError::FencedLeaderEpoch),
            epoch if epoch > current => Err(ResponseError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::embedded::configs::{TopicConfig, TopicConfigs, Values};

    fn partition(unclean: bool) -> Partition {
        let own = [("unclean.leader.election.enable".to_owned(), unclean.to_string())].into();
        let configs = Arc::new(TopicConfigs::new(TopicConfig::new(own, &Values::new()).unwrap()));
        Partition::new(vec![1, 2, 3], Log::new(1000, configs))
    }

    /// Leader, epoch and replicas in sync.
    fn state(partition: &Partition) -> (i32, i32, Vec<i32>) {
        (partition.leader(), partition.leader_epoch(), partition.replicas().in_sync)
    }

    #[test]
    fn replicas_in_sync_lead_one_after_the_other() {
        let partition = partition(false);
        partition.broker_died(2, &[0, 1, 3]);
        assert_eq!(state(&partition), (1, 0, vec![1, 3]), "a follower");
        partition.broker_died(1, &[0, 3]);
        assert_eq!(state(&partition), (3, 1, vec![3]), "the leader");
        assert!(partition.has_in_sync(1) && !partition.has_in_sync(2));
        partition.broker_died(3, &[0]);
        assert_eq!(state(&partition), (3, 2, vec![3]), "nobody leads, in a new epoch");
        partition.broker_came(1, &[0, 1]);
        assert_eq!(state(&partition), (3, 2, vec![3]), "it was not in sync");
        partition.broker_came(3, &[0, 1, 3]);
        assert_eq!(state(&partition), (3, 3, vec![3, 1]), "it was, and the other catches up");
        assert_eq!(partition.elect(false, &[0, 1, 3]), Ok(()));
        assert_eq!(state(&partition), (1, 4, vec![3, 1]));
        assert_eq!(partition.elect(false, &[0, 1, 3]), Err(ResponseError::ElectionNotNeeded));
    }

    #[test]
    fn where_it_is_allowed_anybody_leads() {
        let partition = partition(true);
        partition.broker_died(2, &[1, 3]);
        partition.broker_died(3, &[1]);
        partition.broker_died(1, &[]);
        assert_eq!(state(&partition), (1, 1, vec![1]));
        partition.broker_came(2, &[2]);
        assert_eq!(state(&partition), (2, 2, vec![2]));
    }

    #[test]
    fn a_stranger_takes_the_old_leaders_place() {
        let partition = partition(false);
        partition.move_leader(0);
        assert_eq!(partition.replicas(), Replicas { assigned: vec![0, 2, 3], in_sync: vec![0, 2, 3] });
        assert_eq!(partition.check_leader(1, -1), Err(ResponseError::NotLeaderOrFollower));
        assert_eq!(partition.check_leader(0, 0), Err(ResponseError::FencedLeaderEpoch));
        assert_eq!(partition.check_leader(0, 2), Err(ResponseError::UnknownLeaderEpoch));
        assert_eq!(partition.check_leader(0, 1), Ok(()));
    }
}
