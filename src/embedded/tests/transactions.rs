//! Transactions: what is visible when, who is fenced, what each version of a request is told.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
        EndTxnRequest, GroupId, InitProducerIdRequest, ListOffsetsRequest, ListTransactionsRequest, ProducerId,
        TransactionalId, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
        add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        describe_producers_request::TopicRequest,
        fetch_response::PartitionData,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
        write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
    },
};
use tokio::time::Instant;

use super::*;

/// A producer id and epoch.
type Who = (i64, i16);

const OK: i16 = 0;

fn code(error: ResponseError) -> i16 {
    error.code()
}

fn transactional(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}

/// A cluster without sockets, and a connection to its first broker.
async fn in_memory(builder: Builder) -> (EmbeddedCluster, MemoryNetwork, Client) {
    let network = MemoryNetwork::new();
    let cluster = builder.topic("orders", 2).memory(&network).start().await.unwrap();
    let client = Client::within(&network, 0).await;
    (cluster, network, client)
}

/// How the two versions of transactions are spoken: Produce and EndTxn.
const VERSIONS: [(i16, i16, i16); 2] = [(1, 11, 4), (2, 12, 5)];

impl Client {
    async fn init(&mut self, version: i16, id: &str, before: Who) -> (i16, Who) {
        let mut request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional(id)))
            .with_transaction_timeout_ms(60_000);
        if version >= 3 {
            request = request.with_producer_id(ProducerId(before.0)).with_producer_epoch(before.1);
        }
        let answer = self.call(version, &request).await;
        (answer.error_code, (answer.producer_id.0, answer.producer_epoch))
    }

    /// A new producer with this id, sure to succeed.
    async fn begin(&mut self, id: &str) -> Who {
        let (error, who) = self.init(5, id, (-1, -1)).await;
        assert_eq!(error, OK);
        who
    }

    async fn add(&mut self, version: i16, id: &str, who: Who, partition: i32) -> i16 {
        let topic = AddPartitionsToTxnTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional(id))
            .with_v3_and_below_producer_id(ProducerId(who.0))
            .with_v3_and_below_producer_epoch(who.1)
            .with_v3_and_below_topics(vec![topic]);
        let answer = self.call(version, &request).await;
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    /// Writes one transactional record to partition 0.
    async fn write(&mut self, version: i16, id: &str, who: Who, sequence: i32) -> i16 {
        self.write_to(version, id, who, 0, sequence).await
    }

    async fn write_to(&mut self, version: i16, id: &str, who: Who, partition: i32, sequence: i32) -> i16 {
        let batch = Batch { attributes: 0x10, ..Batch::of(["x"]).producer(who.0, who.1, sequence) };
        let id = Some(transactional(id)).filter(|id| !id.is_empty());
        let request = produce_request("orders", partition, batch.bytes()).with_transactional_id(id);
        let answer = self.call(version, &request).await;
        answer.responses[0].partition_responses[0].error_code
    }

    async fn end(&mut self, version: i16, id: &str, who: Who, commit: bool) -> (i16, Who) {
        let request = EndTxnRequest::default()
            .with_transactional_id(transactional(id))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1)
            .with_committed(commit);
        let answer = self.call(version, &request).await;
        (answer.error_code, (answer.producer_id.0, answer.producer_epoch))
    }

    /// Partition 0 of the topic, as a reader of this isolation level gets it.
    async fn read(&mut self, isolation_level: i8, offset: i64) -> PartitionData {
        let request = fetch_request("orders", offset).with_isolation_level(isolation_level);
        let answer = self.call(12, &request).await;
        answer.responses[0].partitions[0].clone()
    }

    /// The base offsets that a reader of committed records gets, the last stable offset, and whose records it skips.
    async fn committed(&mut self, offset: i64) -> (Vec<i64>, i64, Vec<(i64, i64)>) {
        let data = self.read(1, offset).await;
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted = aborted.iter().map(|it| (it.producer_id.0, it.first_offset)).collect();
        (base_offsets(data.records.unwrap_or_default()), data.last_stable_offset, aborted)
    }

    async fn latest(&mut self, isolation_level: i8) -> i64 {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_isolation_level(isolation_level).with_topics(vec![topic]);
        self.call(7, &request).await.topics[0].partitions[0].offset
    }

    async fn commit_offset(&mut self, version: i16, id: &str, who: Who, offset: i64) -> i16 {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = TxnOffsetCommitRequestTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional(id))
            .with_group_id(GroupId(StrBytes::from_static_str("group")))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        self.call(version, &request).await.topics[0].partitions[0].error_code
    }

    async fn add_offsets(&mut self, version: i16, id: &str, who: Who) -> i16 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional(id))
            .with_group_id(GroupId(StrBytes::from_static_str("group")))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1);
        self.call(version, &request).await.error_code
    }

    async fn describe(&mut self, id: &str) -> (i16, String, Who, Vec<i32>) {
        let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional(id)]);
        let state = self.call(0, &request).await.transaction_states[0].clone();
        let partitions = state.topics.iter().flat_map(|topic| topic.partitions.clone()).collect();
        let who = (state.producer_id.0, state.producer_epoch);
        (state.error_code, state.transaction_state.to_string(), who, partitions)
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_invisible_until_it_commits_and_skipped_if_it_aborts() {
    for (version, produce, end) in VERSIONS {
        let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder()).await;
        let mut who = client.begin("tx").await;
        for (round, commit) in [true, false, true].into_iter().enumerate() {
            let begin = round as i64 * 3;
            let sequence = if version == 1 { round as i32 * 2 } else { 0 };
            if version == 1 {
                assert_eq!(client.add(3, "tx", who, 0).await, OK);
            }
            assert_eq!(client.write(produce, "tx", who, sequence).await, OK);
            assert_eq!(client.write(produce, "tx", who, sequence + 1).await, OK);
            assert_eq!(client.committed(begin).await, (vec![], begin, vec![]), "round {round}");
            assert_eq!(base_offsets(client.read(0, begin).await.records.unwrap()), [begin, begin + 1]);
            assert_eq!((client.latest(1).await, client.latest(0).await), (begin, begin + 2));
            let (error, next) = client.end(end, "tx", who, commit).await;
            assert_eq!(error, OK);
            let aborted = if commit { vec![] } else { vec![(who.0, begin)] };
            assert_eq!(client.committed(begin).await, (vec![begin, begin + 1, begin + 2], begin + 3, aborted));
            assert_eq!(client.latest(1).await, begin + 3);
            if version == 2 {
                assert_eq!(next, (who.0, who.1 + 1));
                who = next;
            }
        }
        assert_eq!(client.committed(0).await.2.len(), 1, "an earlier abort is told where it is read");
        assert_eq!(client.committed(6).await.2.len(), 0, "and not behind it");
        cluster.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_open_transaction_holds_back_what_others_have_committed() {
    let (cluster, network, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let (slow, fast) = (client.begin("slow").await, client.begin("fast").await);
    assert_eq!(client.write(12, "fast", fast, 0).await, OK);
    assert_eq!(client.write(12, "slow", slow, 0).await, OK);
    let (_, fast) = client.end(5, "fast", fast, true).await;
    assert_eq!(client.produce("orders", 0, Batch::of(["plain"]).bytes()).await.base_offset, 3);
    assert_eq!(client.committed(0).await, (vec![0], 1, vec![]));
    // A reader that waits is woken by the marker.
    let mut reader = Client::within(&network, 0).await;
    reader.send(12, &fetch_request("orders", 1).with_isolation_level(1).with_max_wait_ms(60_000)).await;
    let partition = cluster.shared.topics.by_name("orders").unwrap().partition(0).unwrap().clone();
    while !partition.log().has_waiting() {
        tokio::task::yield_now().await;
    }
    let before = Instant::now();
    assert_eq!(client.end(5, "slow", slow, false).await.0, OK);
    let answer = reader.receive::<FetchRequest>(12, 1).await;
    assert_eq!(base_offsets(records(&answer).1), [1, 2, 3, 4]);
    assert_eq!(before.elapsed(), Duration::ZERO, "no time has passed");
    assert_eq!(client.committed(1).await, (vec![1, 2, 3, 4], 5, vec![(slow.0, 1)]));
    assert_eq!(fast.1, 1);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_outside_of_a_transaction_is_refused() {
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let who = client.begin("tx").await;
    let (id, epoch) = who;
    let table = [
        ("before 11 nobody knew better", 10, "tx", who, code(ResponseError::InvalidTxnState)),
        ("it may be aborted", 11, "tx", who, code(ResponseError::TransactionAbortable)),
        ("no id", 11, "", who, code(ResponseError::TransactionalIdAuthorizationFailed)),
        ("unknown id", 12, "ty", who, code(ResponseError::InvalidProducerIdMapping)),
        ("unknown producer", 12, "tx", (id + 1, epoch), code(ResponseError::InvalidProducerIdMapping)),
        ("another epoch", 12, "tx", (id, epoch + 1), code(ResponseError::InvalidProducerEpoch)),
        ("from 12 on it is taken in", 12, "tx", who, OK),
    ];
    for (case, version, id, who, expected) in table {
        assert_eq!(client.write(version, id, who, 0).await, expected, "{case}");
    }
    let plain = client.produce("orders", 0, Batch::of(["y"]).producer(id, epoch, 1).bytes()).await;
    assert_eq!(plain.error_code, code(ResponseError::InvalidTxnState), "not transactional, within a transaction");
    let middle = client.write_to(12, "tx", who, 1, 5).await;
    assert_eq!(middle, code(ResponseError::OutOfOrderSequenceNumber), "a new partition begins at 0");
    let (_, next) = client.end(5, "tx", who, true).await;
    assert_eq!(client.write(12, "tx", who, 1).await, code(ResponseError::InvalidProducerEpoch), "late");
    assert_eq!(client.write(12, "tx", next, 1).await, code(ResponseError::OutOfOrderSequenceNumber));
    assert_eq!(client.write(12, "tx", next, 0).await, OK);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn every_version_is_told_of_fencing_in_its_own_words() {
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let old = client.begin("tx").await;
    let new = client.begin("tx").await;
    assert_eq!(new, (old.0, old.1 + 1));
    let (epoch, fenced) = (code(ResponseError::InvalidProducerEpoch), code(ResponseError::ProducerFenced));
    for (version, expected) in [(3, epoch), (4, fenced), (5, fenced)] {
        assert_eq!(client.init(version, "tx", old).await, (expected, (-1, -1)), "InitProducerId {version}");
    }
    for (version, expected) in [(0, epoch), (1, epoch), (2, fenced), (3, fenced)] {
        assert_eq!(client.add(version, "tx", old, 0).await, expected, "AddPartitionsToTxn {version}");
        assert_eq!(client.add_offsets(version, "tx", old).await, expected, "AddOffsetsToTxn {version}");
        assert_eq!(client.end(version, "tx", old, true).await.0, expected, "EndTxn {version}");
    }
    for version in 3..=13 {
        let mut request = produce_request("orders", 0, Bytes::new()).with_transactional_id(Some(transactional("tx")));
        let batch = Batch { attributes: 0x10, ..Batch::of(["x"]).producer(old.0, old.1, 0) };
        request.topic_data[0].partition_data[0].records = Some(batch.bytes());
        request.topic_data[0].topic_id = cluster.shared.topics.by_name("orders").unwrap().id;
        let answer = client.call(version, &request).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, epoch, "Produce {version}");
    }
    assert_eq!(client.commit_offset(3, "tx", old, 5).await, epoch);
    assert_eq!(client.add(3, "tx", new, 0).await, OK, "the newer one goes on");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_aborted_and_its_producer_fenced() {
    let (cluster, network, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let who = client.begin("tx").await;
    assert_eq!(client.write(12, "tx", who, 0).await, OK);
    let mut reader = Client::within(&network, 0).await;
    let before = Instant::now();
    let wait = fetch_request("orders", 0).with_isolation_level(1).with_max_wait_ms(100_000);
    let answer = reader.call(12, &wait).await;
    assert_eq!(before.elapsed().as_secs(), 60, "the transaction timeout that was asked for");
    assert_eq!(base_offsets(records(&answer).1), [0, 1]);
    assert_eq!(client.committed(0).await.2, [(who.0, 0)]);
    assert_eq!(client.describe("tx").await.1, "CompleteAbort");
    assert_eq!(client.write(12, "tx", who, 1).await, code(ResponseError::InvalidProducerEpoch));
    assert_eq!(client.end(4, "tx", who, true).await.0, code(ResponseError::ProducerFenced));
    assert_eq!(client.end(5, "tx", who, true).await.0, code(ResponseError::InvalidTxnState), "it is aborted");
    assert_eq!(client.end(5, "tx", who, false).await, (OK, (who.0, who.1 + 1)), "by this version it may go on");
    assert_eq!(client.init(5, "tx", who).await.0, code(ResponseError::ProducerFenced));
    let next = client.begin("tx").await;
    assert!(next.1 > who.1 + 1, "nobody was given the epoch between");
    assert_eq!(client.write(12, "tx", next, 0).await, OK);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn between_decision_and_marker_everybody_waits() {
    let delay = Duration::from_secs(2);
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder().marker_delay(delay)).await;
    for (version, produce, end) in VERSIONS {
        let who = client.begin("tx").await;
        let stable = client.latest(1).await;
        if version == 1 {
            assert_eq!(client.add(3, "tx", who, 0).await, OK);
        }
        assert_eq!(client.write(produce, "tx", who, 0).await, OK);
        let (error, next) = client.end(end, "tx", who, true).await;
        assert_eq!(error, OK);
        let concurrent = code(ResponseError::ConcurrentTransactions);
        let next = if version == 1 { who } else { next };
        assert_eq!(client.describe("tx").await.1, "PrepareCommit");
        assert_eq!(client.latest(1).await, stable, "not visible yet");
        assert_eq!(client.end(end, "tx", who, true).await.0, concurrent);
        assert_eq!(client.init(5, "tx", (-1, -1)).await.0, concurrent);
        assert_eq!(client.add(3, "tx", next, 1).await, concurrent);
        let retry = if version == 1 { code(ResponseError::NotEnoughReplicas) } else { concurrent };
        assert_eq!(client.write_to(produce, "tx", next, 1, 0).await, retry);
        tokio::time::sleep(delay).await;
        assert_eq!(client.describe("tx").await.1, "CompleteCommit");
        assert_eq!(client.latest(1).await, stable + 2);
    }
    cluster.set_marker_delay(Duration::ZERO);
    let who = client.begin("tx").await;
    assert_eq!(client.write(12, "tx", who, 0).await, OK);
    assert_eq!(client.end(5, "tx", who, true).await.0, OK);
    assert_eq!(client.describe("tx").await.1, "CompleteCommit");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_ends_the_transaction_of_the_one_before() {
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let zombie = client.begin("tx").await;
    assert_eq!(client.write(12, "tx", zombie, 0).await, OK);
    let concurrent = code(ResponseError::ConcurrentTransactions);
    assert_eq!(client.init(5, "tx", (-1, -1)).await.0, concurrent, "it is to come again");
    let who = client.begin("tx").await;
    assert_eq!(client.committed(0).await, (vec![0, 1], 2, vec![(zombie.0, 0)]));
    assert_eq!(client.write(12, "tx", zombie, 1).await, code(ResponseError::InvalidProducerEpoch));
    assert_eq!(client.end(5, "tx", zombie, true).await.0, code(ResponseError::ProducerFenced));
    assert_eq!(client.write(12, "tx", who, 0).await, OK);
    cluster.fence_producer("tx").unwrap();
    assert_eq!(client.end(5, "tx", who, true).await.0, code(ResponseError::ProducerFenced));
    assert_eq!(client.committed(2).await.2, [(who.0, 2)]);
    assert!(cluster.fence_producer("ty").is_err());
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn partitions_are_added_all_or_none_and_asked_about_one_by_one() {
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let who = client.begin("tx").await;
    let transaction = |verify_only, topic, partitions| {
        let topic = AddPartitionsToTxnTopic::default().with_name(name(topic)).with_partitions(partitions);
        let transaction = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(transactional("tx"))
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(who.1)
            .with_verify_only(verify_only)
            .with_topics(vec![topic]);
        AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
    };
    let (unknown, skipped) = (ResponseError::UnknownTopicOrPartition, ResponseError::OperationNotAttempted);
    let abortable = code(ResponseError::TransactionAbortable);
    let table = [
        ("one is unknown", transaction(false, "orders", vec![0, 7]), vec![code(skipped), code(unknown)]),
        ("nothing was added", transaction(true, "orders", vec![0, 1]), vec![abortable, abortable]),
        ("one", transaction(false, "orders", vec![1]), vec![OK]),
        ("which is in it", transaction(true, "orders", vec![0, 1]), vec![abortable, OK]),
        ("again", transaction(false, "orders", vec![1, 0]), vec![OK, OK]),
    ];
    for (case, request, expected) in table {
        for version in [4, 5] {
            let answer = client.call(version, &request).await.results_by_transaction[0].clone();
            let codes = answer.topic_results[0].results_by_partition.iter().map(|it| it.partition_error_code);
            assert_eq!(codes.collect::<Vec<_>>(), expected, "{case}, version {version}");
            if case == "one is unknown" || case.starts_with("nothing") {
                assert_eq!(client.describe("tx").await.1, "Empty");
            }
        }
    }
    assert_eq!(client.add(3, "", who, 0).await, code(ResponseError::InvalidRequest));
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_with_the_transaction() {
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let mut who = client.begin("tx").await;
    for (version, commit, end) in [(3, true, 4), (4, false, 4), (5, true, 5), (5, false, 5)] {
        let before = cluster.committed_offset("group", "orders", 0);
        let offset = before.unwrap_or(0) + 10;
        if version < 5 {
            let missing = [ResponseError::InvalidTxnState, ResponseError::TransactionAbortable];
            let missing = missing[usize::from(version == 4)];
            assert_eq!(client.commit_offset(version, "tx", who, offset).await, code(missing), "{version}");
            assert_eq!(client.add_offsets(4, "tx", who).await, OK);
        }
        assert_eq!(client.commit_offset(version, "tx", who, offset).await, OK);
        assert_eq!(client.describe("tx").await.3.len(), 1, "a partition of __consumer_offsets");
        assert_eq!(cluster.transactions()[0].groups, ["group"]);
        assert_eq!(cluster.committed_offset("group", "orders", 0), before, "not yet");
        let (error, next) = client.end(end, "tx", who, commit).await;
        assert_eq!(error, OK);
        who = if end >= 5 { next } else { who };
        let expected = if commit { Some(offset) } else { before };
        assert_eq!(cluster.committed_offset("group", "orders", 0), expected, "version {version}");
    }
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn markers_wait_for_a_leader_that_is_down() {
    let (cluster, network, _) = in_memory(EmbeddedCluster::builder().brokers(2)).await;
    // An id that the broker coordinates which stays up; it leads partition 1.
    let id = (0..).map(|n| format!("tx-{n}")).find(|id| cluster.shared.coordinator(id).unwrap().id == 1).unwrap();
    let (mut first, mut second) = (Client::within(&network, 0).await, Client::within(&network, 1).await);
    let (not_here, _) = first.init(5, &id, (-1, -1)).await;
    assert_eq!(not_here, code(ResponseError::NotCoordinator));
    let who = second.begin(&id).await;
    assert_eq!(first.write_to(12, &id, who, 0, 0).await, OK, "a leader adds it at the coordinator");
    assert_eq!(second.write_to(12, &id, who, 1, 0).await, OK);
    cluster.kill(0).await;
    let (error, who) = second.end(5, &id, who, true).await;
    assert_eq!(error, OK);
    assert_eq!(second.describe(&id).await.3, [0], "what is still to be written");
    assert_eq!(second.write_to(12, &id, who, 1, 0).await, code(ResponseError::ConcurrentTransactions));
    cluster.restart(0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(second.describe(&id).await.1, "CompleteCommit");
    let mut first = Client::within(&network, 0).await;
    assert_eq!(first.committed(0).await, (vec![0, 1], 2, vec![]));
    assert_eq!(second.write_to(12, &id, who, 1, 0).await, OK);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_of_transactions_are_kept_as_long_as_others() {
    let minute = Duration::from_secs(60);
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder().offsets_retention(60 * minute)).await;
    let mut who = client.begin("tx").await;
    for offset in 1..4 {
        assert_eq!(client.commit_offset(5, "tx", who, offset).await, OK);
        assert_eq!(cluster.shared.timers.of_groups(), 1);
        who = client.end(5, "tx", who, true).await.1;
        tokio::time::sleep(50 * minute).await;
        assert_eq!(cluster.committed_offset("group", "orders", 0), Some(offset), "fifty minutes after the last");
    }
    tokio::time::sleep(15 * minute).await;
    assert_eq!(cluster.committed_offset("group", "orders", 0), None);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_is_remembered_until_it_is_written() {
    let minute = Duration::from_secs(60);
    let builder = EmbeddedCluster::builder().brokers(2).transactional_id_expiration(minute);
    let (cluster, network, mut first) = in_memory(builder).await;
    let id = (0..).map(|n| format!("tx-{n}")).find(|id| cluster.shared.coordinator(id).unwrap().id == 1).unwrap();
    let mut second = Client::within(&network, 1).await;
    let who = second.begin(&id).await;
    assert_eq!(first.write_to(12, &id, who, 0, 0).await, OK);
    cluster.kill(0).await;
    assert_eq!(second.end(5, &id, who, true).await.0, OK);
    tokio::time::sleep(10 * minute).await;
    assert_eq!(cluster.transactions().len(), 1, "a marker is missing");
    cluster.restart(0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut first = Client::within(&network, 0).await;
    assert_eq!(first.committed(0).await, (vec![0, 1], 2, vec![]), "the last stable offset goes on");
    tokio::time::sleep(2 * minute).await;
    assert_eq!(cluster.transactions(), [], "nobody uses it any more");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_transaction_is_found_and_ended_by_an_administrator() {
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder().transaction_verification(false)).await;
    let who = client.begin("tx").await;
    // Late, and nobody asks the coordinator: no marker will ever come.
    assert_eq!(client.write(11, "tx", who, 0).await, OK);
    assert_eq!(client.describe("tx").await.1, "Empty");
    let topic = TopicRequest::default().with_name(name("orders")).with_partition_indexes(vec![0, 9]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let partitions = client.call(0, &request).await.topics[0].partitions.clone();
    assert_eq!(partitions[1].error_code, code(ResponseError::UnknownTopicOrPartition));
    let open = &partitions[0].active_producers[0];
    assert_eq!((open.producer_id.0, open.current_txn_start_offset, open.last_sequence), (who.0, 0, 0));
    let marker = |epoch, coordinator_epoch| {
        let topic = WritableTxnMarkerTopic::default().with_name(name("orders")).with_partition_indexes(vec![0]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(who.0))
            .with_producer_epoch(epoch)
            .with_coordinator_epoch(coordinator_epoch)
            .with_topics(vec![topic]);
        WriteTxnMarkersRequest::default().with_markers(vec![marker])
    };
    for (epoch, coordinator, expected) in [
        (-1, 0, code(ResponseError::InvalidRequest)),
        (who.1, 3, OK),
        (who.1, 2, code(ResponseError::TransactionCoordinatorFenced)),
    ] {
        let answer = client.call(1, &marker(epoch, coordinator)).await;
        assert_eq!(answer.markers[0].topics[0].partitions[0].error_code, expected, "{epoch} {coordinator}");
    }
    assert_eq!(client.committed(0).await, (vec![0, 1], 2, vec![(who.0, 0)]));
    let partitions = client.call(0, &request).await.topics[0].partitions.clone();
    let ended = &partitions[0].active_producers[0];
    assert_eq!((ended.current_txn_start_offset, ended.coordinator_epoch), (-1, 3));
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn transactional_ids_are_listed_by_state_producer_duration_and_pattern() {
    let (cluster, _, mut client) = in_memory(EmbeddedCluster::builder()).await;
    let (idle, open, done) = (client.begin("idle").await, client.begin("open").await, client.begin("done").await);
    assert_eq!(client.write(12, "open", open, 0).await, OK);
    assert_eq!(client.write(12, "done", done, 0).await, OK);
    assert_eq!(client.end(5, "done", done, true).await.0, OK);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let all = ListTransactionsRequest::default;
    let table: Vec<(i16, ListTransactionsRequest, &[&str])> = vec![
        (0, all(), &["done", "idle", "open"]),
        (0, all().with_state_filters(vec![text("Ongoing"), text("Empty")]), &["idle", "open"]),
        (0, all().with_producer_id_filters(vec![ProducerId(idle.0)]), &["idle"]),
        (1, all().with_duration_filter(9_999), &["done", "idle", "open"]),
        (1, all().with_duration_filter(10_000), &["idle"]),
        (2, all().with_transactional_id_pattern(Some(text("(open|do.+)"))), &["done", "open"]),
        (2, all().with_transactional_id_pattern(Some(text("pe"))), &[]),
    ];
    for (version, request, expected) in table {
        let answer = client.call(version, &request).await;
        let ids: Vec<_> = answer.transaction_states.iter().map(|it| it.transactional_id.to_string()).collect();
        assert_eq!(ids, expected, "{request:?}");
    }
    let answer = client.call(0, &all().with_state_filters(vec![text("Strange")])).await;
    assert_eq!((answer.unknown_state_filters, answer.transaction_states), (vec![text("Strange")], vec![]));
    let answer = client.call(2, &all().with_transactional_id_pattern(Some(text("(")))).await;
    assert_eq!(answer.error_code, code(ResponseError::InvalidRegularExpression));
    assert_eq!(client.describe("none").await.0, code(ResponseError::TransactionalIdNotFound));
    assert_eq!(client.describe("").await.0, code(ResponseError::InvalidRequest));
    assert_eq!(client.describe("open").await, (OK, "Ongoing".to_owned(), open, vec![0]));
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn ids_and_timeouts_have_their_limits() {
    let builder = EmbeddedCluster::builder().transactional_id_expiration(Duration::from_secs(3600));
    let (cluster, _, mut client) = in_memory(builder).await;
    for (timeout, expected) in
        [(900_000, OK), (900_001, code(ResponseError::InvalidTransactionTimeout)), (0, 50), (-5, 50)]
    {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional("tx")))
            .with_transaction_timeout_ms(timeout);
        assert_eq!(client.call(1, &request).await.error_code, expected, "{timeout}");
    }
    let who = (cluster.transactions()[0].producer_id, 0);
    let request = code(ResponseError::InvalidRequest);
    assert_eq!(client.init(5, "tx", (who.0, -1)).await.0, request, "an id without its epoch");
    assert_eq!(client.init(5, "", (-1, -1)).await.0, request);
    tokio::time::sleep(Duration::from_secs(3601)).await;
    assert_eq!(cluster.transactions(), [], "nobody used it for so long");
    assert_eq!(client.end(5, "tx", who, true).await.0, code(ResponseError::InvalidProducerIdMapping));
    let (error, again) = client.init(5, "tx", who).await;
    assert_eq!((error, again.1), (OK, 0), "whoever is back gets another id");
    assert_ne!(again.0, who.0);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_retention_drops_is_no_longer_told_of() {
    let builder = EmbeddedCluster::builder().retention_bytes(20_000).segment_bytes(2_000);
    let (cluster, _, mut client) = in_memory(builder).await;
    let mut who = client.begin("tx").await;
    for _ in 0..100 {
        assert_eq!(client.write(12, "tx", who, 0).await, OK);
        who = client.end(5, "tx", who, false).await.1;
    }
    let start = client.read(1, 199).await.log_start_offset;
    assert!(start > 100, "{start}");
    let (_, _, aborted) = client.committed(start).await;
    assert_eq!(aborted.len() as i64, (200 - start + 1) / 2);
    let partition = cluster.shared.topics.by_name("orders").unwrap().partition(0).unwrap().clone();
    assert_eq!(partition.log().aborted_in(0, 200).len(), aborted.len());
    cluster.shutdown().await;
}
