//! Sends every version of every API that a broker offers and milena has a table for.
//!
//! Rules this file keeps:
//! - each request has a connection of its own, because a broker that dislikes a request closes it;
//! - an answer is good whatever it says: its bytes count;
//! - what could stop the broker is not sent.

use std::{collections::BTreeMap, io, ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use milena::wire::{self, Api, ApiKey, Request, messages::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{broker::Broker, plausible, world::World};

/// The client id of the probes, by which their frames are known.
pub(crate) const CLIENT_ID: &str = "milena";

/// Probes the broker and then its controller. Gives a line for each request without an answer.
pub(crate) async fn everything(broker: &Broker) -> io::Result<Vec<String>> {
    let offered = offered(&broker.plain).await?;
    let missing: Vec<_> = offered.keys().filter(|key| Api::of_key(**key).is_none()).collect();
    println!("offered: {} APIs; without a table: {missing:?}", offered.len());
    let mut prober = Prober { broker, offered: &offered, world: World::default(), silent: Vec::new() };
    prober.learn().await?;
    prober.ask_from_the_future().await;
    for (key, versions) in &offered {
        prober.api(*key, versions.clone(), false).await;
    }
    let Some(controller) = &broker.controller else { return Ok(prober.silent) };
    let controllers = self::offered(controller).await?;
    for (key, versions) in controllers.iter().filter(|(key, _)| !offered.contains_key(key)) {
        prober.api(*key, versions.clone(), true).await;
    }
    Ok(prober.silent)
}

/// What the listener says it can answer. Version 0 of the question is known to all.
async fn offered(address: &str) -> io::Result<Offered> {
    let response = Connection::open(address).await?.ask(&ApiVersionsRequest::default(), 0).await?;
    Ok(response.api_keys.iter().map(|api| (ApiKey(api.api_key), api.min_version..=api.max_version)).collect())
}

type Offered = BTreeMap<ApiKey, RangeInclusive<i16>>;

struct Prober<'a> {
    broker: &'a Broker,
    offered: &'a Offered,
    world: World,
    silent: Vec<String>,
}

impl Prober<'_> {
    async fn api(&mut self, key: ApiKey, offered: RangeInclusive<i16>, controller: bool) {
        let Some(api) = Api::of_key(key) else { return };
        if LEFT_OUT.contains(&key) {
            return;
        }
        for version in api.request.versions.clone().filter(|version| offered.contains(version)) {
            self.world.version = version;
            self.world.group = format!("golden-{}-v{version}", key.name().to_lowercase());
            self.world.transactional_id.clone_from(&self.world.group);
            let answer = match self.prepare(key).await {
                Ok(()) => self.probe(api, version, controller).await,
                Err(error) => Err(error),
            };
            if let Err(error) = answer {
                self.silent.push(format!("{key} v{version}: {error}"));
            }
        }
    }

    /// ApiVersions is answered in any version (KIP-511); all else closes the connection.
    async fn ask_from_the_future(&mut self) {
        for key in [ApiKey::API_VERSIONS, ApiKey::METADATA] {
            let answer = match Connection::open(&self.broker.plain).await {
                Ok(mut connection) => connection.exchange(key, FUTURE, 2, &[0]).await,
                Err(error) => Err(error),
            };
            if let Err(error) = answer {
                self.silent.push(format!("{key} v{FUTURE}: {error}"));
            }
        }
    }

    async fn probe(&self, api: &Api, version: i16, controller: bool) -> io::Result<Bytes> {
        let broker = self.broker;
        let mut connection = match api.key {
            _ if controller => Connection::open(broker.controller.as_deref().unwrap_or(&broker.plain)).await?,
            ApiKey::SASL_HANDSHAKE => Connection::open(&broker.sasl).await?,
            ApiKey::SASL_AUTHENTICATE => Connection::open_sasl(&broker.sasl).await?,
            ApiKey::CREATE_DELEGATION_TOKEN
            | ApiKey::RENEW_DELEGATION_TOKEN
            | ApiKey::EXPIRE_DELEGATION_TOKEN
            | ApiKey::DESCRIBE_DELEGATION_TOKEN => {
                let mut connection = Connection::open_sasl(&broker.sasl).await?;
                let auth_bytes = Bytes::from_static(PASSWORD);
                let version = self.newest(ApiKey::SASL_AUTHENTICATE, 2);
                connection.ask(&SaslAuthenticateRequest { auth_bytes }, version).await?;
                connection
            }
            _ => Connection::open(&broker.plain).await?,
        };
        let body = plausible::body(&api.request, version, &self.world);
        connection.exchange(api.key, version, (api.request_header_version)(version), &body).await
    }

    /// What has to be so before the API's requests can succeed.
    async fn prepare(&mut self, key: ApiKey) -> io::Result<()> {
        match key {
            ApiKey::RENEW_DELEGATION_TOKEN | ApiKey::EXPIRE_DELEGATION_TOKEN => {
                let (answer, version) = self.first(ApiKey::CREATE_DELEGATION_TOKEN, 3).await?;
                self.world.hmac = read::<CreateDelegationTokenRequest>(answer, version)?.hmac.to_vec();
                Ok(())
            }
            ApiKey::SYNC_GROUP => self.join().await,
            ApiKey::HEARTBEAT | ApiKey::LEAVE_GROUP | ApiKey::DESCRIBE_GROUPS => {
                self.join().await?;
                self.first(ApiKey::SYNC_GROUP, 5).await.map(drop)
            }
            ApiKey::OFFSET_FETCH | ApiKey::OFFSET_DELETE | ApiKey::DELETE_GROUPS => {
                self.first(ApiKey::OFFSET_COMMIT, 9).await.map(drop)
            }
            ApiKey::SHARE_FETCH => {
                self.first(ApiKey::SHARE_GROUP_HEARTBEAT, 1).await?;
                // The coordinator makes the state of a new share group after it has answered.
                sleep(Duration::from_secs(2)).await;
                Ok(())
            }
            ApiKey::ADD_PARTITIONS_TO_TXN | ApiKey::ADD_OFFSETS_TO_TXN => self.begin().await,
            ApiKey::END_TXN => {
                self.begin().await?;
                self.first(ApiKey::ADD_PARTITIONS_TO_TXN, 3).await.map(drop)
            }
            ApiKey::TXN_OFFSET_COMMIT => {
                self.begin().await?;
                self.first(ApiKey::ADD_OFFSETS_TO_TXN, 3).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn join(&mut self) -> io::Result<()> {
        let (answer, version) = self.first(ApiKey::JOIN_GROUP, 9).await?;
        let joined = read::<JoinGroupRequest>(answer, version)?;
        (self.world.member_id, self.world.generation) = (joined.member_id.to_string(), joined.generation_id);
        Ok(())
    }

    async fn begin(&mut self) -> io::Result<()> {
        let (answer, version) = self.first(ApiKey::INIT_PRODUCER_ID, 5).await?;
        let begun = read::<InitProducerIdRequest>(answer, version)?;
        (self.world.producer_id, self.world.producer_epoch) = (begun.producer_id, begun.producer_epoch);
        Ok(())
    }

    /// Sends another request first, of the same world, in the newest version up to `version`; gives the version too.
    async fn first(&self, key: ApiKey, version: i16) -> io::Result<(Bytes, i16)> {
        let api = Api::of_key(key).ok_or_else(|| io::Error::other("no table"))?;
        let version = self.newest(key, version);
        let world = World { version, ..self.world.clone() };
        let prober = Self { broker: self.broker, offered: self.offered, world, silent: Vec::new() };
        Ok((prober.probe(api, version, false).await?, version))
    }

    fn newest(&self, key: ApiKey, limit: i16) -> i16 {
        self.offered.get(&key).map_or(limit, |offered| limit.min(*offered.end()))
    }

    async fn learn(&mut self) -> io::Result<()> {
        self.world.sasl_bytes = PASSWORD.to_vec();
        let topics = Some(vec![MetadataRequestTopic { name: Some(World::TOPIC.into()), ..Default::default() }]);
        let request = MetadataRequest { topics, ..Default::default() };
        let version = self.newest(ApiKey::METADATA, 12);
        let metadata = Connection::open(&self.broker.plain).await?.ask(&request, version).await?;
        let topic = metadata.topics.first().ok_or_else(|| io::Error::other("the topic is not there"))?;
        self.world.topic_id = topic.topic_id.0.to_be_bytes();
        self.world.cluster_id = metadata.cluster_id.unwrap_or_default().to_string();
        Ok(())
    }
}

/// A connection that asks one thing after another.
struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    async fn open(address: &str) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, correlation_id: 0 })
    }

    /// One on which the broker waits for SaslAuthenticate.
    async fn open_sasl(address: &str) -> io::Result<Self> {
        let mut connection = Self::open(address).await?;
        connection.ask(&SaslHandshakeRequest { mechanism: "PLAIN".into() }, 1).await?;
        Ok(connection)
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> io::Result<R::Response> {
        let body = wire::encode_body(request, version).map_err(io::Error::other)?;
        let answer = self.exchange(R::API, version, R::request_header_version(version), &body).await?;
        read::<R>(answer, version)
    }

    /// Sends a frame and gives the frame that answers it.
    async fn exchange(&mut self, key: ApiKey, version: i16, header_version: i16, body: &[u8]) -> io::Result<Bytes> {
        self.correlation_id += 1;
        let mut frame = [&key.0.to_be_bytes()[..], &version.to_be_bytes(), &self.correlation_id.to_be_bytes()].concat();
        frame.extend((CLIENT_ID.len() as u16).to_be_bytes());
        frame.extend(CLIENT_ID.as_bytes());
        frame.extend((header_version >= 2).then_some(0));
        frame.extend(body);
        self.stream.write_all(&(frame.len() as u32).to_be_bytes()).await?;
        self.stream.write_all(&frame).await?;
        let answer = async {
            let length = self.stream.read_u32().await? as usize;
            let mut answer = vec![0; length];
            self.stream.read_exact(&mut answer).await?;
            Ok(answer.into())
        };
        timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn read<R: Request>(answer: Bytes, version: i16) -> io::Result<R::Response> {
    wire::decode_response::<R>(answer, version).map_err(io::Error::other)
}

/// Not sent: they would stop the broker or take it out of its cluster.
const LEFT_OUT: &[ApiKey] = &[ApiKey::CONTROLLED_SHUTDOWN, ApiKey::UNREGISTER_CONTROLLER];

/// What SASL's PLAIN says for the user of `compose/with-kafka`.
const PASSWORD: &[u8] = b"\0alice\0alice-secret";

/// A version that no broker has.
const FUTURE: i16 = 99;

const PATIENCE: Duration = Duration::from_secs(10);
