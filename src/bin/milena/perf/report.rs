//! What a measurement says at its end: a table for people, and a line of JSON for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{Histogram, Recorder, usage::Usage};

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Outcome {
    pub records: u64,
    /// Of keys and values.
    pub bytes: u64,
    /// From the making of the client until its producer could be given a record.
    pub start: Option<Duration>,
    pub usage: Usage,
    pub latencies: Option<Latencies>,
}

/// In microseconds.
pub(super) type Latencies = Histogram<f64>;

/// Times while they are taken: counted in nanoseconds, and told at most 1/64 too long.
#[derive(Debug, Default)]
pub(super) struct Times(Recorder<6>);

impl Times {
    pub(super) fn count(&self, time: Duration) {
        self.0.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn snapshot(&self) -> Latencies {
        self.0.snapshot()
    }
}

/// The last line of stdout. Scripts are written on these names; null is what the system does not say.
#[derive(Debug, Serialize)]
struct Json {
    records: u64,
    wall_s: f64,
    start_us: Option<f64>,
    setup_cpu_s: Option<f64>,
    cpu_s: Option<f64>,
    records_s: f64,
    mb_s: f64,
    peak_rss_mb: Option<f64>,
    #[serde(flatten)]
    quantiles: Option<Quantiles>,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

impl Outcome {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let json = self.json();
        for (title, text) in rows(&json) {
            writeln!(out, "{title:<12}{text}")?;
        }
        writeln!(out, "\n{}", serde_json::to_string(&json)?)?;
        out.flush()
    }

    fn json(&self) -> Json {
        let Usage { wall, setup_cpu, cpu, peak_rss } = self.usage;
        let seconds = wall.as_secs_f64().max(1e-9);
        let micros = |time: Option<f64>| rounded(time.unwrap_or(0.0), 1e1);
        let quantiles = self.latencies.as_ref().map(|times| Quantiles {
            p50_us: micros(times.p50()),
            p99_us: micros(times.p99()),
            p999_us: micros(times.p999()),
            max_us: micros(times.max()),
        });
        Json {
            records: self.records,
            wall_s: rounded(seconds, 1e6),
            start_us: self.start.map(|time| rounded(time.as_secs_f64() * 1e6, 1e1)),
            setup_cpu_s: setup_cpu.map(|time| rounded(time.as_secs_f64(), 1e6)),
            cpu_s: cpu.map(|time| rounded(time.as_secs_f64(), 1e6)),
            records_s: rounded(self.records as f64 / seconds, 1.0),
            mb_s: rounded(self.bytes as f64 / 1e6 / seconds, 1e3),
            peak_rss_mb: peak_rss.map(|bytes| rounded(bytes as f64 / 1e6, 1e1)),
            quantiles,
        }
    }
}

fn rows(json: &Json) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("records", format!("{} in {:.3} s", json.records, json.wall_s)),
        ("rate", format!("{} records/s, {:.1} MB/s", json.records_s, json.mb_s)),
    ];
    rows.extend(json.start_us.map(|start| ("start", format!("{start} \u{b5}s to connect and make the producer"))));
    if let (Some(cpu), Some(setup)) = (json.cpu_s, json.setup_cpu_s) {
        let each = cpu * 1e6 / (json.records as f64).max(1.0);
        rows.push(("client CPU", format!("{cpu:.3} s, {each:.3} \u{b5}s per record; before the clock {setup:.3} s")));
    }
    rows.extend(json.peak_rss_mb.map(|megabytes| ("peak memory", format!("{megabytes:.1} MB, payloads included"))));
    rows.extend(json.quantiles.as_ref().map(|times| {
        let Quantiles { p50_us, p99_us, p999_us, max_us } = times;
        ("to the ack", format!("p50 {p50_us} \u{b5}s, p99 {p99_us}, p99.9 {p999_us}, longest {max_us}"))
    }));
    rows
}

fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}
