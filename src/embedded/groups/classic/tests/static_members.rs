//! Members with a name of their own (KIP-345): they come back without a rebalance, and their former selves are fenced.

use super::*;

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_its_former_self_is_fenced() {
    for can_skip in [false, true] {
        let mut room = Room::new();
        let [a, b] = room.settle([fixed("one"), fixed("two")]);
        let back = told(room.join(Join { can_skip_assignment: can_skip, ..fixed("one") })).unwrap();
        assert_ne!(back.member_id, a);
        assert_eq!((back.generation, room.group.state()), (2, "Stable"), "nobody else noticed");
        // An older client would assign if it were told that it leads; a newer one is told not to (KIP-814).
        let leader = if can_skip { &back.member_id } else { &a };
        assert_eq!((&back.leader, back.skip_assignment), (leader, can_skip));
        assert_eq!(back.members.len(), if can_skip { 2 } else { 0 });

        let former = Membership { group_instance_id: Some("one".to_owned()), ..member(&a, 2) };
        assert_eq!(room.group.heartbeat(&former, room.now), Err(FencedInstanceId));
        assert_eq!(room.heartbeat(&a, 2), Err(UnknownMemberId));
        assert_eq!(refused(room.join(again(&fixed("one"), &a))), (FencedInstanceId, a.clone()));
        assert_eq!(room.group.check_commit(&former, Commit::Plain(8)), Err(FencedInstanceId));
        assert!(told(room.sync(&back.member_id, 2, &[])).is_ok());
        assert_eq!(room.heartbeat(&b, 2), Ok(()));

        // A leave by instance alone is how admin tools remove a static member.
        let left = room.group.leave(&[(String::new(), Some("one".to_owned()))], room.now);
        assert_eq!((left, room.heartbeat(&b, 2)), (vec![Ok(())], Err(RebalanceInProgress)));
        let anew = room.join(fixed("one"));
        assert!(told(room.join(again(&fixed("two"), &b))).is_ok());
        assert_eq!(told(anew).unwrap().generation, 3, "its name is free again");
    }
}

#[test]
fn a_static_member_that_comes_back_while_others_wait_fences_the_waiting_one() {
    let mut room = Room::new();
    let [a, b] = room.settle([fixed("one"), fixed("two")]);
    let first = room.join(again(&fixed("one"), &a));
    let copy = room.join(fixed("one"));
    assert_eq!(refused(first), (FencedInstanceId, a), "the same instance runs twice: the later one wins");
    let b_joined = told(room.join(again(&fixed("two"), &b))).unwrap();
    let copy = told(copy).unwrap();
    assert_eq!((b_joined.generation, copy.generation), (3, 3));
    let mut waiting = room.sync(&b, 3, &[]);
    assert!(waits(&mut waiting));
    let third = room.join(fixed("one"));
    assert_eq!(told(waiting), Err(RebalanceInProgress), "the leader may have assigned to the id that is gone");
    assert!(told(room.join(again(&fixed("two"), &b))).is_ok());
    assert_eq!(told(third).unwrap().generation, 4);
}

#[test]
fn a_static_member_outlives_a_rebalance_that_it_misses_but_not_its_session() {
    let mut room = Room::new();
    let long = Join { session_timeout: Duration::from_secs(100), ..fixed("one") };
    let [a, b] = room.settle([long, new("b")]);
    let joined = room.join(Join { protocols: vec![("range".to_owned(), subscribed("other"))], ..again(&new("b"), &b) });
    room.wait(60);
    let joined = told(joined).unwrap();
    assert_eq!((joined.members.len(), &joined.leader), (2, &b), "still there, but the leader must be somebody who is");
    assert!(told(room.sync(&b, 3, &[(&a, "mine"), (&b, "yours")])).is_ok());
    assert_eq!(told(room.sync(&a, 3, &[])).unwrap().assignment, "mine");
    room.wait(100);
    assert_eq!(room.heartbeat(&a, 3), Err(UnknownMemberId));
}
