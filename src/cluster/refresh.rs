//! The task that keeps metadata fresh, and the one request it makes.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    error::{Error, ErrorKind, Result},
    machine::metadata::Metadata,
    net::{conn::Connection, pool::Destination},
    wire::{
        ErrorCode, Str,
        messages::{MetadataRequest, MetadataRequestTopic, MetadataResponse},
    },
};

use super::{Cluster, Shared, Traffic, View};

/// Refreshes whenever somebody asks, when the metadata has its age, and with backoff after a failure.
pub(super) async fn run(shared: Weak<Shared>, wanted: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let Some(wait) = shared.upgrade().map(|shared| match failures {
            0 => shared.config.metadata_max_age,
            _ => shared.config.retry_backoff.delay(failures, fastrand::f64()),
        }) else {
            return;
        };
        let _ = timeout_at(Instant::now() + wait, wanted.notified()).await;
        let asked = Instant::now();
        // The last handle that was dropped has asked, too.
        let Some(cluster) = shared.upgrade().map(Cluster) else { return };
        failures = match cluster.refresh_now().await {
            Ok(()) => 0,
            Err(error) => {
                tracing::debug!(%error, "metadata refresh failed");
                failures.saturating_add(1)
            }
        };
        drop(cluster);
        sleep_until(asked + SHORTEST_PAUSE).await;
    }
}

impl Cluster {
    /// One round: asks any broker, publishes what it says or why it failed.
    pub(super) async fn refresh_now(&self) -> Result<()> {
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        let begun = Instant::now();
        let asked: Vec<Str> = self.0.topics.all(self.0.config.metadata_max_idle);
        let outcome = self.fetch_metadata(&asked).await;
        self.0.view.send_modify(|view| {
            view.rounds += 1;
            view.error = outcome.as_ref().err().cloned();
            view.failing_since = outcome.is_err().then(|| view.failing_since.unwrap_or(begun));
            if let Ok(response) = &outcome {
                let before = view.metadata.clone();
                apply(view, response, &asked);
                // Before anybody hears of it: who dials because of the news is not to meet the old backoff.
                self.forgive_newcomers(&before, &view.metadata);
            }
        });
        outcome.map(drop)
    }

    /// Waits for a round that began after this call.
    ///
    /// # Errors
    /// Why the last round failed.
    pub(super) async fn refreshed(&self, deadline: Instant) -> Result<()> {
        let mut view = self.0.view.subscribe();
        let mut failures = 0;
        loop {
            let round = self.0.begun.load(Ordering::Acquire) + 1;
            self.request_refresh();
            let error = match timeout_at(deadline, view.wait_for(|view| view.rounds >= round)).await {
                Ok(Ok(view)) => view.error.clone(),
                _ => Some(Error::new(ErrorKind::Timeout, "no broker told about the cluster in time")),
            };
            let Some(error) = error else { return Ok(()) };
            failures += 1;
            let again = Instant::now() + self.0.config.retry_backoff.delay(failures, fastrand::f64());
            if !error.is_retriable() || again >= deadline {
                return Err(error);
            }
            sleep_until(again).await;
        }
    }

    /// A broker that has joined again is dialled at once, whatever came of the dials to it before.
    fn forgive_newcomers(&self, before: &Metadata, now: &Metadata) {
        for broker in now.brokers().filter(|broker| before.node(*broker) != now.node(*broker)) {
            self.0.pool.forgive(&Destination::Broker(broker));
        }
    }

    async fn fetch_metadata(&self, topics: &[Str]) -> Result<MetadataResponse> {
        let trigger = self.0.config.rebootstrap_trigger;
        let failing = self.0.view.borrow().failing_since.map_or(Duration::ZERO, |since| since.elapsed());
        if trigger.is_some_and(|trigger| !failing.is_zero() && failing >= trigger) {
            tracing::info!(?failing, "no answer about the cluster: back to the configured addresses");
            return self.rebootstrap(topics).await;
        }
        let connection = self.any_connection(Traffic::Other).await?;
        match self.ask_for_metadata(&connection, topics).await {
            Err(error) if error.code() == Some(ErrorCode::REBOOTSTRAP_REQUIRED) => {
                tracing::info!(address = %connection.peer().address, "sent back to the configured addresses");
                if trigger.is_some() {
                    return self.rebootstrap(topics).await;
                }
                // It may not; but it need not ask the same broker again.
                self.0.pool.forget(Traffic::Other);
                Err(error)
            }
            answer => answer,
        }
    }

    /// Forgets the connections to all brokers and asks the configured addresses, as at the start (KIP-1102). What is
    /// known of the cluster stays until they have answered: it may be better than nothing.
    async fn rebootstrap(&self, topics: &[Str]) -> Result<MetadataResponse> {
        self.0.view.send_if_modified(|view| {
            // If it fails, all brokers have as long again.
            view.failing_since = None;
            false
        });
        self.0.pool.forget_all();
        let connection = self.bootstrap_connection(Traffic::Other, Vec::new()).await?;
        self.ask_for_metadata(&connection, topics).await
    }

    async fn ask_for_metadata(&self, connection: &Connection, topics: &[Str]) -> Result<MetadataResponse> {
        let request = metadata_request(connection, topics)?;
        let pending = connection.start(&request, self.0.config.request_timeout)?;
        let response = pending.await.map_err(|lost| lost.error)?;
        match response.error_code {
            ErrorCode::NONE => Ok(response),
            code => Err(Error::broker(code, format_args!("metadata from {}", connection.peer().address))),
        }
    }
}

fn apply(view: &mut View, response: &MetadataResponse, asked: &[Str]) {
    let mut metadata = Metadata::clone(&view.metadata);
    if metadata.cluster_id.is_some() && metadata.cluster_id != response.cluster_id {
        tracing::warn!(before = ?metadata.cluster_id, now = ?response.cluster_id, "another cluster answers");
    }
    metadata.handle_response(response, asked);
    view.metadata = Arc::new(metadata);
}

fn metadata_request(connection: &Connection, topics: &[Str]) -> Result<MetadataRequest> {
    let version = connection.versions().pick::<MetadataRequest>()?;
    let named = |name: &Str| MetadataRequestTopic { name: Some(name.clone()), ..MetadataRequestTopic::default() };
    let mut request =
        MetadataRequest { topics: Some(topics.iter().map(named).collect()), ..MetadataRequest::default() };
    // Version 0 knows no switch, and takes "no topics" for "all topics"; brokers from 2.1 on speak at least version 7.
    if version >= 4 {
        request.allow_auto_topic_creation = false;
    }
    Ok(request)
}

/// Between two rounds, however many ask.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
