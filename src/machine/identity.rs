//! The idempotent producer's id and epoch: when to ask for one, and when a new epoch may begin (KIP-98, KIP-360).
//!
//! ```text
//!            poll_ask             handle_granted
//!   Unknown ─────────▶ Asking ───────────────────▶ Ready ──┐
//!      ▲                  │ handle_refused           │ ▲   │ handle_broken: epoch + 1
//!      ├──────────────────┴─▶ Dead                   │ └───┘
//!      └─────────────────────────────────────────────┘ handle_broken with the last epoch: a new id
//! ```
//!
//! Rules this file keeps:
//! - a broken chain in one partition ends the epoch at once; every partition begins the next one at sequence 0 when its
//!   own batches of the old one are settled, and none waits for another: brokers keep a producer's epoch per partition
//!   (KIP-360; `machine::queue` keeps the second half of this rule);
//! - an epoch ends once, however many partitions find it broken;
//! - the last epoch is never passed: a new id is asked for instead (P8);
//! - fenced or refused for good is terminal.

/// Who a batch says wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl ProducerId {
    /// The identity in a coordinator's answer; `None` if it names none.
    pub(crate) fn answered(id: i64, epoch: i16) -> Option<Self> {
        (id >= 0 && epoch >= 0).then_some(Self { id, epoch })
    }
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing new: the id is not known yet, or never will be.
    Wait,
    /// New batches may be stamped with this.
    Ready(ProducerId),
}

/// The identity of one producer.
#[derive(Debug)]
pub(crate) struct Identity {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Asking,
    Ready(ProducerId),
    Dead,
}

impl Identity {
    pub(crate) fn new() -> Self {
        Self { state: State::Unknown }
    }

    /// Whether InitProducerId has to be sent. Answers `true` once per request.
    pub(crate) fn poll_ask(&mut self) -> bool {
        if self.state == State::Unknown {
            self.state = State::Asking;
            return true;
        }
        false
    }

    /// The coordinator gave an id.
    pub(crate) fn handle_granted(&mut self, id: ProducerId) {
        if self.state == State::Asking {
            self.state = State::Ready(id);
        }
    }

    /// The coordinator of a transactional id decides about the identity; nothing is asked for here, and no epoch begun.
    pub(crate) fn handle_assigned(&mut self, id: ProducerId) {
        if self.state != State::Dead {
            self.state = State::Ready(id);
        }
    }

    /// The request for an id failed; `dead` when asking again cannot help.
    pub(crate) fn handle_refused(&mut self, dead: bool) {
        if self.state == State::Asking {
            self.state = if dead { State::Dead } else { State::Unknown };
        }
    }

    /// A partition's chain of sequence numbers is broken and cannot be mended under this identity.
    pub(crate) fn handle_broken(&mut self, broken: ProducerId) {
        if self.state == State::Ready(broken) {
            // The client may raise its own epoch as long as it is not transactional (KIP-360).
            self.state = match broken.epoch.checked_add(1) {
                Some(epoch) if epoch < i16::MAX => State::Ready(ProducerId { epoch, ..broken }),
                _ => State::Unknown,
            };
        }
    }

    /// A broker says that this producer must not write any more.
    pub(crate) fn handle_fatal(&mut self) {
        self.state = State::Dead;
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.state {
            State::Unknown | State::Asking | State::Dead => Standing::Wait,
            State::Ready(id) => Standing::Ready(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(epoch: i16) -> Identity {
        let mut identity = Identity::new();
        assert!(identity.poll_ask());
        identity.handle_granted(ProducerId { id: 7, epoch });
        identity
    }

    #[test]
    fn an_answer_that_names_no_identity_gives_none() {
        for (id, epoch, named) in [(-1, -1, false), (7, -1, false), (-1, 0, false), (0, 0, true)] {
            assert_eq!(ProducerId::answered(id, epoch).is_some(), named, "{id} {epoch}");
        }
    }

    #[test]
    fn an_id_is_asked_for_once_and_again_after_a_refusal() {
        let mut identity = Identity::new();
        assert!(identity.poll_ask());
        assert!(!identity.poll_ask(), "one request at a time");
        identity.handle_refused(false);
        assert!(identity.poll_ask());
        assert_eq!(identity.standing(), Standing::Wait);
    }

    #[test]
    fn p6_an_epoch_ends_at_once_and_once() {
        let mut identity = ready(0);
        let epoch = |epoch| ProducerId { id: 7, epoch };
        for _ in 0..3 {
            identity.handle_broken(epoch(0));
            assert_eq!(identity.standing(), Standing::Ready(epoch(1)), "three partitions found the same epoch broken");
        }
        identity.handle_broken(epoch(1));
        identity.handle_broken(epoch(0));
        assert_eq!(identity.standing(), Standing::Ready(epoch(2)), "one that is late changes nothing");
    }

    #[test]
    fn p8_an_exhausted_epoch_asks_for_a_new_id() {
        let mut identity = ready(i16::MAX - 1);
        identity.handle_broken(ProducerId { id: 7, epoch: i16::MAX - 1 });
        assert_eq!(identity.standing(), Standing::Wait);
        assert!(identity.poll_ask());
        identity.handle_broken(ProducerId { id: 7, epoch: i16::MAX - 1 });
        identity.handle_granted(ProducerId { id: 8, epoch: 0 });
        assert_eq!(identity.standing(), Standing::Ready(ProducerId { id: 8, epoch: 0 }));
    }

    #[test]
    fn a_refusal_for_good_is_terminal() {
        let mut identity = ready(3);
        identity.handle_fatal();
        identity.handle_broken(ProducerId { id: 7, epoch: 3 });
        assert!(!identity.poll_ask());
        assert_eq!(identity.state, State::Dead);
    }
}
