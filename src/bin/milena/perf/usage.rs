//! What this process has used: processor time and memory.
//!
//! Rules this file keeps:
//! - the numbers are the kernel's; where the system does not say them there are none, rather than guesses;
//! - processor time comes from the clock of the process, in nanoseconds: the ticks of `/proc` are a hundredth of a
//!   second, which is a third of what a million records take.

use std::time::{Duration, Instant};

/// A measurement that has begun.
#[derive(Debug)]
pub(super) struct Meter {
    begun: Instant,
    setup: Option<Duration>,
}

/// What a measurement used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub wall: Duration,
    /// User and system time before the clock started: start-up, payloads, connecting.
    pub setup_cpu: Option<Duration>,
    /// User and system time of all threads while it ran.
    pub cpu: Option<Duration>,
    /// The most memory the process ever held, the payloads included.
    pub peak_rss: Option<u64>,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self { setup: cpu(), begun: Instant::now() }
    }

    pub(super) fn stop(self) -> Usage {
        let (wall, now) = (self.begun.elapsed(), cpu());
        let cpu = now.zip(self.setup).map(|(now, setup)| now.saturating_sub(setup));
        Usage { wall, setup_cpu: self.setup, cpu, peak_rss: peak_rss() }
    }
}

#[cfg(target_os = "linux")]
fn cpu() -> Option<Duration> {
    nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID.now().ok().map(Duration::from)
}

#[cfg(not(target_os = "linux"))]
fn cpu() -> Option<Duration> {
    None
}

/// In bytes.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::Meter;

    #[test]
    fn work_is_seen_and_memory_is_told() {
        let meter = Meter::start();
        let mut sum = 0_u64;
        for number in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum ^ number);
        }
        let usage = meter.stop();
        assert!(usage.cpu.unwrap().as_micros() > 100, "{usage:?}");
        assert!(usage.setup_cpu.unwrap().as_nanos() > 0 && usage.peak_rss.unwrap() > 1 << 20, "{usage:?}");
    }
}
