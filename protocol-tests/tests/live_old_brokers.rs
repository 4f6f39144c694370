//! What every broker from Kafka 2.1 on must be able to do with us: `compose/with-kafka --kafka 2.1.1` and its like. The
//! tests hold for newer brokers just as well, and run against them with all other live tests.

use std::time::{Duration, SystemTime};

use milena::{
    ErrorCode, Kafka, Record, Result, TopicPartition,
    admin::{NewTopic, OffsetSpec},
    consumer::StartFrom,
    record::Compression,
    wire::{ApiKey, messages::*},
};
use protocol_tests::{
    readback::{Kept, check_numbers, read_back},
    run_live, unique, variable,
};

/// The broker's version as `with-kafka` tells it, the first two numbers.
fn version(test: &str) -> (u32, u32) {
    let text = variable(test, "MILENA_KAFKA_VERSION").expect("there is a live broker, and so its version");
    let mut numbers = text.split('.').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("major"), numbers.next().expect("minor"))
}

#[test]
fn topics_are_made_described_and_deleted() {
    run_live("topics_are_made_described_and_deleted", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let (admin, topic) = (kafka.admin(), unique("old-topic"));
        let new = || NewTopic::new(&topic, 4, 1).config("max.message.bytes", "20000");
        admin.create_topic(new()).await?;
        assert_eq!(admin.topic(&topic).await?.leaders.len(), 4);
        assert_eq!(admin.offsets(&topic, OffsetSpec::Earliest).await?, [Some(0); 4]);
        let again = admin.create_topic(new()).await.expect_err("it is there");
        assert_eq!(again.code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS), "{again}");
        admin.delete_topic(&topic).await?;
        let gone = admin.delete_topic(&topic).await.expect_err("it is gone");
        assert_eq!(gone.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), "{gone}");
        Ok(())
    });
}

#[test]
fn every_codec_goes_out_idempotent_and_comes_back() {
    run_live("every_codec_goes_out_idempotent_and_comes_back", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        // zstd came with 2.1 (KIP-110).
        for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let topic = unique("old-codec");
            kafka.admin().create_topic(NewTopic::new(&topic, 3, 1)).await?;
            let producer = kafka.producer().compression(codec).build().await?;
            for number in 0..5_000 {
                producer.enqueue(Record::to(&topic).value(number.to_string())).await?.detach();
            }
            producer.close().await?;
            check_numbers(&read_back(&kafka, &topic).await?, 5_000);
            kafka.admin().delete_topic(&topic).await?;
        }
        Ok(())
    });
}

#[test]
fn a_record_comes_back_with_all_that_it_carried() {
    run_live("a_record_comes_back_with_all_that_it_carried", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let topic = unique("old-record");
        kafka.admin().create_topic(NewTopic::new(&topic, 1, 1)).await?;
        let producer = kafka.producer().build().await?;
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let full = Record::to(&topic).key("k").value("v").timestamp(at(1_600_000_000_000));
        producer.send(full.header("a", "1").header("a", "2")).await?;
        producer.send(Record::to(&topic).key("gone").timestamp(at(1_600_000_000_500))).await?;
        producer.close().await?;
        let kept = read_back(&kafka, &topic).await?.remove(&0).unwrap_or_default();
        let kept_of = |offset, key: &[u8], value: Option<&[u8]>, timestamp, headers| {
            let (key, value) = (Some(key.to_vec()), value.map(<[u8]>::to_vec));
            Kept { offset, key, value, timestamp, headers }
        };
        let full = kept_of(0, b"k", Some(b"v"), 1_600_000_000_000, 2);
        assert_eq!(kept, [full, kept_of(1, b"gone", None, 1_600_000_000_500, 0)]);
        let later = kafka.admin().offsets(&topic, OffsetSpec::Timestamp(1_600_000_000_001)).await?;
        assert_eq!(later, [Some(1)]);
        kafka.admin().delete_topic(&topic).await
    });
}

#[test]
fn requests_go_to_coordinators_and_leaders() {
    run_live("requests_go_to_coordinators_and_leaders", async |live| {
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let group = unique("old-group");
        let request = DescribeGroupsRequest { groups: vec![group.as_str().into()], ..Default::default() };
        let answer =
            kafka.request(request).coordinator_of_group(&group).elsewhere(|answer| answer.groups[0].error_code).await?;
        let told = (answer.groups[0].error_code, answer.groups[0].group_state.as_str());
        // Since version 6 a group that is not there is an error (KIP-1043).
        assert!(matches!(told, (ErrorCode::NONE | ErrorCode::GROUP_ID_NOT_FOUND, "Dead")), "{told:?}");
        let id = unique("old-transaction");
        let request = InitProducerIdRequest {
            transactional_id: Some(id.as_str().into()),
            transaction_timeout_ms: 10_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let answer =
            kafka.request(request).coordinator_of_transaction(&id).elsewhere(|answer| answer.error_code).await?;
        assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0));
        let versions = kafka.versions(1).await?;
        assert!(versions.supports(ApiKey::PRODUCE, 7) && versions.supports(ApiKey::METADATA, 7), "{versions:?}");
        // Finalized features came with 2.7.
        let tells = version("requests_go_to_coordinators_and_leaders") >= (2, 7);
        assert_eq!(kafka.features().epoch().is_some(), tells, "{:?}", kafka.features());
        Ok(())
    });
}

#[test]
fn sasl_plain_lets_in_and_keeps_out() {
    let test = "sasl_plain_lets_in_and_keeps_out";
    run_live(test, async |_| {
        let bootstrap = variable(test, "MILENA_SASL_PLAINTEXT_BOOTSTRAP").expect("every broker has that listener");
        let connect = |password: &str| {
            let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
            let login = format!("{module} required username=\"alice\" password=\"{password}\";");
            let properties = [
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.jaas.config", login.as_str()),
            ];
            let builder =
                properties.iter().fold(Kafka::builder(), |builder, (name, value)| builder.property(name, value));
            builder.bootstrap(&bootstrap).connect()
        };
        connect("alice-secret").await?;
        let error = connect("wrong").await.expect_err("the password is wrong");
        assert_eq!(error.kind(), milena::ErrorKind::Authentication, "{error}");
        Ok(())
    });
}

/// Before 3.0 a topic can be told to keep the formats of Kafka 0.9 and 0.10: the broker turns our batches into those, and
/// hands out what is on its disk.
#[test]
fn record_formats_0_and_1_that_a_real_broker_wrote_are_read() {
    let test = "record_formats_0_and_1_that_a_real_broker_wrote_are_read";
    run_live(test, async |live| {
        if version(test) >= (3, 0) {
            return Ok(()); // Such a broker keeps format 2 only.
        }
        let kafka = Kafka::connect(&live.bootstrap).await?;
        let formats = [("0.9.0", "CreateTime", 0), ("0.10.2", "CreateTime", 1), ("0.10.2", "LogAppendTime", 1)];
        for (format, times, magic) in formats {
            for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4] {
                old_format(&kafka, format, times, magic, codec).await?;
            }
        }
        Ok(())
    });
}

async fn old_format(kafka: &Kafka, format: &str, times: &str, magic: u8, codec: Compression) -> Result<()> {
    let what = format!("{format}, {times}, {codec:?}");
    let topic = unique("old-format");
    let new = NewTopic::new(&topic, 1, 1).config("message.format.version", format);
    kafka.admin().create_topic(new.config("message.timestamp.type", times)).await?;
    // These formats have no producer ids.
    let producer = kafka.producer().idempotence(false).max_in_flight(1).batch_size(4_000).compression(codec);
    let producer = producer.build().await?;
    let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let at = |number: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_000 + number);
    for number in 0..2_000 {
        let value = format!("{number:040}");
        producer.enqueue(Record::to(&topic).key("k").value(&value).timestamp(at(number))).await?.detach();
    }
    producer.close().await?;
    assert_eq!(magic_on_disk(kafka, &topic).await?, magic, "{what}");

    let kept = read_back(kafka, &topic).await?.remove(&0).unwrap_or_default();
    assert_eq!(kept.len(), 2_000, "{what}");
    for (expected, record) in kept.iter().enumerate() {
        assert_eq!((record.offset, record.number(), record.headers), (expected as i64, expected, 0), "{what}");
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]), "{what}");
        let Kept { offset, timestamp, .. } = record;
        match (magic, times) {
            (0, _) => assert_eq!(*timestamp, -1, "{what}: format 0 has none"),
            (_, "CreateTime") => assert_eq!(*timestamp, 1_600_000_000_000 + offset, "{what}"),
            _ => assert!(*timestamp >= begun, "{what}: {timestamp} is not the time of appending"),
        }
    }
    // An offset inside a wrapper: what stands before it there is not asked for.
    let from = [(TopicPartition::new(topic.as_str(), 0), StartFrom::Offset(777))];
    let mut consumer = kafka.consumer().assign(from).await?;
    let first = consumer.poll().await?.and_then(|batch| batch.iter().next().map(|record| record.offset()));
    assert_eq!(first, Some(777), "{what}");
    consumer.close().await?;
    kafka.admin().delete_topic(&topic).await
}

/// The format of the first batch of a topic, as the leader of its first partition hands it out.
async fn magic_on_disk(kafka: &Kafka, topic: &str) -> Result<u8> {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1_000, ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 1_000,
        min_bytes: 1,
        max_bytes: 1_000,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    // By name and not by id: up to version 12.
    let answer = kafka.request(request).at_most(12).leader_of(topic, 0).await?;
    let records = answer.responses[0].partitions[0].records.clone().expect("records");
    Ok(records.into_bytes()[16])
}
