//! The three brokers: what is known of them, and what is done to them.
//!
//! Rules this file keeps:
//! - everything is asked and done beside the relay, by a client of its own, so that no fault stands in the way;
//! - what cannot be had at this moment is asked again, up to [`PATIENCE`], and then is an error with a name.

use std::time::Duration;

use milena::{
    ErrorCode, Kafka, Result,
    admin::NewTopic,
    wire::messages::{
        CreatePartitionsRequest, CreatePartitionsTopic, DescribeQuorumRequest, DescribeQuorumRequestPartitionData,
        DescribeQuorumRequestTopicData, FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic,
        MetadataResponseTopic,
    },
};
use tokio::time::{Instant, sleep};

use crate::{Live, PATIENCE};

/// The cluster, seen directly.
#[derive(Debug, Clone)]
pub struct Brokers {
    /// A client that no relay stands before.
    pub kafka: Kafka,
    live: Live,
}

impl Brokers {
    /// Connects to the brokers themselves.
    ///
    /// # Errors
    /// When none of them answers.
    pub async fn connect(live: Live) -> Result<Self> {
        // A stopped broker is asked as well; the next one is asked soon.
        let kafka =
            Kafka::builder().bootstrap(&live.bootstrap).property("request.timeout.ms", "3000").connect().await?;
        Ok(Self { kafka, live })
    }

    /// Runs the control script, which may take seconds.
    pub async fn control(&self, arguments: &[&str]) -> String {
        let (live, arguments) = (self.live.clone(), arguments.iter().map(|text| text.to_string()).collect::<Vec<_>>());
        let control = move || live.control(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(control).await.expect("the control script succeeds")
    }

    /// The control script for one broker, counted from 1.
    pub async fn broker(&self, action: &str, broker: usize) {
        self.control(&[action, &broker.to_string()]).await;
    }

    /// The brokers that lead a partition of the topic, one entry per partition that has a leader.
    pub async fn leaders(&self, topic: &str) -> Vec<usize> {
        self.asked("leaders", async || {
            let topic = self.topic(topic).await?;
            let leaders = topic.partitions.iter().filter_map(|partition| usize::try_from(partition.leader_id).ok());
            Some(leaders.collect::<Vec<_>>()).filter(|leaders| !leaders.is_empty())
        })
        .await
    }

    /// The leader of the quorum of controllers.
    pub async fn controller(&self) -> usize {
        let partitions = vec![DescribeQuorumRequestPartitionData { partition_index: 0 }];
        let topics = vec![DescribeQuorumRequestTopicData { topic_name: "__cluster_metadata".into(), partitions }];
        let request = DescribeQuorumRequest { topics };
        self.asked("the controller", async || {
            let answer = self.kafka.request(request.clone()).controller().await.ok()?;
            usize::try_from(answer.topics.first()?.partitions.first()?.leader_id).ok().filter(|node| *node > 0)
        })
        .await
    }

    /// The coordinator of a group, which need not exist.
    pub async fn coordinator(&self, group: &str) -> usize {
        self.coordinator_of(0, group).await
    }

    /// The coordinator of a transactional id.
    pub async fn transaction_coordinator(&self, id: &str) -> usize {
        self.coordinator_of(1, id).await
    }

    async fn coordinator_of(&self, key_type: i8, key: &str) -> usize {
        let request = FindCoordinatorRequest { coordinator_keys: vec![key.into()], key_type, ..Default::default() };
        self.asked("the coordinator", async || {
            let answer = self.kafka.request(request.clone()).await.ok()?;
            usize::try_from(answer.coordinators.first()?.node_id).ok().filter(|node| *node > 0)
        })
        .await
    }

    /// Makes a topic on all three. A slow answer is no reason to give up: the topic is then there already.
    pub async fn create(&self, topic: &str, partitions: i32) {
        self.asked("a topic", async || {
            match self.kafka.admin().create_topic(NewTopic::new(topic, partitions, 3)).await {
                Ok(()) => Some(()),
                Err(error) => (error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS)).then_some(()),
            }
        })
        .await;
    }

    /// Gives the topic so many partitions.
    pub async fn grow(&self, topic: &str, count: i32) {
        let topics = vec![CreatePartitionsTopic { name: topic.into(), count, assignments: None }];
        let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false };
        self.asked("more partitions", async || {
            let _ = self.kafka.request(request.clone()).controller().await;
            // The answer may be lost; what counts is what is there.
            self.topic(topic).await.filter(|topic| topic.partitions.len() >= count as usize)
        })
        .await;
    }

    /// Waits until every replica of the topic is in sync on three brokers.
    pub async fn healthy(&self, topic: &str) {
        self.asked("a cluster in sync", async || {
            let topic = self.topic(topic).await?;
            topic.partitions.iter().all(|one| one.leader_id > 0 && one.isr_nodes.len() == 3).then_some(())
        })
        .await;
    }

    async fn topic(&self, topic: &str) -> Option<MetadataResponseTopic> {
        let name = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![name]), ..Default::default() };
        self.kafka.request(request).await.ok()?.topics.into_iter().next()
    }

    async fn asked<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(Instant::now() < deadline, "{what}: nothing after {PATIENCE:?}");
            sleep(PAUSE).await;
        }
    }
}

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);
