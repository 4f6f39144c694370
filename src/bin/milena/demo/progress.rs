//! The progress bar: on stderr, and only when somebody looks at it.

use std::fmt::Write;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How many records came back.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(records: u64, visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(records), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.with_key("rate", rate));
        }
        Self(bar)
    }

    pub(crate) fn acknowledged(&self, count: u64) {
        if !self.0.is_hidden() {
            self.0.set_message(format!("{count} acknowledged"));
        }
    }

    pub(crate) fn consumed(&self, count: u64) {
        self.0.set_position(count);
    }

    /// Takes the bar away, so that the table stands alone.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn rate(state: &ProgressState, out: &mut dyn Write) {
    // A bar that cannot be drawn is no reason to stop.
    let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
}

const TEMPLATE: &str = "{bar:40} {percent:>3} %  {human_pos} of {human_len} back  {rate}/s  {msg}";
