//! What becomes of a transaction, and of what is told, when its producer is closed, dropped or dead.

use std::{task::Poll, time::Duration};

use milena::{
    ErrorCode, ErrorKind,
    embedded::{Api, Fault, FaultAction, When},
    producer::Outcome,
};

use super::{ID, PARTITIONS, VERSIONS, World, commit, record};

/// What was aborted was meant to fail: whoever closes the producer then hears nothing of it, wherever its records were.
#[tokio::test(start_paused = true)]
async fn closing_tells_nothing_of_what_was_aborted() {
    let faults = [
        Fault::on(Api::Produce, FaultAction::Delay(Duration::from_millis(200))).times(100),
        Fault::on(Api::Produce, FaultAction::Disconnect(When::AfterApplying)).times(3),
        Fault::error(Api::Produce, ErrorCode::MESSAGE_TOO_LARGE).times(100),
        Fault::error(Api::Produce, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER).times(2),
        Fault::on(Api::Produce, FaultAction::Silence(When::BeforeApplying)).times(1_000),
        Fault::on(Api::EndTxn, FaultAction::Silence(When::AfterApplying)),
    ];
    for ((version, fault), ends) in
        VERSIONS.into_iter().flat_map(|it| faults.iter().map(move |fault| (it, fault))).zip(0..)
    {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        commit(&mut producer, "a").await.expect("committed");
        world.cluster.inject(fault.clone());
        let transaction = producer.begin().await.expect("begins");
        for partition in 0..PARTITIONS {
            transaction.enqueue(record(partition, "on the wire")).await.expect("enqueued").detach();
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        let _ = transaction.try_enqueue(record(0, "in its batch"));
        // As one likes: dropped, or aborted.
        if ends % 2 == 0 {
            drop(transaction)
        } else {
            drop(transaction.abort().await)
        }
        let closed =
            if ends % 3 == 0 { producer.close_with(Duration::from_secs(60)).await } else { producer.close().await };
        closed.unwrap_or_else(|error| panic!("version {version}, {fault:?}: {error}"));
        assert_eq!(world.visible().await, ["a0", "a1", "a2"], "version {version}, {fault:?}");
    }
}

/// A commit that nobody waited for is news when it failed, and when it may have.
#[tokio::test(start_paused = true)]
async fn t4_closing_tells_of_a_commit_that_nobody_waited_for() {
    let silent = Fault::on(Api::EndTxn, FaultAction::Silence(When::BeforeApplying)).times(1_000_000);
    let table = [
        (None, None),
        (Some(Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED).times(100)), Some(ErrorKind::Aborted)),
        (Some(silent), Some(ErrorKind::OutcomeUnknown)),
    ];
    for version in VERSIONS {
        for (fault, expected) in &table {
            for patience in [None, Some(Duration::from_secs(15))] {
                let world = World::new(version).await;
                let mut producer = world.producer().await;
                fault.iter().for_each(|fault| drop(world.cluster.inject(fault.clone())));
                let transaction = producer.begin().await.expect("begins");
                transaction.enqueue(record(0, "x")).await.expect("enqueued").detach();
                let mut commit = Box::pin(transaction.commit());
                let is_pending = std::future::poll_fn(|cx| Poll::Ready(commit.as_mut().poll(cx).is_pending())).await;
                assert!(is_pending, "it waits for the coordinator");
                drop(commit);
                let closed = match patience {
                    Some(patience) => producer.close_with(patience).await,
                    None => producer.close().await,
                };
                let found = closed.as_ref().err().map(|error| error.kind());
                assert_eq!(found, *expected, "version {version}, {fault:?}, {patience:?}: {closed:?}");
            }
        }
    }
}

/// What does not end in time is left, and `close_with` says what that is.
#[tokio::test(start_paused = true)]
async fn p12_closing_in_time_says_what_is_left() {
    let silent = |api| Fault::on(api, FaultAction::Silence(When::BeforeApplying)).times(1_000_000);
    let table = [
        // Of a commit whose records were not written nothing can be visible.
        (silent(Api::Produce), true, ErrorKind::Timeout),
        (silent(Api::EndTxn), true, ErrorKind::OutcomeUnknown),
        (silent(Api::EndTxn), false, ErrorKind::Timeout),
    ];
    for version in VERSIONS {
        for (fault, is_commit, expected) in &table {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            let transaction = producer.begin().await.expect("begins");
            transaction.send(record(0, "x")).await.expect("written");
            world.cluster.inject(fault.clone());
            transaction.enqueue(record(0, "y")).await.expect("enqueued").detach();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut end: std::pin::Pin<Box<dyn Future<Output = ()>>> = match is_commit {
                true => Box::pin(async { drop(transaction.commit().await) }),
                false => Box::pin(async { drop(transaction.abort().await) }),
            };
            let is_pending = std::future::poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx).is_pending())).await;
            assert!(is_pending, "nobody answers");
            drop(end);
            let begun = tokio::time::Instant::now();
            let error = producer.close_with(Duration::from_millis(700)).await.expect_err("it has not ended");
            assert_eq!(error.kind(), *expected, "version {version}, {fault:?}: {error}");
            assert!(error.to_string().contains(ID), "{error}");
            assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
            // The next one of the id ends it.
            world.cluster.clear_faults();
            commit(&mut world.producer().await, "a").await.expect("committed");
            assert_eq!(world.visible().await, ["a0", "a1", "a2"], "version {version}, {fault:?}");
        }
    }
}

/// A program goes on with a new producer when the old one was fenced.
#[tokio::test(start_paused = true)]
async fn a_dead_producer_makes_room_for_a_new_one() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let (mut reopened, mut committed) = (0, 0);
        while committed < 3 {
            match producer.ready().await {
                Err(error) if error.is_fatal() => {
                    (producer, reopened) = (world.producer().await, reopened + 1);
                    continue;
                }
                ready => ready.expect("the coordinator answers"),
            }
            let transaction = producer.begin().await.expect("begins");
            transaction.send(record(0, "x")).await.expect("written");
            if committed == 1 && reopened == 0 {
                // Somebody else has the id for a moment.
                world.producer().await.close().await.expect("closes");
            }
            match transaction.commit().await {
                Err(why) if why.is_fatal() => {}
                done => {
                    done.expect("committed");
                    committed += 1;
                }
            }
        }
        assert_eq!((reopened, world.visible().await.len()), (1, 3), "version {version}");
    }
}

/// A commit whose future is dropped goes on.
#[tokio::test(start_paused = true)]
async fn a_commit_that_nobody_waits_for_goes_on() {
    for version in VERSIONS {
        let world = World::new(version).await;
        let mut producer = world.producer().await;
        let transaction = producer.begin().await.expect("begins");
        transaction.enqueue(record(0, "a")).await.expect("enqueued").detach();
        world.cluster.inject(Fault::on(Api::EndTxn, FaultAction::Delay(Duration::from_millis(500))));
        let waited = tokio::time::timeout(Duration::from_millis(100), transaction.commit()).await;
        assert!(waited.is_err(), "it takes longer");
        assert_eq!(producer.outcome().await.expect("known in the end"), Some(Outcome::Committed));
        assert_eq!(world.visible().await, ["a"]);
    }
}

/// A transaction that nobody holds: `begin` was dropped when it had succeeded, or its transaction was leaked.
#[tokio::test(start_paused = true)]
async fn t7_a_transaction_without_an_owner_does_not_keep_the_producer_alive() {
    for version in VERSIONS {
        for (leak, close) in [(false, true), (true, true), (true, false)] {
            let world = World::new(version).await;
            let mut producer = world.producer().await;
            if leak {
                let transaction = producer.begin().await.expect("begins");
                transaction.send(record(0, "leaked")).await.expect("written");
                std::mem::forget(transaction);
            } else {
                let mut begin = std::pin::pin!(producer.begin());
                let pends = std::future::poll_fn(|cx| Poll::Ready(begin.as_mut().poll(cx).is_pending())).await;
                assert!(pends, "it has asked, and nobody looks at the answer");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let what = format!("version {version}, leaked: {leak}");
            if close {
                let closed = tokio::time::timeout(Duration::from_secs(2), producer.close()).await;
                closed.expect(&what).expect("closes");
            } else {
                drop(producer);
            }
            if leak {
                assert_eq!(world.state().await.1, "CompleteAbort", "{what}");
            }
        }
    }
}
