//! Tests of the producer against the embedded broker.
