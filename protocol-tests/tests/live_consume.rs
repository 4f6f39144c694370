//! The consumer against a real broker: what Java's own tools wrote is read back, whatever the codec, the transaction or
//! the fate of the broker.
//!
//! Tests that stop the broker would disturb the others, so all of them take the same lock.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, SystemTime},
};

use milena::{
    Consumer, Kafka, Record, TopicPartition,
    admin::NewTopic,
    consumer::{IsolationLevel, OffsetReset, StartFrom},
    record::Compression,
};
use protocol_tests::{Live, run_live, unique};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn run(test: &str, body: impl AsyncFnOnce(Live) -> milena::Result<()>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    run_live(test, body);
}

/// One of Kafka's own tools, still running. Dropping it kills it.
struct Tool(Child);

impl Tool {
    fn start(class: &str, arguments: &[&str]) -> Self {
        let script = std::env::var("MILENA_BROKER_CTL").expect("compose/with-kafka exports MILENA_BROKER_CTL");
        let mut command = Command::new(script);
        command.args(["tool", class]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: the script's JVM has to end with the script.
        Self(command.process_group(0).spawn().expect("the tool starts"))
    }

    async fn ended(mut self) {
        drop(self.0.stdin.take());
        let status = loop {
            match self.0.try_wait().expect("the tool can be waited for") {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
            let _ = self.0.wait();
        }
    }
}

/// Writes lines `first..first + count`, each `k<number>:v<number>` with a header, by Java's console producer.
async fn console_producer(live: &Live, topic: &str, codec: &str, first: u32, count: u32) {
    let arguments = ["--bootstrap-server", &live.bootstrap, "--topic", topic, "--compression-codec", codec];
    let format = ["parse.headers=true", "headers.delimiter=|", "parse.key=true", "key.separator=:"];
    let format = format.iter().flat_map(|property| ["--property", property]);
    let arguments: Vec<&str> = arguments.into_iter().chain(format).collect();
    let mut console = Tool::start("org.apache.kafka.tools.ConsoleProducer", &arguments);
    let stdin = console.0.stdin.as_mut().expect("piped");
    for number in first..first + count {
        writeln!(stdin, "origin:java|k{number}:v{number}").expect("the tool reads");
    }
    console.ended().await;
}

async fn reading(kafka: &Kafka, topic: &str, partitions: i32, start: StartFrom) -> milena::Result<Consumer> {
    let assignment = (0..partitions).map(|partition| (TopicPartition::new(topic, partition), start));
    kafka.consumer().offset_reset(OffsetReset::None).assign(assignment).await
}

/// Everything up to the ends as they are now; offsets have to rise.
async fn read_to_end(consumer: &mut Consumer) -> milena::Result<Vec<(i64, Vec<u8>)>> {
    let ends = consumer.ends().await?;
    let mut values = Vec::new();
    let mut last = std::collections::HashMap::new();
    while let Some(batch) = consumer.poll_to(&ends).await? {
        for record in &batch {
            let before = last.insert(record.partition(), record.offset());
            assert!(before < Some(record.offset()), "{before:?} before {record:?}");
            values.push((record.offset(), record.value().unwrap_or_default().to_vec()));
        }
    }
    for (name, end) in ends.iter() {
        assert!(consumer.position(name) >= Some(*end), "the position passes markers and holes as well");
    }
    Ok(values)
}

#[test]
fn what_java_wrote_with_each_codec_is_read_back() {
    run("what_java_wrote_with_each_codec_is_read_back", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("java");
        kafka.admin().create_topic(NewTopic::new(&topic, 1, 1)).await?;
        let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
        for (round, codec) in (0..).zip(codecs) {
            console_producer(&live, &topic, codec, round * 2000, 2000).await;
        }
        let mut consumer = reading(&kafka, &topic, 1, StartFrom::Beginning).await?;
        let mut number = 0;
        while number < 10_000 {
            let batch = consumer.poll().await?.expect("a batch");
            for record in &batch {
                assert_eq!(record.offset(), number);
                assert_eq!(record.key(), Some(format!("k{number}").as_bytes()));
                assert_eq!(record.value(), Some(format!("v{number}").as_bytes()));
                let headers: Vec<_> = record.headers().map(|header| (header.key, header.value)).collect();
                assert_eq!(headers, [(&b"origin"[..], Some(&b"java"[..]))]);
                number += 1;
            }
        }
        consumer.close().await?;
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn positions_are_found_by_offset_time_and_end() {
    run("positions_are_found_by_offset_time_and_end", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("positions");
        kafka.admin().create_topic(NewTopic::new(&topic, 1, 1)).await?;
        let producer = kafka.producer().compression(Compression::Zstd).build().await?;
        let time = |number: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + 10 * number);
        for number in 0..1000 {
            drop(producer.enqueue(Record::to(&topic).value(number.to_string()).timestamp(time(number))).await?);
        }
        producer.flush().await?;
        let starts = [
            (StartFrom::Beginning, 0),
            (StartFrom::Offset(567), 567),
            (StartFrom::Timestamp(1_700_000_005_001), 501),
            (StartFrom::Timestamp(1_900_000_000_000), 1000),
            (StartFrom::End, 1000),
        ];
        for (start, first) in starts {
            let mut consumer = reading(&kafka, &topic, 1, start).await?;
            let values = read_to_end(&mut consumer).await?;
            assert_eq!((values.len(), values.first().map(|(offset, _)| *offset)), (1000 - first, (0..1000).nth(first)));
        }
        producer.close().await?;
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn c4_an_offset_that_was_deleted_asks_the_reset_policy() {
    run("c4_an_offset_that_was_deleted_asks_the_reset_policy", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("deleted");
        kafka.admin().create_topic(NewTopic::new(&topic, 1, 1)).await?;
        console_producer(&live, &topic, "lz4", 0, 1000).await;
        let file = std::env::temp_dir().join(unique("delete.json"));
        let text = format!(r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":400}}],"version":1}}"#);
        std::fs::write(&file, text).expect("a temporary file");
        let file = file.to_string_lossy().into_owned();
        let arguments = ["--bootstrap-server", &live.bootstrap, "--offset-json-file", &file];
        Tool::start("org.apache.kafka.tools.DeleteRecordsCommand", &arguments).ended().await;
        let _ = std::fs::remove_file(file);
        let name = TopicPartition::new(&topic, 0);
        for reset in [OffsetReset::Earliest, OffsetReset::None] {
            let consumer = kafka.consumer().offset_reset(reset);
            let mut consumer = consumer.assign([(name.clone(), StartFrom::Offset(10))]).await?;
            match (reset, consumer.poll().await) {
                // The batch that holds offset 400 holds older records, too: they are deleted, and not the user's.
                (OffsetReset::Earliest, batch) => assert_eq!(batch?.map(|batch| batch.base_offset()), Some(400)),
                (_, outcome) => assert_eq!(outcome.unwrap_err().code().map(|code| code.0), Some(1)),
            }
        }
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn t10_read_committed_hides_what_java_aborted() {
    run("t10_read_committed_hides_what_java_aborted", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let (topic, id) = (unique("transactions"), unique("id"));
        kafka.admin().create_topic(NewTopic::new(&topic, 1, 1)).await?;
        let name = TopicPartition::new(&topic, 0);
        // A transaction that is never ended: its producer is killed. The next one of the same name aborts it.
        let server = format!("bootstrap.servers={}", live.bootstrap);
        let shared = ["--topic", &topic, "--transactional-id", &id, "--producer-props", &server];
        let slow = ["--num-records", "100000", "--throughput", "500", "--record-size", "11"];
        let slow: Vec<_> = shared.into_iter().chain(["linger.ms=20"]).chain(slow).collect();
        let slow: Vec<_> = slow.into_iter().chain(["--transaction-duration-ms", "100000"]).collect();
        let killed = Tool::start("org.apache.kafka.tools.ProducerPerformance", &slow);
        let mut dirty = reading(&kafka, &topic, 1, StartFrom::Beginning).await?;
        while dirty.position(&name) < Some(200) {
            dirty.poll().await?;
        }
        drop(killed);
        let committed = kafka.consumer().isolation(IsolationLevel::ReadCommitted);
        let mut committed = committed.assign([(name.clone(), StartFrom::Beginning)]).await?;
        assert!(committed.poll_for(Duration::from_secs(1)).await?.is_none(), "the transaction is open");
        let quick = ["--num-records", "300", "--throughput", "-1", "--record-size", "22"];
        let quick = shared.into_iter().chain(quick).chain(["--transaction-duration-ms", "1"]);
        Tool::start("org.apache.kafka.tools.ProducerPerformance", &quick.collect::<Vec<_>>()).ended().await;
        let values = read_to_end(&mut committed).await?;
        assert_eq!((values.len(), values.iter().all(|(_, value)| value.len() == 22)), (300, true));
        let mut all = reading(&kafka, &topic, 1, StartFrom::Beginning).await?;
        let values = read_to_end(&mut all).await?;
        assert!(values.len() >= 500 && values.iter().any(|(_, value)| value.len() == 11), "{}", values.len());
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn c13_the_brokers_timestamps_are_those_of_appending() {
    run("c13_the_brokers_timestamps_are_those_of_appending", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("appended");
        let new = NewTopic::new(&topic, 1, 1).config("message.timestamp.type", "LogAppendTime");
        kafka.admin().create_topic(new).await?;
        let producer = kafka.producer().build().await?;
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        for value in ["a", "b"] {
            drop(producer.enqueue(Record::to(&topic).value(value).timestamp(old)).await?);
        }
        producer.close().await?;
        let mut consumer = reading(&kafka, &topic, 1, StartFrom::Beginning).await?;
        let batch = consumer.poll().await?.expect("a batch");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
        assert!(batch.iter().all(|record| (now - 60_000..=now + 1000).contains(&record.timestamp())));
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn c2_compaction_leaves_holes_that_are_passed() {
    run("c2_compaction_leaves_holes_that_are_passed", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("compacted");
        let new = NewTopic::new(&topic, 1, 1)
            .config("cleanup.policy", "compact")
            .config("min.cleanable.dirty.ratio", "0.01")
            .config("segment.ms", "100")
            .config("min.compaction.lag.ms", "0");
        kafka.admin().create_topic(new).await?;
        let producer = kafka.producer().compression(Compression::Lz4).build().await?;
        for number in 0..2000 {
            drop(producer.enqueue(Record::to(&topic).key(format!("{}", number % 5)).value(number.to_string())).await?);
        }
        producer.flush().await?;
        let name = TopicPartition::new(&topic, 0);
        // The cleaner takes closed segments only; each further record closes one. It looks every 15 seconds.
        for round in 0..300 {
            producer.send(Record::to(&topic).key("again").value("again")).await?;
            let mut consumer = reading(&kafka, &topic, 1, StartFrom::Beginning).await?;
            let values = read_to_end(&mut consumer).await?;
            assert!(values.windows(2).all(|pair| pair[0].0 < pair[1].0));
            if values.len() < 1000 {
                assert_eq!(consumer.lag(&name), Some(0));
                let newest: Vec<_> = (1995..2000).map(|number| number.to_string().into_bytes()).collect();
                assert!(newest.iter().all(|newest| values.iter().any(|(_, value)| value == newest)));
                producer.close().await?;
                return kafka.admin().delete_topic(&topic).await;
            }
            tokio::time::sleep(Duration::from_millis(200 + round % 2)).await;
        }
        panic!("the cleaner did not come");
    });
}

#[test]
fn a_broker_killed_while_reading_costs_and_repeats_nothing() {
    run("a_broker_killed_while_reading_costs_and_repeats_nothing", async |live| {
        const COUNT: u64 = 200_000;
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("restarted");
        kafka.admin().create_topic(NewTopic::new(&topic, 3, 1)).await?;
        let producer = kafka.producer().compression(Compression::Snappy).build().await?;
        for number in 0..COUNT {
            drop(producer.enqueue(Record::to(&topic).value(number.to_string())).await?);
        }
        producer.close().await?;
        let assignment = (0..3).map(|partition| (TopicPartition::new(&topic, partition), StartFrom::Beginning));
        let consumer = kafka.consumer().fetch_max_bytes(20_000).partition_max_bytes(20_000).read_ahead(50_000);
        let mut consumer = consumer.assign(assignment).await?;
        let mut next = [0; 3];
        let mut restart = None;
        let mut seen = 0;
        while seen < COUNT {
            let batch = consumer.poll().await?.expect("a batch");
            for record in &batch {
                let expected = &mut next[usize::try_from(record.partition()).unwrap()];
                assert_eq!(record.offset(), *expected);
                *expected += 1;
                seen += 1;
            }
            if restart.is_none() {
                let live = live.clone();
                restart = Some(tokio::task::spawn_blocking(move || {
                    live.control(&["kill"]);
                    live.control(&["start"]);
                }));
            }
        }
        restart.expect("the broker was killed").await.expect("and started");
        assert_eq!(seen, COUNT);
        kafka.admin().delete_topic(&topic).await
    });
}
