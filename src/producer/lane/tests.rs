//! What a lane does when the broker behind it comes, goes, or is another machine.

use tokio::sync::mpsc;

use super::*;
use crate::{
    Kafka,
    embedded::EmbeddedCluster,
    wire::messages::{MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
};

const OLD: BrokerId = BrokerId(0);
const NEW: BrokerId = BrokerId(1);

/// One partition whose leader is given, and where the two brokers listen.
fn news(leader: BrokerId, ports: [i32; 2]) -> Arc<Metadata> {
    let broker = |(id, port)| MetadataResponseBroker {
        node_id: id,
        host: "b".into(),
        port,
        ..MetadataResponseBroker::default()
    };
    let partition = MetadataResponsePartition { leader_id: leader.0, ..MetadataResponsePartition::default() };
    let topic = MetadataResponseTopic {
        name: Some("t".into()),
        partitions: vec![partition],
        ..MetadataResponseTopic::default()
    };
    let response = MetadataResponse {
        brokers: (0..).zip(ports).map(broker).collect(),
        topics: vec![topic],
        ..MetadataResponse::default()
    };
    let mut metadata = Metadata::default();
    metadata.handle_response(&response, &["t".into()]);
    Arc::new(metadata)
}

/// A sender that nothing happens to but what a test does, with a partition whose open batch is due.
async fn sender() -> (Sender, impl Sized) {
    let cluster = EmbeddedCluster::builder().topic("t", 1).start().await.expect("it starts");
    let kafka = Kafka::connect(&cluster.bootstrap()).await.expect("it is reachable");
    let timeout = Duration::from_secs(1);
    let producer = kafka.producer().partitioner_availability_timeout(timeout).build().await.expect("it builds");
    let core = producer.handle.core.clone();
    let first = news(OLD, [1, 2]);
    core.take_in(first.topic("t").expect("there"));
    let (outbox, events) = mpsc::unbounded_channel();
    let mut sender = Sender::new(core, events, outbox);
    sender.handle_metadata(first);
    sender.learn_slots(usize::MAX);
    sender.slots[0].due = true;
    (sender, (cluster, producer))
}

fn hold(sender: &mut Sender) {
    sender.slots[0].listed = Listed::Held;
    sender.lanes.entry(OLD).or_default().held = vec![0];
    sender.note_progress(OLD, false);
}

fn is_stalled(sender: &Sender) -> bool {
    let now = Instant::now() + Duration::from_secs(9);
    !sender.core.stalls.of(OLD).lasts(now).is_zero()
}

#[tokio::test]
async fn kip_794_a_broker_with_nothing_held_back_any_more_is_not_stalled() {
    for moves in [true, false] {
        let (mut sender, _world) = sender().await;
        hold(&mut sender);
        assert!(is_stalled(&sender));
        if moves {
            sender.handle_metadata(news(NEW, [1, 2]));
            assert_eq!(sender.lanes[&NEW].ready, [0]);
            assert!(sender.lanes[&OLD].is_idle() && !is_stalled(&sender), "it leads the partition no more");
        } else {
            // Its time is over, and nothing is left of it.
            sender.slots[0].due = false;
            sender.release_if_open(OLD);
            assert!(!is_stalled(&sender), "nothing waits for it");
        }
    }
}

#[tokio::test]
async fn n11_what_is_held_back_for_a_machine_does_not_wait_for_it_when_another_has_its_number() {
    let (mut sender, _world) = sender().await;
    hold(&mut sender);
    sender.handle_metadata(news(OLD, [3, 2]));
    assert_eq!((&sender.lanes[&OLD].ready, sender.slots[0].listed), (&VecDeque::from([0]), Listed::Ready));
}

/// Twice in the list would be twice in a request, and its first batch would never be answered (P14).
#[tokio::test]
async fn a_partition_that_leaves_a_broker_as_that_returns_is_listed_once() {
    let (mut sender, _world) = sender().await;
    sender.list(0);
    sender.handle_connected(OLD, Err(Error::new(ErrorKind::Connect, "nobody is there")), None);
    assert_eq!(sender.lanes[&OLD].ready, [0]);
    sender.handle_metadata(news(NEW, [3, 2]));
    assert_eq!(sender.lanes[&NEW].ready, [0]);
    assert_eq!(sender.slots[0].listed, Listed::Ready);
}

/// A line to the broker that is there, with a request under way on it.
async fn connect(sender: &mut Sender) -> Connection {
    sender.lanes.entry(OLD).or_default();
    let connection = sender.core.cluster.connection(OLD, Traffic::Produce).await.expect("it is there");
    sender.handle_connected(OLD, Ok(connection.clone()), None);
    let request = connection.start_at(&ProduceRequest::default(), 9, Duration::from_secs(9)).expect("it is sent");
    sender.launch(OLD, Vec::new(), Reply::Answer(request), Span::none());
    connection
}

fn in_flight(sender: &Sender) -> usize {
    match &sender.lanes[&OLD].link {
        Link::Up(line) => line.in_flight(),
        other => panic!("it is up: {other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_is_found_again_keeps_its_count() {
    let (mut sender, _world) = sender().await;
    let connection = connect(&mut sender).await;
    // For a moment the number led elsewhere.
    let line = std::mem::take(&mut sender.lanes.get_mut(&OLD).expect("there").link).into_line();
    sender.lanes.get_mut(&OLD).expect("there").link = Link::Connecting(line);
    sender.handle_connected(OLD, Ok(connection), None);
    assert_eq!(in_flight(&sender), 1);
}

#[tokio::test]
async fn kip_219_only_the_machine_that_asked_for_silence_is_left_in_it() {
    let (mut sender, _world) = sender().await;
    let here = connect(&mut sender).await.peer().address.clone();
    let hour = Duration::from_secs(3600);
    sender.handle_throttle(OLD, "elsewhere:1".into(), hour);
    assert!(!sender.lanes[&OLD].is_quiet(&here), "that one has the number no more");
    sender.handle_throttle(OLD, here.clone(), hour);
    sender.handle_throttle(OLD, here.clone(), Duration::from_nanos(1));
    sender.handle_throttle(OLD, "elsewhere:1".into(), hour);
    assert!(sender.lanes[&OLD].is_quiet(&here), "the other one's wish is none of this one's");
    assert!(!sender.lanes[&OLD].is_quiet("elsewhere:1"));
}
