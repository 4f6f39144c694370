//! The task behind a consumer: it sends what the machine plans and tells it what came back.
//!
//! Rules this file keeps:
//! - every decision is `machine::fetch`'s; this loop only carries;
//! - the lock is held for one call into the machine, never across an `.await`;
//! - it ends when the consumer is closed or dropped, and what is under way ends with it.

use std::{
    panic,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    cluster::{Cluster, To, Traffic},
    error::Result,
    machine::{
        fetch::{FetchPlan, FetchReply, Fetcher, Leader, LookupPlan, OffsetReply},
        metadata::{LeaderHint, Metadata},
    },
    types::TopicPartition,
    wire::{
        Str,
        messages::{FetchRequest, FetchResponse},
    },
};

use super::exchange::{self, Fetched, Terms};

/// What a consumer and its task have in common.
#[derive(Debug)]
pub(super) struct Shared {
    fetcher: Mutex<Fetcher<Fetched>>,
    /// For the consumer: there may be a batch, an error, or an end.
    pub(super) ready: Notify,
    /// For the task: the user changed something, or room became free.
    pub(super) wake: Notify,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(fetcher: Fetcher<Fetched>) -> Self {
        let fetcher = Mutex::new(fetcher);
        Self { fetcher, ready: Notify::new(), wake: Notify::new(), closed: AtomicBool::new(false) }
    }

    pub(super) fn fetcher(&self) -> MutexGuard<'_, Fetcher<Fetched>> {
        self.fetcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ready.notify_one();
        self.wake.notify_one();
    }
}

/// Something that was under way has ended.
enum Done {
    Fetch(FetchPlan, Result<Vec<FetchReply<Fetched>>>),
    Lookup(LookupPlan, Result<Vec<OffsetReply>>),
}

pub(super) async fn run(shared: Arc<Shared>, cluster: Cluster, terms: Arc<Terms>) {
    let end = End { shared: shared.clone(), cluster: cluster.clone(), traffic: Traffic::Fetch(next_number()) };
    let mut metadata = cluster.watch();
    let mut work = JoinSet::new();
    learn(&shared, &cluster.metadata());
    while !shared.is_closed() {
        let timeout = send(&end, &terms, &mut work);
        tokio::select! {
            // Answers first: what they deliver is what callers wait for, and a metadata change or a wake-up that comes
            // with one is seen at the next turn. The timer last: whatever happened meanwhile may have settled it.
            biased;
            Some(done) = work.join_next() => match done {
                Ok(done) => take_in(&shared, done),
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        panic::resume_unwind(panic)
                    }
                }
            },
            metadata = metadata.changed() => learn(&shared, &metadata),
            () = shared.wake.notified() => {}
            () = sleep_until(timeout.unwrap_or_else(Instant::now)), if timeout.is_some() => {}
        }
        shared.ready.notify_one();
    }
}

/// Sends all that is due. Returns when to come back at the latest.
fn send(end: &End, terms: &Arc<Terms>, work: &mut JoinSet<Done>) -> Option<Instant> {
    let End { shared, cluster, traffic } = end;
    let now = Instant::now().into_std();
    let mut fetcher = shared.fetcher();
    fetcher.handle_timeout(now);
    while let Some(topic) = fetcher.poll_refresh(now) {
        cluster.request_topic(&topic);
    }
    while let Some(plan) = fetcher.poll_lookup(now) {
        let (cluster, terms) = (cluster.clone(), terms.clone());
        work.spawn(async move {
            let outcome = lookup(&cluster, &terms, &plan).await;
            Done::Lookup(plan, outcome)
        });
    }
    while let Some(plan) = fetcher.poll_fetch(now) {
        let (cluster, terms, traffic) = (cluster.clone(), terms.clone(), *traffic);
        work.spawn(async move {
            let outcome = fetch(&cluster, traffic, &terms, &plan).await;
            Done::Fetch(plan, outcome)
        });
    }
    fetcher.poll_timeout().map(Instant::from_std)
}

fn take_in(shared: &Shared, done: Done) {
    let now = Instant::now().into_std();
    let mut fetcher = shared.fetcher();
    match done {
        Done::Fetch(plan, Ok(replies)) => fetcher.handle_fetch_response(now, plan.ticket, replies),
        Done::Lookup(plan, Ok(replies)) => fetcher.handle_offsets(now, &plan, replies),
        Done::Fetch(plan, Err(error)) => {
            tracing::debug!(broker = %plan.broker, %error, "fetch failed");
            fetcher.handle_fetch_failure(now, plan.ticket, &error);
        }
        Done::Lookup(plan, Err(error)) => {
            tracing::debug!(broker = %plan.broker, %error, "offset lookup failed");
            fetcher.handle_lookup_failure(now, &plan, &error);
        }
    }
}

pub(super) fn learn(shared: &Shared, metadata: &Metadata) {
    let leader_of = |name: &TopicPartition| {
        let topic = metadata.topic(&name.topic)?;
        let partition = topic.partitions.get(usize::try_from(name.partition).ok()?)?;
        Some(Leader { broker: partition.leader, epoch: partition.leader_epoch, topic_id: topic.id })
    };
    shared.fetcher().handle_metadata(Instant::now().into_std(), leader_of);
}

async fn fetch(
    cluster: &Cluster,
    traffic: Traffic,
    terms: &Terms,
    plan: &FetchPlan,
) -> Result<Vec<FetchReply<Fetched>>> {
    let connection = cluster.connection(plan.broker, traffic).await?;
    let version = exchange::fetch_version(plan, connection.versions().pick::<FetchRequest>()?);
    let request = exchange::fetch_request(plan, terms);
    // A broker may hold a fetch back for all of `max_wait`: that is no silence.
    let pending = connection.start_at(&request, version, terms.timeout + terms.max_wait)?;
    let response = pending.await.map_err(|lost| lost.error)?;
    pass_on_hints(cluster, plan, &response);
    exchange::read_fetch(plan, response, terms)
}

/// Leaders that the broker named (KIP-951) are news for the whole client.
fn pass_on_hints(cluster: &Cluster, plan: &FetchPlan, response: &FetchResponse) {
    for topic in &response.responses {
        for data in topic.partitions.iter().filter(|data| data.current_leader.leader_id >= 0) {
            let leader = crate::types::BrokerId(data.current_leader.leader_id);
            let hint = LeaderHint { leader, leader_epoch: data.current_leader.leader_epoch };
            let node = response.node_endpoints.iter().find(|node| node.node_id == leader.0);
            let endpoint: Option<(&Str, i32)> = node.map(|node| (&node.host, node.port));
            let same = |part: &&crate::machine::fetch::FetchPart| {
                part.name.topic == topic.topic || part.topic_id == topic.topic_id
            };
            if let Some(part) = plan.parts.iter().find(same) {
                cluster.apply_hint(&part.name.topic, data.partition_index, hint, endpoint);
            }
        }
    }
}

async fn lookup(cluster: &Cluster, terms: &Terms, plan: &LookupPlan) -> Result<Vec<OffsetReply>> {
    let request = exchange::lookup_request(plan, terms.isolation, terms.timeout);
    let response = cluster.call(To::Broker(plan.broker), Traffic::Other, &request, terms.timeout).await?;
    Ok(exchange::read_offsets(plan, &response))
}

/// What happens when the task ends, however it does: whoever waits is told, and the connections are let go.
struct End {
    shared: Arc<Shared>,
    cluster: Cluster,
    traffic: Traffic,
}

impl Drop for End {
    fn drop(&mut self) {
        self.shared.close();
        self.cluster.forget(self.traffic);
    }
}

/// A number that no other consumer of this process has.
fn next_number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}
