//! Consumer groups without a broker: a line per refusal, stories of rebalances, and random groups under loss.

use super::*;

/// Topics by name: id and number of partitions.
#[derive(Debug, Clone, Default)]
struct Topics(BTreeMap<String, (u128, i32)>);

impl Topics {
    fn of<const N: usize>(topics: [(&str, i32); N]) -> Self {
        Self((1..).zip(topics).map(|(id, (name, size))| (name.to_owned(), (id, size))).collect())
    }
}

impl Catalog for Topics {
    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        self.0.get(name).map(|(id, size)| (Uuid::from_u128(*id), *size))
    }

    fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }
}

/// A group with its topics and a clock that the test moves.
struct Group {
    consumer: Consumer,
    topics: Topics,
    limits: Limits,
    now: Instant,
}

impl Group {
    fn on<const N: usize>(topics: [(&str, i32); N]) -> Self {
        let limits = Limits {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_members: 3,
        };
        Self { consumer: Consumer::new(Budget::new(1 << 20)), topics: Topics::of(topics), limits, now: Instant::now() }
    }

    fn beat(&mut self, heartbeat: Heartbeat) -> Result<Answer, Refusal> {
        heartbeat.validate(1)?;
        self.consumer.heartbeat(heartbeat, &self.topics, &self.limits, self.now)
    }

    /// What comes of a heartbeat: `epoch`, then the assignment if one came, or the error.
    fn tell(&mut self, heartbeat: Heartbeat) -> String {
        match self.beat(heartbeat) {
            Ok(answer) => match answer.assignment {
                Some(assignment) => format!("{} {}", answer.member_epoch, show(&assignment)),
                None => answer.member_epoch.to_string(),
            },
            Err(refusal) => format!("{:?}", refusal.error),
        }
    }

    fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        self.consumer.handle_timeout(self.now)
    }
}

fn show(assignment: &Assignment) -> String {
    let topics = assignment.iter().map(|(topic, list)| format!("{}:{list:?}", topic.as_u128()));
    format!("[{}]", topics.collect::<Vec<_>>().join(" "))
}

fn join(id: &str, topics: &[&str]) -> Heartbeat {
    Heartbeat {
        member_id: id.to_owned(),
        rebalance_timeout: Some(Duration::from_secs(10)),
        topic_names: Some(topics.iter().map(|&name| name.to_owned()).collect()),
        owned: Some(Assignment::new()),
        ..Heartbeat::default()
    }
}

fn at(id: &str, epoch: i32) -> Heartbeat {
    Heartbeat { member_id: id.to_owned(), member_epoch: epoch, ..Heartbeat::default() }
}

/// Says that it owns these partitions of topic 1.
fn owning(id: &str, epoch: i32, partitions: &[i32]) -> Heartbeat {
    let owned = Assignment::from([(Uuid::from_u128(1), partitions.iter().copied().collect())]);
    Heartbeat { owned: Some(owned), ..at(id, epoch) }
}

fn as_instance(heartbeat: Heartbeat, instance_id: &str) -> Heartbeat {
    Heartbeat { instance_id: Some(instance_id.to_owned()), ..heartbeat }
}

#[test]
fn requests_that_are_never_valid() {
    let table: &[(Heartbeat, i16, Option<ResponseError>)] = &[
        (join("", &["t"]), 0, None),
        (join("", &["t"]), 1, Some(ResponseError::InvalidRequest)),
        (at("", 1), 0, Some(ResponseError::InvalidRequest)),
        (at("", -1), 0, Some(ResponseError::InvalidRequest)),
        (as_instance(join("a", &["t"]), " "), 1, Some(ResponseError::InvalidRequest)),
        (Heartbeat { rack_id: Some(String::new()), ..join("a", &["t"]) }, 1, Some(ResponseError::InvalidRequest)),
        (at("a", -3), 1, Some(ResponseError::InvalidRequest)),
        (at("a", -2), 1, Some(ResponseError::InvalidRequest)),
        (as_instance(at("a", -2), "i"), 1, None),
        (Heartbeat { rebalance_timeout: None, ..join("a", &["t"]) }, 1, Some(ResponseError::InvalidRequest)),
        (Heartbeat { owned: None, ..join("a", &["t"]) }, 1, Some(ResponseError::InvalidRequest)),
        (Heartbeat { member_epoch: 0, ..owning("a", 0, &[0]) }, 1, Some(ResponseError::InvalidRequest)),
        (Heartbeat { topic_names: None, ..join("a", &[]) }, 1, Some(ResponseError::InvalidRequest)),
        (Heartbeat { topic_names: None, topic_regex: Some("t".into()), ..join("a", &[]) }, 1, None),
        (join("a", &[]), 1, None),
        (Heartbeat { assignor: Some("range".into()), ..join("a", &["t"]) }, 1, None),
        (Heartbeat { assignor: Some("best".into()), ..join("a", &["t"]) }, 1, Some(ResponseError::UnsupportedAssignor)),
        (join(&"a".repeat(2000), &["t"]), 1, Some(ResponseError::InvalidRequest)),
    ];
    for (heartbeat, version, expected) in table {
        let found = heartbeat.validate(*version).err().map(|refusal| refusal.error);
        assert_eq!(found, *expected, "{heartbeat:?} in version {version}");
    }
}

#[test]
fn one_member() {
    let mut group = Group::on([("t", 3)]);
    assert_eq!(group.consumer.state(), State::Empty);
    assert_eq!(group.tell(at("a", 1)), "UnknownMemberId");
    assert_eq!(group.tell(join("a", &["t"])), "1 [1:{0, 1, 2}]");
    assert_eq!(group.consumer.state(), State::Stable);
    assert_eq!(group.tell(at("a", 1)), "1");
    assert_eq!(group.tell(owning("a", 1, &[0, 1, 2])), "1");
    assert_eq!(group.tell(Heartbeat { member_epoch: 1, ..join("a", &["t"]) }), "1 [1:{0, 1, 2}]", "full state");
    assert_eq!(group.tell(at("a", 2)), "FencedMemberEpoch");
    // The answer to the join was lost: it comes again in the epoch before.
    assert_eq!(group.tell(join("a", &["t"])), "1 [1:{0, 1, 2}]");
    assert_eq!(group.tell(at("a", -1)), "-1");
    assert_eq!(group.consumer.state(), State::Empty);
    assert_eq!(group.tell(at("a", 1)), "UnknownMemberId");
    assert_eq!(group.tell(at("a", -1)), "UnknownMemberId");
    assert_eq!(group.tell(join("a", &["t"])), "3 [1:{0, 1, 2}]", "epochs go on");
}

#[test]
fn a_second_member_waits_for_what_is_revoked() {
    let mut group = Group::on([("t", 4)]);
    assert_eq!(group.tell(join("a", &["t"])), "1 [1:{0, 1, 2, 3}]");
    assert_eq!(group.tell(join("b", &["t"])), "2 []");
    assert_eq!(group.consumer.state(), State::Reconciling);
    assert_eq!(group.tell(at("a", 1)), "1 [1:{0, 1}]", "to be revoked, in the old epoch");
    assert_eq!(group.tell(at("a", 1)), "1", "not again");
    assert_eq!(group.tell(at("b", 2)), "2", "nothing is free yet");
    assert_eq!(group.tell(owning("a", 1, &[0, 1, 2])), "1", "one is still owned");
    assert_eq!(group.tell(at("b", 2)), "2");
    assert_eq!(group.tell(owning("a", 1, &[0, 1])), "2", "done");
    assert_eq!(group.tell(at("b", 2)), "2 [1:{2, 3}]");
    assert_eq!(group.consumer.state(), State::Stable);
    // An answer was lost: a believes in epoch 1 and owns no more than it may.
    assert_eq!(group.tell(owning("a", 1, &[0, 1])), "2");
    assert_eq!(group.tell(owning("a", 1, &[0, 1, 2])), "FencedMemberEpoch");
    assert_eq!(group.tell(at("a", 1)), "FencedMemberEpoch");
}

#[test]
fn a_member_that_does_not_let_go_is_fenced() {
    let mut group = Group::on([("t", 4)]);
    group.beat(join("a", &["t"])).unwrap();
    group.beat(join("b", &["t"])).unwrap();
    assert_eq!(group.tell(at("a", 1)), "1 [1:{0, 1}]");
    assert_eq!(group.consumer.next_deadline(), Some(group.now + Duration::from_secs(10)));
    group.pass(9);
    assert_eq!(group.tell(at("a", 1)), "1");
    assert_eq!(group.pass(1), ["a"]);
    assert_eq!(group.consumer.state(), State::Assigning);
    assert_eq!(group.tell(at("a", 1)), "UnknownMemberId");
    assert_eq!(group.tell(at("b", 2)), "3 [1:{0, 1, 2, 3}]");
}

#[test]
fn a_silent_member_is_fenced() {
    let mut group = Group::on([("t", 2)]);
    group.beat(join("a", &["t"])).unwrap();
    group.pass(40);
    group.beat(at("a", 1)).unwrap();
    assert_eq!(group.pass(44), [""; 0]);
    assert_eq!(group.pass(1), ["a"]);
    assert_eq!(group.consumer.state(), State::Empty);
    assert_eq!(group.consumer.next_deadline(), None);
}

#[test]
fn topics_come_and_go() {
    let mut group = Group::on([("t", 1)]);
    assert_eq!(group.tell(join("a", &["t", "u"])), "1 [1:{0}]");
    group.topics.0.insert("u".to_owned(), (2, 1));
    assert_eq!(group.tell(at("a", 1)), "2 [1:{0} 2:{0}]");
    group.topics.0.insert("u".to_owned(), (2, 2));
    assert_eq!(group.tell(at("a", 2)), "3 [1:{0} 2:{0, 1}]");
    group.topics.0.insert("other".to_owned(), (3, 2));
    assert_eq!(group.tell(at("a", 3)), "3", "nobody subscribes to it");
    // Deleted and made again: another topic of that name, and the old partitions are to be revoked first.
    group.topics.0.insert("u".to_owned(), (4, 1));
    assert_eq!(group.tell(at("a", 3)), "3 [1:{0}]");
    assert_eq!(group.tell(owning("a", 3, &[0])), "4 [1:{0} 4:{0}]");
}

#[test]
fn patterns() {
    let regex = |id: &str, epoch, regex: &str| Heartbeat { topic_regex: Some(regex.to_owned()), ..at(id, epoch) };
    let mut group = Group::on([("orders", 1), ("orders.eu", 1)]);
    assert_eq!(group.tell(Heartbeat { topic_regex: Some("orders.*".into()), ..join("a", &[]) }), "1 [1:{0} 2:{0}]");
    assert_eq!(group.tell(regex("a", 1, "(")), "InvalidRegularExpression");
    assert_eq!(group.tell(at("a", 1)), "1", "nothing has changed");
    group.topics.0.insert("orders.us".to_owned(), (3, 1));
    assert_eq!(group.tell(at("a", 1)), "2 [1:{0} 2:{0} 3:{0}]");
    assert!(group.consumer.subscribes_to("orders.us") && !group.consumer.subscribes_to("other"));
    assert_eq!(group.tell(regex("a", 2, "orders")), "2 [1:{0}]");
    assert_eq!(group.tell(owning("a", 2, &[0])), "3");
    assert_eq!(group.consumer.patterns.len(), 1, "the one that nobody uses is forgotten");
    assert_eq!(group.tell(regex("a", 3, "")), "3 []");
    assert_eq!(group.tell(Heartbeat { owned: Some(Assignment::new()), ..at("a", 3) }), "4");
}

#[test]
fn static_members() {
    let member = |id, epoch| as_instance(at(id, epoch), "i");
    let joining = |id| as_instance(join(id, &["t"]), "i");
    let mut group = Group::on([("t", 4)]);
    assert_eq!(group.tell(joining("a")), "1 [1:{0, 1, 2, 3}]");
    assert_eq!(group.tell(joining("b")), "UnreleasedInstanceId");
    assert_eq!(group.tell(member("b", 1)), "FencedInstanceId");
    assert_eq!(group.tell(member("b", -1)), "FencedInstanceId");
    assert_eq!(group.tell(as_instance(at("a", 1), "other")), "UnknownMemberId");
    assert_eq!(group.tell(member("a", -2)), "-2");
    assert_eq!(group.tell(member("a", 1)), "FencedMemberEpoch");
    assert_eq!(group.tell(join("c", &["t"])), "2 []");
    // What it owns waits for it, what it was to give up does not.
    assert_eq!(group.tell(joining("b")), "2 [1:{0, 1}]");
    assert_eq!(group.tell(at("a", -1)), "UnknownMemberId", "another one now");
    assert_eq!(group.tell(at("c", 2)), "2 [1:{2, 3}]");
    // It leaves for now and does not come back in time.
    assert_eq!(group.tell(member("b", -2)), "-2");
    group.pass(30);
    assert_eq!(group.tell(at("c", 2)), "2");
    assert_eq!(group.pass(16), ["b"]);
    assert_eq!(group.tell(at("c", 2)), "3 [1:{0, 1, 2, 3}]");
    assert_eq!(group.tell(joining("d")), "4 []");
    assert_eq!(group.tell(member("d", -1)), "-1");
    assert_eq!(group.tell(member("d", -1)), "UnknownMemberId");
}

#[test]
fn a_static_member_that_is_away_revokes_nothing_more() {
    let mut group = Group::on([("t", 4)]);
    assert_eq!(group.tell(as_instance(join("a", &["t"]), "i")), "1 [1:{0, 1, 2, 3}]");
    assert_eq!(group.tell(join("c", &["t"])), "2 []");
    assert_eq!(group.tell(as_instance(at("a", 1), "i")), "1 [1:{0, 1}]");
    assert_eq!(group.tell(as_instance(at("a", -2), "i")), "-2");
    assert_eq!(group.tell(at("c", 2)), "2 [1:{2, 3}]");
    assert_eq!(group.consumer.next_deadline(), Some(group.now + Duration::from_secs(45)), "its session alone");
}

#[test]
fn a_member_has_one_instance_id() {
    let mut group = Group::on([("t", 1)]);
    for instance in ["i", "j", "k"] {
        assert_eq!(group.tell(as_instance(join("a", &["t"]), instance)), "1 [1:{0}]");
    }
    assert_eq!(group.consumer.instances.len(), 1);
    assert_eq!(group.tell(as_instance(at("a", 1), "i")), "UnknownMemberId");
}

#[test]
fn a_group_has_a_largest_size() {
    let mut group = Group::on([("t", 4)]);
    for id in ["a", "b", "c"] {
        group.beat(join(id, &["t"])).unwrap();
    }
    assert_eq!(group.tell(join("d", &["t"])), "GroupMaxSizeReached");
    assert_eq!(group.tell(join("c", &["t"])), "3 []", "a member may join again");
    group.beat(at("a", -1)).unwrap();
    assert_eq!(group.tell(join("d", &["t"])), "5 [1:{0}]");
}

#[test]
fn a_group_has_a_largest_memory() {
    let mut group = Group::on([("t", 4)]);
    group.consumer = Consumer::new(Budget::new(10_000));
    assert_eq!(group.tell(join("a", &["t"])), "1 [1:{0, 1, 2, 3}]");
    let names: Vec<String> = (0..200).map(|nth| format!("topic-{nth}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(group.tell(join("b", &names)), "GroupMaxSizeReached");
    assert_eq!(group.tell(at("b", 2)), "UnknownMemberId");
    assert_eq!(group.tell(at("a", 1)), "3", "the others go on");
}

#[test]
fn the_assignor_with_most_votes() {
    let voting = |id, assignor: &str| Heartbeat { assignor: Some(assignor.to_owned()), ..join(id, &["t"]) };
    let mut group = Group::on([("t", 4)]);
    assert_eq!(group.consumer.assignor_name(), "uniform");
    group.beat(voting("a", "range")).unwrap();
    assert_eq!(group.consumer.assignor_name(), "range");
    group.beat(voting("b", "uniform")).unwrap();
    assert_eq!(group.consumer.assignor_name(), "uniform", "the default of two with as many votes");
}

#[test]
fn who_may_commit() {
    let mut group = Group::on([("t", 2)]);
    let consumer = &group.consumer;
    assert_eq!(consumer.check_commit("", -1), Ok(()));
    assert_eq!(consumer.check_commit("a", 1), Err(ResponseError::UnknownMemberId));
    group.beat(join("a", &["t"])).unwrap();
    let table: &[(&str, i32, Result<(), ResponseError>)] = &[
        ("a", 1, Ok(())),
        ("a", 0, Err(ResponseError::StaleMemberEpoch)),
        ("a", 2, Err(ResponseError::StaleMemberEpoch)),
        ("b", 1, Err(ResponseError::UnknownMemberId)),
        ("", -1, Err(ResponseError::UnknownMemberId)),
    ];
    for (id, epoch, expected) in table {
        assert_eq!(group.consumer.check_commit(id, *epoch), *expected, "{id} {epoch}");
        assert_eq!(group.consumer.check_fetch(Some(id), *epoch), *expected, "{id} {epoch}");
    }
    assert_eq!(group.consumer.check_fetch(None, -1), Ok(()));
}

/// A member as it sees itself: it consumes `owned` until it revokes, and learns of everything by answers alone.
#[derive(Debug, Default)]
struct Believer {
    id: String,
    epoch: i32,
    topics: BTreeSet<String>,
    owned: Assignment,
    /// What it is to own; it revokes at once but takes up the rest only when nothing is left to revoke.
    target: Option<Assignment>,
    /// Something went wrong: the next heartbeat says everything.
    full: bool,
    /// When its partitions are nobody's for sure, as it hears nothing more.
    silent: bool,
}

impl Believer {
    fn heartbeat(&self) -> Heartbeat {
        let full = self.epoch == 0 || self.full;
        Heartbeat {
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout: full.then_some(Duration::from_secs(10)),
            topic_names: Some(self.topics.clone()),
            owned: Some(self.owned.clone()),
            ..Heartbeat::default()
        }
    }

    fn hear(&mut self, answer: Result<Answer, Refusal>, seed: u64) {
        match answer {
            Ok(answer) => {
                self.full = false;
                self.epoch = answer.member_epoch;
                self.target = answer.assignment.or(self.target.take());
            }
            Err(refusal) => {
                let fenced = [ResponseError::FencedMemberEpoch, ResponseError::UnknownMemberId];
                assert!(fenced.contains(&refusal.error), "seed {seed}: {refusal:?}");
                *self = Self { id: self.id.clone(), topics: self.topics.clone(), ..Self::default() };
            }
        }
    }

    /// Revokes what it is to give up; only then takes up what is new, as the Java consumer does. Nothing is taken up
    /// while an answer is missing: it may have taken back what this member has said not to own yet.
    fn reconcile(&mut self) {
        let Some(target) = self.target.take() else { return };
        if is_within(&self.owned, &target) && !self.full {
            self.owned = target;
        } else {
            self.owned.retain(|topic, list| {
                list.retain(|partition| target.get(topic).is_some_and(|target| target.contains(partition)));
                !list.is_empty()
            });
            self.target = Some(target);
        }
    }
}

/// Members that come, go, change their minds and lose requests and answers.
struct World {
    random: fastrand::Rng,
    seed: u64,
    group: Group,
    members: Vec<Believer>,
    born: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut group = Group::on([("t", 5), ("u", 7), ("v", 1)]);
        group.limits.max_members = 8;
        Self { random: fastrand::Rng::with_seed(seed), seed, group, members: Vec::new(), born: 0 }
    }

    fn some_topics(&mut self) -> BTreeSet<String> {
        ["t", "u", "v"].into_iter().filter(|_| self.random.u8(..10) < 7).map(str::to_owned).collect()
    }

    fn step(&mut self) {
        match self.random.u8(..20) {
            0 if self.members.len() < 6 => {
                self.born += 1;
                let topics = self.some_topics();
                self.members.push(Believer { id: format!("m{}", self.born), topics, ..Believer::default() });
            }
            1 if !self.members.is_empty() => {
                let leaving = self.members.swap_remove(self.random.usize(..self.members.len()));
                // Its farewell may be lost: then the session ends it.
                if self.random.bool() {
                    let _ = self.group.beat(at(&leaving.id, -1));
                }
            }
            2 if !self.members.is_empty() => {
                let changed = self.random.usize(..self.members.len());
                self.members[changed].topics = self.some_topics();
            }
            3 if !self.members.is_empty() => {
                let silenced = self.random.usize(..self.members.len());
                self.members[silenced].silent ^= true;
            }
            4 => drop(self.group.topics.0.insert("u".to_owned(), (2, 7 + self.random.i32(0..4)))),
            _ => self.everybody_beats(true),
        }
        self.nobody_shares();
    }

    fn everybody_beats(&mut self, lossy: bool) {
        self.group.now += Duration::from_secs(self.random.u64(1..4));
        let fenced = self.group.consumer.handle_timeout(self.group.now);
        // Whoever hears nothing for a session gives up its partitions by itself (KIP-848's clients do so).
        self.members.iter_mut().filter(|member| fenced.contains(&member.id)).for_each(|member| member.owned.clear());
        for at in 0..self.members.len() {
            let lost = lossy && self.random.u8(..10) == 0;
            let member = &mut self.members[at];
            if member.silent || lost && self.random.bool() {
                member.full |= lost;
                continue;
            }
            let answer = self.group.beat(member.heartbeat());
            match lost {
                true => member.full = true,
                false => member.hear(answer, self.seed),
            }
            if self.random.u8(..4) > 0 {
                member.reconcile();
            }
        }
    }

    fn nobody_shares(&self) {
        let mut seen = BTreeMap::new();
        for member in &self.members {
            for partition in member.owned.iter().flat_map(|(topic, list)| list.iter().map(move |it| (topic, it))) {
                let other = seen.insert(partition, &member.id);
                assert_eq!(other, None, "seed {}: {} and this own {partition:?}", self.seed, member.id);
            }
        }
    }

    /// Everybody is heard again and nothing is lost any more: all is owned, evenly if all subscribe alike.
    fn settle(&mut self, alike: bool) {
        for member in &mut self.members {
            member.silent = false;
            if alike {
                member.topics = ["t", "u"].map(str::to_owned).into();
            }
        }
        for _ in 0..30 {
            self.everybody_beats(false);
            self.nobody_shares();
        }
        let seed = self.seed;
        assert!(self.members.is_empty() || self.group.consumer.state() == State::Stable, "seed {seed}");
        let wanted = |(name, (_, size)): (&String, &(u128, i32))| {
            if self.members.iter().any(|member| member.topics.contains(name)) { *size as usize } else { 0 }
        };
        let all: usize = self.group.topics.0.iter().map(wanted).sum();
        let loads: Vec<usize> = self.members.iter().map(|it| it.owned.values().map(BTreeSet::len).sum()).collect();
        assert_eq!(loads.iter().sum::<usize>(), all, "seed {seed}: all is owned");
        if let (true, Some(most), Some(least)) = (alike, loads.iter().max(), loads.iter().min()) {
            assert!(most - least <= 1, "seed {seed}: {loads:?}");
        }
    }
}

#[test]
fn random_groups_under_loss() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        world.settle(false);
        world.settle(true);
    }
}
