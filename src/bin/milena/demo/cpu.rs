//! The processor time of this process, and what the embedded servers' threads have of it.
//!
//! Rules this file keeps:
//! - the numbers are the kernel's (`/proc`); elsewhere than on Linux there are none, rather than guesses;
//! - the client's time is the process's without the threads of the embedded servers, so that threads which have ended
//!   are counted as well.

use std::{fs, time::Duration};

/// The name that the embedded servers' threads have.
pub(crate) const EMBEDDED: &str = "embedded";

/// Processor time, user and system together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Of everything that belongs to the client.
    pub client: Duration,
    /// Of the embedded broker and registry.
    pub embedded: Duration,
}

impl Cpu {
    /// What was used until now; `None` where the system does not say.
    pub(crate) fn now() -> Option<Self> {
        let (_, process) = stat(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let mut embedded = Duration::ZERO;
        for task in fs::read_dir("/proc/self/task").ok()? {
            // A thread that ends between the two looks is counted with the client.
            let Ok(text) = task.and_then(|task| fs::read_to_string(task.path().join("stat"))) else { continue };
            if let Some((_, time)) = stat(&text).filter(|(name, _)| *name == EMBEDDED) {
                embedded += time;
            }
        }
        Some(Self { client: process.saturating_sub(embedded), embedded })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            client: self.client.saturating_sub(before.client),
            embedded: self.embedded.saturating_sub(before.embedded),
        }
    }
}

/// Name and time out of a `stat` line: `pid (name) state …`, where the name may hold anything.
fn stat(text: &str) -> Option<(&str, Duration)> {
    let (front, rest) = text.rsplit_once(')')?;
    let (_, name) = front.split_once('(')?;
    let mut fields = rest.split_whitespace().skip(USER_TIME);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, Duration::from_millis((user + system) * MILLIS_PER_TICK)))
}

/// The place of `utime` behind the name; `stime` follows it.
const USER_TIME: usize = 11;

/// Linux counts in hundredths of a second for user space on every architecture of ours.
const MILLIS_PER_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cpu, stat};

    #[test]
    fn a_stat_line_is_read_whatever_the_name_holds() {
        let line = "17 (a) b (c) S 1 17 17 0 -1 4194304 9 0 0 0 25 5 0 0 20 0 1";
        assert_eq!(stat(line), Some(("a) b (c", Duration::from_millis(300))));
        for wrong in ["", "17 (a", "17 (a) S 1 2", "17 (a) S 1 17 17 0 -1 4194304 9 0 0 0 x 5"] {
            assert_eq!(stat(wrong), None, "{wrong}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_what_was_used() {
        assert!(Cpu::now().is_some());
    }
}
