//! Asks a cluster in the protocol's own words: its brokers, what each offers, and the groups that each coordinates.
//!
//! ```text
//! cargo run --example request -- 127.0.0.1:9092
//! ```

use milena::{
    ErrorCode, Kafka,
    wire::messages::{DescribeClusterRequest, DescribeGroupsRequest, ListGroupsRequest},
};

#[tokio::main]
async fn main() -> milena::Result<()> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let kafka = Kafka::connect(&bootstrap).await?;

    // Any broker may answer this one. Brokers before 2.8 do not know it, and the error says so.
    let cluster = kafka.request(DescribeClusterRequest::default()).await?;
    println!("cluster {}, features:", cluster.cluster_id);
    for (name, level) in kafka.features().iter() {
        println!("  {name} {level}");
    }
    for broker in &cluster.brokers {
        let versions = kafka.versions(broker.broker_id).await?;
        println!("broker {} at {}:{}, APIs:", broker.broker_id, broker.host, broker.port);
        for (api, range) in versions.iter() {
            println!("  {api} {} to {}", range.start(), range.end());
        }
        // Each broker lists the groups that it coordinates.
        let listed = kafka.request(ListGroupsRequest::default()).broker(broker.broker_id).await?;
        for group in listed.groups {
            let request = DescribeGroupsRequest { groups: vec![group.group_id.clone()], ..Default::default() };
            let described = kafka.request(request.clone()).coordinator_of_group(group.group_id.clone()).await?;
            let moved = described.groups.iter().any(|group| group.error_code == ErrorCode::NOT_COORDINATOR);
            // An answer that says no is an answer. This one is mended by looking the coordinator up again.
            let described = if moved {
                kafka.request(request).coordinator_of_group(group.group_id.clone()).fresh().await?
            } else {
                described
            };
            for group in described.groups {
                println!("  group {}: {}, {} members", group.group_id, group.group_state, group.members.len());
            }
        }
    }
    Ok(())
}
