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
        Str,
        messages::{MetadataRequest, MetadataRequestTopic, MetadataResponse},
    },
};

use super::{Cluster, Shared, Traffic, View};

/// Refreshes whenever somebody asks, and at the latest when the metadata has its age.
pub(super) async fn run(shared: Weak<Shared>, wanted: Arc<Notify>) {
    loop {
        let Some(max_age) = shared.upgrade().map(|shared| shared.config.metadata_max_age) else { return };
        // Half an idle minute at most, so that a cluster nobody holds any more is noticed.
        let wake = Instant::now() + max_age;
        let asked = loop {
            let nap = wake.min(Instant::now() + LONGEST_NAP);
            if timeout_at(nap, wanted.notified()).await.is_ok() || Instant::now() >= wake {
                break Instant::now();
            }
            if shared.strong_count() == 0 {
                return;
            }
        };
        let Some(cluster) = shared.upgrade().map(Cluster) else { return };
        if let Err(error) = cluster.refresh_now().await {
            tracing::debug!(%error, "metadata refresh failed");
        }
        drop(cluster);
        sleep_until(asked + SHORTEST_PAUSE).await;
    }
}

impl Cluster {
    /// One round: asks any broker, publishes what it says or why it failed.
    pub(super) async fn refresh_now(&self) -> Result<()> {
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        let asked: Vec<Str> = self.topics().iter().cloned().collect();
        let outcome = self.fetch_metadata(&asked).await;
        self.0.view.send_modify(|view| {
            view.rounds += 1;
            view.error = outcome.as_ref().err().cloned();
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
        let connection = self.any_connection(Traffic::Other).await?;
        let request = metadata_request(&connection, topics)?;
        let timeout = self.0.config.request_timeout;
        connection.start(&request, timeout)?.await.map_err(|lost| lost.error)
    }
}

fn apply(view: &mut View, response: &MetadataResponse, asked: &[Str]) {
    let mut metadata = Metadata::clone(&view.metadata);
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

const LONGEST_NAP: Duration = Duration::from_secs(30);
/// Between two rounds, however many ask.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
