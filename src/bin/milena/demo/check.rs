//! Whether every record came back: once, in the order of its key, equal to what was sent.
//!
//! Rules this file keeps:
//! - memory is a bit per record and a number per key; what was sent is made again instead of kept;
//! - a record counts as lost only if it was acknowledged.

use super::result::{Plan, VqeResult};

/// What was found so far.
#[derive(Debug)]
pub(crate) struct Check {
    plan: Plan,
    seen: Bits,
    /// Per experiment: the number that the next record has at least.
    next: Vec<u64>,
    pub consumed: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub unequal: u64,
}

impl Check {
    pub(crate) fn new(plan: Plan) -> Self {
        let (seen, next) = (Bits::new(plan.records), vec![0; plan.experiments() as usize]);
        Self { plan, seen, next, consumed: 0, duplicated: 0, reordered: 0, unequal: 0 }
    }

    /// Whether a record with this key is one of this run.
    pub(crate) fn is_ours(&self, key: &str) -> bool {
        self.plan.experiment(key).is_some()
    }

    /// Takes a record that was read; `None` is one whose value could not be read.
    pub(crate) fn record(&mut self, key: &str, result: Option<&VqeResult>) {
        let Some(experiment) = self.plan.experiment(key) else { return };
        self.consumed += 1;
        let number = result.and_then(|result| self.plan.number(experiment, result.sequence));
        let (Some(number), Some(result)) = (number, result) else {
            self.unequal += 1;
            return;
        };
        if *result != self.plan.result(number) {
            self.unequal += 1;
        }
        if self.seen.set(number) {
            self.duplicated += 1;
        } else if let Some(next) = self.next.get_mut(experiment as usize) {
            if number < *next {
                self.reordered += 1;
            }
            *next = (*next).max(number + 1);
        }
    }

    /// How many acknowledged records did not come back.
    pub(crate) fn lost(&self, acknowledged: &Bits) -> u64 {
        acknowledged.without(&self.seen)
    }
}

/// A set of record numbers.
#[derive(Debug, Clone)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn new(count: u64) -> Self {
        Self(vec![0; count.div_ceil(64) as usize])
    }

    /// Whether `number` was in the set before.
    pub(crate) fn set(&mut self, number: u64) -> bool {
        let Some(word) = self.0.get_mut((number / 64) as usize) else { return false };
        let bit = 1 << (number % 64);
        let before = *word & bit != 0;
        *word |= bit;
        before
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many are here and not there.
    fn without(&self, other: &Self) -> u64 {
        self.0.iter().zip(&other.0).map(|(here, there)| u64::from((here & !there).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bits, Check, Plan};

    /// Feeds the records with these numbers and gives lost, duplicated, reordered, unequal.
    fn found(numbers: &[u64]) -> (u64, u64, u64, u64) {
        let plan = Plan { run: "r".to_owned(), seed: 1, records: 3000 };
        let mut check = Check::new(plan.clone());
        let mut acknowledged = Bits::new(plan.records);
        for n in [0, 1000, 2000, 1] {
            acknowledged.set(n);
        }
        assert_eq!(acknowledged.count(), 4);
        for &n in numbers {
            check.record(&plan.key(n), Some(&plan.result(n)));
        }
        (check.lost(&acknowledged), check.duplicated, check.reordered, check.unequal)
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        assert_eq!(found(&[0, 1, 1000, 2000]), (0, 0, 0, 0));
        assert_eq!(found(&[0, 1, 2000]), (1, 0, 0, 0), "1000 is missing");
        assert_eq!(found(&[0, 1, 1000, 1000, 2000, 0]), (0, 2, 0, 0));
        assert_eq!(found(&[0, 1, 2000, 1000]), (0, 0, 1, 0), "order holds per key");
        assert_eq!(found(&[1, 0, 1000, 2000]), (0, 0, 0, 0), "and only there");
    }

    #[test]
    fn what_differs_is_unequal_and_what_is_foreign_is_not_counted() {
        let plan = Plan { run: "r".to_owned(), seed: 1, records: 10 };
        let mut check = Check::new(plan.clone());
        check.record("other-0001", None);
        assert_eq!((check.consumed, check.unequal), (0, 0));
        check.record("r-0001", None);
        let mut result = plan.result(2);
        result.iterations[0].energy += 1e-9;
        check.record("r-0002", Some(&result));
        result.sequence = 99;
        check.record("r-0002", Some(&result));
        assert_eq!((check.consumed, check.unequal), (3, 3));
    }
}
