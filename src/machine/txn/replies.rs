//! What the answers of coordinators mean for a transactional id.
//!
//! Rules this file keeps:
//! - a request that may have been done is asked for again in the same words, until its time is over (T4);
//! - what was asked for before the producer was fenced says nothing any more.

use std::time::{Duration, Instant};

use crate::{
    plant::{self, Plant},
    wire::ErrorCode,
};

use super::{
    Ask, DESCRIBING, Death, End, FORGOTTEN, Fencer, Phase, ProducerId, Reply, SOON, State, Step, Told, Txn, Version,
    Why,
    class::Class,
    judge,
    work::{Bump, Ending},
};

impl Txn {
    /// What became of the request that was polled last. `wait` is the backoff, should it have to be asked again.
    pub(crate) fn handle_reply(&mut self, now: Instant, reply: Reply, wait: Duration) {
        let Some(ask) = self.asked.take() else { return };
        let step = ask.step();
        if matches!(self.state, State::Fatal) || matches!(self.state, State::Fenced { .. }) && step != Step::Describe {
            // It was asked before somebody else took over, and changes nothing of that.
            return self.settled();
        }
        match (ask, reply) {
            (Ask::End { commit: true }, Reply::Lost { .. }) if plant::is(Plant::UnknownIsCommitted) => {
                self.ended(true, None);
            }
            (_, Reply::Lost { maybe_sent }) => {
                if maybe_sent {
                    self.note_lost(step);
                }
                self.again(now, step, wait);
            }
            (Ask::Init { .. }, Reply::Done(Some(producer))) => self.granted(now, producer, wait),
            (Ask::Init { .. }, Reply::Unsupported) if self.may_stay() => self.granted(now, self.producer, wait),
            (Ask::Describe, Reply::Described(owner, phase)) => self.described(owner, phase),
            (Ask::Describe, Reply::Refused(code)) if code.is_retriable() => self.again(now, step, wait),
            (Ask::Describe, _) => self.undescribed(),
            (ask, Reply::Parts(parts)) => self.handle_parts(now, ask, &parts, wait),
            (ask, Reply::Done(producer)) => self.done(ask, producer),
            (ask, Reply::Refused(code)) => self.refused(now, &ask, code, wait),
            (_, Reply::Unsupported | Reply::Described(..)) => {
                self.die(Death::Refused(step, ErrorCode::UNSUPPORTED_VERSION), None);
            }
        }
    }

    fn done(&mut self, ask: Ask, producer: Option<ProducerId>) {
        self.settled();
        let work = match &mut self.state {
            State::Open(work) | State::AbortOnly(work, _) | State::Ending(Ending { work, .. }) => work,
            _ => return,
        };
        work.confirmed |= !matches!(ask, Ask::End { .. });
        match ask {
            Ask::AddOffsets(group) => drop(work.groups.insert(group)),
            Ask::CommitOffsets(number) => {
                work.offsets.retain(|(waiting, _)| *waiting != number);
                self.told.push_back(Told::Offsets(number, Ok(())));
            }
            Ask::End { commit } => self.ended(commit, producer),
            _ => {}
        }
    }

    /// The worst part decides; partitions that were added stay so (T3).
    fn handle_parts(&mut self, now: Instant, ask: Ask, parts: &[(usize, ErrorCode)], wait: Duration) {
        if let Ask::AddPartitions(_) = ask
            && let State::Open(work) | State::AbortOnly(work, _) | State::Ending(Ending { work, .. }) = &mut self.state
        {
            let fine = parts.iter().filter(|(_, code)| *code == ErrorCode::NONE).map(|(partition, _)| *partition);
            let fine: Vec<usize> = fine.filter(|partition| work.wanted.remove(partition)).collect();
            work.confirmed |= !fine.is_empty();
            work.added.extend(fine.iter().copied());
            if !fine.is_empty() {
                self.told.push_back(Told::Added(fine));
            }
        }
        let step = ask.step();
        // What was only not tried is not to blame.
        let blame = |code: ErrorCode| (Class::of(step, code), code != ErrorCode::OPERATION_NOT_ATTEMPTED);
        match parts.iter().map(|(_, code)| *code).max_by_key(|code| blame(*code)) {
            Some(ErrorCode::NONE) if matches!(ask, Ask::AddPartitions(_)) => self.settled(),
            Some(ErrorCode::NONE) => self.done(ask, None),
            Some(code) => self.refused(now, &ask, code, wait),
            // An answer that leaves out what was asked says nothing.
            None => self.again(now, step, wait),
        }
    }

    fn refused(&mut self, now: Instant, ask: &Ask, code: ErrorCode, wait: Duration) {
        let step = ask.step();
        let class = Class::of(step, code);
        if let State::Ending(ending) = &mut self.state
            && step == Step::End
        {
            // NOT_COORDINATOR and its like also come from one that has decided and then lost its place.
            ending.unsure |= matches!(class, Class::Again | Class::Elsewhere);
            if code == ErrorCode::INVALID_TXN_STATE && !ending.commit && !ending.work.confirmed {
                // There was nothing to abort.
                ending.work.bump = Bump::Must;
                return self.ended(false, None);
            }
            if code == ErrorCode::INVALID_TXN_STATE && ending.commit && ending.work.version == Version::Second {
                // It is aborted already, because it took too long. The coordinator takes this producer's own abort for
                // another try of that, and tells the epoch to go on with (KIP-588 as KIP-890 has it).
                return self.refused_for_now(step, code, false);
            }
        }
        match class {
            Class::Done => {}
            Class::Soon => self.again(now, step, wait.min(SOON)),
            Class::Again => self.again(now, step, wait),
            Class::Elsewhere => {
                self.fresh = true;
                self.again(now, step, wait);
            }
            Class::Abort { bump } => self.refused_for_now(step, code, bump),
            Class::Fenced => self.fenced(step, code),
            Class::Fatal => {
                let committed = self.certainly_not();
                self.die(Death::Refused(step, code), committed);
            }
        }
    }

    /// The transaction cannot go on, the producer can.
    fn refused_for_now(&mut self, step: Step, code: ErrorCode, bump: bool) {
        let why = Why::Refused(step, code);
        let work = match &mut self.state {
            State::Open(work) | State::AbortOnly(work, _) | State::Ending(Ending { work, .. }) => work,
            _ => return self.die(Death::Refused(step, code), None),
        };
        if bump {
            work.bump = Bump::Must;
        }
        let State::Ending(ending) = &mut self.state else { return self.fail(why) };
        match step {
            // The coordinator knows neither the producer nor its transaction: there is nothing to ask it to end.
            Step::End if bump => {
                let end = if ending.unsure && ending.commit { End::Unknown } else { End::Aborted(why) };
                self.finish(end);
            }
            // TRANSACTION_ABORTABLE: it is still open.
            Step::End if ending.commit => {
                (ending.commit, ending.why, ending.unsure) = (false, why, false);
                self.settled();
            }
            Step::End => self.die(Death::Refused(step, code), Some(false)),
            _ => self.fail(why),
        }
    }

    fn ended(&mut self, commit: bool, producer: Option<ProducerId>) {
        if let Some(producer) = producer {
            self.identify(producer);
        } else if let State::Ending(ending) = &mut self.state
            && ending.work.version == Version::Second
        {
            // Every end raises the epoch (KIP-890); this answer does not say to which.
            ending.work.bump = Bump::Must;
        }
        let State::Ending(ending) = &self.state else { return };
        self.finish(if commit { End::Committed } else { End::Aborted(ending.why) });
    }

    fn granted(&mut self, now: Instant, producer: ProducerId, wait: Duration) {
        if let State::Initializing { expected: Some(before), optional: false } = self.state
            && producer.id == before.id
            && producer.epoch <= before.epoch
        {
            // Numbers of the broken chain would be given out again.
            return self.again(now, Step::Init, wait);
        }
        self.settled();
        self.identify(producer);
        self.state = State::Ready;
    }

    fn may_stay(&self) -> bool {
        matches!(self.state, State::Initializing { optional: true, .. })
    }

    /// Something on its way to a coordinator was lost and may come late.
    fn note_lost(&mut self, step: Step) {
        let (State::Open(work) | State::AbortOnly(work, _) | State::Ending(Ending { work, .. })) = &mut self.state
        else {
            return;
        };
        if work.version == Version::First {
            work.bump = work.bump.max(Bump::Better);
        }
        if let State::Ending(ending) = &mut self.state
            && step == Step::End
        {
            ending.unsure = true;
        }
    }

    /// The same once more, unless it has taken too long.
    fn again(&mut self, now: Instant, step: Step, wait: Duration) {
        let limit = if step == Step::Describe { self.limit.min(DESCRIBING) } else { self.limit };
        let late = self.since.is_some_and(|(_, since)| now + wait >= since + limit);
        match step {
            _ if !late => {}
            Step::End => return self.give_up(),
            Step::Describe => return self.undescribed(),
            Step::AddOffsets | Step::CommitOffsets => return self.fail(Why::TimedOut(step)),
            // The batches that wait for it have a time of their own; and without an identity there is nothing else to do.
            Step::AddPartitions | Step::Init | Step::Produce => {}
        }
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    fn give_up(&mut self) {
        self.settled();
        self.state = match std::mem::replace(&mut self.state, State::Fatal) {
            State::Ending(mut ending) => {
                // An abort that nobody answered is still the only way on.
                ending.unsure = true;
                self.told.push_back(Told::Ended(End::Unknown));
                State::Unknown(ending)
            }
            state => state,
        };
    }

    fn described(&mut self, owner: ProducerId, phase: Phase) {
        let State::Fenced { version, unsure, committed, .. } = self.state else { return };
        if owner == self.producer {
            return self.undescribed();
        }
        let judged = judge::judge(version, self.producer, owner, phase);
        // What was asked for is what was done, if anything was done.
        let found = unsure.and_then(|commit| judged.was_ended.map(|ended| ended && commit));
        self.die(Death::Fenced(judged.by), committed.or(found));
    }

    fn undescribed(&mut self) {
        let State::Fenced { refused: (step, code), committed, .. } = self.state else { return };
        // Without an owner there is no fencer: the coordinator has forgotten the id, or never had it.
        self.die(
            if code == FORGOTTEN { Death::Refused(step, code) } else { Death::Fenced(Fencer::Unknown) },
            committed,
        );
    }
}
