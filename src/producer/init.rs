//! Asking for a producer id (InitProducerId).

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    cluster::{To, Traffic},
    error::{Error, ErrorKind},
    machine::identity::ProducerId,
    wire::{ErrorCode, messages::InitProducerIdRequest},
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
    let outcome = match answer {
        Ok(answer) if answer.error_code == ErrorCode::NONE => {
            Ok(ProducerId { id: answer.producer_id, epoch: answer.producer_epoch })
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
    };
    let _ = outbox.send(Event::Granted(outcome));
}
