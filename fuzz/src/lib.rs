//! What every fuzz target is made of: one of `protocol_tests::fuzz`, and a bound on the memory that an input may take.

#[path = "../../protocol-tests/tests/counting/mod.rs"]
mod counting;

use std::sync::OnceLock;

use protocol_tests::fuzz::Target;

/// Runs the input through the target that the executable is named after.
///
/// # Panics
/// A promise of the target is broken, or the input took more memory than the target allows.
pub fn run(input: &[u8]) {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let executable = std::env::args().next().unwrap_or_default();
        let target = Target::named(executable.rsplit('/').next().unwrap_or_default());
        // What is made once, tables and schemas, is not counted.
        (target.run)(&[]);
        target
    });
    let (_, peak) = counting::counted(|| (target.run)(input));
    let (length, limit) = (input.len(), target.memory(input.len()));
    assert!(peak <= limit, "{peak} bytes of memory for an input of {length}, the limit is {limit}");
}
