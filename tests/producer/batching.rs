//! What a busy connection makes of many small records.

use milena::Producer;

use super::{
    common::{MILLISECOND, World},
    *,
};

/// Records that come while five requests are on the wire wait in one open batch, although their linger is nothing: a sealed
/// one each would be a queue of small ones, and would stay that.
#[tokio::test(start_paused = true)]
async fn what_comes_while_the_broker_is_busy_leaves_in_few_large_batches() {
    let world = World::new().await;
    let producer = world.kafka.producer().linger(Duration::ZERO).build().await.expect("a producer");
    producer.send(Record::to(TOPIC).value("the way is open")).await.expect("written");
    let requests = || world.cluster.requests(Api::Produce).values().sum::<u64>();
    let before = (requests(), producer.metrics());
    let slow = Fault::on(Api::Produce, FaultAction::Delay(Duration::from_secs(1))).times(IN_FLIGHT);
    let fault = world.cluster.inject(slow);
    for number in 0..1000 {
        producer.enqueue(Record::to(TOPIC).value(format!("{number:0100}"))).await.expect("taken").detach();
        if number % 10 == 9 {
            tokio::time::sleep(MILLISECOND).await;
        }
    }
    producer.flush().await.expect("written");
    assert_eq!(fault.left(), 0, "the broker was busy");
    let batches = producer.metrics().batch_records.since(&before.1.batch_records);
    assert_eq!((batches.count(), batches.sum()), (requests() - before.0, 1000), "a batch in each request");
    assert!(batches.count() <= IN_FLIGHT as u64 + 1, "{} batches: {batches:?}", batches.count());
    assert!(batches.max() >= Some(900), "{batches:?}");
}

/// A broker answers one request of a connection after the other. With five of one record each on the wire, the last would
/// wait for four; records that join the next request instead wait for the one that is there.
#[tokio::test(start_paused = true)]
async fn at_a_steady_rate_no_record_waits_for_more_than_two_answers() {
    let world = World::new().await;
    let producer = world.kafka.producer().linger(Duration::ZERO).build().await.expect("a producer");
    producer.send(Record::to(TOPIC).value("the way is open")).await.expect("written");
    world.cluster.inject(Fault::on(Api::Produce, FaultAction::Delay(SERVICE)).times(usize::MAX));
    let times = steadily(&producer, 300).await;
    let settled = &times[150..];
    let longest = settled.iter().max().expect("times");
    assert!(*longest <= 2 * (SERVICE + 2 * MILLISECOND), "{longest:?}: {times:?}");
    assert!(settled.iter().min().expect("times") >= &SERVICE, "{times:?}");
}

/// Full batches of another partition keep the broker busy: there are always requests on the wire, and more than are worth
/// having there for a small batch. It goes along with the next of them.
#[tokio::test(start_paused = true)]
async fn a_small_batch_goes_along_with_the_full_ones_of_others() {
    let world = World::new().await;
    let producer = world.kafka.producer().linger(Duration::ZERO).batch_size(1000).build().await.expect("a producer");
    producer.send(Record::to(TOPIC).value("the way is open")).await.expect("written");
    producer.send(Record::to("u").value("here, too")).await.expect("written");
    world.cluster.inject(Fault::on(Api::Produce, FaultAction::Delay(SERVICE)).times(usize::MAX));
    steadily(&producer, 100).await;
    for number in 0..400 {
        let full = Record::to(TOPIC).value(format!("{number:0900}"));
        producer.enqueue(full).await.expect("taken").detach();
    }
    let begun = tokio::time::Instant::now();
    producer.send(Record::to("u").value("small")).await.expect("written");
    let waited = begun.elapsed();
    assert!(waited <= SERVICE * (IN_FLIGHT as u32 + 2), "{waited:?}");
    assert!(producer.metrics().buffered.records > 100, "the broker was busy all the time");
}

/// The second record is held back, for the first is on the wire. Whatever happens then, it is written, and no later than
/// the request before it and its own take.
#[tokio::test(start_paused = true)]
async fn what_is_held_back_goes_out_at_flush_at_close_and_on_another_connection() {
    for event in ["nothing", "flush", "close", "disconnect"] {
        let world = World::new().await;
        let producer = world.kafka.producer().linger(Duration::ZERO).build().await.expect("a producer");
        producer.send(Record::to(TOPIC).value("how fast it can be")).await.expect("written");
        world.cluster.inject(Fault::on(Api::Produce, FaultAction::Delay(SERVICE)).times(usize::MAX));
        steadily(&producer, 100).await;
        let begun = tokio::time::Instant::now();
        let first = producer.enqueue(Record::to(TOPIC).value("first")).await.expect("taken");
        tokio::time::sleep(10 * MILLISECOND).await;
        let second = producer.enqueue(Record::to(TOPIC).value("second")).await.expect("taken");
        tokio::time::sleep(10 * MILLISECOND).await;
        assert_eq!(producer.metrics().requests_in_flight, 1, "the second is held back");
        match event {
            "flush" => producer.flush().await.expect("written"),
            "close" => producer.close().await.expect("written"),
            "disconnect" => world.cluster.disconnect(0).await,
            _ => {}
        }
        let (first, second) = (first.await.expect(event), second.await.expect(event));
        assert!(first.offset < second.offset, "{event}");
        let waited = begun.elapsed();
        let again = if event == "disconnect" { 5 * SERVICE } else { Duration::ZERO };
        assert!(waited <= 2 * (SERVICE + 2 * MILLISECOND) + again, "{event}: {waited:?}");
    }
}

/// How long the broker takes for each request.
const SERVICE: Duration = Duration::from_millis(100);

/// Sends a record each ten milliseconds, and tells how long each took.
async fn steadily(producer: &Producer, records: usize) -> Vec<Duration> {
    let mut sent = Vec::new();
    for number in 0..records {
        let called = tokio::time::Instant::now();
        let delivery = producer.enqueue(Record::to(TOPIC).value(format!("{number}"))).await.expect("taken");
        sent.push(tokio::spawn(async move { delivery.await.map(|_| called.elapsed()) }));
        tokio::time::sleep(10 * MILLISECOND).await;
    }
    let mut times = Vec::new();
    for each in sent {
        times.push(each.await.expect("no panic").expect("written"));
    }
    times
}

/// `max.in.flight.requests.per.connection`.
const IN_FLIGHT: usize = 5;
