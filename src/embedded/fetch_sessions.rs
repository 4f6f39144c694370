//! What a broker remembers between the fetches of one reader, so that both sides name only what changed (KIP-227).
//!
//! ```text
//!   epoch −1 ── answered whole, what the session held is forgotten ──► no session
//!   epoch 0  ── answered whole ──► session at epoch 1, if there is room for one
//!   epoch n  ── wanted partitions added or changed, forgotten ones removed; only changes answered ──► epoch n + 1
//!            ── another epoch than the session's ──► INVALID_FETCH_SESSION_EPOCH, the session stays
//!            ── unknown session ──► FETCH_SESSION_ID_NOT_FOUND
//! ```
//!
//! Rules this file keeps:
//! - a partition is answered if it has records, an error or a diverging epoch, or if what was last told about it is no
//!   longer so; whoever answered moves to the end, so that no partition starves the others;
//! - sessions and the partitions in them are bounded; the longest unused session makes room for a new one, a smaller
//!   old one for a larger, and where neither is found the reader gets no session and is served all the same;
//! - sessions die with their broker.

use std::{collections::BTreeMap, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{TopicName, fetch_request::FetchPartition},
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::types::HashMap;

/// A partition as a request names it: by its topic's name, or from version 13 on by its topic's id (KIP-516).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) topic: TopicName,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
}

/// A partition that is to be read, and from where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) topic: TopicName,
    pub(super) topic_id: Uuid,
    pub(super) partition: FetchPartition,
}

impl Wanted {
    fn key(&self) -> Key {
        Key { topic: self.topic.clone(), topic_id: self.topic_id, partition: self.partition.partition }
    }
}

/// What a request says about its session.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    /// Whether the request names topics by id.
    pub(super) by_id: bool,
    pub(super) wanted: Vec<Wanted>,
    pub(super) forgotten: Vec<Key>,
}

/// How a fetch is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Begun {
    /// What is to be read, in this order.
    pub(super) wanted: Vec<Wanted>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Everything is answered, and nothing remembered.
    Sessionless,
    /// Everything is answered and, if there is room, remembered.
    Opening { by_id: bool },
    /// What changed is answered, if the session is still at this epoch then.
    Continuing { session_id: i32, epoch: i32 },
}

/// What was found out about one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) high_watermark: i64,
    pub(super) log_start_offset: i64,
    /// Whether it has records or a diverging epoch.
    pub(super) has_news: bool,
    pub(super) failed: bool,
}

/// What goes into the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// 0 without a session.
    pub(super) session_id: i32,
    /// For each wanted partition whether it is answered.
    pub(super) included: Vec<bool>,
}

/// The sessions of one broker.
#[derive(Debug)]
pub(super) struct FetchSessions {
    slots: usize,
    max_partitions: usize,
    partitions: usize,
    sessions: BTreeMap<i32, Session>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    created: Instant,
    used: Instant,
    /// By place: the first is read first.
    partitions: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next_place: u64,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Default for FetchSessions {
    fn default() -> Self {
        Self::new(SLOTS, MAX_PARTITIONS)
    }
}

impl FetchSessions {
    pub(super) fn new(slots: usize, max_partitions: usize) -> Self {
        Self { slots, max_partitions, partitions: 0, sessions: BTreeMap::new() }
    }

    /// Whether a session reads a topic that `is` the one looked for.
    pub(super) fn reads(&self, session_id: i32, is: impl Fn(&TopicName, &Uuid) -> bool) -> bool {
        let session = self.sessions.get(&session_id);
        session.is_some_and(|session| {
            session.partitions.values().any(|cached| is(&cached.wanted.topic, &cached.wanted.topic_id))
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// What is to be read for this request.
    pub(super) fn begin(&mut self, now: Instant, asked: Asked) -> Result<Begun, ResponseError> {
        let Asked { session_id, session_epoch, by_id, wanted, forgotten } = asked;
        if session_epoch == FINAL_EPOCH || session_epoch == INITIAL_EPOCH {
            self.remove(session_id);
            let closing = session_epoch == FINAL_EPOCH;
            return Ok(Begun { wanted, kind: if closing { Kind::Sessionless } else { Kind::Opening { by_id } } });
        }
        let session = self.sessions.get_mut(&session_id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != session_epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        session.update(wanted, &forgotten);
        let after = session.partitions.len();
        session.used = now;
        session.epoch = next_epoch(session.epoch);
        let begun = Begun {
            wanted: session.partitions.values().map(|cached| cached.wanted.clone()).collect(),
            kind: Kind::Continuing { session_id, epoch: session.epoch },
        };
        self.partitions = self.partitions + after - before;
        if after == 0 {
            self.remove(session_id);
            return Ok(Begun { kind: Kind::Sessionless, ..begun });
        }
        if self.partitions > self.max_partitions {
            // Nothing may be left out silently: the reader starts over, and is served without a session.
            self.remove(session_id);
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        Ok(begun)
    }

    /// What of all that was found is answered; `told` goes with the wanted partitions one by one.
    pub(super) fn end(&mut self, now: Instant, begun: &Begun, told: &[Told]) -> Result<Ended, ResponseError> {
        let everything = || vec![true; told.len()];
        match begun.kind {
            Kind::Sessionless => Ok(Ended { session_id: 0, included: everything() }),
            Kind::Opening { by_id } => {
                Ok(Ended { session_id: self.open(now, by_id, &begun.wanted, told), included: everything() })
            }
            Kind::Continuing { session_id, epoch } => {
                let session = self.sessions.get_mut(&session_id).filter(|session| session.epoch == epoch);
                // Somebody else used the session while this request waited.
                let session = session.ok_or(ResponseError::InvalidFetchSessionEpoch)?;
                let included = begun.wanted.iter().zip(told).map(|(wanted, told)| session.tell(&wanted.key(), *told));
                Ok(Ended { session_id, included: included.collect() })
            }
        }
    }

    /// The id of a new session; 0 where there is no room.
    fn open(&mut self, now: Instant, by_id: bool, wanted: &[Wanted], told: &[Told]) -> i32 {
        if wanted.is_empty() || !self.make_room(now, wanted.len()) {
            return 0;
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            created: now,
            used: now,
            partitions: BTreeMap::new(),
            places: HashMap::default(),
            next_place: 0,
        };
        session.update(wanted.to_vec(), &[]);
        for (wanted, told) in wanted.iter().zip(told) {
            session.tell(&wanted.key(), *told);
        }
        self.partitions += session.partitions.len();
        let mut id = fastrand::i32(1..);
        while self.sessions.contains_key(&id) {
            id = fastrand::i32(1..);
        }
        self.sessions.insert(id, session);
        id
    }

    fn make_room(&mut self, now: Instant, partitions: usize) -> bool {
        if self.partitions + partitions > self.max_partitions {
            return false;
        }
        if self.sessions.len() < self.slots {
            return true;
        }
        let old = |since: Instant| now.saturating_duration_since(since) > EVICTION;
        let unused = self.sessions.iter().min_by_key(|(_, session)| session.used);
        let unused = unused.filter(|(_, session)| old(session.used)).map(|(id, _)| *id);
        let smaller = || {
            let candidates = self.sessions.iter().filter(|(_, session)| old(session.created));
            let smallest = candidates.min_by_key(|(_, session)| session.partitions.len());
            smallest.filter(|(_, session)| session.partitions.len() < partitions).map(|(id, _)| *id)
        };
        match unused.or_else(smaller) {
            Some(id) => {
                self.remove(id);
                true
            }
            None => false,
        }
    }

    fn remove(&mut self, session_id: i32) {
        let held = self.sessions.remove(&session_id).map_or(0, |session| session.partitions.len());
        self.partitions -= held;
    }
}

impl Session {
    fn update(&mut self, wanted: Vec<Wanted>, forgotten: &[Key]) {
        for wanted in wanted {
            let key = wanted.key();
            match self.places.get(&key).and_then(|place| self.partitions.get_mut(place)) {
                Some(cached) => cached.wanted = wanted,
                None => {
                    let cached = Cached { wanted, high_watermark: NEVER_TOLD, log_start_offset: NEVER_TOLD };
                    self.append(key, cached);
                }
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.partitions.remove(&place);
            }
        }
    }

    fn append(&mut self, key: Key, cached: Cached) {
        self.places.insert(key, self.next_place);
        self.partitions.insert(self.next_place, cached);
        self.next_place += 1;
    }

    /// Whether this is to be answered. Remembers it as answered then.
    fn tell(&mut self, key: &Key, told: Told) -> bool {
        // It may have been forgotten by another request meanwhile.
        let Some(place) = self.places.get(key).copied() else { return false };
        let Some(mut cached) = self.partitions.remove(&place) else { return false };
        let changed = told.high_watermark != cached.high_watermark || told.log_start_offset != cached.log_start_offset;
        cached.high_watermark = told.high_watermark;
        cached.log_start_offset = told.log_start_offset;
        if told.failed {
            // When the error is over, the partition is answered whatever it has.
            cached.high_watermark = NEVER_TOLD;
        }
        if told.has_news {
            self.append(key.clone(), cached);
        } else {
            self.partitions.insert(place, cached);
        }
        told.has_news || told.failed || changed
    }
}

fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// Asks for a session.
const INITIAL_EPOCH: i32 = 0;
/// Asks for none, and closes the one that is named.
const FINAL_EPOCH: i32 = -1;
/// No partition has this offset.
const NEVER_TOLD: i64 = -1;

/// Sessions of one broker; Kafka's `max.incremental.fetch.session.cache.slots`.
const SLOTS: usize = 1000;
/// Partitions in all sessions of one broker, about 300 bytes each.
const MAX_PARTITIONS: usize = 100_000;
/// Whoever is unused so long makes room for others; Kafka's `min.incremental.fetch.session.eviction.ms`.
const EVICTION: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn wanted(partition: i32, offset: i64) -> Wanted {
        Wanted {
            topic: TopicName(StrBytes::from_static_str("orders")),
            topic_id: Uuid::nil(),
            partition: FetchPartition::default().with_partition(partition).with_fetch_offset(offset),
        }
    }

    fn asked(session_id: i32, session_epoch: i32, wanted: Vec<Wanted>) -> Asked {
        Asked { session_id, session_epoch, by_id: false, wanted, forgotten: Vec::new() }
    }

    const QUIET: Told = Told { high_watermark: 5, log_start_offset: 0, has_news: false, failed: false };
    const NEWS: Told = Told { has_news: true, ..QUIET };
    const FAILED: Told = Told { high_watermark: -1, log_start_offset: -1, has_news: false, failed: true };

    /// A session that reads so many partitions.
    fn open(sessions: &mut FetchSessions, now: Instant, partitions: i32) -> i32 {
        let begun = sessions.begin(now, asked(0, 0, (0..partitions).map(|p| wanted(p, 0)).collect())).unwrap();
        sessions.end(now, &begun, &vec![QUIET; partitions as usize]).unwrap().session_id
    }

    /// The partitions that are read in this round, and those that are answered.
    fn round(sessions: &mut FetchSessions, id: i32, epoch: i32, told: &[Told]) -> (Vec<i32>, Vec<i32>) {
        let now = Instant::now();
        let begun = sessions.begin(now, asked(id, epoch, Vec::new())).unwrap();
        let read: Vec<i32> = begun.wanted.iter().map(|wanted| wanted.partition.partition).collect();
        let by_partition: Vec<Told> = read.iter().map(|partition| told[*partition as usize]).collect();
        let ended = sessions.end(now, &begun, &by_partition).unwrap();
        let answered = read.iter().zip(ended.included).filter(|(_, included)| *included).map(|(p, _)| *p).collect();
        (read, answered)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_changed_is_answered() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, Instant::now(), 3);
        let higher = Told { high_watermark: 6, ..QUIET };
        let started = Told { log_start_offset: 2, ..higher };
        let story: [(&str, [Told; 3], &[i32]); 7] = [
            ("nothing new", [QUIET, QUIET, QUIET], &[]),
            ("records", [QUIET, NEWS, QUIET], &[1]),
            ("a higher watermark", [QUIET, QUIET, higher], &[2]),
            ("the same again", [QUIET, QUIET, higher], &[]),
            ("a higher log start", [QUIET, QUIET, started], &[2]),
            ("an error", [FAILED, QUIET, started], &[0]),
            ("the error is over", [QUIET, QUIET, started], &[0]),
        ];
        for (epoch, (case, told, expected)) in (1..).zip(story) {
            assert_eq!(round(&mut sessions, id, epoch, &told).1, expected, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_answered_goes_to_the_end() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, Instant::now(), 3);
        let only = |partition: usize| std::array::from_fn::<Told, 3, _>(|p| if p == partition { NEWS } else { QUIET });
        assert_eq!(round(&mut sessions, id, 1, &only(0)), (vec![0, 1, 2], vec![0]));
        assert_eq!(round(&mut sessions, id, 2, &only(1)), (vec![1, 2, 0], vec![1]));
        assert_eq!(round(&mut sessions, id, 3, &only(1)), (vec![2, 0, 1], vec![1]));
        assert_eq!(round(&mut sessions, id, 4, &only(0)).0, [2, 0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn partitions_come_move_and_go() {
        let (mut sessions, now) = (FetchSessions::default(), Instant::now());
        let id = open(&mut sessions, now, 2);
        let changes = vec![wanted(1, 40), wanted(2, 0)];
        let forgotten = vec![wanted(0, 0).key(), wanted(9, 0).key()];
        let begun = sessions.begin(now, Asked { forgotten, ..asked(id, 1, changes.clone()) }).unwrap();
        assert_eq!(begun.wanted, changes);
        let forgotten = vec![wanted(1, 0).key(), wanted(2, 0).key()];
        let begun = sessions.begin(now, Asked { forgotten, ..asked(id, 2, Vec::new()) }).unwrap();
        assert_eq!(sessions.end(now, &begun, &[]).unwrap().session_id, 0, "an empty session is closed");
        assert_eq!((sessions.len(), sessions.partitions), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn ids_and_epochs_are_checked() {
        let (mut sessions, now) = (FetchSessions::default(), Instant::now());
        let id = open(&mut sessions, now, 1);
        let by_id = Asked { by_id: true, ..asked(id, 1, Vec::new()) };
        let table = [
            ("unknown", asked(id ^ 1, 1, Vec::new()), ResponseError::FetchSessionIdNotFound),
            ("no session at all", asked(0, 1, Vec::new()), ResponseError::FetchSessionIdNotFound),
            ("too early", asked(id, 2, Vec::new()), ResponseError::InvalidFetchSessionEpoch),
            ("by topic id", by_id, ResponseError::FetchSessionTopicIdError),
        ];
        for (case, asked, expected) in table {
            assert_eq!(sessions.begin(now, asked).unwrap_err(), expected, "{case}");
        }
        let first = sessions.begin(now, asked(id, 1, Vec::new())).unwrap();
        assert_eq!(sessions.begin(now, asked(id, 1, Vec::new())), Err(ResponseError::InvalidFetchSessionEpoch));
        sessions.begin(now, asked(id, 2, Vec::new())).unwrap();
        assert_eq!(sessions.end(now, &first, &[QUIET]), Err(ResponseError::InvalidFetchSessionEpoch), "overtaken");
        sessions.begin(now, asked(id, -1, vec![wanted(0, 0)])).unwrap();
        assert_eq!(sessions.begin(now, asked(id, 3, Vec::new())), Err(ResponseError::FetchSessionIdNotFound));
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn old_and_small_sessions_make_room() {
        let (mut sessions, start) = (FetchSessions::new(2, 10), Instant::now());
        let first = open(&mut sessions, start, 2);
        let second = open(&mut sessions, start, 3);
        assert_eq!(open(&mut sessions, start + EVICTION / 2, 4), 0, "both are in use");
        let later = start + EVICTION + Duration::from_secs(1);
        sessions.begin(later, asked(first, 1, Vec::new())).unwrap();
        sessions.begin(later, asked(second, 1, Vec::new())).unwrap();
        assert_eq!(open(&mut sessions, later, 2), 0, "none is smaller");
        assert_ne!(open(&mut sessions, later, 3), 0, "the smallest made room");
        assert_eq!(sessions.begin(later, asked(first, 2, Vec::new())), Err(ResponseError::FetchSessionIdNotFound));
        let much_later = later + 2 * EVICTION;
        sessions.begin(much_later, asked(second, 2, Vec::new())).unwrap();
        assert_ne!(open(&mut sessions, much_later, 1), 0, "the unused one made room");
        assert_eq!(sessions.len(), 2);
        assert_eq!(open(&mut sessions, much_later + 3 * EVICTION, 8), 0, "too many partitions");
        let grown = asked(second, 3, (0..10).map(|p| wanted(p, 0)).collect());
        assert_eq!(sessions.begin(much_later, grown), Err(ResponseError::FetchSessionIdNotFound));
        assert_eq!((sessions.len(), sessions.partitions), (1, 1));
    }
}
