//! The idempotent producer's id and epoch: when to ask for one, and when a new epoch may begin (KIP-98, KIP-360).
//!
//! ```text
//!            poll_ask                handle_granted
//!   Unknown ─────────▶ Asking ──────────────────────▶ Ready ◀─────────────┐
//!      ▲                  │ handle_refused              │ handle_broken    │ handle_drained: epoch + 1
//!      │                  ▼                             ▼                  │
//!      └───────────── (ask again, or Dead)           Draining ─────────────┘
//!      └──────────────────────────────────────────────  │  handle_drained with the last epoch: a new id
//! ```
//!
//! Rules this file keeps:
//! - a new epoch begins only when nothing stamped with the old one is in flight or may stand in a log unseen;
//! - a new epoch resets the sequence of *every* partition (the queues see the change at their next stamp);
//! - the last epoch is never passed: a new id is asked for instead (P8);
//! - fenced or refused for good is terminal.

/// Who a batch says wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: the id is not known yet, or never will be.
    Wait,
    /// New batches may be stamped with this.
    Ready(ProducerId),
    /// Only batches that may have been written already, with the stamp they have, may be sent again.
    Draining,
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
    Draining(ProducerId),
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

    /// A partition's chain of sequence numbers is broken and cannot be mended within this epoch.
    pub(crate) fn handle_broken(&mut self) {
        if let State::Ready(id) = self.state {
            self.state = State::Draining(id);
        }
    }

    /// Every queue says that nothing stamped is in flight or uncertain.
    pub(crate) fn handle_drained(&mut self) {
        if let State::Draining(ProducerId { id, epoch }) = self.state {
            // The client may raise its own epoch as long as it is not transactional (KIP-360).
            self.state = match epoch.checked_add(1) {
                Some(next) if next < i16::MAX => State::Ready(ProducerId { id, epoch: next }),
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
            State::Draining(_) => Standing::Draining,
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
    fn an_id_is_asked_for_once_and_again_after_a_refusal() {
        let mut identity = Identity::new();
        assert!(identity.poll_ask());
        assert!(!identity.poll_ask(), "one request at a time");
        identity.handle_refused(false);
        assert!(identity.poll_ask());
        assert_eq!(identity.standing(), Standing::Wait);
    }

    #[test]
    fn p6_a_new_epoch_waits_until_all_is_drained() {
        let mut identity = ready(0);
        identity.handle_broken();
        assert_eq!(identity.standing(), Standing::Draining);
        identity.handle_drained();
        assert_eq!(identity.standing(), Standing::Ready(ProducerId { id: 7, epoch: 1 }));
    }

    #[test]
    fn p8_an_exhausted_epoch_asks_for_a_new_id() {
        let mut identity = ready(i16::MAX - 1);
        identity.handle_broken();
        identity.handle_drained();
        assert_eq!(identity.standing(), Standing::Wait);
        assert!(identity.poll_ask());
    }

    #[test]
    fn a_refusal_for_good_is_terminal() {
        let mut identity = ready(3);
        identity.handle_fatal();
        identity.handle_drained();
        assert!(!identity.poll_ask());
        assert_eq!(identity.state, State::Dead);
    }
}
