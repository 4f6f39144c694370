//! Asking for a producer id (InitProducerId).

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    cluster::{To, Traffic},
    error::{Error, ErrorKind, Result},
    machine::identity::ProducerId,
    wire::{
        ErrorCode,
        messages::{InitProducerIdRequest, InitProducerIdResponse},
    },
};

use super::{Core, sender::Event};

/// Asks any broker for an id; an idempotent producer without transactions needs no coordinator.
pub(super) async fn ask(core: Arc<Core>, outbox: mpsc::UnboundedSender<Event>) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        // Not used without a transactional id, but brokers check it.
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let timeout = core.cluster.config().request_timeout;
    let answer = core.cluster.call(To::Any, Traffic::Other, &request, timeout).await;
    let _ = outbox.send(Event::Granted(granted(answer)));
}

/// The identity, or why there is none, and the code if asking again cannot help.
fn granted(answer: Result<InitProducerIdResponse>) -> Result<ProducerId, (Error, Option<ErrorCode>)> {
    match answer {
        Ok(answer) if answer.error_code == ErrorCode::NONE => {
            ProducerId::answered(answer.producer_id, answer.producer_epoch).ok_or_else(|| (nameless(), None))
        }
        Ok(answer) => {
            let error = Error::broker(answer.error_code, "no producer id");
            let dead = (!answer.error_code.is_retriable()).then_some(answer.error_code);
            Err((error, dead))
        }
        Err(error) => {
            // A broker without this request will not learn it, however often it is asked.
            let dead = (error.kind() == ErrorKind::UnsupportedVersion).then_some(ErrorCode::UNSUPPORTED_VERSION);
            Err((error, dead))
        }
    }
}

/// A broker grants an identity and does not say which.
pub(super) fn nameless() -> Error {
    Error::new(ErrorKind::Protocol, "the answer to InitProducerId has neither an error nor a producer id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_identity_is_not_stamped_on_batches() {
        let answer = |producer_id, producer_epoch| {
            granted(Ok(InitProducerIdResponse { producer_id, producer_epoch, ..InitProducerIdResponse::default() }))
        };
        assert_eq!(answer(7, 0).expect("granted"), ProducerId { id: 7, epoch: 0 });
        for (id, epoch) in [(-1, -1), (7, -1), (-1, 0)] {
            let (error, dead) = answer(id, epoch).expect_err("no identity");
            assert_eq!((error.kind(), dead), (ErrorKind::Protocol, None));
        }
    }
}
