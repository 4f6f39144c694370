//! Where records go while brokers are slow, silent, dead or far away: the producer against the embedded cluster.

use std::time::Duration;

use milena::{
    Delivery, Kafka, Record, Result,
    embedded::{Api, EmbeddedCluster, Fault, FaultAction, MemoryNetwork, Way},
    producer::{Partitioning, ProducerBuilder},
    wire::messages::{CreatePartitionsRequest, CreatePartitionsTopic},
};
use tokio::time::sleep;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 6;
const BROKERS: usize = 3;

/// Three brokers in memory, in the racks a, b and c, each leading two partitions of six.
async fn setting(properties: &[(&str, &str)]) -> (MemoryNetwork, EmbeddedCluster, Kafka) {
    let network = MemoryNetwork::new().latency(Duration::from_millis(1)..=Duration::from_millis(2));
    let builder = EmbeddedCluster::builder().brokers(BROKERS as i32).racks(["a", "b", "c"]).memory(&network);
    let cluster = builder.topic(TOPIC, PARTITIONS).start().await.expect("the embedded cluster starts");
    let client = Kafka::builder().memory_network(&network).bootstrap(&cluster.bootstrap());
    let client = properties.iter().fold(client, |client, (name, value)| client.property(name, value));
    let kafka = client.connect().await.expect("it is reachable");
    (network, cluster, kafka)
}

/// Small batches, so that turns are short.
fn producer(kafka: &Kafka) -> ProducerBuilder {
    kafka.producer().batch_size(10_000).linger(Duration::from_millis(1))
}

/// Sends a kilobyte every millisecond: how many records each broker got, by the partition that each was appended to.
async fn steadily(builder: ProducerBuilder, records: usize) -> Result<[usize; BROKERS]> {
    let producer = builder.build().await?;
    let (value, mut counts, mut deliveries) = ([7; 1_000], [0; BROKERS], Vec::new());
    for _ in 0..records {
        deliveries.push(producer.enqueue(Record::to(TOPIC).value(&value)).await?);
        sleep(Duration::from_millis(1)).await;
    }
    producer.flush().await?;
    for delivery in deliveries {
        counts[leader(delivery.await?.partition)] += 1;
    }
    producer.close().await.map(|()| counts)
}

/// Leaders are spread in order: no test moves one for good.
fn leader(partition: i32) -> usize {
    partition as usize % BROKERS
}

fn seeded(seed: u64) {
    println!("seed {seed:#x}");
    fastrand::seed(seed);
}

#[tokio::test(start_paused = true)]
async fn kip_794_a_slow_broker_gets_less() {
    for adaptive in [true, false] {
        seeded(if adaptive { 1 } else { 2 });
        let (_network, cluster, kafka) = setting(&[]).await;
        let slow = FaultAction::Delay(Duration::from_millis(300));
        cluster.inject(Fault::on(Api::Produce, slow).broker(0).times(usize::MAX));
        let counts = steadily(producer(&kafka).adaptive_partitioning(adaptive), 10_000).await.expect("sent");
        println!("adaptive: {adaptive}, {counts:?}");
        let share = counts[0] as f64 / 10_000.0;
        assert_eq!(share < 0.25, adaptive, "the slow broker of three got {share}");
        assert!(share > 0.02, "it is asked for what it can do: {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn kip_794_brokers_alike_get_alike() {
    seeded(fastrand::u64(..));
    let (_network, _cluster, kafka) = setting(&[]).await;
    let counts = steadily(producer(&kafka), 10_000).await.expect("sent");
    assert!(counts.iter().all(|count| (2_700..4_000).contains(count)), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn kip_794_a_silent_broker_gets_nothing_until_it_speaks() {
    seeded(3);
    let (network, _cluster, kafka) = setting(&[("request.timeout.ms", "60000")]).await;
    let builder = producer(&kafka).max_in_flight(1).partitioner_availability_timeout(Duration::from_millis(500));
    let producer = builder.build().await.expect("builds");
    let to_silent = async |milliseconds: usize| {
        let mut deliveries: Vec<Delivery> = Vec::new();
        for _ in 0..milliseconds {
            deliveries.push(producer.enqueue(Record::to(TOPIC).value([7; 1_000])).await.expect("there is memory"));
            sleep(Duration::from_millis(1)).await;
        }
        deliveries
    };
    let count = async |deliveries: Vec<Delivery>| {
        let mut count = 0;
        for delivery in deliveries {
            count += usize::from(leader(delivery.await.expect("sent").partition) == 0);
        }
        count
    };
    assert!(count(to_silent(1_000).await).await > 0, "all is well");
    network.stall("broker-0:9092", Way::Both);
    let until_noticed = to_silent(2_000).await;
    let afterwards = to_silent(5_000).await;
    network.heal();
    assert!(count(until_noticed).await > 0, "nobody could know");
    assert_eq!(count(afterwards).await, 0, "it had its chance");
    sleep(Duration::from_secs(1)).await;
    assert!(count(to_silent(5_000).await).await > 500, "it speaks again");
}

/// A rolling restart: what waited for the broker left with its partitions, and nothing is ready for it when they return.
#[tokio::test(start_paused = true)]
async fn kip_794_a_broker_whose_partitions_return_gets_records_again() {
    seeded(5);
    let properties = [("request.timeout.ms", "2000"), ("metadata.max.age.ms", "1000")];
    let (network, cluster, kafka) = setting(&properties).await;
    let builder = producer(&kafka).max_in_flight(1).partitioner_availability_timeout(Duration::from_millis(500));
    let producer = builder.build().await.expect("builds");
    let move_to = |broker| {
        for partition in [0, 3] {
            cluster.move_leader(TOPIC, partition, broker).expect("both exist");
        }
    };
    let send = async |milliseconds: usize| {
        let mut to_broker_0 = 0;
        for _ in 0..milliseconds {
            let delivery = producer.enqueue(Record::to(TOPIC).value([7; 1_000])).await.expect("there is memory");
            to_broker_0 += usize::from(leader(delivery.partition()) == 0);
            sleep(Duration::from_millis(1)).await;
        }
        to_broker_0
    };
    network.stall("broker-0:9092", Way::Both);
    assert!(send(400).await > 0, "nobody could know");
    move_to(1);
    producer.flush().await.expect("the new leader takes it");
    network.heal();
    move_to(0);
    sleep(Duration::from_secs(5)).await;
    assert!(send(3_000).await > 300, "it was shut out");
}

#[tokio::test(start_paused = true)]
async fn kip_1123_records_stay_in_the_rack_while_it_has_a_leader() {
    let properties = [("client.rack", "b"), ("partitioner.rack.aware", "true"), ("metadata.max.age.ms", "1000")];
    let (_network, cluster, kafka) = setting(&properties).await;
    assert_eq!(steadily(producer(&kafka), 1_000).await.expect("sent"), [0, 1_000, 0]);
    let elsewhere = producer(&kafka).rack_aware("nowhere");
    let counts = steadily(elsewhere, 1_000).await.expect("sent");
    assert!(counts.iter().all(|count| *count > 0), "a rack without a leader: {counts:?}");
    cluster.kill(1).await;
    sleep(Duration::from_secs(5)).await;
    let counts = steadily(producer(&kafka), 1_000).await.expect("sent");
    assert!(counts[0] > 0 && counts[1] == 0 && counts[2] > 0, "nobody is left in the rack: {counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_for_its_dead_leader_and_everything_else_goes_elsewhere() {
    let (_network, cluster, kafka) = setting(&[("metadata.max.age.ms", "1000")]).await;
    let producer = producer(&kafka).build().await.expect("builds");
    let send = |key| producer.send(Record::to(TOPIC).key(key).value("v"));
    let home = send("foobar").await.expect("sent").partition;
    cluster.kill(leader(home) as i32).await;
    sleep(Duration::from_secs(5)).await;
    for _ in 0..50 {
        let other = producer.send(Record::to(TOPIC).value("no key")).await.expect("sent").partition;
        assert_ne!(leader(other), leader(home));
    }
    let waiting = producer.enqueue(Record::to(TOPIC).key("foobar").value("v")).await.expect("there is memory");
    let tombstone = producer.enqueue(Record::to(TOPIC).key("foobar")).await.expect("there is memory");
    cluster.restart(leader(home) as i32).await.expect("starts again");
    assert_eq!(waiting.await.expect("sent").partition, home);
    assert_eq!(tombstone.await.expect("sent").partition, home, "it deletes what the key had");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_grows_gets_its_keys_over_all_partitions() {
    let (_network, _cluster, kafka) = setting(&[("metadata.max.age.ms", "1000")]).await;
    let producer = producer(&kafka).partitioner(Partitioning::RoundRobin).build().await.expect("builds");
    let by_key = kafka.producer().build().await.expect("builds");
    let send = async || by_key.send(Record::to(TOPIC).key("foobar").value("v")).await.expect("sent").partition;
    assert_eq!(send().await, 0x50e4_7bbe % 6);
    let around = async |producer: &milena::Producer| {
        let mut places = Vec::new();
        for _ in 0..8 {
            places.push(producer.send(Record::to(TOPIC).value("v")).await.expect("sent").partition);
        }
        places
    };
    assert_eq!(around(&producer).await, [0, 1, 2, 3, 4, 5, 0, 1]);
    let topic = CreatePartitionsTopic { name: TOPIC.into(), count: 8, assignments: None };
    let grow = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    let grown = kafka.request(grow).controller().await.expect("answered");
    assert_eq!(grown.results[0].error_code, milena::ErrorCode::NONE);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(around(&producer).await, [0, 1, 2, 3, 4, 5, 6, 7], "the ninth of eight, and on");
    assert_eq!(send().await, 0x50e4_7bbe % 8);
}
