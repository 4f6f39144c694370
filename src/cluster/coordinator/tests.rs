use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);
const MAX_AGE: Duration = Duration::from_secs(300);

fn terms() -> Terms<'static> {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    Terms { kind: KeyType::Group, key: "g", deadline: Instant::now() + DEADLINE, max_age: MAX_AGE, backoff }
}

/// A cluster that gives these answers one after another, the last one for ever, each after `delay`.
struct Script {
    answers: RefCell<VecDeque<Result<BrokerId>>>,
    delay: Duration,
    asked: Cell<usize>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<i32, ErrorCode>>) -> Self {
        let answers =
            answers.into_iter().map(|answer| answer.map(BrokerId).map_err(|code| Error::broker(code, "test")));
        Self { answers: RefCell::new(answers.collect()), delay: Duration::ZERO, asked: Cell::new(0) }
    }

    async fn answer(&self) -> Result<BrokerId> {
        self.asked.set(self.asked.get() + 1);
        tokio::time::sleep(self.delay).await;
        let mut answers = self.answers.borrow_mut();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.expect("an answer is left")
    }

    async fn resolve(&self, slot: &Slot) -> Result<i32, ErrorKind> {
        let broker = slot.resolve(terms(), || self.answer()).await;
        broker.map(|broker| broker.0).map_err(|error| error.kind())
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_found_is_remembered_until_it_is_old_or_forgotten() {
    let (coordinators, script) = (Coordinators::default(), Script::new([Ok(1), Ok(2), Ok(3)]));
    let slot = || coordinators.slot(KeyType::Group, "g");
    assert_eq!(script.resolve(&slot()).await, Ok(1));
    tokio::time::sleep(MAX_AGE - Duration::from_millis(1)).await;
    assert_eq!((script.resolve(&slot()).await, script.asked.get()), (Ok(1), 1));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((script.resolve(&slot()).await, script.asked.get()), (Ok(2), 2), "too old to be believed");
    coordinators.forget(KeyType::Transaction, "g");
    coordinators.forget(KeyType::Group, "another");
    assert_eq!((script.resolve(&slot()).await, script.asked.get()), (Ok(2), 2), "nobody forgot this one");
    coordinators.forget(KeyType::Group, "g");
    assert_eq!((script.resolve(&slot()).await, script.asked.get()), (Ok(3), 3));
}

#[tokio::test(start_paused = true)]
async fn refusals_that_pass_are_waited_for_with_backoff() {
    let passing = [ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS];
    let script = Script::new([Err(passing[0]), Err(passing[1]), Err(passing[0]), Ok(7)]);
    let begun = Instant::now();
    assert_eq!(script.resolve(&Slot::default()).await, Ok(7));
    // 100, 200 and 400 ms, a fifth more or less.
    let waited = begun.elapsed();
    assert!((Duration::from_millis(560)..=Duration::from_millis(850)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lookup_ends_at_its_deadline_and_at_a_final_refusal() {
    let code = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    let begun = Instant::now();
    let script = Script::new([Err(code)]);
    assert_eq!(script.resolve(&Slot::default()).await, Err(ErrorKind::Broker(code)));
    assert!(begun.elapsed() <= DEADLINE && begun.elapsed() > DEADLINE / 2, "{:?}", begun.elapsed());

    let code = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    let script = Script::new([Err(code)]);
    assert_eq!((script.resolve(&Slot::default()).await, script.asked.get()), (Err(ErrorKind::Broker(code)), 1));

    let begun = Instant::now();
    let script = Script { delay: DEADLINE * 2, ..Script::new([Ok(1)]) };
    assert_eq!(script.resolve(&Slot::default()).await, Err(ErrorKind::Timeout));
    assert_eq!(begun.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_ends_in_silence_says_what_for_and_what_was_said_before() {
    // Each answer takes six seconds of the ten.
    let delay = Duration::from_secs(6);
    let refused = Script { delay, ..Script::new([Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS), Ok(1)]) };
    let error = Slot::default().resolve(terms(), || refused.answer()).await.expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = error.to_string();
    assert!(text.contains("group g") && text.contains("COORDINATOR_LOAD_IN_PROGRESS"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_asks_for_all_and_its_going_away_stops_nobody() {
    let (slot, script) = (Slot::default(), Script { delay: Duration::from_secs(1), ..Script::new([Ok(5)]) });
    {
        // The first one asks, and goes away before the answer comes.
        let gone = script.resolve(&slot);
        assert!(tokio::time::timeout(Duration::from_millis(500), gone).await.is_err());
    }
    let all = tokio::join!(script.resolve(&slot), script.resolve(&slot), script.resolve(&slot));
    assert_eq!((all, script.asked.get()), ((Ok(5), Ok(5), Ok(5)), 2));
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_are_kept_than_the_bound_says() {
    let (coordinators, script) = (Coordinators::default(), Script::new([Ok(1)]));
    let asking = coordinators.slot(KeyType::Group, "somebody asks");
    for number in 0..3 * MOST_KEYS {
        let slot = coordinators.slot(KeyType::Group, &number.to_string());
        script.resolve(&slot).await.expect("an answer");
        assert!(coordinators.slots().len() <= MOST_KEYS);
    }
    assert!(Arc::ptr_eq(&asking, &coordinators.slot(KeyType::Group, "somebody asks")), "it is one slot for all");
}

#[test]
fn a_request_is_made_for_each_version() {
    let table = [
        (0, KeyType::Group, Some(("k", 0))),
        (0, KeyType::Transaction, None),
        (1, KeyType::Transaction, Some(("k", 0))),
        (3, KeyType::Group, Some(("k", 0))),
        (4, KeyType::Group, Some(("", 1))),
        (5, KeyType::Share, None),
        (6, KeyType::Share, Some(("", 1))),
    ];
    for (version, kind, expected) in table {
        let request = request(version, kind, "k");
        let shape = request.as_ref().ok().map(|request| (request.key.as_str(), request.coordinator_keys.len()));
        assert_eq!(shape, expected, "version {version}, {kind}");
        match request {
            Ok(request) => drop(crate::wire::encode_body(&request, version).expect("the version can say it")),
            Err(error) => assert_eq!(error.kind(), ErrorKind::UnsupportedVersion),
        }
    }
}

#[test]
fn an_answer_is_read_in_each_version() {
    let old = |error_code, node_id| FindCoordinatorResponse {
        error_code,
        node_id,
        host: "h".into(),
        port: 9,
        ..FindCoordinatorResponse::default()
    };
    let new = |key: &str, error_code, node_id| FindCoordinatorResponse {
        coordinators: vec![
            Coordinator { key: "other".into(), node_id: 99, ..Coordinator::default() },
            Coordinator { key: key.into(), node_id, error_code, ..Coordinator::default() },
        ],
        ..FindCoordinatorResponse::default()
    };
    let (none, busy) = (ErrorCode::NONE, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    let nobody = ErrorKind::Broker(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let table = [
        (3, old(none, 4), Ok(4)),
        (3, old(busy, -1), Err(ErrorKind::Broker(busy))),
        (0, old(none, -1), Err(nobody)),
        (4, new("k", none, 4), Ok(4)),
        (6, new("k", busy, -1), Err(ErrorKind::Broker(busy))),
        (4, new("k", none, -1), Err(nobody)),
        (4, new("j", none, 4), Err(ErrorKind::Protocol)),
        (4, old(none, 4), Err(ErrorKind::Protocol)),
    ];
    for (version, response, expected) in table {
        let found = of_key(response.clone(), version, KeyType::Group, "k");
        assert_eq!(found.map(|found| found.node_id).map_err(|error| error.kind()), expected, "{version}: {response:?}");
    }
}
