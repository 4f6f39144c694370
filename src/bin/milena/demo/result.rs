//! The record of the demo: what one run of a variational quantum eigensolver (VQE) leaves behind, made from a seed.
//!
//! Rules this file keeps:
//! - record `n` depends on the seed and on `n` alone, so that whoever reads it back can make it again and compare;
//! - records of one experiment share the key and count up in `sequence`.

use milena::serdes::avro::AvroRecord;
use serde::{Deserialize, Serialize};

/// One run of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VqeResult {
    pub experiment_id: String,
    /// The how-manieth run of the experiment, from 0.
    pub sequence: i64,
    pub molecule: String,
    pub basis_set: String,
    pub hamiltonian: Hamiltonian,
    pub iterations: Vec<Iteration>,
    /// In Hartree.
    pub ground_state_energy: f64,
    pub converged: bool,
    pub timings: Timings,
    /// Milliseconds since 1970.
    pub started_at: i64,
    pub finished_at: i64,
}

/// How large the problem is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hamiltonian {
    pub qubits: i32,
    pub pauli_terms: i32,
}

/// One step of the optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Iteration {
    pub number: i32,
    /// The angles of the ansatz, in turns.
    pub parameters: Vec<f64>,
    /// In Hartree.
    pub energy: f64,
}

/// Where the time went, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timings {
    pub transpile_ms: f64,
    pub execute_ms: f64,
    pub optimize_ms: f64,
}

impl AvroRecord for VqeResult {
    const SCHEMA: &'static str = r#"{
  "type": "record", "name": "VqeResult", "namespace": "milena.demo",
  "fields": [
    {"name": "experiment_id", "type": "string"},
    {"name": "sequence", "type": "long"},
    {"name": "molecule", "type": "string"},
    {"name": "basis_set", "type": "string"},
    {"name": "hamiltonian", "type": {"type": "record", "name": "Hamiltonian", "fields": [
      {"name": "qubits", "type": "int"},
      {"name": "pauli_terms", "type": "int"}]}},
    {"name": "iterations", "type": {"type": "array", "items": {"type": "record", "name": "Iteration", "fields": [
      {"name": "number", "type": "int"},
      {"name": "parameters", "type": {"type": "array", "items": "double"}},
      {"name": "energy", "type": "double"}]}}},
    {"name": "ground_state_energy", "type": "double"},
    {"name": "converged", "type": "boolean"},
    {"name": "timings", "type": {"type": "record", "name": "Timings", "fields": [
      {"name": "transpile_ms", "type": "double"},
      {"name": "execute_ms", "type": "double"},
      {"name": "optimize_ms", "type": "double"}]}},
    {"name": "started_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "finished_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;
}

/// Which records a run of the demo makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Tells this run's keys from those of other runs in the same topic.
    pub run: String,
    pub seed: u64,
    pub records: u64,
}

impl Plan {
    /// How many keys there are.
    pub(crate) fn experiments(&self) -> u64 {
        self.records.clamp(1, EXPERIMENTS)
    }

    /// The key of record `n`.
    pub(crate) fn key(&self, n: u64) -> String {
        format!("{}-{:04}", self.run, n % self.experiments())
    }

    /// The number of the experiment that has this key; `None` if the key is not of this run.
    pub(crate) fn experiment(&self, key: &str) -> Option<u64> {
        let number = key.strip_prefix(self.run.as_str())?.strip_prefix('-')?.parse().ok()?;
        (number < self.experiments()).then_some(number)
    }

    /// The number of the record that is the run `sequence` of an experiment; `None` if there is no such record.
    pub(crate) fn number(&self, experiment: u64, sequence: i64) -> Option<u64> {
        let number = u64::try_from(sequence).ok()?.checked_mul(self.experiments())?.checked_add(experiment)?;
        (number < self.records).then_some(number)
    }

    /// Record `n`.
    pub(crate) fn result(&self, n: u64) -> VqeResult {
        let mut random = Random(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n);
        let experiment = n % self.experiments();
        let molecule = &MOLECULES[(experiment % MOLECULES.len() as u64) as usize];
        let excess = 0.2 + random.fraction();
        let steps = 2 + random.below(4);
        let iterations: Vec<_> = (0..steps).map(|step| iteration(step, molecule.energy, excess, &mut random)).collect();
        let reached = iterations.last().map_or(molecule.energy, |last| last.energy);
        let timings = Timings {
            transpile_ms: random.below(4000) as f64 / 64.0,
            execute_ms: (steps * (500 + random.below(500))) as f64 / 8.0,
            optimize_ms: random.below(1000) as f64 / 64.0,
        };
        let started_at = BEGINNING + (n * 250) as i64 + random.below(250) as i64;
        let took = timings.transpile_ms + timings.execute_ms + timings.optimize_ms;
        VqeResult {
            experiment_id: self.key(n),
            sequence: (n / self.experiments()) as i64,
            molecule: molecule.name.to_owned(),
            basis_set: BASIS_SETS[(experiment % BASIS_SETS.len() as u64) as usize].to_owned(),
            hamiltonian: Hamiltonian { qubits: molecule.qubits, pauli_terms: molecule.pauli_terms },
            iterations,
            ground_state_energy: reached,
            converged: reached - molecule.energy < 0.01,
            timings,
            started_at,
            finished_at: started_at + took as i64,
        }
    }
}

/// The energy falls towards that of the ground state, step by step.
fn iteration(step: u64, ground: f64, excess: f64, random: &mut Random) -> Iteration {
    let parameters = (0..4).map(|_| random.below(1024) as f64 / 1024.0).collect();
    let energy = ground + excess * 0.25_f64.powi(step as i32) + random.fraction() * 1e-3;
    Iteration { number: step as i32, parameters, energy }
}

struct Molecule {
    name: &'static str,
    qubits: i32,
    pauli_terms: i32,
    energy: f64,
}

/// SplitMix64: small, quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const EXPERIMENTS: u64 = 1000;

/// The first of January 2026, in milliseconds since 1970.
const BEGINNING: i64 = 1_767_225_600_000;

const BASIS_SETS: [&str; 3] = ["sto-3g", "6-31g", "cc-pvdz"];

#[rustfmt::skip]
const MOLECULES: [Molecule; 5] = [
    Molecule { name: "H2", qubits: 4, pauli_terms: 15, energy: -1.137 },
    Molecule { name: "LiH", qubits: 12, pauli_terms: 631, energy: -7.882 },
    Molecule { name: "BeH2", qubits: 14, pauli_terms: 666, energy: -15.595 },
    Molecule { name: "H2O", qubits: 14, pauli_terms: 1086, energy: -75.012 },
    Molecule { name: "N2", qubits: 20, pauli_terms: 2951, energy: -107.654 },
];

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn a_record_is_made_again_from_its_key_and_sequence() {
        for records in [1, 7, 1000, 2345] {
            let plan = Plan { run: "r1".to_owned(), seed: 5, records };
            for n in [0, records / 2, records - 1] {
                let result = plan.result(n);
                assert_eq!(result, plan.result(n));
                let experiment = plan.experiment(&result.experiment_id).unwrap();
                assert_eq!(plan.number(experiment, result.sequence), Some(n));
                assert!((2..=5).contains(&result.iterations.len()));
            }
            assert_eq!(plan.number(plan.experiments() - 1, records as i64), None);
        }
    }

    #[test]
    fn keys_of_other_runs_are_not_ours() {
        let plan = Plan { run: "r1".to_owned(), seed: 5, records: 10 };
        for key in ["", "r1", "r1-", "r1-10", "r2-0001", "r1-x", "r1-0001x"] {
            assert_eq!(plan.experiment(key), None, "{key}");
        }
        assert_ne!(plan.result(1).iterations, Plan { seed: 6, ..plan }.result(1).iterations);
    }
}
