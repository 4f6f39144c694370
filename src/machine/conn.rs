//! The requests in flight on one connection: which reply belongs to which request, and what is known of each.
//!
//! Rules this file keeps:
//! - a broker answers in the order it was asked: a reply matches the oldest request or the connection is poisoned;
//! - a request that has no answer (Produce with acks=0) never enters the queue;
//! - a request whose caller went away still consumes its reply;
//! - a request none of whose bytes were written is `NotSent`; one byte written makes it `MaybeSent`, and that
//!   certainty only ever weakens;
//! - a request that is not answered in time ends the connection, because the replies behind it are late as well (N4);
//! - a frame's length is checked before memory is reserved for it (N13);
//! - a throttled connection stays silent until the broker's time is over (KIP-219), and that time counts against no
//!   request that waits for it;
//! - a request without an answer is overdue, too, if the socket does not take it.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use crate::plant::{self, Plant};

/// What is known about a request whose answer will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// No byte of it left: the broker cannot have seen it.
    NotSent,
    /// Some of it left: the broker may have acted on it.
    MaybeSent,
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Poison {
    /// A reply came for a request that is not the oldest, or for none at all.
    Unexpected { correlation_id: i32, expected: Option<i32> },
    /// A reply announced a length that no reply has.
    FrameLength { length: i32, limit: usize },
    /// A request was not answered in time.
    Overdue { waited: Duration },
}

/// One connection's requests. `T` is whatever the driver hands the answer to.
#[derive(Debug)]
pub(crate) struct Conn<T> {
    in_flight: VecDeque<InFlight<T>>,
    /// When requests without an answer were queued, and when they are to be written.
    telling: VecDeque<(Instant, Instant)>,
    muted_until: Option<Instant>,
    max_frame: usize,
}

#[derive(Debug)]
struct InFlight<T> {
    correlation_id: i32,
    asked: Instant,
    deadline: Instant,
    certainty: Certainty,
    waiter: T,
}

impl<T> Conn<T> {
    pub(crate) fn new(max_frame: usize) -> Self {
        Self { in_flight: VecDeque::new(), telling: VecDeque::new(), muted_until: None, max_frame }
    }

    /// A request joined the queue of what is to be written.
    pub(crate) fn handle_request(&mut self, now: Instant, correlation_id: i32, timeout: Duration, waiter: T) {
        let deadline = self.may_write_at(now) + timeout;
        self.in_flight.push_back(InFlight {
            correlation_id,
            asked: now,
            deadline,
            certainty: Certainty::NotSent,
            waiter,
        });
    }

    /// A request without an answer joined the queue of what is to be written.
    pub(crate) fn handle_tell(&mut self, now: Instant, timeout: Duration) {
        self.telling.push_back((now, self.may_write_at(now) + timeout));
    }

    /// The oldest request without an answer is written.
    pub(crate) fn handle_told(&mut self) {
        self.telling.pop_front();
    }

    fn may_write_at(&self, now: Instant) -> Instant {
        self.muted_until.map_or(now, |until| until.max(now))
    }

    /// The first bytes of the request were handed to the socket.
    pub(crate) fn handle_writing(&mut self, correlation_id: i32) {
        // Requests are written in the order they came: the first unwritten one is meant, or this one has no answer.
        if let Some(request) = self.in_flight.iter_mut().find(|request| request.certainty == Certainty::NotSent)
            && request.correlation_id == correlation_id
        {
            request.certainty = Certainty::MaybeSent;
        }
    }

    /// A whole reply arrived.
    pub(crate) fn handle_reply(&mut self, correlation_id: i32) -> Result<T, Poison> {
        match self.in_flight.pop_front() {
            Some(request) if request.correlation_id == correlation_id && request.certainty == Certainty::MaybeSent => {
                Ok(request.waiter)
            }
            oldest => {
                let expected = oldest.as_ref().map(|request| request.correlation_id);
                // Its waiter still has to hear that the connection is lost.
                self.in_flight.extend(oldest);
                self.in_flight.rotate_right(usize::from(expected.is_some()));
                Err(Poison::Unexpected { correlation_id, expected })
            }
        }
    }

    /// The broker asks to be left alone for a while.
    pub(crate) fn handle_throttle(&mut self, now: Instant, time: Duration) {
        let until = now + time.min(MAX_THROTTLE);
        let before = self.may_write_at(now);
        let until = before.max(until);
        self.muted_until = Some(until);
        // Killing the connection for a silence that the broker asked for would end the silence.
        let longer = until - before;
        let unwritten = self.in_flight.iter_mut().filter(|request| request.certainty == Certainty::NotSent);
        unwritten.for_each(|request| request.deadline += longer);
        self.telling.iter_mut().for_each(|(_, deadline)| *deadline += longer);
    }

    /// The connection is gone: every request in order, with what is known of it.
    pub(crate) fn handle_lost(&mut self) -> impl Iterator<Item = (T, Certainty)> + '_ {
        let certainty = |known| if plant::is(Plant::MaybeSentIsNotSent) { Certainty::NotSent } else { known };
        self.in_flight.drain(..).map(move |request| (request.waiter, certainty(request.certainty)))
    }

    /// Time has passed. An overdue request ends the connection.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Poison> {
        if self.muted_until.is_some_and(|until| until <= now) {
            self.muted_until = None;
        }
        let asked = self.in_flight.iter().map(|request| (request.asked, request.deadline));
        match asked.chain(self.telling.iter().copied()).find(|(_, deadline)| *deadline <= now) {
            Some((asked, _)) => Err(Poison::Overdue { waited: now.duration_since(asked) }),
            None => Ok(()),
        }
    }

    /// Whether a new request may be written now.
    pub(crate) fn may_write(&self, now: Instant) -> bool {
        self.muted_until.is_none_or(|until| until <= now)
    }

    /// When `handle_timeout` wants to be called at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        // Deadlines are not sorted: a metadata request waits shorter than a long poll. There are few of them.
        let deadlines = self.in_flight.iter().map(|request| request.deadline);
        deadlines.chain(self.telling.iter().map(|(_, deadline)| *deadline)).chain(self.muted_until).min()
    }

    /// Reads a reply's length prefix.
    pub(crate) fn frame_length(&self, prefix: [u8; 4]) -> Result<usize, Poison> {
        let length = i32::from_be_bytes(prefix);
        match usize::try_from(length) {
            // The correlation id alone takes four bytes.
            Ok(size) if size >= 4 && size <= self.max_frame => Ok(size),
            _ => Err(Poison::FrameLength { length, limit: self.max_frame }),
        }
    }
}

/// A misconfigured quota must not silence a client for ever.
pub(crate) const MAX_THROTTLE: Duration = Duration::from_secs(300);

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { correlation_id, expected: Some(expected) } => {
                write!(f, "a reply to request {correlation_id} came while request {expected} was next")
            }
            Self::Unexpected { correlation_id, expected: None } => {
                write!(f, "a reply to request {correlation_id} came although nothing was asked")
            }
            Self::FrameLength { length, limit } => {
                write!(f, "a reply announced {length} bytes; replies have 4 to {limit}")
            }
            Self::Overdue { waited } => write!(f, "no answer within {waited:.1?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::test_clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn conn(names: &[(i32, &'static str)]) -> (Conn<&'static str>, Instant) {
        let start = test_clock();
        let mut conn = Conn::new(1000);
        for (id, name) in names {
            conn.handle_request(start, *id, 30 * SECOND, *name);
        }
        (conn, start)
    }

    #[test]
    fn replies_come_in_the_order_of_the_requests() {
        let (mut conn, _) = conn(&[(1, "first"), (2, "second")]);
        conn.handle_writing(1);
        conn.handle_writing(2);
        assert_eq!(conn.handle_reply(1), Ok("first"));
        assert_eq!(conn.handle_reply(2), Ok("second"));
        assert_eq!(conn.poll_timeout(), None);
    }

    #[test]
    fn n3_a_wrong_correlation_id_poisons() {
        let (mut conn, _) = conn(&[(1, "first"), (2, "second")]);
        conn.handle_writing(1);
        conn.handle_writing(2);
        assert_eq!(conn.handle_reply(2), Err(Poison::Unexpected { correlation_id: 2, expected: Some(1) }));
    }

    #[test]
    fn n3_a_reply_to_nothing_or_to_an_unwritten_request_poisons() {
        let (mut conn, _) = conn(&[]);
        assert_eq!(conn.handle_reply(7), Err(Poison::Unexpected { correlation_id: 7, expected: None }));
        conn.handle_request(test_clock(), 8, SECOND, "unwritten");
        assert!(conn.handle_reply(8).is_err(), "a broker cannot answer what it was not asked");
    }

    #[test]
    fn n9_what_was_not_written_is_known_not_to_be_sent() {
        let (mut conn, _) = conn(&[(1, "written"), (2, "half"), (3, "waiting")]);
        conn.handle_writing(1);
        conn.handle_writing(2);
        let lost: Vec<_> = conn.handle_lost().collect();
        assert_eq!(
            lost,
            [("written", Certainty::MaybeSent), ("half", Certainty::MaybeSent), ("waiting", Certainty::NotSent)]
        );
    }

    #[test]
    fn n4_an_overdue_request_ends_the_connection() {
        let (mut conn, start) = conn(&[(1, "slow")]);
        conn.handle_request(start, 2, 2 * SECOND, "quick");
        assert_eq!(conn.poll_timeout(), Some(start + 2 * SECOND));
        assert_eq!(conn.handle_timeout(start + SECOND), Ok(()));
        assert_eq!(conn.handle_timeout(start + 2 * SECOND), Err(Poison::Overdue { waited: 2 * SECOND }));
    }

    #[test]
    fn p18_a_throttled_connection_is_silent_until_the_time_is_over() {
        let (mut conn, start) = conn(&[]);
        conn.handle_throttle(start, 3 * SECOND);
        conn.handle_throttle(start, SECOND);
        assert!(!conn.may_write(start + 2 * SECOND), "a shorter throttle does not cut a longer one");
        assert_eq!(conn.poll_timeout(), Some(start + 3 * SECOND));
        assert_eq!(conn.handle_timeout(start + 3 * SECOND), Ok(()));
        assert!(conn.may_write(start + 3 * SECOND));
    }

    #[test]
    fn p18_the_silence_that_a_broker_asked_for_makes_nobody_overdue() {
        let (mut conn, start) = conn(&[(1, "written"), (2, "waiting")]);
        conn.handle_writing(1);
        assert_eq!(conn.handle_reply(1), Ok("written"));
        conn.handle_throttle(start, 60 * SECOND);
        conn.handle_request(start + SECOND, 3, 30 * SECOND, "late");
        assert_eq!(conn.handle_timeout(start + 60 * SECOND), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(start + 90 * SECOND));
        assert!(conn.handle_timeout(start + 90 * SECOND).is_err(), "afterwards it has its own time");
    }

    #[test]
    fn a_request_without_an_answer_that_nobody_reads_ends_the_connection() {
        let (mut conn, start) = conn(&[]);
        conn.handle_tell(start, SECOND);
        conn.handle_tell(start + SECOND / 2, SECOND);
        conn.handle_told();
        assert_eq!(conn.poll_timeout(), Some(start + SECOND * 3 / 2));
        assert_eq!(conn.handle_timeout(start + SECOND), Ok(()));
        assert_eq!(conn.handle_timeout(start + SECOND * 3 / 2), Err(Poison::Overdue { waited: SECOND }));
    }

    #[test]
    fn n13_lengths_that_no_reply_has_are_refused() {
        let (conn, _) = conn(&[]);
        for (length, good) in
            [(-1, false), (0, false), (3, false), (4, true), (1000, true), (1001, false), (i32::MAX, false)]
        {
            assert_eq!(conn.frame_length(i32::to_be_bytes(length)).is_ok(), good, "{length}");
        }
    }
}
