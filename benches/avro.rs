//! What a nested record costs as Avro, each way, beside the ways that were not taken.
//!
//! The record is that of the demo: a run of a variational quantum eigensolver with eight iterations of eight
//! parameters. One benchmark iteration is one record; the frame in front is not counted, it is five bytes.

use std::{collections::HashMap, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use milena::serdes::avro::AvroSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Experiment {
    id: String,
    molecule: String,
    basis_set: String,
    hamiltonian_size: i32,
    iterations: Vec<Iteration>,
    timings: HashMap<String, f64>,
    started_at: i64,
    finished_at: i64,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Iteration {
    parameters: Vec<f64>,
    energy: f64,
}

const SCHEMA: &str = r#"{"type": "record", "name": "Experiment", "namespace": "milena.bench", "fields": [
    {"name": "id", "type": "string"}, {"name": "molecule", "type": "string"}, {"name": "basis_set", "type": "string"},
    {"name": "hamiltonian_size", "type": "int"},
    {"name": "iterations", "type": {"type": "array", "items": {"type": "record", "name": "Iteration", "fields": [
        {"name": "parameters", "type": {"type": "array", "items": "double"}}, {"name": "energy", "type": "double"}]}}},
    {"name": "timings", "type": {"type": "map", "values": "double"}},
    {"name": "started_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "finished_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "note", "type": ["null", "string"], "default": null}]}"#;

fn experiment() -> Experiment {
    let mut random = fastrand::Rng::with_seed(7);
    let mut iteration = || Iteration { parameters: (0..8).map(|_| random.f64()).collect(), energy: -random.f64() };
    Experiment {
        id: "9c2e8a54-6f0d-4d8e-b6c5-1e2f3a4b5c6d".into(),
        molecule: "LiH".into(),
        basis_set: "sto-3g".into(),
        hamiltonian_size: 631,
        iterations: (0..8).map(|_| iteration()).collect(),
        timings: HashMap::from([("ansatz".into(), 0.25), ("measure".into(), 1.5), ("optimize".into(), 0.75)]),
        started_at: 1_700_000_000_000,
        finished_at: 1_700_000_002_500,
        note: Some("converged".into()),
    }
}

fn avro(criterion: &mut Criterion) {
    let schema = AvroSchema::parse(SCHEMA).unwrap();
    let newer = SCHEMA.replace(r#"{"name": "id""#, r#"{"name": "added", "type": "int", "default": 1}, {"name": "id""#);
    let newer = AvroSchema::parse(&newer).unwrap();
    let experiment = experiment();
    let mut body = Vec::new();
    schema.encode(&experiment, &mut body).unwrap();
    let value = schema.decode_value(None, &body).unwrap();

    let mut group = criterion.benchmark_group("avro");
    group.throughput(Throughput::Bytes(body.len() as u64));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("serialize a struct", |bencher| {
        bencher.iter(|| {
            out.clear();
            schema.encode(black_box(&experiment), &mut out).unwrap();
        });
    });
    group.bench_function("serialize a dynamic value", |bencher| {
        bencher.iter(|| {
            out.clear();
            schema.encode_value(black_box(&value), &mut out).unwrap();
        });
    });
    group.bench_function("deserialize a struct", |bencher| {
        bencher.iter(|| schema.decode::<Experiment>(&schema, black_box(&body)).unwrap());
    });
    group.bench_function("deserialize a dynamic value", |bencher| {
        bencher.iter(|| schema.decode_value(None, black_box(&body)).unwrap());
    });
    group.bench_function("deserialize a struct, other writer's schema", |bencher| {
        bencher.iter(|| schema.decode::<Experiment>(&newer, black_box(&body)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, avro);
criterion_main!(benches);
