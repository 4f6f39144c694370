//! How many requests to one broker are worth having under way, as far as small batches are concerned.
//!
//! A broker takes the next request of a connection when it has answered the one before. So requests that are under way
//! at the same time save the time on the network, and beyond that only wait for each other: records that travel in the
//! second of two such requests would have been answered as soon in one request less, for less of everybody's work.
//! Which of the two it is shows in the time to the answer, as TCP Vegas found (Brakmo and Peterson, 1995).
//!
//! Rules this file keeps:
//! - of the requests under way, those stand in front of the broker which the network does not account for: the share of
//!   the time to the answer that is longer than the shortest seen lately;
//! - while more than one stands there the window shrinks, while hardly any does and the window is what limits it grows;
//! - it moves by one, and again only when a request was answered that was sent after the last move;
//! - one request may always be under way.

use std::time::{Duration, Instant};

/// The window of one connection.
#[derive(Debug)]
pub(crate) struct Window {
    most: usize,
    size: usize,
    moved: Option<Instant>,
    /// The shortest times to an answer: in the present span, and in the one before.
    shortest: [Duration; 2],
    span_began: Option<Instant>,
}

/// A request that is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) sent: Instant,
    /// How many were under way when it was sent, itself among them.
    pub(crate) under_way: usize,
}

/// So long a shortest time counts, and once more: the way to a broker may become longer.
const SPAN: Duration = Duration::from_secs(10);
/// With fewer requests than this in front of the broker, one more is worth trying.
const FEW: f64 = 0.5;
/// With more than this there is one too many.
const MANY: f64 = 1.0;

impl Window {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, size: most, moved: None, shortest: [Duration::MAX; 2], span_began: None }
    }

    /// Whether a request with nothing but small batches may join those under way.
    pub(crate) fn admits(&self, under_way: usize) -> bool {
        under_way < self.size
    }

    pub(crate) fn handle_answered(&mut self, now: Instant, answered: Answered) {
        let Answered { sent, under_way } = answered;
        let time = now.saturating_duration_since(sent);
        self.note(now, time);
        if time.is_zero() || self.moved.is_some_and(|moved| sent < moved) {
            return;
        }
        let network = self.shortest[0].min(self.shortest[1]).as_secs_f64() / time.as_secs_f64();
        let in_front = under_way as f64 * (1.0 - network);
        let size = if in_front > MANY {
            self.size.min(under_way).saturating_sub(1).max(1)
        } else if in_front < FEW && under_way >= self.size {
            (self.size + 1).min(self.most)
        } else {
            self.size
        };
        if size != self.size {
            (self.size, self.moved) = (size, Some(now));
        }
    }

    fn note(&mut self, now: Instant, time: Duration) {
        let began = *self.span_began.get_or_insert(now);
        if now.saturating_duration_since(began) >= SPAN {
            self.shortest = [Duration::MAX, self.shortest[0]];
            self.span_began = Some(now);
        }
        self.shortest[0] = self.shortest[0].min(time);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Answered, SPAN, Window};

    /// A broker that answers one request after the other, and the way to it.
    struct World {
        network: Duration,
        service: Duration,
        free_at: Instant,
    }

    impl World {
        fn new(network_us: u64, service_us: u64) -> Self {
            let (network, service) = (Duration::from_micros(network_us), Duration::from_micros(service_us));
            Self { network, service, free_at: crate::machine::test_clock() }
        }

        /// When the answer to a request arrives that is sent now.
        fn answer(&mut self, sent: Instant) -> Instant {
            self.free_at = self.free_at.max(sent + self.network / 2) + self.service;
            self.free_at + self.network / 2
        }
    }

    /// Sends a request whenever the window admits one, so many times, and tells the size that is left.
    fn run(world: &mut World, window: &mut Window, requests: usize) -> usize {
        let mut now = world.free_at;
        let mut under_way = std::collections::VecDeque::new();
        for _ in 0..requests {
            while window.admits(under_way.len()) {
                let answered = Answered { sent: now, under_way: under_way.len() + 1 };
                under_way.push_back((world.answer(now), answered));
            }
            let (at, answered) = under_way.pop_front().expect("one is under way");
            now = now.max(at);
            window.handle_answered(now, answered);
        }
        window.size
    }

    #[test]
    fn a_broker_next_door_is_asked_one_thing_at_a_time_or_two() {
        let mut window = Window::new(5);
        assert!(window.admits(4) && !window.admits(5), "it begins with as many as are allowed");
        assert!(run(&mut World::new(20, 300), &mut window, 100) <= 2);
    }

    #[test]
    fn a_broker_far_away_has_as_many_under_way_as_the_network_holds() {
        for (network, service, least) in [(50_000, 1_000, 5), (10_000, 1_000, 5), (1_000, 1_000, 2)] {
            let mut window = Window::new(5);
            let size = run(&mut World::new(network, service), &mut window, 100);
            assert!(size >= least, "{network} and {service}: {size}");
        }
    }

    #[test]
    fn it_follows_a_broker_that_becomes_slow_and_fast_again() {
        let (mut window, mut world) = (Window::new(5), World::new(10_000, 500));
        assert_eq!(run(&mut world, &mut window, 50), 5);
        world.service = Duration::from_millis(40);
        let slow = run(&mut world, &mut window, 50);
        assert!(slow <= 2, "{slow}");
        world.service = Duration::from_micros(500);
        assert_eq!(run(&mut world, &mut window, 50), 5);
    }

    #[test]
    fn a_way_that_has_become_longer_is_believed_in_time() {
        let (mut window, mut world) = (Window::new(5), World::new(1_000, 100));
        run(&mut world, &mut window, 50);
        world.network = Duration::from_millis(20);
        assert_eq!(run(&mut world, &mut window, 50), 1, "for now it looks like a broker that has become slow");
        let rounds = usize::try_from(2 * SPAN.as_millis() / 20).expect("few");
        assert_eq!(run(&mut world, &mut window, rounds + 50), 5);
    }

    #[test]
    fn answers_to_what_was_sent_before_the_last_move_move_nothing() {
        let (mut window, now) = (Window::new(5), crate::machine::test_clock());
        let after = |millis| now + Duration::from_millis(millis);
        window.handle_answered(after(1), Answered { sent: now, under_way: 1 });
        for millis in 10..20 {
            window.handle_answered(after(millis), Answered { sent: now, under_way: 5 });
        }
        assert!(window.admits(3) && !window.admits(4), "{window:?}");
    }

    #[test]
    fn one_request_is_always_allowed_and_a_time_of_nothing_tells_nothing() {
        let (mut window, now) = (Window::new(1), crate::machine::test_clock());
        window.handle_answered(now, Answered { sent: now, under_way: 1 });
        for second in 1..50 {
            let sent = now + Duration::from_secs(second);
            window.handle_answered(sent + Duration::from_millis(900), Answered { sent, under_way: 1 });
            assert!(window.admits(0) && !window.admits(1));
        }
    }
}
