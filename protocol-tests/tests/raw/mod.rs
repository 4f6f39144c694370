//! A connection to a real broker, driven by hand.

use std::{
    io::{Read, Write},
    net::TcpStream,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use bytes::Bytes;
use milena::wire::{self, ErrorCode, Message, Request, Str, messages::*};
use protocol_tests::{PATIENCE, live, unique};

/// A connection with no client behind it.
pub(crate) struct Wire {
    stream: TcpStream,
    /// What the broker said it has.
    pub(crate) announced: Vec<ApiVersion>,
    correlation_id: i32,
}

impl Wire {
    pub(crate) fn open(test: &str) -> Option<Self> {
        let stream = TcpStream::connect(live(test)?.bootstrap).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut wire = Self { stream, announced: Vec::new(), correlation_id: 0 };
        wire.announced = wire.ask(&ApiVersionsRequest::default(), 0).api_keys;
        Some(wire)
    }

    pub(crate) fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.correlation_id += 1;
        let frame = wire::encode_request(request, version, self.correlation_id, Some("tables")).expect("a frame");
        frame.pieces().iter().for_each(|piece| self.stream.write_all(piece).expect("the broker reads"));
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap_or_else(|error| panic!("{} version {version}: {error}", R::NAME));
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).expect("the whole answer");
        let answer = Bytes::from(answer);
        let response: R::Response = wire::decode_response::<R>(answer.clone(), version)
            .unwrap_or_else(|error| panic!("{} version {version}: {error}", R::Response::NAME));
        let header = if R::response_header_version(version) == 0 { 4 } else { 5 };
        let written = wire::encode_body(&response, version).expect("what was read can be written");
        assert_eq!(written, answer.slice(header..), "{} version {version}: {response:?}", R::Response::NAME);
        response
    }

    /// The versions that both sides have.
    pub(crate) fn versions<R: Request>(&self) -> RangeInclusive<i16> {
        let announced = self.announced.iter().find(|api| api.api_key == R::API.0).expect("the broker has the API");
        let shared = *R::STABLE.start().max(&announced.min_version)..=*R::STABLE.end().min(&announced.max_version);
        assert!(!shared.is_empty(), "{}: {announced:?}", R::NAME);
        shared
    }

    /// Asks in every version.
    pub(crate) fn every<R: Request>(&mut self, request: impl Fn(i16) -> R, check: impl Fn(R::Response)) {
        for version in self.versions::<R>() {
            check(self.ask(&request(version), version));
        }
    }

    /// Asks in the newest version.
    pub(crate) fn last<R: Request>(&mut self, request: R) -> R::Response {
        let version = *self.versions::<R>().end();
        self.ask(&request, version)
    }

    pub(crate) fn topic(&mut self, partitions: i32) -> Str {
        let name = Str::from(unique("tables"));
        let topics =
            vec![CreatableTopic { name: name.clone(), num_partitions: partitions, replication_factor: 1, ..default() }];
        let created = self.last(CreateTopicsRequest { topics, timeout_ms: 30_000, ..default() });
        assert_eq!(created.topics[0].error_code, NONE, "{created:?}");
        // The controller has decided; the broker follows.
        let asked = DescribableLogDirTopic { topic: name.clone(), partitions: (0..partitions).collect() };
        self.until(|wire| {
            let dirs = wire.last(DescribeLogDirsRequest { topics: Some(vec![asked.clone()]) }).results;
            let there: usize = dirs.iter().flat_map(|dir| &dir.topics).map(|topic| topic.partitions.len()).sum();
            (there == partitions as usize).then_some(name.clone())
        })
    }

    /// Asks again until the answer is the one that has to come.
    pub(crate) fn until<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(value) = attempt(self) {
                return value;
            }
            assert!(begun.elapsed() < PATIENCE, "it has not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) fn default<T: Default>() -> T {
    T::default()
}

pub(crate) const NONE: ErrorCode = ErrorCode::NONE;
