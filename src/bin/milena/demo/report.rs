//! What the demo says at its end: a short table for people, and a line of JSON for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::cpu::Cpu;

/// Everything that was counted.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub counts: Counts,
    pub wall: Duration,
    pub cpu: Option<Cpu>,
    pub keys: u64,
    pub partitions: usize,
    pub codec: &'static str,
    pub topic: String,
    pub bootstrap: String,
    pub registry: String,
    /// Whether the broker ran in this process.
    pub embedded: bool,
    /// Whether the broker answered for the records: not with acks=0.
    pub acknowledges: bool,
}

/// The fields of the last line that count something.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub records: u64,
    pub acked: u64,
    pub consumed: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub unequal: u64,
    pub wire_bytes: u64,
    pub raw_bytes: u64,
}

/// The last line of stdout. Scripts are written on these names.
#[derive(Serialize)]
struct Json {
    records: u64,
    acked: u64,
    consumed: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    unequal: u64,
    wall_s: f64,
    /// Null where the system does not say.
    cpu_s: Option<f64>,
    wire_bytes: u64,
    raw_bytes: u64,
}

impl Outcome {
    /// Whether every check held.
    pub(crate) fn is_good(&self) -> bool {
        let Counts { records, acked, consumed, lost, duplicated, reordered, unequal, .. } = self.counts;
        acked == records && consumed == records && lost + duplicated + reordered + unequal == 0
    }

    /// Writes the table, the line for a cluster of one's own, and the JSON.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (title, text) in self.rows() {
            writeln!(out, "{title:<12}{text}")?;
        }
        writeln!(out)?;
        if self.embedded {
            let program = if std::env::var_os("CARGO").is_some() { "cargo demo --" } else { "milena demo" };
            writeln!(out, "The same against a cluster of your own:")?;
            writeln!(out, "  {program} --bootstrap HOST:PORT --registry URL [--topic T] [--records N]")?;
            writeln!(out)?;
        }
        writeln!(out, "{}", serde_json::to_string(&self.json())?)?;
        out.flush()
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Counts { records, acked, consumed, lost, duplicated, reordered, unequal, wire_bytes, raw_bytes } =
            self.counts;
        let seconds = self.wall.as_secs_f64();
        let rate = (consumed as f64 / seconds.max(1e-9)) as u64;
        let percent = wire_bytes as f64 * 100.0 / (raw_bytes as f64).max(1.0);
        let kind = if self.embedded { "embedded in this process: " } else { "" };
        let mut rows = vec![
            ("cluster", format!("{kind}broker {}, Schema Registry {}", self.bootstrap, self.registry)),
            (
                "records",
                format!(
                    "{} in {seconds:.2} s: {} records/s, produced and consumed at once",
                    grouped(records),
                    grouped(rate)
                ),
            ),
            (
                "topic",
                format!(
                    "{}: {}, {}",
                    self.topic,
                    plural(self.partitions as u64, "partition"),
                    plural(self.keys, "key")
                ),
            ),
            (
                "bytes",
                format!(
                    "{:.1} MB before, {:.1} MB after {} ({percent:.0} %)",
                    mega(raw_bytes),
                    mega(wire_bytes),
                    self.codec
                ),
            ),
        ];
        rows.extend(self.cpu.map(|cpu| {
            let per_record = cpu.client.as_secs_f64() * 1e6 / (records as f64).max(1.0);
            let cost = match cpu.client < MEASURABLE {
                true => "too short to measure".to_owned(),
                false => format!("{per_record:.2} \u{b5}s per record"),
            };
            ("client CPU", format!("{cost}: generate, serialize, produce, consume, deserialize, compare"))
        }));
        if let Some(cpu) = self.cpu.filter(|_| self.embedded) {
            let used = cpu.embedded.as_secs_f64();
            rows.push((
                "",
                format!(
                    "the embedded broker and registry, in this process, used another {used:.2} s, not counted above"
                ),
            ));
        }
        let verdict = if self.is_good() { "all held" } else { "FAILED" };
        rows.push((
            "checked",
            format!(
                "{verdict}: {} {}, {} consumed; {lost} lost, {duplicated} duplicated,",
                grouped(acked),
                if self.acknowledges { "acknowledged" } else { "sent" },
                grouped(consumed)
            ),
        ));
        rows.push(("", format!("{reordered} out of the order of their key, {unequal} unequal to what was sent")));
        rows
    }

    fn json(&self) -> Json {
        let Counts { records, acked, consumed, lost, duplicated, reordered, unequal, wire_bytes, raw_bytes } =
            self.counts;
        let wall_s = rounded(self.wall);
        let cpu_s = self.cpu.map(|cpu| rounded(cpu.client));
        Json { records, acked, consumed, lost, duplicated, reordered, unequal, wall_s, cpu_s, wire_bytes, raw_bytes }
    }
}

fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Below this the kernel's ticks of a hundredth of a second say nothing about a record.
const MEASURABLE: Duration = Duration::from_millis(50);

/// The number with its noun, grouped.
fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Counts, Cpu, Duration, Outcome, grouped};

    fn outcome() -> Outcome {
        let counts = Counts { records: 10, acked: 10, consumed: 10, wire_bytes: 5, raw_bytes: 9, ..Counts::default() };
        let cpu = Some(Cpu { client: Duration::from_millis(70), embedded: Duration::from_millis(10) });
        let wall = Duration::from_micros(123_456);
        let [topic, bootstrap, registry] = ["t", "b:1", "http://r:2"].map(str::to_owned);
        Outcome {
            counts,
            wall,
            cpu,
            keys: 10,
            partitions: 6,
            codec: "snappy",
            topic,
            bootstrap,
            registry,
            embedded: true,
            acknowledges: true,
        }
    }

    #[test]
    fn the_last_line_is_one_json_object_with_the_names_that_scripts_read() {
        let mut out = Vec::new();
        outcome().write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = r#"{"records":10,"acked":10,"consumed":10,"lost":0,"duplicated":0,"reordered":0,"unequal":0,"wall_s":0.123,"cpu_s":0.07,"wire_bytes":5,"raw_bytes":9}"#;
        assert_eq!(text.lines().last(), Some(expected));
    }

    #[test]
    fn the_table_says_no_more_than_is_known() {
        let text = |outcome: Outcome| outcome.rows().into_iter().map(|(_, text)| text + "\n").collect::<String>();
        let whole = text(outcome());
        assert!(whole.contains("7000.00 \u{b5}s per record") && whole.contains("10 acknowledged"), "{whole}");
        let mut short = Outcome { acknowledges: false, partitions: 1, keys: 1, ..outcome() };
        short.cpu = Some(Cpu { client: Duration::from_millis(40), embedded: Duration::ZERO });
        let short = text(short);
        assert!(short.contains("too short to measure") && short.contains("10 sent"), "{short}");
        assert!(short.contains("t: 1 partition, 1 key\n"), "{short}");
    }

    #[test]
    fn any_check_that_fails_makes_the_outcome_bad() {
        assert!(outcome().is_good());
        let spoilers: [fn(&mut Counts); 6] = [
            |counts| counts.acked = 9,
            |counts| counts.consumed = 9,
            |counts| counts.lost = 1,
            |counts| counts.duplicated = 1,
            |counts| counts.reordered = 1,
            |counts| counts.unequal = 1,
        ];
        for spoil in spoilers {
            let mut outcome = outcome();
            spoil(&mut outcome.counts);
            assert!(!outcome.is_good(), "{:?}", outcome.counts);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, expected) in table {
            assert_eq!(grouped(number), expected);
        }
    }
}
