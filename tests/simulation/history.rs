//! What happened in a run, in order and with its virtual time, and what stood in the logs at the end.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

/// A record of the workload: whose it is, and its number there. Its value says so.
pub type Id = (u16, u32);

/// Something that an actor saw or did.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `enqueue` took it.
    Enqueued {
        record: Id,
        partition: i32,
    },
    /// `enqueue` did not.
    Refused {
        record: Id,
        error: String,
    },
    Acked {
        record: Id,
        partition: i32,
        offset: Option<i64>,
    },
    Failed {
        record: Id,
        maybe_written: bool,
        error: String,
    },
    /// A producer has settled everything and still holds so much of its memory.
    Emptied {
        producer: u16,
        held: usize,
    },
    Delivered {
        reader: u16,
        partition: i32,
        offset: i64,
        value: Result<Id, String>,
    },
    Sought {
        reader: u16,
        partition: i32,
        to: i64,
    },
    Troubled {
        reader: u16,
        error: String,
    },
    /// A transaction of a writer ended: committed, aborted, or it is not known which. `wish`: a commit was asked for.
    Ended {
        writer: u16,
        records: Vec<Id>,
        wish: bool,
        committed: Option<bool>,
    },
    /// A transaction of the copier ended, or did not.
    Copied {
        instance: u16,
        records: usize,
        known: bool,
    },
    /// A member of the group has these partitions for this generation.
    Assigned {
        member: u16,
        generation: i32,
        partitions: Vec<i32>,
    },
    /// A member was handed a record.
    Handed {
        member: u16,
        partition: i32,
        offset: i64,
    },
    /// The coordinator took a member's offset.
    Committed {
        member: u16,
        generation: i32,
        partition: i32,
        offset: i64,
    },
    Fault(String),
    /// From here on nothing goes wrong any more.
    Calm,
    /// Somebody was not done within the bound.
    Stuck {
        who: String,
    },
    /// All clients are gone, and this is what they left.
    Left {
        connections: usize,
        tasks: usize,
    },
}

/// A run's events and the time of each since its start.
#[derive(Debug, Default, Clone)]
pub struct History {
    pub events: Vec<(Duration, Event)>,
}

impl History {
    /// A number that differs if any event, its order or its time does.
    pub fn hash(&self) -> u64 {
        let mut text = Fnv(0xcbf2_9ce4_8422_2325);
        self.events.iter().for_each(|event| write!(text, "{event:?}").expect("nothing fails"));
        text.0
    }
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// Writes a history. Clones write the same one.
#[derive(Debug, Clone)]
pub struct Recorder {
    start: Instant,
    /// Printed as it happens, between what the library says.
    is_told: bool,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    pub fn start() -> Self {
        Self { start: Instant::now(), is_told: std::env::var_os("MILENA_SIM_TRACE").is_some(), history: Arc::default() }
    }

    pub fn note(&self, event: Event) {
        if self.is_told {
            println!("{:>12.3?} {event:?}", self.start.elapsed());
        }
        self.history.lock().unwrap().events.push((self.start.elapsed(), event));
    }

    pub fn history(&self) -> History {
        self.history.lock().unwrap().clone()
    }
}

/// The value of a record: its id, and bytes that follow from it.
pub fn value_of((producer, number): Id, length: usize) -> String {
    let mut value = format!("{producer}-{number}-{length}-");
    value.extend((0..length).map(|at| char::from(b'a' + ((at as u32 ^ number) % 23) as u8)));
    value
}

/// The record whose value this is, if it is exactly one's.
pub fn read_value(value: Option<&[u8]>) -> Result<Id, String> {
    let text = String::from_utf8_lossy(value.unwrap_or_default());
    let mut parts = text.split('-').map(str::parse::<usize>);
    let (Some(Ok(producer)), Some(Ok(number)), Some(Ok(length))) = (parts.next(), parts.next(), parts.next()) else {
        return Err(text.into_owned());
    };
    let id = (producer as u16, number as u32);
    if value_of(id, length.min(1 << 20)) == text { Ok(id) } else { Err(text.into_owned()) }
}

/// What the logs held at the end, by partition.
#[derive(Debug, Default)]
pub struct Truth {
    pub partitions: BTreeMap<i32, Vec<Stored>>,
    /// The topic of copies.
    pub copies: BTreeMap<i32, Vec<Stored>>,
}

/// A record that stands in a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub offset: i64,
    pub value: Result<Id, String>,
    pub transaction: Transaction,
    /// The id of the producer that wrote it.
    pub writer: u64,
}

/// What became of the transaction of a stored record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    None,
    Open,
    Committed,
    Aborted,
}

impl Stored {
    /// Whether a reader of committed records is to see it.
    pub fn is_committed(&self) -> bool {
        matches!(self.transaction, Transaction::None | Transaction::Committed)
    }
}
