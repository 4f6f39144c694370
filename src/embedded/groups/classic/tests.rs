//! The classic machine alone: stories told with a clock that these tests move, and tables of who is told what.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use kafka_protocol::ResponseError::{self, *};
use tokio::{
    sync::oneshot::{self, Receiver},
    time::Instant,
};

use super::{super::budget::Budget, *};

mod static_members;

/// A group, its clock, and the members of these tests, who speak version 3 (no KIP-394) unless they say more.
struct Room {
    group: Classic,
    budget: Budget,
    now: Instant,
}

type Joining = Receiver<Result<Joined, Refused>>;
type Syncing = Receiver<Result<Synced, ResponseError>>;

impl Room {
    fn new() -> Self {
        Self::with(100, Duration::ZERO)
    }

    fn with(max_size: usize, initial_rebalance_delay: Duration) -> Self {
        let budget = Budget::new(1 << 20);
        let limits = Limits { max_size, initial_rebalance_delay };
        Self { group: Classic::new(limits, budget.clone()), budget, now: Instant::now() }
    }

    fn join(&mut self, join: Join) -> Joining {
        let (reply, waiting) = oneshot::channel();
        self.group.join(join, self.now, reply);
        waiting
    }

    fn sync(&mut self, member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> Syncing {
        let (reply, waiting) = oneshot::channel();
        let assignments = assignments.iter().map(|(id, it)| ((*id).to_owned(), Bytes::copy_from_slice(it.as_bytes())));
        let sync =
            Sync { sender: member(member_id, generation), assignments: assignments.collect(), ..Sync::default() };
        self.group.sync(sync, self.now, reply);
        waiting
    }

    fn heartbeat(&mut self, member_id: &str, generation: i32) -> Result<(), ResponseError> {
        self.group.heartbeat(&member(member_id, generation), self.now)
    }

    /// Lets time pass, and every deadline on the way be met.
    fn wait(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        for _ in 0..1000 {
            match self.group.deadline().filter(|deadline| *deadline <= until) {
                Some(deadline) => self.now = self.now.max(deadline),
                None => {
                    self.now = until;
                    return;
                }
            }
            self.group.handle_timeout(self.now);
        }
        panic!("deadlines come without end: {:?}", self.group);
    }

    /// A stable group of members with these client ids, the first one leading. Returns their member ids.
    fn stable<const N: usize>(clients: [&str; N]) -> (Self, [String; N]) {
        let mut room = Self::new();
        let ids = room.settle(clients.map(new));
        (room, ids)
    }

    /// Lets members join, and everybody be in the group at the end. Returns their member ids.
    fn settle<const N: usize>(&mut self, joins: [Join; N]) -> [String; N] {
        let mut known = BTreeMap::<String, Join>::new();
        let ids = joins.map(|join| {
            let newcomer = self.join(join.clone());
            let others: Vec<_> = known.iter().map(|(id, join)| self.join(again(join, id))).collect();
            let joined = told(newcomer).unwrap();
            others.into_iter().for_each(|other| assert_eq!(told(other).unwrap().generation, joined.generation));
            known.insert(joined.member_id.clone(), join);
            joined.member_id
        });
        let generation = self.group.generation();
        for id in ids.iter().rev() {
            drop(self.sync(id, generation, &[]));
        }
        assert_eq!(self.group.state(), "Stable");
        ids
    }
}

/// A new member of the client `client_id`.
fn new(client_id: &str) -> Join {
    Join {
        client_id: client_id.to_owned(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscribed("orders"))],
        ..Join::default()
    }
}

/// A static member.
fn fixed(instance: &str) -> Join {
    Join { group_instance_id: Some(instance.to_owned()), ..new("fixed") }
}

/// The same from a member that knows its id.
fn again(join: &Join, member_id: &str) -> Join {
    Join { member_id: member_id.to_owned(), ..join.clone() }
}

fn able(client_id: &str, protocols: &[&str]) -> Join {
    let protocols = protocols.iter().map(|name| ((*name).to_owned(), Bytes::new()));
    Join { protocols: protocols.collect(), ..new(client_id) }
}

/// A consumer's metadata, version 0.
fn subscribed(topic: &str) -> Bytes {
    let mut metadata = vec![0, 0, 0, 0, 0, 1, 0, topic.len() as u8];
    metadata.extend(topic.as_bytes());
    metadata.into()
}

fn member(member_id: &str, generation: i32) -> Membership {
    Membership { member_id: member_id.to_owned(), generation_or_epoch: generation, group_instance_id: None }
}

/// The answer that has come.
#[track_caller]
fn told<T, E: std::fmt::Debug>(mut waiting: Receiver<Result<T, E>>) -> Result<T, E> {
    waiting.try_recv().expect("an answer")
}

#[track_caller]
fn refused(waiting: Joining) -> (ResponseError, String) {
    let refused = told(waiting).expect_err("no generation");
    (refused.error, refused.member_id)
}

fn waits<T>(waiting: &mut Receiver<T>) -> bool {
    matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

#[test]
fn two_members_go_through_two_generations() {
    let mut room = Room::new();
    let first = told(room.join(new("a"))).unwrap();
    assert_eq!((first.generation, &first.leader, first.members.len()), (1, &first.member_id, 1), "alone, and leads");
    let synced = told(room.sync(&first.member_id, 1, &[(&first.member_id, "all")])).unwrap();
    assert_eq!((synced.assignment.as_ref(), synced.protocol_name.as_str()), (&b"all"[..], "range"));

    let mut second = room.join(new("b"));
    assert!(waits(&mut second), "the first is to join again");
    assert_eq!(room.heartbeat(&first.member_id, 1), Err(RebalanceInProgress));
    let leader = told(room.join(again(&new("a"), &first.member_id))).unwrap();
    let follower = told(second).unwrap();
    assert_eq!((leader.generation, follower.generation), (2, 2));
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0), "only the leader needs to know");
    assert_eq!((&leader.leader, &follower.leader), (&first.member_id, &first.member_id));

    let (a, b) = (leader.member_id, follower.member_id);
    let mut early = room.sync(&b, 2, &[]);
    assert!(waits(&mut early), "the leader has not decided");
    assert_eq!(told(room.sync(&a, 2, &[(&a, "half"), (&b, "rest"), ("nobody", "?")])).unwrap().assignment, "half");
    assert_eq!(told(early).unwrap().assignment, "rest");
    assert_eq!(told(room.sync(&b, 2, &[])).unwrap().assignment, "rest", "whoever asks again is told again");
    let described = room.group.describe();
    assert!(described.iter().all(|it| it.metadata == subscribed("orders") && !it.assignment.is_empty()));
    assert_eq!((room.heartbeat(&a, 2), room.heartbeat(&b, 2)), (Ok(()), Ok(())));
}

#[test]
fn who_does_not_join_again_in_time_is_out_and_who_does_not_live_is_out_sooner() {
    let (mut room, [a, b]) = Room::stable(["a", "b"]);
    let mut third = room.join(new("c"));
    for _ in 0..6 {
        room.wait(9);
        // It lives, but does not do what it is told.
        assert_eq!(room.heartbeat(&a, 2), Err(RebalanceInProgress));
        let _ = room.heartbeat(&b, 2);
    }
    assert!(waits(&mut third), "54 of the 60 seconds have passed");
    room.wait(6);
    let joined = told(third).unwrap();
    assert_eq!((joined.generation, joined.members.len(), &joined.leader), (3, 1, &joined.member_id));
    assert_eq!((room.heartbeat(&a, 2), room.heartbeat(&b, 3)), (Err(UnknownMemberId), Err(UnknownMemberId)));

    let (mut room, [_, _]) = Room::stable(["a", "b"]);
    let third = room.join(new("c"));
    room.wait(10);
    assert_eq!(told(third).unwrap().members.len(), 1, "both sessions have ended: there is nobody to wait for");
}

#[test]
fn a_new_member_waits_five_minutes_for_its_first_generation_and_no_longer() {
    let mut room = Room::new();
    let [a] = room.settle([Join { rebalance_timeout: Duration::from_secs(600), ..new("a") }]);
    let mut second = room.join(new("b"));
    for _ in 0..37 {
        room.wait(8);
        assert_eq!(room.heartbeat(&a, 1), Err(RebalanceInProgress));
    }
    assert!(waits(&mut second), "296 seconds, though its session timeout is 10");
    room.wait(4);
    assert_eq!(refused(second), (UnknownMemberId, String::new()));
}

#[test]
fn a_group_in_which_everybody_lives_stays_as_it_is() {
    let (mut room, [a, b]) = Room::stable(["a", "b"]);
    for _ in 0..100 {
        room.wait(9);
        assert_eq!((room.heartbeat(&a, 2), room.heartbeat(&b, 2)), (Ok(()), Ok(())));
    }
}

#[test]
fn a_session_that_ends_makes_the_others_rebalance() {
    let (mut room, [a, b]) = Room::stable(["a", "b"]);
    room.wait(9);
    assert_eq!(room.heartbeat(&b, 2), Ok(()));
    room.wait(2);
    assert_eq!(room.heartbeat(&a, 2), Err(UnknownMemberId), "silent for more than 10 seconds");
    assert_eq!(room.heartbeat(&b, 2), Err(RebalanceInProgress));
    let joined = told(room.join(again(&new("b"), &b))).unwrap();
    assert_eq!((joined.generation, joined.leader), (3, b));
    room.wait(3600);
    assert_eq!((room.group.state(), room.group.generation(), room.budget.used()), ("Empty", 4, 0));
    assert_eq!(room.group.deadline(), None);
}

#[test]
fn a_new_member_is_told_its_id_first() {
    let mut room = Room::new();
    let asked = Join { needs_member_id: true, ..new("a") };
    let (error, id) = refused(room.join(asked.clone()));
    assert_eq!(error, MemberIdRequired);
    assert!(id.starts_with("a-"), "{id} begins with the client id");
    assert_eq!(room.group.state(), "Empty");
    let joined = told(room.join(again(&asked, &id))).unwrap();
    assert_eq!((joined.generation, &joined.member_id), (1, &id));
    drop(room.sync(&id, 1, &[]));

    let (_, unused) = refused(room.join(asked.clone()));
    let other = refused(room.join(asked.clone())).1;
    let mut leader = room.join(again(&asked, &id));
    assert!(waits(&mut leader), "two ids were given out, and may come");
    let mut other = room.join(again(&asked, &other));
    assert!(waits(&mut other), "one is still missing");
    room.wait(10);
    assert_eq!(told(leader).unwrap().members.len(), 2);
    assert_eq!(told(other).unwrap().generation, 2);
    assert_eq!(refused(room.join(again(&asked, &unused))), (UnknownMemberId, unused), "too late");
}

#[test]
fn an_empty_group_waits_a_while_for_more_members() {
    let mut room = Room::with(100, Duration::from_secs(3));
    let mut first = room.join(new("a"));
    room.wait(2);
    let mut second = room.join(new("b"));
    room.wait(2);
    assert!(waits(&mut first) && waits(&mut second), "somebody came: three seconds more");
    room.wait(2);
    assert_eq!((told(first).unwrap().generation, told(second).unwrap().generation), (1, 1), "one rebalance for both");

    // However many come, the rebalance timeout is the end.
    let mut room = Room::with(100, Duration::from_secs(3));
    let mut first = room.join(new("a"));
    for client in 0..29 {
        drop(room.join(new(&client.to_string())));
        room.wait(2);
    }
    assert!(waits(&mut first), "58 seconds");
    room.wait(2);
    assert_eq!(told(first).unwrap().members.len(), 30);
}

#[test]
fn who_joins_but_never_syncs_is_out() {
    let (mut room, [a, b]) = Room::stable(["a", "b"]);
    let leader = room.join(again(&new("a"), &a));
    assert!(told(room.join(again(&new("b"), &b))).is_ok());
    assert!(told(leader).is_ok());
    assert!(told(room.sync(&a, 3, &[])).is_ok());
    for _ in 0..7 {
        room.wait(9);
        // It sends heartbeats all the time.
        let _ = (room.heartbeat(&a, 3), room.heartbeat(&b, 3));
    }
    assert_eq!(room.heartbeat(&b, 3), Err(UnknownMemberId));
    assert_eq!(room.heartbeat(&a, 3), Err(RebalanceInProgress));
}

#[test]
fn a_member_that_asks_again_gets_what_it_has_missed_and_disturbs_nobody() {
    let (mut room, [a, b]) = Room::stable(["a", "b"]);
    let missed = told(room.join(again(&new("b"), &b))).unwrap();
    assert_eq!((missed.generation, missed.members.len(), room.group.state()), (2, 0, "Stable"));
    let mut leader = room.join(again(&new("a"), &a));
    assert!(waits(&mut leader), "a leader that joins wants a rebalance: partitions may have changed");
    drop(room.join(again(&new("b"), &b)));
    let missed = told(room.join(again(&new("a"), &a))).unwrap();
    assert_eq!((missed.generation, missed.members.len()), (3, 2), "still assigning: the same again");
    let changed = Join { protocols: vec![("range".to_owned(), subscribed("other"))], ..again(&new("b"), &b) };
    let mut changed = room.join(changed);
    assert!(waits(&mut changed), "what the leader was told is no longer true");
    assert_eq!(room.group.state(), "PreparingRebalance");
}

#[test]
fn what_each_state_says_to_whom() {
    let (stable, [a, b]) = Room::stable(["a", "b"]);
    let (mut preparing, [pa, _]) = Room::stable(["a", "b"]);
    let _joining = preparing.join(again(&new("a"), &pa));
    let (mut completing, [ca, cb]) = Room::stable(["a", "b"]);
    drop(completing.join(again(&new("a"), &ca)));
    drop(completing.join(again(&new("b"), &cb)));
    let empty = Room::new();
    // Room, its state, a member of it, and what that one is told: heartbeat, sync, commit, transactional commit.
    let told_to_members = [
        (
            empty,
            "Empty",
            "x",
            0,
            [Err(UnknownMemberId), Err(UnknownMemberId), Err(UnknownMemberId), Err(UnknownMemberId)],
        ),
        (stable, "Stable", &b, 2, [Ok(()), Ok(()), Ok(()), Ok(())]),
        (preparing, "PreparingRebalance", &pa, 2, [Err(RebalanceInProgress), Err(RebalanceInProgress), Ok(()), Ok(())]),
        (completing, "CompletingRebalance", &ca, 3, [Ok(()), Ok(()), Err(RebalanceInProgress), Ok(())]),
    ];
    for (mut room, state, id, generation, [heartbeat, sync, commit, transactional]) in told_to_members {
        assert_eq!(room.group.state(), state);
        assert_eq!(room.heartbeat(id, generation), heartbeat, "heartbeat in {state}");
        for (sender, told) in [
            (member(id, generation), commit),
            (member("nobody", generation), Err(UnknownMemberId)),
            (member("", -1), if state == "Empty" { Ok(()) } else { Err(UnknownMemberId) }),
        ] {
            assert_eq!(room.group.check_commit(&sender, Commit::Plain(8)), told, "commit of {sender:?} in {state}");
        }
        let sender = member(id, generation);
        assert_eq!(room.group.check_commit(&sender, Commit::Transactional), transactional, "in {state}");
        assert_eq!(room.group.check_commit(&member("", -1), Commit::Transactional), Ok(()), "older producers, {state}");
        if state != "Empty" {
            let late = Err(IllegalGeneration);
            assert_eq!(room.heartbeat(id, generation - 1), late, "{state}");
            assert_eq!(told(room.sync(id, generation + 1, &[])).map(|_| ()), late, "{state}");
            assert_eq!(room.group.check_commit(&member(id, 0), Commit::Transactional), late, "{state}");
        }
        assert_eq!(told(room.sync(id, generation, &[])).map(|_| ()), sync, "sync in {state}");
    }
    let _ = a;
}

#[test]
fn who_may_join_whom() {
    /// What it is about, the assignors of those who are there, those of the one who comes, and which is agreed on.
    type Case<'a> = (&'a str, &'a [&'a [&'a str]], &'a [&'a str], Result<&'a str, ResponseError>);
    let cases: [Case<'_>; 6] = [
        ("no assignor at all", &[], &[], Err(InconsistentGroupProtocol)),
        ("the first of a new group", &[], &["range", "sticky"], Ok("range")),
        ("nothing in common", &[&["range"]], &["sticky"], Err(InconsistentGroupProtocol)),
        (
            "in common with one, not with all",
            &[&["range", "sticky"], &["range"]],
            &["sticky"],
            Err(InconsistentGroupProtocol),
        ),
        (
            "what all have, most prefer",
            &[&["range", "sticky"], &["sticky", "range"]],
            &["sticky", "range"],
            Ok("sticky"),
        ),
        ("as many for each: the first by name", &[&["range", "sticky"]], &["sticky", "range"], Ok("range")),
    ];
    for (what, present, comes, expected) in cases {
        let mut room = Room::new();
        let mut ids = Vec::<(String, Join)>::new();
        for (index, protocols) in present.iter().enumerate() {
            let join = able(&index.to_string(), protocols);
            let joining = room.join(join.clone());
            ids.iter().for_each(|(id, join)| drop(room.join(again(join, id))));
            ids.push((told(joining).unwrap().member_id, join));
        }
        let joining = room.join(able("x", comes));
        ids.iter().for_each(|(id, join)| drop(room.join(again(join, id))));
        let told = told(joining).map(|joined| joined.protocol_name).map_err(|refused| refused.error);
        assert_eq!(told.as_deref().map_err(|error| *error), expected, "{what}");
    }
    let (mut room, [_]) = Room::stable(["a"]);
    let connect = Join { protocol_type: "connect".to_owned(), ..new("b") };
    assert_eq!(refused(room.join(connect)).0, InconsistentGroupProtocol, "another kind of group");
}

#[test]
fn those_who_leave_are_told_one_by_one() {
    let (mut room, [a, b, c]) = Room::stable(["a", "b", "c"]);
    let (_, pending) = refused(room.join(Join { needs_member_id: true, ..new("d") }));
    let leaving = [a.as_str(), "nobody", "", &pending, &b].map(|id| (id.to_owned(), None));
    let left = room.group.leave(&leaving, room.now);
    assert_eq!(left, [Ok(()), Err(UnknownMemberId), Err(UnknownMemberId), Ok(()), Ok(())]);
    assert_eq!(room.heartbeat(&c, 3), Err(RebalanceInProgress));
    assert_eq!(room.group.leave(&[(c, None)], room.now), [Ok(())]);
    assert_eq!((room.group.state(), room.group.generation(), room.budget.used()), ("Empty", 4, 0));
    assert_eq!(told(room.join(new("e"))).unwrap().generation, 5, "generations go on");
}

#[test]
fn an_id_that_nobody_has_joined_with_disturbs_nobody_when_it_goes() {
    let asks = Join { needs_member_id: true, session_timeout: Duration::from_secs(5), ..new("c") };
    type Going = fn(&mut Room, &str);
    let ways: [(&str, Going); 3] = [
        ("leaves", |room, id| assert_eq!(room.group.leave(&[(id.to_owned(), None)], room.now), [Ok(())])),
        ("is removed", |room, id| assert!(room.group.expire(id, room.now))),
        ("is too late", |room, _| room.wait(6)),
    ];
    for (how, goes) in ways {
        let (mut room, [a, b]) = Room::stable(["a", "b"]);
        let unused = refused(room.join(asks.clone())).1;
        room.wait(2);
        assert_eq!((room.heartbeat(&a, 2), room.heartbeat(&b, 2)), (Ok(()), Ok(())));
        goes(&mut room, &unused);
        assert_eq!((room.group.state(), room.group.pending.len()), ("Stable", 0), "{how}");
        assert_eq!((room.heartbeat(&a, 2), room.heartbeat(&b, 2)), (Ok(()), Ok(())), "{how}");

        let unused = refused(room.join(asks.clone())).1;
        let mut leader = room.join(again(&new("a"), &a));
        let other = room.join(again(&new("b"), &b));
        room.wait(2);
        assert!(waits(&mut leader), "the id was given out, and may come");
        goes(&mut room, &unused);
        assert_eq!((told(leader).unwrap().generation, told(other).unwrap().generation), (3, 3), "{how}");
        let unused = refused(room.join(asks.clone())).1;
        goes(&mut room, &unused);
        assert_eq!(room.group.state(), "CompletingRebalance", "{how}");
    }
    let mut room = Room::with(100, Duration::from_secs(3));
    let mut first = room.join(new("a"));
    let unused = refused(room.join(asks)).1;
    assert_eq!(room.group.leave(&[(unused, None)], room.now), [Ok(())]);
    assert!(waits(&mut first), "a new group has its time all the same");
}

#[test]
fn a_group_is_as_large_as_is_allowed() {
    let mut room = Room::with(2, Duration::ZERO);
    let [a, _b] = room.settle(["a", "b"].map(new));
    assert_eq!(refused(room.join(new("c"))), (GroupMaxSizeReached, String::new()));
    // In a rebalance the first two get the places.
    let mut leader = room.join(again(&new("a"), &a));
    let mut other = room.join(new("c"));
    assert!(waits(&mut leader) && waits(&mut other));
    assert_eq!(refused(room.join(new("d"))).0, GroupMaxSizeReached);

    let mut room = Room::new();
    room.group.budget = Budget::new(2000);
    let large = |size| Join { protocols: vec![("range".to_owned(), vec![0; size].into())], ..new("a") };
    assert_eq!(refused(room.join(large(2000))).0, GroupMaxSizeReached);
    let id = told(room.join(large(900))).unwrap().member_id;
    let assignment = "x".repeat(1000);
    assert_eq!(told(room.sync(&id, 1, &[(&id, &assignment)])), Err(GroupMaxSizeReached));
    assert!(told(room.sync(&id, 1, &[(&id, "less")])).is_ok(), "nothing of the refused one stays");
    assert!(room.group.expire(&id, room.now));
    assert_eq!(room.group.budget.used(), 0);
}

#[test]
fn a_join_whose_client_has_gone_leaves_nothing_behind() {
    let (mut room, [a]) = Room::stable(["a"]);
    drop(room.join(new("b")));
    let joined = told(room.join(again(&new("a"), &a))).unwrap();
    assert_eq!(joined.members.len(), 2, "nobody knows yet that it has gone");
    assert!(told(room.sync(&a, 2, &[])).is_ok());
    room.wait(9);
    assert_eq!(room.heartbeat(&a, 2), Ok(()));
    room.wait(1);
    assert_eq!(room.heartbeat(&a, 2), Err(RebalanceInProgress), "its session has ended");
    assert_eq!(room.group.describe().len(), 1);
}

#[test]
fn subscriptions_are_read_as_far_as_they_can_be() {
    let read = |metadata: &[u8]| super::member::subscription(Bytes::copy_from_slice(metadata));
    let whole = subscribed("orders");
    assert_eq!(read(&whole).unwrap().into_iter().collect::<Vec<_>>(), ["orders"]);
    assert!(read(&[&whole[..], b"whatever newer versions have"].concat()).is_some());
    for length in 0..whole.len() {
        assert_eq!(read(&whole[..length]), None, "cut to {length} bytes");
    }
    for (what, metadata) in [
        ("a negative version", &b"\xff\xff\0\0\0\0"[..]),
        ("more topics than bytes", b"\0\0\x7f\xff\xff\xff\0\x01a"),
        ("a negative length", b"\0\0\0\0\0\x01\xff\xff"),
        ("no text", b"\0\0\0\0\0\x01\0\x01\xff"),
    ] {
        assert_eq!(read(metadata), None, "{what}");
    }
    assert_eq!(read(b"\0\0\xff\xff\xff\xff").map(|topics| topics.len()), Some(0), "null is nothing");
}

/// Whatever clients do, the group stays sound: generations grow, deadlines end, and what it keeps is given back.
#[test]
fn a_walk_at_random_leaves_nothing_behind() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut room = Room::with(6, Duration::from_secs(random.u64(0..2) * 3));
        let mut ids = vec!["nobody".to_owned()];
        let mut waiting = Vec::new();
        let mut generation = 0;
        for _ in 0..200 {
            let id = ids[random.usize(..ids.len())].clone();
            let instance =
                ids.iter().position(|it| *it == id).filter(|_| random.bool()).map(|at| format!("i{}", at % 3));
            match random.u8(0..9) {
                0 | 1 => waiting.push(room.join(Join {
                    group_instance_id: instance,
                    needs_member_id: random.bool(),
                    ..new("a")
                })),
                2 | 3 => waiting.push(room.join(Join { group_instance_id: instance, ..again(&new("b"), &id) })),
                4 | 5 => drop(room.sync(&id, room.group.generation(), &[(&id, "some")])),
                6 => _ = room.heartbeat(&id, room.group.generation()),
                7 => drop(room.group.leave(&[(id, instance)], room.now)),
                _ => room.wait(random.u64(..30)),
            }
            waiting.retain_mut(|waiting| match waiting.try_recv() {
                Ok(Ok(Joined { member_id, .. }) | Err(Refused { member_id, .. })) => {
                    if !ids.contains(&member_id) {
                        ids.push(member_id);
                    }
                    false
                }
                Err(oneshot::error::TryRecvError::Empty) => true,
                Err(_) => false,
            });
            assert!(room.group.generation() >= generation, "seed {seed}");
            assert!(room.group.members.len() <= 12 && room.group.pending.len() <= 6, "seed {seed}");
            assert_eq!(room.group.is_empty(), room.group.leader.is_none(), "seed {seed}");
            generation = room.group.generation();
        }
        room.wait(3600);
        assert_eq!((room.group.state(), room.budget.used()), ("Empty", 0), "seed {seed}: {:?}", room.group);
        assert!(waiting.iter_mut().all(|waiting| !waits(waiting)), "seed {seed}: everybody was answered");
    }
}
