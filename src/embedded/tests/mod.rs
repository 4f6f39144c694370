//! The embedded cluster, spoken to over its sockets by a client of these tests' own.
//!
//! Rules these tests keep:
//! - nothing of milena's client is used: requests are encoded by `kafka-protocol`, batches are built here;
//! - nothing sleeps for luck: a test waits for an answer, a fault or an end of connection.

mod configs;
mod consumer_groups;
mod faults;
mod fetch;
mod forever;
mod gates;
mod group_offsets;
mod groups;
mod hostile;
mod logs;
mod metadata;
mod presets;
mod produce;
mod registry;
mod sasl;
mod sessions;
#[cfg(feature = "tls")]
mod tls;
mod transactions;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, FetchRequest, FetchResponse, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Builder, EmbeddedCluster, MemoryNetwork, server::BoxedStream};

/// A connection to a broker.
struct Client {
    stream: BoxedStream,
    correlation_id: i32,
}

impl Client {
    async fn to(cluster: &EmbeddedCluster) -> Self {
        let bootstrap = cluster.bootstrap();
        Self::at(bootstrap.split(',').next().unwrap()).await
    }

    async fn at(address: &str) -> Self {
        Self { stream: Box::new(TcpStream::connect(address).await.unwrap()), correlation_id: 0 }
    }

    /// Without a socket, for tests on paused time.
    async fn within(network: &MemoryNetwork, broker: i32) -> Self {
        let stream = network.connect(&format!("broker-{broker}"), 9092).await.unwrap();
        Self { stream: Box::new(stream), correlation_id: 0 }
    }

    /// Sends a request without waiting for its answer.
    async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The answer to the request with this correlation id, which must be the next one.
    async fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        let mut frame = self.frame().await.expect("an answer");
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, correlation_id);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "bytes left after {}", std::any::type_name::<R::Response>());
        response
    }

    async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version, self.correlation_id).await
    }

    /// The next frame as it comes; `None` when the broker has closed the connection.
    async fn frame(&mut self) -> Option<Bytes> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    /// Waits for the broker to close the connection; anything it sends before that is a failure.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "nothing comes before the end");
    }

    async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        let response = self.call(9, &produce_request(topic, partition, batch)).await;
        response.responses[0].partition_responses[0].clone()
    }

    async fn fetch(&mut self, topic: &str, offset: i64) -> (i16, Bytes) {
        let response = self.call(12, &fetch_request(topic, offset)).await;
        records(&response)
    }
}

async fn start(builder: Builder) -> (EmbeddedCluster, Client) {
    let cluster = builder.start().await.unwrap();
    let client = Client::to(&cluster).await;
    (cluster, client)
}

/// What a client says first; versions before 3 leave the names out.
fn api_versions(version: i16) -> ApiVersionsRequest {
    let name = StrBytes::from_static_str(if version >= 3 { "test" } else { "" });
    ApiVersionsRequest::default().with_client_software_name(name.clone()).with_client_software_version(name)
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

fn produce_request(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

/// A request for partition 0 that is answered at once.
fn fetch_request(topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default().with_max_wait_ms(0).with_min_bytes(1).with_max_bytes(8 << 20).with_topics(vec![topic])
}

/// Error and records of the only partition of an answer.
fn records(response: &FetchResponse) -> (i16, Bytes) {
    let partition = &response.responses[0].partitions[0];
    (partition.error_code, partition.records.clone().unwrap_or_default())
}

/// The base offsets of the batches in a region of records.
fn base_offsets(mut region: Bytes) -> Vec<i64> {
    let mut offsets = Vec::new();
    while region.has_remaining() {
        offsets.push((&region[..8]).get_i64());
        let length = (&region[8..12]).get_i32() as usize + 12;
        region.advance(length);
    }
    offsets
}

/// A batch under construction: these tests' own writer of the format.
#[derive(Clone)]
struct Batch {
    producer: (i64, i16, i32),
    values: Vec<String>,
    timestamp: i64,
    attributes: i16,
    /// Whether a value `k=v` is one under a key, and `k=` a tombstone.
    keyed: bool,
}

impl Batch {
    fn of<const N: usize>(values: [&str; N]) -> Self {
        let values = values.map(str::to_owned).to_vec();
        Self { producer: (-1, -1, -1), values, timestamp: 1_700_000_000_000, attributes: 0, keyed: false }
    }

    /// Of producer 7 in epoch 0.
    fn sequence(self, sequence: i32) -> Self {
        self.producer(7, 0, sequence)
    }

    fn producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    fn keyed(self) -> Self {
        Self { keyed: true, ..self }
    }

    fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// The wire bytes. Each record is a millisecond later than the one before.
    fn bytes(&self) -> Bytes {
        let count = self.values.len() as i32;
        let mut covered = BytesMut::new();
        covered.put_i16(self.attributes);
        covered.put_i32(count - 1);
        covered.put_i64(self.timestamp);
        covered.put_i64(self.timestamp + i64::from(count) - 1);
        covered.put_i64(self.producer.0);
        covered.put_i16(self.producer.1);
        covered.put_i32(self.producer.2);
        covered.put_i32(count);
        for (delta, value) in self.values.iter().enumerate() {
            let mut record = vec![0];
            (0..2).for_each(|_| varint(delta as i64, &mut record));
            let (key, value) = value.split_once('=').filter(|_| self.keyed).unwrap_or(("", value));
            for (field, is_null) in [(key, key.is_empty()), (value, value.is_empty() && self.keyed)] {
                varint(if is_null { -1 } else { field.len() as i64 }, &mut record);
                record.extend(field.as_bytes());
            }
            varint(0, &mut record);
            let mut length = Vec::new();
            varint(record.len() as i64, &mut length);
            covered.extend(length.iter().chain(&record));
        }
        let mut batch = BytesMut::new();
        batch.put_i64(0);
        batch.put_i32(covered.len() as i32 + 9);
        batch.put_i32(-1);
        batch.put_u8(2);
        batch.put_u32(crc32c::crc32c(&covered));
        batch.put(covered);
        batch.freeze()
    }
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}
