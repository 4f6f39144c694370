//! Clients that send anything but Kafka.

use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeProducersRequest, GroupId, MetadataRequest,
    describe_configs_request::DescribeConfigsResource, describe_producers_request::TopicRequest,
    metadata_request::MetadataRequestTopic,
};

use super::*;

async fn still_serves(cluster: &EmbeddedCluster) {
    let answer = Client::to(cluster).await.call(9, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(answer.topics.len(), 1);
}

async fn orders() -> EmbeddedCluster {
    EmbeddedCluster::builder().topic("orders", 2).max_request_bytes(100_000).start().await.unwrap()
}

/// Sends bytes and reads until the broker closes, which it must.
async fn refused(cluster: &EmbeddedCluster, bytes: &[u8]) {
    let mut client = Client::to(cluster).await;
    client.stream.write_all(bytes).await.unwrap();
    client.closed().await;
}

#[tokio::test]
async fn n13_lengths_out_of_bounds_close_the_connection() {
    let cluster = orders().await;
    for length in [-1, i32::MIN, i32::MAX, 100_001] {
        refused(&cluster, &i32::to_be_bytes(length)).await;
    }
    for short in 0..8u8 {
        let mut frame = vec![0, 0, 0, short];
        frame.extend(std::iter::repeat_n(0, short.into()));
        refused(&cluster, &frame).await;
    }
    still_serves(&cluster).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn unknown_requests_and_versions_close_the_connection() {
    let cluster = orders().await;
    for (key, version) in [(-1, 0), (999, 0), (11, 0), (0, 2), (0, 14), (1, 18), (3, -1), (3, 99)] {
        let mut frame = BytesMut::new();
        frame.put_i32(20);
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_bytes(0, 16);
        refused(&cluster, &frame).await;
    }
    still_serves(&cluster).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn counts_that_lie_do_not_reserve_memory() {
    let cluster = orders().await;
    for (key, version) in [(3, 0), (3, 12), (1, 4), (1, 12), (0, 3), (0, 9), (2, 1), (19, 2), (20, 1), (10, 4)] {
        for count in [[0x7f, 0xff, 0xff, 0xff, 0x7f], [0xff, 0xff, 0xff, 0xff, 0x0f], [0x10, 0, 0, 0, 0]] {
            for padding in [0, 2, 6, 10, 17, 25] {
                let mut frame = BytesMut::new();
                frame.put_i32(16 + padding);
                frame.put_i16(key);
                frame.put_i16(version);
                frame.put_i32(1);
                frame.put_i16(-1);
                frame.put_u8(0);
                frame.put_bytes(0, padding as usize);
                frame.put_slice(&count);
                let mut client = Client::to(&cluster).await;
                client.stream.write_all(&frame).await.unwrap();
                client.stream.shutdown().await.unwrap();
                // An answer or none: what counts is that the broker lives.
                while client.frame().await.is_some() {}
            }
        }
    }
    still_serves(&cluster).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn repetitions_do_not_make_an_answer_grow() {
    let cluster = orders().await;
    let mut client = Client::to(&cluster).await;
    let topic = MetadataRequestTopic::default().with_name(Some(name("orders")));
    let metadata = MetadataRequest::default().with_topics(Some(vec![topic; 1000]));
    assert_eq!(client.call(9, &metadata).await.topics.len(), 1);
    let resource = DescribeConfigsResource::default().with_resource_type(2).with_resource_name("orders".into());
    let configs = DescribeConfigsRequest::default().with_resources(vec![resource; 1000]);
    assert_eq!(client.call(4, &configs).await.results.len(), 1);
    let groups = DescribeGroupsRequest::default().with_groups(vec![GroupId("billing".into()); 1000]);
    assert_eq!(client.call(5, &groups).await.groups.len(), 1);
    let wanted = TopicRequest::default().with_name(name("orders")).with_partition_indexes(vec![0; 100]);
    let producers = DescribeProducersRequest::default().with_topics(vec![wanted; 100]);
    let answer = client.call(0, &producers).await;
    assert_eq!((answer.topics.len(), answer.topics[0].partitions.len()), (1, 1));
    cluster.shutdown().await;
}

#[tokio::test]
async fn random_and_damaged_frames_do_no_harm() {
    let seed =
        std::env::var("MILENA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("MILENA_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = orders().await;
    let mut sound = Vec::new();
    for version in [3, 9, 12] {
        sound.push((
            0i16,
            version,
            encoded(&produce_request("orders", 0, Batch::of(["a", "b"]).sequence(0).bytes()), version),
        ));
    }
    for version in [4, 12] {
        sound.push((1, version, encoded(&fetch_request("orders", 0), version)));
    }
    for _ in 0..3000 {
        let (key, version, mut body) = random.choice(&sound).unwrap().clone();
        for _ in 0..random.usize(0..6) {
            let at = random.usize(..body.len());
            body[at] = random.u8(..);
        }
        body.truncate(if random.bool() { body.len() } else { random.usize(..body.len()) });
        let wild = random.u8(..8) == 0;
        let mut frame = BytesMut::new();
        frame.put_i32(10 + i32::from(version >= flexible_from(key)) + body.len() as i32);
        frame.put_i16(if wild { random.i16(-2..80) } else { key });
        frame.put_i16(if wild { random.i16(-1..20) } else { version });
        frame.put_i32(1);
        frame.put_i16(-1);
        if version >= flexible_from(key) {
            frame.put_u8(0);
        }
        frame.put_slice(&body);
        let mut client = Client::to(&cluster).await;
        client.stream.write_all(&frame).await.unwrap();
        client.stream.shutdown().await.unwrap();
        while client.frame().await.is_some() {}
    }
    still_serves(&cluster).await;
    cluster.shutdown().await;
}

fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut body = BytesMut::new();
    message.encode(&mut body, version).unwrap();
    body.to_vec()
}

fn flexible_from(key: i16) -> i16 {
    if key == 0 { 9 } else { 12 }
}

#[tokio::test]
async fn connections_above_the_limit_are_closed() {
    let cluster = EmbeddedCluster::builder().topic("orders", 1).max_connections(2).start().await.unwrap();
    let mut first = Client::to(&cluster).await;
    first.fetch("orders", 0).await;
    let mut second = Client::to(&cluster).await;
    second.fetch("orders", 0).await;
    Client::to(&cluster).await.closed().await;
    assert_eq!(first.fetch("orders", 0).await.0, 0, "those who were there stay");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_in_a_request_or_takes_no_reply_is_cut_off() {
    let network = MemoryNetwork::default();
    let cluster = EmbeddedCluster::builder().memory(&network).topic("orders", 1).start().await.unwrap();
    let mut slow = Client::within(&network, 0).await;
    slow.stream.write_all(&[0, 0, 1, 0, 7]).await.unwrap();
    let begun = tokio::time::Instant::now();
    slow.closed().await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    let mut deaf = Client::within(&network, 0).await;
    let begun = tokio::time::Instant::now();
    let flood = async {
        loop {
            deaf.correlation_id += 1;
            let mut frame = BytesMut::new();
            frame.put_i32(10);
            frame.put_i16(18);
            frame.put_i16(0);
            frame.put_i32(deaf.correlation_id);
            frame.put_i16(-1);
            if deaf.stream.write_all(&frame).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(300), flood).await.expect("the broker hangs up");
    assert_eq!(begun.elapsed().as_secs(), 60);
    cluster.shutdown().await;
}
