//! What the client and the cluster say about themselves while a seed is replayed (`MILENA_SIM_TRACE=1`).

use std::fmt::{Debug, Write};

use tokio::time::Instant;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Prints every event of the library, with its virtual time.
struct Printer;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        }
        .expect("nothing fails");
    }
}

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("milena") && *metadata.level() <= Level::TRACE
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        START.with(|start| {
            let at = start.get_or_init(Instant::now).elapsed();
            println!("{at:>12.3?}     {} {}", event.metadata().target(), text.0);
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

thread_local! {
    static START: std::cell::OnceCell<Instant> = const { std::cell::OnceCell::new() };
}

/// Prints from now on, if it is asked for; times count from the first line.
pub fn begin() {
    if std::env::var_os("MILENA_SIM_TRACE").is_some() {
        tracing::subscriber::set_global_default(Printer).expect("nobody else listens");
    }
}
