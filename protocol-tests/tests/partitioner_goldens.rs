//! Where Java, librdkafka and Sarama send 1,000 keys (`golden/partitioners`), and where milena's producer sends them.

use std::{fs, path::Path};

use milena::{
    Kafka, Record,
    embedded::EmbeddedCluster,
    producer::{Delivery, Partitioning},
};

const COUNTS: [i32; 4] = [1, 6, 12, 100];

const TABLES: &[(&str, &[&str])] = &[
    ("java-default", &["default", "murmur2_random"]),
    ("librdkafka-consistent", &["consistent"]),
    ("librdkafka-consistent_random", &["consistent_random"]),
    ("librdkafka-murmur2", &["murmur2"]),
    ("librdkafka-murmur2_random", &["murmur2_random", "default"]),
    ("librdkafka-fnv1a", &["fnv1a"]),
    ("librdkafka-fnv1a_random", &["fnv1a_random"]),
    ("sarama-hash", &["sarama_hash", "fnv1a_random"]),
    ("sarama-reference_hash", &["sarama_reference_hash"]),
];

fn lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/partitioners").join(name).with_extension("txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// `None` is no key.
fn keys() -> Vec<Option<Vec<u8>>> {
    let byte = |hex: &[u8]| u8::from_str_radix(str::from_utf8(hex).expect("hex"), 16).expect("hex");
    let key = |line: String| match line.as_str() {
        "null" => None,
        "empty" => Some(Vec::new()),
        hex => Some(hex.as_bytes().chunks(2).map(byte).collect()),
    };
    lines("keys").into_iter().map(key).collect()
}

/// Where the producer sends each key, in a topic of so many partitions.
async fn sent(kafka: &Kafka, way: &str, count: i32, keys: &[Option<Vec<u8>>]) -> milena::Result<Vec<i32>> {
    let producer = kafka.producer().partitioner(way.parse::<Partitioning>()?).build().await?;
    let topic = format!("of-{count}");
    let mut deliveries: Vec<Delivery> = Vec::new();
    for key in keys {
        let record = Record::to(&topic).value("v");
        deliveries.push(match key {
            Some(key) => producer.enqueue(record.key(key)).await?,
            None => producer.enqueue(record).await?,
        });
    }
    producer.flush().await?;
    let mut partitions = Vec::new();
    for delivery in deliveries {
        partitions.push(delivery.await?.partition);
    }
    Ok(partitions)
}

#[tokio::test]
async fn every_key_goes_where_the_other_client_sends_it() {
    let builder = COUNTS.iter().fold(EmbeddedCluster::builder(), |it, count| it.topic(format!("of-{count}"), *count));
    let cluster = builder.start().await.expect("the embedded cluster starts");
    let kafka = Kafka::connect(&cluster.bootstrap()).await.expect("it is reachable");
    let keys = keys();
    assert_eq!(keys.len(), 1_001, "1,000 keys and the missing one");
    for (table, ways) in TABLES {
        let table_lines = lines(table);
        assert_eq!(table_lines.len(), keys.len(), "{table}");
        for way in *ways {
            let mut columns = Vec::new();
            for count in COUNTS {
                columns.push(sent(&kafka, way, count, &keys).await.expect("sent"));
            }
            for (number, expected) in table_lines.iter().enumerate() {
                let found: Vec<_> = columns.iter().map(|column| column[number].to_string()).collect();
                let anywhere = expected == "* * * *";
                assert!(
                    anywhere || found.join(" ") == *expected,
                    "{way}: {:?}: {found:?}, {table}: {expected}",
                    keys[number]
                );
            }
        }
    }
}

/// A `*` hides nothing: only the missing key, and librdkafka's empty one, may go anywhere.
#[test]
fn only_what_has_no_key_goes_anywhere() {
    let keys = keys();
    for (table, _) in TABLES {
        let anywhere = |(key, line): (&Option<Vec<u8>>, String)| line.contains('*').then(|| key.clone());
        let found: Vec<_> = keys.iter().zip(lines(table)).filter_map(anywhere).collect();
        let expected: &[Option<Vec<u8>>] = match *table {
            "librdkafka-consistent_random" => &[None, Some(Vec::new())],
            "librdkafka-consistent" | "librdkafka-murmur2" | "librdkafka-fnv1a" => &[],
            _ => &[None],
        };
        assert_eq!(found, expected, "{table}");
    }
}
