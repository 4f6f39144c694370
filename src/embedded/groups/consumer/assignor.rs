//! Which member of a consumer group is to own which partition: the server-side assignors of KIP-848.
//!
//! Rules this file keeps:
//! - an assignor is a pure function of the members, what they were meant to own before, and the topics;
//! - every partition of a subscribed topic goes to exactly one member that subscribes to it, and nothing else does;
//! - the work is bounded: see [`BALANCING_STEPS`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uuid::Uuid;

/// Partitions by topic.
pub(in crate::embedded) type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// The topics of a group and how many partitions each has.
pub(super) type Sizes = BTreeMap<Uuid, i32>;

/// A member as an assignor sees it.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) member_id: &'a str,
    pub(super) instance_id: Option<&'a str>,
    /// What it subscribes to, of the topics that exist.
    pub(super) topics: BTreeSet<Uuid>,
    /// What it was meant to own before.
    pub(super) previous: &'a Assignment,
}

/// How partitions are spread over members. Clients choose by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Assignor {
    /// As even as the subscriptions allow, and what need not move does not.
    Uniform,
    /// Each topic in ranges, so that members with equal subscriptions get the same partitions of each.
    Range,
}

impl Assignor {
    /// All, the default first.
    pub(super) const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each of `members` is to own, in their order. Members are told apart by their place, so none comes twice.
    pub(super) fn assign(self, members: &[Candidate<'_>], sizes: &Sizes) -> Vec<Assignment> {
        match self {
            Self::Range => range(members, sizes),
            Self::Uniform if alike(members) => Spread::of(members, sizes).even().owned,
            Self::Uniform => Spread::of(members, sizes).fair().owned,
        }
    }
}

fn alike(members: &[Candidate<'_>]) -> bool {
    members.windows(2).all(|pair| matches!(pair, [one, other] if one.topics == other.topics))
}

/// Contiguous ranges of each topic, the first ones larger by one, for static members first and then by member id.
fn range(members: &[Candidate<'_>], sizes: &Sizes) -> Vec<Assignment> {
    let mut owned = vec![Assignment::new(); members.len()];
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|at| members.get(*at).map(|it| (it.instance_id.is_none(), it.instance_id, it.member_id)));
    for (topic, size) in sizes {
        let wants = |at: &usize| members.get(*at).is_some_and(|member| member.topics.contains(topic));
        let takers: Vec<usize> = order.iter().copied().filter(wants).collect();
        let count = i32::try_from(takers.len()).unwrap_or(i32::MAX).max(1);
        let mut next = 0;
        for (nth, taker) in (0..).zip(takers) {
            let length = size / count + i32::from(nth < size % count);
            if let Some(owned) = owned.get_mut(taker).filter(|_| length > 0) {
                owned.insert(*topic, (next..next + length).collect());
            }
            next += length;
        }
    }
    owned
}

/// An assignment under construction; members are known by their place.
struct Spread<'a> {
    members: &'a [Candidate<'a>],
    sizes: &'a Sizes,
    owned: Vec<Assignment>,
    load: Vec<usize>,
    /// Who wants a topic.
    takers: BTreeMap<Uuid, Vec<usize>>,
}

impl<'a> Spread<'a> {
    /// Everybody keeps what it had, as far as that still exists, is wanted and is nobody else's.
    fn of(members: &'a [Candidate<'a>], sizes: &'a Sizes) -> Self {
        let mut spread = Self {
            members,
            sizes,
            owned: vec![Assignment::new(); members.len()],
            load: vec![0; members.len()],
            takers: BTreeMap::new(),
        };
        let mut taken = BTreeSet::new();
        for (at, member) in members.iter().enumerate() {
            for topic in member.topics.iter().filter(|topic| sizes.contains_key(topic)) {
                spread.takers.entry(*topic).or_default().push(at);
                let size = sizes.get(topic).copied().unwrap_or(0);
                for partition in member.previous.get(topic).into_iter().flatten() {
                    if (0..size).contains(partition) && taken.insert((*topic, *partition)) {
                        spread.give(at, *topic, *partition);
                    }
                }
            }
        }
        spread
    }

    /// For equal subscriptions: nobody owns more than one partition more than anybody else.
    fn even(mut self) -> Self {
        let all: usize = self.takers.keys().filter_map(|topic| self.sizes.get(topic)).map(|size| *size as usize).sum();
        let share = all / self.members.len().max(1);
        let mut larger = all - share * self.members.len();
        for at in 0..self.members.len() {
            let load = self.load.get(at).copied().unwrap_or(0);
            let keeps_one_more = load > share && larger > 0;
            larger -= usize::from(keeps_one_more);
            for _ in share + usize::from(keeps_one_more)..load {
                self.release(at);
            }
        }
        self.give_the_rest();
        self
    }

    /// For any subscriptions: no chain of moves could make a member with more and one with fewer nearer to each other.
    fn fair(mut self) -> Self {
        self.give_the_rest();
        let mut steps = BALANCING_STEPS;
        loop {
            let mut heaviest: Vec<usize> = (0..self.members.len()).collect();
            heaviest.sort_by_key(|at| std::cmp::Reverse(self.load(*at)));
            let Some(chain) = heaviest.into_iter().find_map(|from| self.chain(from, &mut steps)) else { return self };
            for link in chain {
                self.pass_on(link);
            }
        }
    }

    /// Gives what nobody owns to whoever wants it and owns least, topics with few takers first.
    fn give_the_rest(&mut self) {
        let mut topics: Vec<(usize, Uuid)> = self.takers.iter().map(|(topic, takers)| (takers.len(), *topic)).collect();
        topics.sort_unstable();
        for (_, topic) in topics {
            let takers = self.takers.get(&topic).cloned().unwrap_or_default();
            let taken: BTreeSet<i32> =
                takers.iter().filter_map(|at| self.owned.get(*at)?.get(&topic)).flatten().copied().collect();
            let mut by_load: BTreeSet<(usize, usize)> = takers.iter().map(|at| (self.load(*at), *at)).collect();
            let size = self.sizes.get(&topic).copied().unwrap_or(0);
            for partition in (0..size).filter(|partition| !taken.contains(partition)) {
                let Some((load, at)) = by_load.pop_first() else { break };
                self.give(at, topic, partition);
                by_load.insert((load + 1, at));
            }
        }
    }

    /// The moves, each of a partition of a topic from one member to the next, that bring a partition from `from` to the
    /// lightest member that it can reach; `None` if that one is not lighter by two.
    fn chain(&self, from: usize, steps: &mut usize) -> Option<Vec<Link>> {
        let mut reached: BTreeMap<usize, Option<Link>> = BTreeMap::from([(from, None)]);
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([from]);
        while let Some(giver) = queue.pop_front() {
            for topic in self.owned.get(giver)?.keys().filter(|topic| seen.insert(**topic)) {
                for taker in self.takers.get(topic)? {
                    *steps = steps.checked_sub(1)?;
                    reached.entry(*taker).or_insert_with(|| {
                        queue.push_back(*taker);
                        Some(Link { giver, topic: *topic, taker: *taker })
                    });
                }
            }
        }
        let lightest = reached.keys().copied().min_by_key(|at| self.load(*at))?;
        if self.load(lightest) + 2 > self.load(from) {
            return None;
        }
        let mut chain = Vec::new();
        let mut at = lightest;
        while let Some(link) = reached.get(&at).copied().flatten() {
            chain.push(link);
            at = link.giver;
        }
        Some(chain)
    }

    fn load(&self, at: usize) -> usize {
        self.load.get(at).copied().unwrap_or(0)
    }

    fn give(&mut self, at: usize, topic: Uuid, partition: i32) {
        if let (Some(owned), Some(load)) = (self.owned.get_mut(at), self.load.get_mut(at)) {
            *load += usize::from(owned.entry(topic).or_default().insert(partition));
        }
    }

    /// Takes any one partition from a member.
    fn release(&mut self, at: usize) {
        let last = self.owned.get(at).and_then(|owned| owned.last_key_value()).map(|(topic, _)| *topic);
        if let Some(topic) = last {
            self.take(at, topic, None);
        }
    }

    fn pass_on(&mut self, Link { giver, topic, taker }: Link) {
        // What the taker had before rather than what moves for the first time.
        let had = |at: usize| self.members.get(at).and_then(|member| member.previous.get(&topic));
        let owned = self.owned.get(giver).and_then(|owned| owned.get(&topic));
        let returning = owned.zip(had(taker)).and_then(|(owned, had)| owned.intersection(had).next());
        let strange = owned.zip(had(giver)).and_then(|(owned, had)| owned.difference(had).next());
        let best = returning.or(strange).copied();
        if let Some(partition) = self.take(giver, topic, best) {
            self.give(taker, topic, partition);
        }
    }

    fn take(&mut self, at: usize, topic: Uuid, partition: Option<i32>) -> Option<i32> {
        let owned = self.owned.get_mut(at)?;
        let of_topic = owned.get_mut(&topic)?;
        let partition = partition.or_else(|| of_topic.last().copied())?;
        let taken = of_topic.remove(&partition);
        if of_topic.is_empty() {
            owned.remove(&topic);
        }
        let load = self.load.get_mut(at)?;
        *load -= usize::from(taken);
        taken.then_some(partition)
    }
}

/// One partition of `topic` goes from `giver` to `taker`.
#[derive(Debug, Clone, Copy)]
struct Link {
    giver: usize,
    topic: Uuid,
    taker: usize,
}

/// So much is looked at to make unequal subscriptions fair (some tenths of a second). Beyond it every partition has its
/// owner, but a member may own more than it needs to.
const BALANCING_STEPS: usize = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    type Subscription = (&'static str, &'static [u128], &'static [(u128, &'static [i32])]);

    /// Members, sizes of topics, and what comes of them.
    type Row = (&'static [Subscription], &'static [(u128, i32)], &'static str);

    fn previous(owned: &[(u128, &[i32])]) -> Assignment {
        owned.iter().map(|(topic, list)| (Uuid::from_u128(*topic), list.iter().copied().collect())).collect()
    }

    /// Assigns, and writes it as `member:topic-partition,…` for each member.
    fn assign(assignor: Assignor, members: &[Subscription], sizes: &[(u128, i32)]) -> String {
        let before: Vec<Assignment> = members.iter().map(|(.., owned)| previous(owned)).collect();
        let members: Vec<Candidate<'_>> = members
            .iter()
            .zip(&before)
            .map(|((id, topics, _), previous)| Candidate {
                member_id: id,
                instance_id: id.strip_prefix("static-"),
                topics: topics.iter().map(|topic| Uuid::from_u128(*topic)).collect(),
                previous,
            })
            .collect();
        let sizes = sizes.iter().map(|(topic, size)| (Uuid::from_u128(*topic), *size)).collect();
        let owned = assignor.assign(&members, &sizes);
        let text = members.iter().zip(&owned).map(|(member, owned)| {
            let flat = owned.iter().flat_map(|(topic, list)| list.iter().map(move |it| (topic.as_u128(), it)));
            let flat: Vec<String> = flat.map(|(topic, partition)| format!("{topic}-{partition}")).collect();
            format!("{}:{}", member.member_id, flat.join(","))
        });
        text.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn uniform() {
        const NONE: &[(u128, &[i32])] = &[];
        let table: &[Row] = &[
            (&[], &[(1, 3)], ""),
            (&[("a", &[1], NONE)], &[(1, 3)], "a:1-0,1-1,1-2"),
            (&[("a", &[], NONE)], &[], "a:"),
            // Fewer partitions than members.
            (&[("a", &[1], NONE), ("b", &[1], NONE), ("c", &[1], NONE)], &[(1, 2)], "a:1-0 b:1-1 c:"),
            (&[("a", &[1, 2], NONE), ("b", &[1, 2], NONE)], &[(1, 3), (2, 2)], "a:1-0,1-2,2-1 b:1-1,2-0"),
            // A second member comes: only what must move moves.
            (&[("a", &[1], &[(1, &[0, 1, 2, 3])]), ("b", &[1], NONE)], &[(1, 4)], "a:1-0,1-1 b:1-2,1-3"),
            // A member left: the others keep all they had.
            (&[("a", &[1], &[(1, &[0])]), ("b", &[1], &[(1, &[2])])], &[(1, 4)], "a:1-0,1-1 b:1-2,1-3"),
            // Whoever has one more keeps it.
            (&[("a", &[1], &[(1, &[0])]), ("b", &[1], &[(1, &[1, 2])])], &[(1, 3)], "a:1-0 b:1-1,1-2"),
            // Two claim the same: a restored group may say so, and one of them gets it.
            (&[("a", &[1], &[(1, &[0])]), ("b", &[1], &[(1, &[0])])], &[(1, 2)], "a:1-0 b:1-1"),
            // What is gone is forgotten: a smaller topic and a deleted one.
            (&[("a", &[1], &[(1, &[5]), (9, &[0])])], &[(1, 1)], "a:1-0"),
            // Different subscriptions.
            (&[("a", &[1], NONE), ("b", &[1, 2], NONE)], &[(1, 2), (2, 2)], "a:1-0,1-1 b:2-0,2-1"),
            (&[("a", &[1], NONE), ("b", &[2], NONE)], &[(1, 3), (2, 1)], "a:1-0,1-1,1-2 b:2-0"),
            (&[("a", &[1], &[(1, &[0, 1])]), ("b", &[], &[(1, &[2])])], &[(1, 3)], "a:1-0,1-1,1-2 b:"),
            // Only a chain helps: a gives topic 1 to b, which gives topic 2 to c.
            (
                &[("a", &[1], &[(1, &[0, 1, 2, 3])]), ("b", &[1, 2], &[(2, &[0, 1, 2])]), ("c", &[2], &[(2, &[3, 4])])],
                &[(1, 4), (2, 5)],
                "a:1-0,1-1,1-2 b:1-3,2-0,2-1 c:2-2,2-3,2-4",
            ),
        ];
        for (members, sizes, expected) in table {
            assert_eq!(assign(Assignor::Uniform, members, sizes), *expected, "{members:?} {sizes:?}");
        }
    }

    #[test]
    fn range() {
        let table: &[Row] = &[
            (&[("a", &[1], &[])], &[(1, 2)], "a:1-0,1-1"),
            // Equal partitions of both topics to the same member, the first one gets one more of each.
            (&[("a", &[1, 2], &[]), ("b", &[1, 2], &[])], &[(1, 3), (2, 3)], "a:1-0,1-1,2-0,2-1 b:1-2,2-2"),
            (&[("a", &[1], &[]), ("b", &[1, 2], &[])], &[(1, 3), (2, 2)], "a:1-0,1-1 b:1-2,2-0,2-1"),
            // More members than partitions, and static members first.
            (&[("a", &[1], &[]), ("static-z", &[1], &[])], &[(1, 1)], "a: static-z:1-0"),
            // What was before does not matter.
            (&[("a", &[1], &[(1, &[1])]), ("b", &[1], &[(1, &[0])])], &[(1, 2)], "a:1-0 b:1-1"),
        ];
        for (members, sizes, expected) in table {
            assert_eq!(assign(Assignor::Range, members, sizes), *expected, "{members:?} {sizes:?}");
        }
    }

    /// A random group, its members subscribed alike or each to its own.
    fn random_group(random: &mut fastrand::Rng, alike: bool) -> (Vec<String>, Vec<BTreeSet<Uuid>>, Sizes) {
        let sizes: Sizes = (1..=random.u128(1..6)).map(|id| (Uuid::from_u128(id), random.i32(1..12))).collect();
        let ids: Vec<String> = (0..random.usize(1..9)).map(|nth| format!("member-{nth}")).collect();
        let mut subscription = |chance| sizes.keys().copied().filter(|_| random.u8(..100) < chance).collect();
        let same: BTreeSet<Uuid> = subscription(80);
        let topics = ids.iter().map(|_| if alike { same.clone() } else { subscription(50) }).collect();
        (ids, topics, sizes)
    }

    fn uniformly(ids: &[String], topics: &[BTreeSet<Uuid>], before: &[Assignment], sizes: &Sizes) -> Vec<Assignment> {
        let candidate = |((id, topics), previous)| Candidate {
            member_id: id,
            instance_id: None,
            topics: BTreeSet::clone(topics),
            previous,
        };
        let members: Vec<Candidate<'_>> =
            ids.iter().map(String::as_str).zip(topics).zip(before).map(candidate).collect();
        Assignor::Uniform.assign(&members, sizes)
    }

    fn count(owned: &Assignment) -> usize {
        owned.values().map(BTreeSet::len).sum()
    }

    /// Every partition that somebody wants has one owner, which wants it.
    fn check_complete(owned: &[Assignment], topics: &[BTreeSet<Uuid>], sizes: &Sizes, seed: u64) {
        let mut seen = BTreeSet::new();
        for (owned, topics) in owned.iter().zip(topics) {
            for (topic, list) in owned {
                assert!(topics.contains(topic), "seed {seed}: a topic that is not wanted");
                assert!(list.iter().all(|partition| seen.insert((topic, partition))), "seed {seed}: two owners");
            }
        }
        let wanted = sizes.iter().filter(|(topic, _)| topics.iter().any(|topics| topics.contains(topic)));
        assert_eq!(seen.len() as i32, wanted.map(|(_, size)| size).sum::<i32>(), "seed {seed}");
    }

    fn check_even(owned: &[Assignment], seed: u64) {
        let loads: Vec<usize> = owned.iter().map(count).collect();
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "seed {seed}: {loads:?}");
    }

    #[test]
    fn random_groups_with_equal_subscriptions() {
        for seed in 0..2000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut ids, mut topics, sizes) = random_group(&mut random, true);
            let before = vec![Assignment::new(); ids.len()];
            let mut owned = uniformly(&ids, &topics, &before, &sizes);
            check_complete(&owned, &topics, &sizes, seed);
            assert_eq!(uniformly(&ids, &topics, &owned, &sizes), owned, "seed {seed}: nothing moves without need");
            // One comes: only what it gets moves. One leaves: only what it had moves.
            ids.push("newcomer".to_owned());
            topics.push(topics[0].clone());
            owned.push(Assignment::new());
            let after = uniformly(&ids, &topics, &owned, &sizes);
            check_complete(&after, &topics, &sizes, seed);
            check_even(&after, seed);
            let kept = |after: &[Assignment], before: &[Assignment]| -> usize {
                let both = after.iter().zip(before).flat_map(|(after, before)| {
                    after.iter().map(|(topic, list)| before.get(topic).map_or(0, |it| it.intersection(list).count()))
                });
                both.sum()
            };
            let all: usize = after.iter().map(count).sum();
            assert_eq!(kept(&after, &owned), all - count(after.last().unwrap()), "seed {seed}: one came");
            let gone = random.usize(..ids.len());
            let (mut left_ids, mut left_topics, mut left) = (ids, topics, after);
            let lost = count(&left.remove(gone));
            left_ids.remove(gone);
            left_topics.remove(gone);
            let rest = uniformly(&left_ids, &left_topics, &left, &sizes);
            assert_eq!(kept(&rest, &left), all - lost, "seed {seed}: one left");
            check_even(&rest, seed);
        }
    }

    #[test]
    fn random_groups_with_different_subscriptions() {
        for seed in 0..2000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (ids, mut topics, sizes) = random_group(&mut random, false);
            let before = vec![Assignment::new(); ids.len()];
            let owned = uniformly(&ids, &topics, &before, &sizes);
            check_complete(&owned, &topics, &sizes, seed);
            assert_eq!(uniformly(&ids, &topics, &owned, &sizes), owned, "seed {seed}: nothing moves without need");
            // Somebody changes its mind.
            let changed = random.usize(..ids.len());
            topics[changed] = sizes.keys().copied().filter(|_| random.bool()).collect();
            let after = uniformly(&ids, &topics, &owned, &sizes);
            check_complete(&after, &topics, &sizes, seed);
            // Nobody could hand a partition straight to somebody who owns two fewer.
            for (giver, owned) in after.iter().enumerate() {
                for taker in (0..ids.len()).filter(|taker| owned.keys().any(|topic| topics[*taker].contains(topic))) {
                    assert!(count(owned) <= count(&after[taker]) + 1, "seed {seed}: {giver} to {taker}");
                }
            }
        }
    }
}
