//! Faults on purpose: what a broker does wrong to the next requests of a kind.
//!
//! Rules this file keeps:
//! - a fault is looked for when a request arrives: a long poll that waits already is not touched;
//! - the oldest fault that fits a request is the one that happens to it; no request suffers two;
//! - a fault counts down when it happens, and its handle can wait for that, so that no test has to sleep;
//! - without faults a request costs one atomic load here.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::api::Api;
use crate::{
    watch,
    wire::{
        self, Entity, ErrorCode, FieldSpec, Kind,
        tree::{Node, Tree, Value},
    },
};
use bytes::Bytes;

/// Whether the broker does what it was asked before the fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing was done: the batch is not in the log.
    BeforeApplying,
    /// It was done, and only the answer is lost: the batch is in the log.
    AfterApplying,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAction {
    /// The answer carries this error code, for the fault's topic or for every part of it, and nothing is done.
    Error(i16),
    /// The request is done and answered later by this much.
    Delay(Duration),
    /// The answer tells the client to hold back for this long, and the broker reads nothing from the connection
    /// meanwhile (KIP-219).
    Throttle(Duration),
    /// The connection is closed.
    Disconnect(When),
    /// The connection stays open, and nothing is ever answered on it again.
    Silence(When),
    /// The answer belongs to another request, by its correlation id.
    WrongCorrelationId,
    /// Only so many bytes of the answer are sent, its length included; then the connection is closed.
    CutReply(usize),
    /// So many bytes that are no answer are sent; then the connection is closed.
    Garbage(usize),
    /// The answer announces this length, whatever it has; then the connection stays open in silence.
    ReplyLength(i32),
    /// In an answer to Fetch, one bit of the last batch of every partition is wrong. The log stays sound. An answer
    /// without records is left as it is.
    CorruptBatch,
    /// In an answer to Fetch, these bytes stand for the records of every partition: batches that no producer of today
    /// can have the log keep, such as those of old formats or after compaction. An answer without records is left as it
    /// is.
    Records(Bytes),
}

/// A fault to inject: to which requests it happens, and what.
///
/// ```no_run
/// # use milena::embedded::{Api, EmbeddedCluster, Fault, FaultAction, When};
/// # async fn example(cluster: &EmbeddedCluster) {
/// // The batch is appended, but the client never hears of it: it must send it again and get the first offset.
/// let lost = cluster.inject(Fault::on(Api::Produce, FaultAction::Disconnect(When::AfterApplying)).topic("orders"));
/// // … produce …
/// lost.exhausted().await;
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is given to `EmbeddedCluster::inject`"]
pub struct Fault {
    api: Api,
    action: FaultAction,
    broker: Option<i32>,
    topic: Option<String>,
    client_id: Option<String>,
    group: Option<String>,
    transactional_id: Option<String>,
    skip: usize,
    times: usize,
}

impl Fault {
    /// `action` for the next request of this kind.
    pub fn on(api: Api, action: FaultAction) -> Self {
        let (topic, client_id, group, transactional_id) = (None, None, None, None);
        Self { api, action, broker: None, topic, client_id, group, transactional_id, skip: 0, times: 1 }
    }

    /// This error code in the answer to the next request of this kind, and nothing done.
    ///
    /// ```
    /// # use milena::{ErrorCode, embedded::{Api, Fault}};
    /// let fault = Fault::error(Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS).topic("orders").times(3);
    /// ```
    pub fn error(api: Api, code: ErrorCode) -> Self {
        Self::on(api, FaultAction::Error(code.0))
    }

    /// Only at this broker. Default: at any.
    pub fn broker(mut self, id: i32) -> Self {
        self.broker = Some(id);
        self
    }

    /// Only for requests that name this topic. Default: for all.
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.topic = Some(name.into());
        self
    }

    /// Only for requests of clients that call themselves so (`client.id`). Default: for all.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Only for requests about this consumer group. Default: for all.
    pub fn group(mut self, id: impl Into<String>) -> Self {
        self.group = Some(id.into());
        self
    }

    /// Only for requests that name this transactional id. Default: for all.
    pub fn transactional_id(mut self, id: impl Into<String>) -> Self {
        self.transactional_id = Some(id.into());
        self
    }

    /// Lets so many fitting requests pass first. Default: 0.
    pub fn skip(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Happens so many times. Default: 1.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

/// Follows one injected fault. Dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct FaultHandle {
    left: watch::Receiver<usize>,
}

impl FaultHandle {
    /// How many times the fault will still happen.
    pub fn left(&self) -> usize {
        *self.left.borrow()
    }

    /// Waits until the fault has happened as often as it was told to, or was removed.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn exhausted(&self) {
        let mut left = self.left.clone();
        // An error means that the fault was removed.
        drop(left.wait_for(|left| *left == 0).await);
    }
}

/// All faults of a cluster.
#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: AtomicUsize,
    list: Mutex<Vec<Armed>>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    left: watch::Sender<usize>,
}

/// A fault that happens to the request at hand.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub(super) action: FaultAction,
    pub(super) topic: Option<String>,
}

impl Faults {
    pub(super) fn inject(&self, fault: Fault) -> FaultHandle {
        let (sender, left) = watch::channel(fault.times);
        if fault.times > 0 {
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            list.push(Armed { fault, left: sender });
            self.armed.store(list.len(), Ordering::Release);
        }
        FaultHandle { left }
    }

    pub(super) fn clear(&self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.clear();
        self.armed.store(0, Ordering::Release);
    }

    /// The fault that happens to this request, if any. `names` says whether the request is about a topic, in case that
    /// the topic's name does not stand in it.
    pub(super) fn happening(&self, asked: &Asked, names: impl Fn(&str) -> bool) -> Option<Happening> {
        if self.armed.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        for at in 0..list.len() {
            let armed = list.get_mut(at)?;
            if !armed.fault.fits(asked, &names) {
                continue;
            }
            if armed.fault.skip > 0 {
                armed.fault.skip -= 1;
                continue;
            }
            armed.fault.times -= 1;
            let happening = Happening { action: armed.fault.action.clone(), topic: armed.fault.topic.clone() };
            armed.left.send_replace(armed.fault.times);
            if armed.fault.times == 0 {
                list.remove(at);
            }
            self.armed.store(list.len(), Ordering::Release);
            return Some(happening);
        }
        None
    }
}

impl Fault {
    fn fits(&self, asked: &Asked, names: impl Fn(&str) -> bool) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        self.api as i16 == asked.api
            && self.broker.is_none_or(|id| id == asked.broker)
            && is(&self.client_id, asked.client_id)
            && self.topic.as_deref().is_none_or(|topic| names(topic) || asked.mentions(Entity::TopicName, topic))
            && self.group.as_deref().is_none_or(|id| asked.mentions(Entity::GroupId, id))
            && self.transactional_id.as_deref().is_none_or(|id| asked.mentions(Entity::TransactionalId, id))
    }
}

/// A request that a fault may happen to.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) broker: i32,
    pub(super) api: i16,
    pub(super) version: i16,
    pub(super) client_id: Option<&'a str>,
    pub(super) body: &'a Bytes,
}

impl Asked<'_> {
    /// Whether this name of a group, a topic or a transactional id stands in the request.
    fn mentions(&self, entity: Entity, name: &str) -> bool {
        let Some(api) = wire::Api::of_key(wire::ApiKey(self.api)) else { return false };
        let tree = Tree::read(&api.request, self.version, self.body.clone());
        mentions(api.request.fields, &tree.root, entity, name)
    }
}

fn mentions(fields: &'static [FieldSpec], node: &Node, entity: Entity, name: &str) -> bool {
    let children = node.children().iter();
    let mut known = children.filter_map(|child| Some((child, fields.iter().find(|field| field.name == child.name)?)));
    known.any(|(child, field)| {
        // FindCoordinator's keys may be of either kind.
        let right = field.rule.entity == Some(entity) || matches!(field.name, "key" | "coordinator_keys");
        match (&field.kind, &child.value) {
            (Kind::Array { of: Kind::Struct { fields, .. } }, Value::Array(elements)) => {
                elements.iter().any(|element| mentions(fields, element, entity, name))
            }
            (Kind::Struct { fields, .. }, Value::Struct(_)) => mentions(fields, child, entity, name),
            (_, Value::Array(elements)) => right && elements.iter().any(|element| is_text(element, name)),
            _ => right && is_text(child, name),
        }
    })
}

fn is_text(node: &Node, text: &str) -> bool {
    matches!(&node.value, Value::Text(found) if found.as_str() == text)
}
