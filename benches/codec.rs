//! What a message costs to read and to write, beside the crate kafka-protocol: large answers, large requests and the
//! small ones that every connection sends.
//!
//! Rules this file keeps:
//! - both sides read the same bytes, which are checked to say the same to both before anything is measured;
//! - the values read are dropped within the measurement: allocating is only half of what an allocation costs.
//!
//! Goal: a Metadata response of 10,000 partitions and a Fetch response of 1,000 are read five times faster.
//!
//! Measured on two shared cores, best of many, glibc that keeps its memory
//! (`GLIBC_TUNABLES=glibc.malloc.trim_threshold=200000000:glibc.malloc.mmap_threshold=100000000`; else a good part of
//! both Metadata readings is the kernel handing out the same pages again): Metadata v12 127 µs and 726 µs, 5.7 times;
//! Fetch v17 15 µs and 48 µs, 3.1 times. A partition of that Fetch response costs 15 ns, of which 8 go to counting one
//! more and one less holder of the frame: an atomic addition waits for the stores before it. Records that do not hold
//! the frame would be needed to come under that.

use std::{fmt, hint::black_box, time::Duration};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::{
    messages as theirs,
    protocol::{Decodable, Encodable},
};
use milena::wire::{self, ErrorCode, Message, Records, Str, Uuid, messages as ours};

/// How many bytes of records each partition has; nobody looks into them.
const BATCH: usize = 256;

fn metadata(version: i16) -> ours::MetadataResponse {
    let partition = |index| ours::MetadataResponsePartition {
        partition_index: index,
        leader_id: index % 3,
        leader_epoch: 7,
        replica_nodes: [0, 1, 2].into_iter().collect(),
        isr_nodes: [0, 1, 2].into_iter().collect(),
        ..Default::default()
    };
    let topic = |index: u128| ours::MetadataResponseTopic {
        name: Some(Str::from(format!("topic-{index}"))),
        topic_id: if version >= 10 { Uuid(index + 1) } else { Uuid::default() },
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    let broker = |node_id| ours::MetadataResponseBroker {
        node_id,
        host: Str::from(format!("broker-{node_id}.example.org")),
        port: 9092,
        rack: Some(Str::from("eu-west-1a")),
    };
    ours::MetadataResponse {
        brokers: (0..3).map(broker).collect(),
        cluster_id: Some(Str::from("5L6g3nShT-eMCtK--X86sw")),
        topics: (0..100).map(topic).collect(),
        ..Default::default()
    }
}

fn fetch(version: i16, topics: u32) -> ours::FetchResponse {
    let records = Bytes::from(vec![7; BATCH]);
    let partition = |partition_index| ours::PartitionData {
        partition_index,
        high_watermark: 1_000_000,
        last_stable_offset: 1_000_000,
        log_start_offset: 0,
        aborted_transactions: None,
        records: Some(Records::from(records.clone())),
        ..Default::default()
    };
    let topic = |index| ours::FetchableTopicResponse {
        topic: if version <= 12 { Str::from(format!("topic-{index}")) } else { Str::default() },
        topic_id: if version > 12 { Uuid(u128::from(index) + 1) } else { Uuid::default() },
        partitions: (0..1000 / topics as i32).map(partition).collect(),
    };
    ours::FetchResponse { session_id: 42, responses: (0..topics).map(topic).collect(), ..Default::default() }
}

fn produce() -> ours::ProduceRequest {
    let batch = |index| Records::from(Bytes::from(vec![index as u8; 16 << 10]));
    let partition = |index| ours::PartitionProduceData { index, records: Some(batch(index)) };
    let topic = |index| ours::TopicProduceData {
        name: Str::from(format!("topic-{index}")),
        partition_data: (0..10).map(partition).collect(),
        ..Default::default()
    };
    ours::ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: (0..10).map(topic).collect(),
        ..Default::default()
    }
}

fn api_versions() -> ours::ApiVersionsResponse {
    let api = |api_key| ours::ApiVersion { api_key, min_version: 0, max_version: 9 };
    let feature = |name: &str| ours::SupportedFeatureKey { name: Str::from(name), min_version: 0, max_version: 4 };
    ours::ApiVersionsResponse {
        api_keys: (0..60).map(api).collect(),
        supported_features: ["metadata.version", "group.version", "transaction.version"].map(feature).into(),
        ..Default::default()
    }
}

fn heartbeat() -> ours::HeartbeatRequest {
    ours::HeartbeatRequest {
        group_id: Str::from("invoices"),
        generation_id: 17,
        member_id: Str::from("invoices-1-4f8f3f6e-98c3-4c1c-b5c0-1f9f4b6f0a3e"),
        group_instance_id: None,
    }
}

fn offset_commit() -> ours::OffsetCommitRequest {
    let partition = |partition_index| ours::OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1_000_000,
        committed_leader_epoch: 7,
        committed_metadata: Some(Str::default()),
    };
    let topic = |index| ours::OffsetCommitRequestTopic {
        name: Str::from(format!("topic-{index}")),
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    ours::OffsetCommitRequest {
        group_id: Str::from("invoices"),
        generation_id_or_member_epoch: 17,
        member_id: Str::from("invoices-1-4f8f3f6e-98c3-4c1c-b5c0-1f9f4b6f0a3e"),
        topics: (0..10).map(topic).collect(),
        ..Default::default()
    }
}

fn offset_commit_response() -> ours::OffsetCommitResponse {
    let partition = |partition_index| ours::OffsetCommitResponsePartition { partition_index, error_code: ErrorCode(0) };
    let topic = |index| ours::OffsetCommitResponseTopic {
        name: Str::from(format!("topic-{index}")),
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    ours::OffsetCommitResponse { throttle_time_ms: 0, topics: (0..10).map(topic).collect() }
}

/// Reads and writes `message` with both; `T` is kafka-protocol's type for it.
fn both<O: Message, T: Encodable + Decodable + fmt::Debug>(c: &mut Criterion, what: &str, version: i16, message: &O) {
    let body = wire::encode_body(message, version).expect("ours");
    let value = T::decode(&mut body.clone(), version).expect("theirs");
    assert_eq!(&wire::decode_body::<O>(body.clone(), version).expect("ours"), message);
    assert_eq!(written(&value, version), body, "{what}: not the same to both");

    let mut group = c.benchmark_group(format!("{what} v{version}"));
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("read", |b| b.iter(|| wire::decode_body::<O>(black_box(&body).clone(), version).is_ok()));
    group.bench_function("read by kafka-protocol", |b| {
        b.iter(|| T::decode(&mut black_box(&body).clone(), version).is_ok());
    });
    // Their size is computed too: a request has its length in front.
    group.bench_function("write", |b| b.iter(|| wire::encode_body(black_box(message), version)));
    group.bench_function("write by kafka-protocol", |b| b.iter(|| written(black_box(&value), version)));
    group.finish();
}

fn written<T: Encodable>(value: &T, version: i16) -> Bytes {
    let mut out = BytesMut::with_capacity(value.compute_size(version).expect("a size"));
    value.encode(&mut out, version).expect("theirs");
    out.freeze()
}

/// A whole request, whose batches are not copied: the pieces of the frame are the batches.
fn without_copying(c: &mut Criterion) {
    let request = produce();
    let version = 12;
    let body = wire::encode_body(&request, version).expect("ours");
    let value = theirs::ProduceRequest::decode(&mut body.clone(), version).expect("theirs");
    let mut group = c.benchmark_group("Produce request of 100 partitions v12");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("write", |b| b.iter(|| wire::encode_request(black_box(&request), version, 1, Some("bench"))));
    group.bench_function("write by kafka-protocol", |b| b.iter(|| written(black_box(&value), version)));
    group.finish();
}

fn answers(c: &mut Criterion) {
    for version in [8, 12, 13] {
        both::<_, theirs::MetadataResponse>(c, "Metadata response, 10,000 partitions", version, &metadata(version));
    }
    for version in [11, 12, 16, 17] {
        both::<_, theirs::FetchResponse>(c, "Fetch response, 1,000 partitions", version, &fetch(version, 10));
    }
    both::<_, theirs::FetchResponse>(c, "Fetch response, 1,000 topics", 17, &fetch(17, 1000));
    both::<_, theirs::OffsetCommitResponse>(c, "OffsetCommit response, 1,000 partitions", 9, &offset_commit_response());
}

fn requests(c: &mut Criterion) {
    without_copying(c);
    both::<_, theirs::OffsetCommitRequest>(c, "OffsetCommit request, 1,000 partitions", 9, &offset_commit());
}

fn small(c: &mut Criterion) {
    both::<_, theirs::ApiVersionsResponse>(c, "ApiVersions response", 4, &api_versions());
    both::<_, theirs::HeartbeatRequest>(c, "Heartbeat request", 4, &heartbeat());
    both::<_, theirs::HeartbeatResponse>(c, "Heartbeat response", 4, &ours::HeartbeatResponse::default());
}

fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args()
}

criterion_group! { name = benches; config = criterion(); targets = answers, requests, small }
criterion_main!(benches);
