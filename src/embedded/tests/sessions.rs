//! Fetch sessions over the wire (KIP-227), and what leader epochs tell a reader (KIP-320, KIP-595, KIP-951).

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetForLeaderEpochRequest,
        fetch_request::ForgottenTopic,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};
use uuid::Uuid;

use super::*;

fn three_partitions() -> Builder {
    EmbeddedCluster::builder().brokers(2).topic("orders", 3)
}

/// A cluster whose first broker leads all three partitions of `orders`.
async fn led_by_the_first() -> (EmbeddedCluster, Client, Uuid) {
    let (cluster, client) = start(three_partitions()).await;
    cluster.move_leader("orders", 1, 0).unwrap();
    let id = cluster.shared.topics.by_name("orders").unwrap().id;
    (cluster, client, id)
}

/// In a version that names topics by id, or by name.
fn session_request(id: Option<Uuid>, session: (i32, i32), wanted: &[(i32, i64)]) -> FetchRequest {
    let partition = |(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default().with_partitions(wanted.iter().map(partition).collect());
    let topic = match id {
        Some(id) => topic.with_topic_id(id),
        None => topic.with_topic(name("orders")),
    };
    let topics = if wanted.is_empty() { Vec::new() } else { vec![topic] };
    let request = fetch_request("orders", 0).with_session_id(session.0).with_session_epoch(session.1);
    request.with_topics(topics)
}

/// The partitions of an answer and how many bytes of records each has.
fn answered(response: &FetchResponse) -> Vec<(i32, usize)> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|it| (it.partition_index, it.records.as_ref().map_or(0, Bytes::len))).collect()
}

#[tokio::test]
async fn a_session_answers_only_what_changed() {
    let (cluster, mut client, id) = led_by_the_first().await;
    let size = Batch::of(["a"]).bytes().len();
    for version in [7, 12, 13, 17] {
        let id = Some(id).filter(|_| version >= 13);
        let end = client.call(12, &session_request(None, (0, -1), &[(0, 0)])).await;
        let end = end.responses[0].partitions[0].high_watermark;
        let all = [(0, end), (1, 0), (2, 0)];
        let first = client.call(version, &session_request(id, (0, 0), &all)).await;
        assert_eq!((first.error_code, answered(&first).len()), (0, 3), "v{version}: whole");
        let session = first.session_id;
        assert!(session > 0, "v{version}");
        let second = client.call(version, &session_request(id, (session, 1), &[])).await;
        assert_eq!((second.session_id, answered(&second)), (session, vec![]), "v{version}: nothing new");
        client.produce("orders", 0, Batch::of(["a"]).bytes()).await;
        let third = client.call(version, &session_request(id, (session, 2), &[])).await;
        assert_eq!(answered(&third), [(0, size)], "v{version}");
        let fourth = client.call(version, &session_request(id, (session, 3), &[(0, end + 1)])).await;
        assert_eq!(answered(&fourth), [], "v{version}: the new position is kept");
        let closed = client.call(version, &session_request(id, (session, -1), &[(0, end)])).await;
        assert_eq!((closed.session_id, answered(&closed)), (0, vec![(0, size)]), "v{version}: whole and closed");
        let gone = client.call(version, &session_request(id, (session, 4), &[])).await.error_code;
        assert_eq!(gone, ResponseError::FetchSessionIdNotFound.code(), "v{version}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn errors_of_sessions_are_said_for_the_whole_answer() {
    let (cluster, mut client, id) = led_by_the_first().await;
    let session = client.call(12, &session_request(None, (0, 0), &[(0, 0), (1, 0)])).await.session_id;
    let table = [
        ("epoch", 12, None, (session, 2), ResponseError::InvalidFetchSessionEpoch),
        ("id", 12, None, (session ^ 1, 1), ResponseError::FetchSessionIdNotFound),
        ("by topic id", 13, Some(id), (session, 1), ResponseError::FetchSessionTopicIdError),
    ];
    for (case, version, id, session, expected) in table {
        let answer = client.call(version, &session_request(id, session, &[])).await;
        assert_eq!((answer.error_code, answer.responses.len()), (expected.code(), 0), "{case}");
    }
    let forgotten = ForgottenTopic::default().with_topic(name("orders")).with_partitions(vec![0]);
    let request = session_request(None, (session, 1), &[]).with_forgotten_topics_data(vec![forgotten]);
    assert_eq!(client.call(12, &request).await.error_code, 0);
    for partition in [0, 1] {
        client.produce("orders", partition, Batch::of(["a"]).bytes()).await;
    }
    let answer = client.call(12, &session_request(None, (session, 2), &[])).await;
    assert_eq!(answered(&answer).iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), [1]);
    cluster.expire_fetch_sessions(0);
    let expired = client.call(12, &session_request(None, (session, 3), &[])).await.error_code;
    assert_eq!(expired, ResponseError::FetchSessionIdNotFound.code());
    let session = client.call(12, &session_request(None, (0, 0), &[(0, 0)])).await.session_id;
    cluster.kill(0).await;
    cluster.restart(0).await.unwrap();
    let answer = Client::to(&cluster).await.call(12, &session_request(None, (session, 1), &[])).await;
    assert_eq!(answer.error_code, ResponseError::FetchSessionIdNotFound.code(), "it died with its broker");
    cluster.shutdown().await;
}

#[tokio::test]
async fn no_partition_starves_in_a_session_with_little_room() {
    let (cluster, mut client, _) = led_by_the_first().await;
    for partition in [0, 1, 2].repeat(4) {
        client.produce("orders", partition, Batch::of([&"x".repeat(1000)]).bytes()).await;
    }
    let little = |request: FetchRequest| request.with_max_bytes(1);
    let all = [(0, 0), (1, 0), (2, 0)];
    let first = client.call(12, &little(session_request(None, (0, 0), &all))).await;
    let mut positions = [0i64; 3];
    let mut served = Vec::new();
    let (session, mut answer) = (first.session_id, first);
    for epoch in 1..12 {
        let got = answered(&answer).into_iter().find(|(_, bytes)| *bytes > 0).unwrap().0;
        served.push(got);
        positions[got as usize] += 1;
        let moved = [(got, positions[got as usize])];
        answer = client.call(12, &little(session_request(None, (session, epoch), &moved))).await;
    }
    assert_eq!(served[..9], [0, 1, 2].repeat(3), "each in its turn");
    cluster.shutdown().await;
}

async fn end_of_epoch(client: &mut Client, current: i32, epoch: i32) -> (i16, i32, i64) {
    let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default().with_topic(name("orders")).with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    let mut found = Vec::new();
    for version in 2..=4 {
        let end = client.call(version, &request).await.topics[0].partitions[0].clone();
        found.push((end.error_code, end.leader_epoch, end.end_offset));
    }
    found.dedup();
    assert_eq!(found.len(), 1, "all versions say the same");
    found[0]
}

#[tokio::test]
async fn a_reader_finds_out_what_was_lost() {
    let (cluster, mut client, _) = led_by_the_first().await;
    for _ in 0..3 {
        client.produce("orders", 0, Batch::of(["a", "b"]).bytes()).await;
    }
    cluster.truncate("orders", 0, 3).unwrap();
    assert_eq!(client.produce("orders", 0, Batch::of(["c"]).bytes()).await.base_offset, 2, "its batch is lost whole");
    assert_eq!(end_of_epoch(&mut client, 1, 0).await, (0, 0, 2));
    assert_eq!(end_of_epoch(&mut client, 1, 1).await, (0, 1, 3));
    assert_eq!(end_of_epoch(&mut client, -1, 7).await, (0, -1, -1), "an epoch of the future");
    assert_eq!(end_of_epoch(&mut client, 0, 0).await.0, ResponseError::FencedLeaderEpoch.code());
    assert_eq!(end_of_epoch(&mut client, 2, 0).await.0, ResponseError::UnknownLeaderEpoch.code());
    let mut request = fetch_request("orders", 6);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let partition = client.call(12, &request).await.responses[0].partitions[0].clone();
    assert_eq!((partition.error_code, partition.records), (0, Some(Bytes::new())));
    assert_eq!((partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset), (0, 2));
    request.topics[0].partitions[0].fetch_offset = 2;
    let partition = client.call(12, &request).await.responses[0].partitions[0].clone();
    assert_eq!((partition.diverging_epoch.end_offset, partition.records.unwrap().is_empty()), (-1, false));
    request.topics[0].partitions[0].current_leader_epoch = 0;
    assert_eq!(records(&client.call(12, &request).await).0, ResponseError::FencedLeaderEpoch.code());
    cluster.shutdown().await;
}

#[tokio::test]
async fn the_wrong_broker_names_the_right_one() {
    let (cluster, mut client, id) = led_by_the_first().await;
    cluster.move_leader("orders", 0, 1).unwrap();
    let bootstrap = cluster.bootstrap();
    let second = bootstrap.split(',').nth(1).unwrap();
    for version in [12, 16, 17] {
        let answer =
            client.call(version, &session_request(Some(id).filter(|_| version >= 13), (0, -1), &[(0, 0)])).await;
        let leader = &answer.responses[0].partitions[0].current_leader;
        let expected = if version >= 16 { (1, 1, vec![second.to_owned()]) } else { (-1, -1, vec![]) };
        let endpoints = answer.node_endpoints.iter().map(|node| format!("{}:{}", node.host, node.port)).collect();
        assert_eq!((leader.leader_id.0, leader.leader_epoch, endpoints), expected, "Fetch v{version}");
    }
    for version in [9, 10, 12] {
        let answer = client.call(version, &produce_request("orders", 0, Batch::of(["a"]).bytes())).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, ResponseError::NotLeaderOrFollower.code());
        let expected = if version >= 10 { (1, 1, 1) } else { (-1, -1, 0) };
        let leader = &partition.current_leader;
        let told = (leader.leader_id.0, leader.leader_epoch, answer.node_endpoints.len());
        assert_eq!(told, expected, "Produce v{version}");
    }
    cluster.shutdown().await;
}
