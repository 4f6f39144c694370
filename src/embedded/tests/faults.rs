//! Faults on purpose, and brokers that die and come back.

use std::time::Duration;

use kafka_protocol::{ResponseError, messages::MetadataRequest};
use tokio::time::{Instant, timeout};

use super::{
    super::{Api, Fault, FaultAction, When},
    *,
};

async fn orders() -> (EmbeddedCluster, Client) {
    start(EmbeddedCluster::builder().topic("orders", 1).topic("other", 1)).await
}

fn batch() -> Bytes {
    Batch::of(["a", "b"]).sequence(0).bytes()
}

#[tokio::test]
async fn a_lost_answer_leaves_the_batch_in_the_log() {
    for (when, kept) in [(When::BeforeApplying, 0), (When::AfterApplying, 1)] {
        let (cluster, mut client) = orders().await;
        let fault = cluster.inject(Fault::on(Api::Produce, FaultAction::Disconnect(when)));
        client.send(9, &produce_request("orders", 0, batch())).await;
        client.closed().await;
        assert_eq!(fault.left(), 0);
        let mut client = Client::to(&cluster).await;
        assert_eq!(base_offsets(client.fetch("orders", 0).await.1).len(), kept, "{when:?}");
        let again = client.produce("orders", 0, batch()).await;
        assert_eq!((again.error_code, again.base_offset), (0, 0), "{when:?}");
        assert_eq!(base_offsets(client.fetch("orders", 0).await.1), [0], "{when:?}: once in the log either way");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn an_error_comes_to_the_named_topic_the_named_times() {
    let (cluster, mut client) = orders().await;
    let code = ResponseError::NotEnoughReplicas.code();
    let fault =
        cluster.inject(Fault::on(Api::Produce, FaultAction::Error(code)).topic("orders").broker(0).skip(1).times(2));
    assert_eq!(client.produce("other", 0, batch()).await.error_code, 0, "another topic");
    assert_eq!(client.produce("orders", 0, batch()).await.error_code, 0, "the one to skip");
    assert_eq!(client.produce("orders", 0, batch()).await.error_code, code);
    assert_eq!((fault.left(), client.fetch("orders", 0).await.0), (1, 0), "another request");
    assert_eq!(client.produce("orders", 0, batch()).await.error_code, code);
    fault.exhausted().await;
    assert_eq!(client.produce("orders", 0, batch()).await.error_code, 0, "used up");
    let never = cluster.inject(Fault::on(Api::Fetch, FaultAction::Error(code)));
    cluster.clear_faults();
    assert_eq!(client.fetch("orders", 0).await.0, 0);
    never.exhausted().await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn every_kind_of_request_can_be_answered_with_an_error() {
    use kafka_protocol::messages::*;
    let (cluster, mut client) = orders().await;
    let code = 58;
    macro_rules! check {
        ($api:ident, $version:literal, $request:expr, $answer:ident => $found:expr) => {
            cluster.inject(Fault::on(Api::$api, FaultAction::Error(code)));
            let $answer = client.call($version, &$request).await;
            assert_eq!($found, code, stringify!($api));
        };
    }
    check!(Fetch, 12, fetch_request("orders", 0), answer => records(&answer).0);
    check!(Metadata, 9, MetadataRequest::default().with_topics(None), answer => answer.topics[1].error_code);
    check!(ApiVersions, 3, api_versions(3), answer => answer.error_code);
    check!(FindCoordinator, 3, FindCoordinatorRequest::default(), answer => answer.error_code);
    check!(InitProducerId, 4, InitProducerIdRequest::default().with_transactional_id(None), answer => answer.error_code);
    check!(DescribeCluster, 0, DescribeClusterRequest::default(), answer => answer.error_code);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![name("orders")]);
    check!(DeleteTopics, 4, delete, answer => answer.responses[0].error_code);
    let topic = create_topics_request::CreatableTopic::default().with_name(name("new")).with_num_partitions(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic.with_replication_factor(1)]);
    check!(CreateTopics, 5, create, answer => answer.topics[0].error_code);
    cluster.shutdown().await;
}

#[tokio::test]
async fn broken_replies_come_as_ordered() {
    let (cluster, mut client) = orders().await;
    let whole = {
        client.send(9, &MetadataRequest::default()).await;
        client.frame().await.unwrap().len() + 4
    };
    let ask = async |action| {
        cluster.inject(Fault::on(Api::Metadata, action));
        let mut client = Client::to(&cluster).await;
        client.send(9, &MetadataRequest::default()).await;
        client
    };

    let mut wrong = ask(FaultAction::WrongCorrelationId).await;
    assert_eq!(wrong.frame().await.unwrap().get_i32(), 1001);

    for cut in [0, 3, 4, 9, whole - 1] {
        let mut rest = Vec::new();
        ask(FaultAction::CutReply(cut)).await.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), cut);
    }

    let mut rest = Vec::new();
    ask(FaultAction::Garbage(100)).await.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), 100);

    for length in [-1, i32::MAX] {
        assert_eq!(ask(FaultAction::ReplyLength(length)).await.stream.read_i32().await.unwrap(), length);
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_corrupt_batch_has_a_wrong_checksum() {
    let (cluster, mut client) = orders().await;
    client.produce("orders", 0, Batch::of(["abc"]).bytes()).await;
    cluster.inject(Fault::on(Api::Fetch, FaultAction::CorruptBatch));
    let checksum = |region: &[u8]| crc32c::crc32c(&region[21..]).to_be_bytes() == region[17..21];
    assert!(!checksum(&client.fetch("orders", 0).await.1));
    assert!(checksum(&client.fetch("orders", 0).await.1), "the log itself is sound");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn delays_and_throttles_take_their_time() {
    let (cluster, mut client) = orders().await;
    let hour = Duration::from_secs(3600);
    cluster.inject(Fault::on(Api::Produce, FaultAction::Delay(hour)));
    let before = Instant::now();
    assert_eq!(client.produce("orders", 0, batch()).await.error_code, 0);
    assert!(before.elapsed() >= hour);
    cluster.inject(Fault::on(Api::Produce, FaultAction::Throttle(hour)));
    let before = Instant::now();
    let answer = client.call(9, &produce_request("other", 0, batch())).await;
    assert_eq!(answer.throttle_time_ms, 3_600_000);
    assert!(before.elapsed() < hour, "the answer itself comes at once (KIP-219)");
    client.fetch("orders", 0).await;
    assert!(before.elapsed() >= hour, "what comes after it waits");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn silence_keeps_the_connection_and_says_nothing() {
    for (when, kept) in [(When::BeforeApplying, 0), (When::AfterApplying, 1)] {
        let (cluster, mut client) = orders().await;
        let fault = cluster.inject(Fault::on(Api::Produce, FaultAction::Silence(when)));
        client.send(9, &produce_request("orders", 0, batch())).await;
        client.send(9, &MetadataRequest::default()).await;
        fault.exhausted().await;
        assert!(timeout(Duration::from_secs(3600), client.frame()).await.is_err(), "an hour without a word");
        let mut other = Client::to(&cluster).await;
        assert_eq!(base_offsets(other.fetch("orders", 0).await.1).len(), kept, "{when:?}");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn a_killed_broker_comes_back_on_its_port_with_its_logs_and_producers() {
    let (cluster, mut client) = orders().await;
    client.produce("orders", 0, batch()).await;
    let address = cluster.bootstrap();
    let patient = fetch_request("orders", 2).with_max_wait_ms(60_000);
    client.send(12, &patient).await;
    cluster.kill(0).await;
    client.closed().await;
    assert!(TcpStream::connect(&address).await.is_err(), "nobody listens");
    assert_eq!(cluster.bootstrap(), address);
    cluster.kill(0).await;
    cluster.restart(0).await.unwrap();
    cluster.restart(0).await.unwrap();
    let mut client = Client::at(&address).await;
    assert_eq!(client.produce("orders", 0, batch()).await.base_offset, 0, "a repeat is still known as one");
    let next = Batch::of(["c"]).sequence(2).bytes();
    assert_eq!(client.produce("orders", 0, next).await.base_offset, 2);
    assert_eq!(base_offsets(client.fetch("orders", 0).await.1), [0, 2]);
    assert!(cluster.restart(9).await.is_err(), "there is no broker 9");
    cluster.shutdown().await;
}
