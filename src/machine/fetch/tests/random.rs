//! Operations in any order, from a seed: what must hold whatever happens.

use super::*;

/// Whatever happens in whatever order: per partition the user sees each offset once and in order from the last seek
/// on, the budget returns to zero, and no broker ever has two fetches.
#[test]
fn random_operations_lose_and_repeat_nothing() {
    for seed in 0..300 {
        let mut story = Story::new(seed);
        for _ in 0..400 {
            story.step();
        }
        story.finish();
    }
}

struct Story {
    seed: u64,
    random: fastrand::Rng,
    world: World,
    expected: [Offset; 4],
    open: Vec<FetchPlan>,
    epoch: i32,
}

impl Story {
    fn new(seed: u64) -> Self {
        let config = FetchConfig { max_bytes: 4000, budget: 9000, partition_max_bytes: 1000, ..config() };
        let world = World::reading(4, config);
        Self { seed, random: fastrand::Rng::with_seed(seed), world, expected: [100; 4], open: Vec::new(), epoch: 5 }
    }

    fn step(&mut self) {
        let partition = self.random.i32(0..4);
        match self.random.u32(0..20) {
            0..6 => self.deliver(),
            6..10 => self.send(),
            10..15 => self.answer(),
            15 => self.world.pass(Duration::from_millis(self.random.u64(0..300))),
            16 => self.seek(partition),
            17 => {
                let paused = self.random.bool();
                self.world.fetcher.set_paused(self.world.now, &name(partition), paused).unwrap();
            }
            18 => {
                self.epoch += self.random.i32(-1..2);
                self.world.led_by(if self.random.bool() { ONE } else { TWO }, self.epoch);
            }
            _ => self.lose(),
        }
        let brokers: Vec<_> = self.open.iter().map(|plan| plan.broker).collect();
        assert!(brokers.len() <= 1 || (brokers.len() == 2 && brokers[0] != brokers[1]), "seed {}", self.seed);
    }

    fn send(&mut self) {
        self.open.extend(self.world.fetcher.poll_fetch(self.world.now));
    }

    fn answer(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let plan = self.open.swap_remove(self.random.usize(0..self.open.len()));
        let mut replies = Vec::new();
        for part in &plan.parts {
            let reply = match self.random.u32(0..8) {
                0 => error(part.slot, ErrorCode::NOT_LEADER_OR_FOLLOWER),
                1 => data(part.slot, vec![]),
                2 => continue,
                _ => data(part.slot, self.batches(part.offset)),
            };
            replies.push(reply);
        }
        self.world.reply(&plan, replies);
    }

    /// Batches of ten offsets that begin at multiples of ten, from the one that holds `offset`.
    fn batches(&mut self, offset: Offset) -> Vec<Piece<u32>> {
        let base = offset - offset % 10;
        let count = self.random.i64(1..5);
        (0..count).map(|index| piece(base + 10 * index..base + 10 * index + 10, self.random.usize(1..900))).collect()
    }

    fn lose(&mut self) {
        if let Some(plan) = self.open.pop() {
            let lost = Error::new(ErrorKind::Disconnected, "gone");
            self.world.fetcher.handle_fetch_failure(self.world.now, plan.ticket, &lost);
        }
    }

    fn seek(&mut self, partition: i32) {
        let to = self.random.i64(0..1000);
        self.world.fetcher.seek(self.world.now, &name(partition), StartFrom::Offset(to)).unwrap();
        self.expected[partition as usize] = to;
    }

    fn deliver(&mut self) {
        let Some(ready) = self.world.fetcher.poll_ready() else { return };
        let expected = &mut self.expected[ready.name.partition as usize];
        assert_eq!(ready.piece.base_offset.max(ready.from), *expected, "seed {}: {}", self.seed, ready.name);
        if self.random.u32(0..10) == 0 {
            let damage = Error::new(ErrorKind::CorruptBatch, "damaged");
            self.world.fetcher.handle_corrupt(self.world.now, ready.cursor, *expected, damage);
            if self.world.fetcher.poll_error().is_some() {
                let (partition, to) = (ready.name.partition, *expected);
                self.world.fetcher.seek(self.world.now, &name(partition), StartFrom::Offset(to)).unwrap();
            }
            return;
        }
        *expected = ready.piece.next_offset;
        self.world.fetcher.handle_decoded(ready.cursor, 3000);
        assert!(self.world.fetcher.handle_delivered(ready.cursor, ready.piece.next_offset));
    }

    fn finish(mut self) {
        while !self.open.is_empty() {
            self.answer();
        }
        for partition in 0..4 {
            self.world.fetcher.set_paused(self.world.now, &name(partition), false).unwrap();
        }
        while self.world.fetcher.ready.front().is_some() {
            self.deliver();
        }
        let fetcher = &self.world.fetcher;
        assert_eq!((fetcher.buffered, fetcher.reserved), (0, 0), "seed {}", self.seed);
        for partition in 0..4 {
            assert_eq!(self.world.position(partition), Some(self.expected[partition as usize]), "seed {}", self.seed);
        }
    }
}
