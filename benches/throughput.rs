//! What a record costs against a real broker: CPU of this process per record, and records per second.
//!
//! ```text
//! compose/with-kafka --perf --heap 1g cargo bench --features full --bench throughput
//! ```
//! `MILENA_BENCH_ONLY` picks shapes (`100 none`). `MILENA_BENCH_RUNS` (default 5) runs of each shape; the lowest and the median are printed, because other work on the
//! machine only ever adds. Idempotent, acks=all, six partitions, 1 MB batches, linger 5 ms, one thread.

use std::{env, time::Instant};

use milena::{Kafka, Record, Result, TopicPartition, admin::NewTopic, consumer::StartFrom, record::Compression};

const PARTITIONS: i32 = 6;
const SHAPES: [(u64, usize, Compression); 4] = [
    (2_000_000, 100, Compression::None),
    (2_000_000, 100, Compression::Snappy),
    (500_000, 1024, Compression::None),
    (500_000, 1024, Compression::Snappy),
];

fn main() -> Result<()> {
    // `cargo test --benches` must not start a measurement.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let Ok(bootstrap) = env::var("MILENA_BOOTSTRAP") else {
        eprintln!(
            "throughput: no broker; run it as: compose/with-kafka --perf --heap 1g cargo bench --features full --bench throughput"
        );
        return Ok(());
    };
    let runs = env::var("MILENA_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("| shape | µs CPU per record, lowest | median | records/s, best |\n|---|---|---|---|");
    runtime.block_on(async {
        let kafka = Kafka::connect(&bootstrap).await?;
        let only = env::var("MILENA_BENCH_ONLY").unwrap_or_default();
        for (count, size, codec) in
            SHAPES.into_iter().filter(|(_, size, codec)| format!("{size} {codec}").contains(&only))
        {
            let payloads = payloads(size);
            let (mut produced, mut consumed) = (Vec::new(), Vec::new());
            for run in 0..runs {
                let topic = format!("bench-{size}-{codec}-{run}-{}", fastrand::u32(..));
                kafka.admin().create_topic(NewTopic::new(&topic, PARTITIONS, 1)).await?;
                produced.push(measure(count, produce(&kafka, &topic, &payloads, count, codec)).await?);
                consumed.push(measure(count, consume(&kafka, &topic, count)).await?);
                kafka.admin().delete_topic(&topic).await?;
            }
            row(&format!("produce {count} × {size} B, {codec}"), produced);
            row(&format!("consume {count} × {size} B, {codec}"), consumed);
        }
        Ok(())
    })
}

async fn produce(kafka: &Kafka, topic: &str, payloads: &[Vec<u8>], count: u64, codec: Compression) -> Result<()> {
    let producer = kafka.producer().compression(codec).buffer_memory(buffer_memory()).build().await?;
    for number in 0..count {
        producer.enqueue(Record::to(topic).value(&payloads[number as usize % payloads.len()])).await?.detach();
    }
    producer.flush().await?;
    assert_eq!(producer.metrics().records_acked, count);
    producer.close().await
}

async fn consume(kafka: &Kafka, topic: &str, count: u64) -> Result<()> {
    let assignment = (0..PARTITIONS).map(|partition| (TopicPartition::new(topic, partition), StartFrom::Beginning));
    let mut consumer = kafka.consumer().assign(assignment).await?;
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        let Some(batch) = consumer.poll().await? else { break };
        for record in &batch {
            bytes += record.value().map_or(0, <[u8]>::len);
            seen += 1;
        }
    }
    assert!(seen == count && bytes > 0);
    consumer.close().await
}

/// CPU seconds and wall seconds per record.
async fn measure(count: u64, work: impl Future<Output = Result<()>>) -> Result<(f64, f64)> {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    work.await?;
    Ok(((cpu_seconds() - cpu) / count as f64, wall.elapsed().as_secs_f64() / count as f64))
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn row(name: &str, mut runs: Vec<(f64, f64)>) {
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let fastest = runs.iter().map(|run| run.1).fold(f64::INFINITY, f64::min);
    println!("| {name} | {:.3} | {:.3} | {:.0} |", runs[0].0 * 1e6, runs[runs.len() / 2].0 * 1e6, 1.0 / fastest);
}

/// 64 Ki texts of made-up words, the same in every run.
fn payloads(size: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(42);
    let words: Vec<String> = (0..4096).map(|_| (0..random.usize(2..9)).map(|_| random.lowercase()).collect()).collect();
    let text = |random: &mut fastrand::Rng| {
        let mut text = Vec::with_capacity(size + 16);
        while text.len() < size {
            text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
            text.push(b' ');
        }
        text.truncate(size);
        text
    };
    (0..65_536).map(|_| text(&mut random)).collect()
}

fn buffer_memory() -> usize {
    env::var("MILENA_BENCH_BUFFER").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(32 << 20)
}
