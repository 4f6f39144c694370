//! What a busy connection makes of many small records.

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

/// `max.in.flight.requests.per.connection`.
const IN_FLIGHT: usize = 5;
