//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources: the settings of topics, brokers and
//! groups.
//!
//! Rules this file keeps:
//! - each resource of a request is altered wholly or not at all, whatever becomes of the others;
//! - a broker tells of itself alone, as Kafka's do; what is set for all brokers is told by any.

use std::collections::BTreeSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ListConfigResourcesRequest,
        ListConfigResourcesResponse,
        alter_configs_response::AlterConfigsResourceResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym},
        incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse,
        list_config_resources_response::ConfigResource,
    },
    protocol::StrBytes,
};

use super::{Call, Serve, distinct, topics::Refusal};
use crate::embedded::{
    configs::{self, Change, Definition, TopicConfig, Values},
    reply::{Body, Unanswered},
};

impl Serve for DescribeConfigsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.resources.iter().any(|wanted| wanted.resource_type == TOPIC && wanted.resource_name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let (synonyms, documentation) = (self.include_synonyms, self.include_documentation && call.version >= 3);
        let named = |wanted: &DescribeConfigsResource| (wanted.resource_type, wanted.resource_name.clone());
        let results = distinct(self.resources, named).map(|wanted| {
            let described = call.described_settings(&wanted);
            let result = DescribeConfigsResult::default()
                .with_error_message(None)
                .with_resource_type(wanted.resource_type)
                .with_resource_name(wanted.resource_name);
            match described {
                Ok(settings) => {
                    let keys = wanted.configuration_keys.filter(|keys| !keys.is_empty());
                    let asked =
                        |name: &str| keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key.as_str() == name));
                    let settings = settings.into_iter().filter(|setting| asked(&setting.name));
                    result.with_configs(settings.map(|it| it.tell(call.version, synonyms, documentation)).collect())
                }
                Err(Refusal { code, message }) => result.with_error_code(code).with_error_message(message),
            }
        });
        let response = DescribeConfigsResponse::default().with_results(results.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

/// A setting of one resource, as it is told.
struct Described {
    name: String,
    value: String,
    source: i8,
    read_only: bool,
    kind: i8,
    doc: &'static str,
    /// Whatever else could have decided the value, and this first.
    synonyms: Vec<(String, String, i8)>,
}

impl Described {
    fn tell(self, version: i16, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
        let text = StrBytes::from_string;
        let result = DescribeConfigsResourceResult::default()
            .with_name(text(self.name))
            .with_value(Some(text(self.value)))
            .with_read_only(self.read_only)
            .with_config_source(self.source);
        let told = self.synonyms.into_iter().filter(|_| synonyms).map(|(name, value, source)| {
            DescribeConfigsSynonym::default().with_name(text(name)).with_value(Some(text(value))).with_source(source)
        });
        let result = result.with_synonyms(told.collect());
        if version < 3 {
            return result;
        }
        let doc = documentation.then(|| StrBytes::from_static_str(self.doc));
        result.with_config_type(self.kind).with_documentation(doc)
    }
}

/// A setting of a topic: what it is, and who says so.
pub(super) struct Setting {
    pub(super) definition: &'static Definition,
    pub(super) value: String,
    pub(super) source: i8,
}

impl Call {
    /// All settings of a topic.
    pub(super) fn settings_of(&self, config: &TopicConfig) -> Vec<Setting> {
        let defaults = self.shared.topics.defaults();
        let one = |definition: &'static Definition| {
            let (value, source) = match (config.own.get(definition.name), defaults.get(definition.name)) {
                (Some(own), _) => (own.clone(), FROM_TOPIC),
                (None, Some(default)) => (default.clone(), self.source_of_default(definition, default)),
                (None, None) => (definition.default.to_owned(), FROM_DEFAULT),
            };
            Setting { definition, value, source }
        };
        configs::TOPIC.iter().map(one).collect()
    }

    /// Who says what topics are by default: an altered setting of all brokers, or how the cluster was built.
    fn source_of_default(&self, definition: &Definition, value: &str) -> i8 {
        if self.shared.configs_of(BROKER, "").contains_key(definition.broker_name) {
            FROM_ALL_BROKERS
        } else if value == definition.default {
            FROM_DEFAULT
        } else {
            FROM_START
        }
    }

    fn described_settings(&self, wanted: &DescribeConfigsResource) -> Result<Vec<Described>, Refusal> {
        let name = wanted.resource_name.as_str();
        match wanted.resource_type {
            TOPIC => {
                if let Some(code) = self.forced(name) {
                    return Err(Refusal { code, message: None });
                }
                let topic = self.shared.topics.by_name(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
                let settings = self.settings_of(&topic.configs.current());
                Ok(settings.into_iter().map(|setting| self.described_of_topic(setting)).collect())
            }
            BROKER if name.is_empty() => {
                let known = self.shared.configs_of(BROKER, "").into_iter();
                Ok(known.filter_map(|(name, value)| altered(&name, value, FROM_ALL_BROKERS)).collect())
            }
            BROKER if name == self.broker.to_string() => Ok(self.described_of_broker(name)),
            BROKER => {
                let why = format!("broker {} was asked for the settings of broker {name}", self.broker);
                Err(Refusal::new(ResponseError::InvalidRequest, why))
            }
            GROUP => {
                let own = self.shared.configs_of(GROUP, name);
                let one = |definition: &'static Definition| match own.get(definition.name) {
                    Some(value) => described(definition, definition.name, value.clone(), FROM_GROUP),
                    None => described(definition, definition.name, definition.default.to_owned(), FROM_DEFAULT),
                };
                Ok(configs::GROUP.iter().map(one).collect())
            }
            other => Err(Refusal::new(ResponseError::InvalidRequest, format!("resources of type {other} have none"))),
        }
    }

    fn described_of_topic(&self, setting: Setting) -> Described {
        let Setting { definition, value, source } = setting;
        let broker_name = if definition.broker_name.is_empty() { definition.name } else { definition.broker_name };
        let mut result = described(definition, definition.name, value, source);
        let defaults = self.shared.topics.defaults();
        if let Some(default) = defaults.get(definition.name).filter(|_| source == FROM_TOPIC) {
            let source = self.source_of_default(definition, default);
            if source != FROM_DEFAULT {
                result.synonyms.push((broker_name.to_owned(), default.clone(), source));
            }
        }
        if source != FROM_DEFAULT {
            result.synonyms.push((broker_name.to_owned(), definition.default.to_owned(), FROM_DEFAULT));
        }
        result
    }

    fn described_of_broker(&self, id: &str) -> Vec<Described> {
        let settings = &self.shared.settings;
        let fixed = |(name, value): (&str, String)| Described {
            name: name.to_owned(),
            synonyms: vec![(name.to_owned(), value.clone(), FROM_START)],
            value,
            source: FROM_START,
            read_only: true,
            kind: 2,
            doc: "Fixed when the cluster was built.",
        };
        let start = [
            ("auto.create.topics.enable", settings.auto_create_topics.is_some().to_string()),
            ("broker.id", id.to_owned()),
            ("default.replication.factor", settings.replication_factor.to_string()),
            ("fetch.max.bytes", settings.max_fetch_bytes.to_string()),
            ("log.dirs", "/memory".to_owned()),
            ("node.id", id.to_owned()),
            ("num.partitions", settings.default_partitions.to_string()),
            ("process.roles", "broker,controller".to_owned()),
            ("socket.request.max.bytes", settings.max_request_bytes.to_string()),
        ];
        let (own, all) = (self.shared.configs_of(BROKER, id), self.shared.configs_of(BROKER, ""));
        let defaults = self.shared.topics.defaults();
        let of_topics = configs::TOPIC.iter().filter(|definition| !definition.broker_name.is_empty());
        let names = of_topics.map(|it| (it, it.broker_name)).chain(configs::BROKER.iter().map(|it| (it, it.name)));
        let known = names.map(|(definition, name)| {
            let start = defaults.get(definition.name).filter(|_| !all.contains_key(name));
            let (value, source) = match (own.get(name), all.get(name), start) {
                (Some(own), ..) => (own.clone(), FROM_BROKER),
                (None, Some(all), _) => (all.clone(), FROM_ALL_BROKERS),
                (None, None, Some(start)) if start != definition.default => (start.clone(), FROM_START),
                _ => (definition.default.to_owned(), FROM_DEFAULT),
            };
            described(definition, name, value, source)
        });
        start.into_iter().map(fixed).chain(known).collect()
    }

    /// Makes these changes to a resource; with `replace` everything else that was set goes.
    fn alter(
        &self,
        kind: i8,
        name: &str,
        changes: Vec<(String, Change)>,
        replace: bool,
        dry: bool,
    ) -> Result<(), Refusal> {
        let distinct: BTreeSet<&String> = changes.iter().map(|(name, _)| name).collect();
        if distinct.len() != changes.len() {
            return Err(Refusal::new(ResponseError::InvalidRequest, "Error due to duplicate config keys"));
        }
        match kind {
            TOPIC => self.alter_topic(name, changes, replace, dry),
            BROKER => self.alter_broker(name, changes, replace, dry),
            GROUP if name.is_empty() => Err(ResponseError::InvalidRequest.into()),
            GROUP => {
                let old = if replace { Values::new() } else { self.shared.configs_of(GROUP, name) };
                let find = |name: &str| configs::find(configs::GROUP, name);
                let new = configs::changed(find, &old, changes, |definition| definition.default.to_owned())?;
                self.shared.set_configs(GROUP, name, new, dry)
            }
            other => Err(Refusal::new(ResponseError::InvalidRequest, format!("resources of type {other} have none"))),
        }
    }

    fn alter_topic(&self, name: &str, changes: Vec<(String, Change)>, replace: bool, dry: bool) -> Result<(), Refusal> {
        if let Some(code) = self.forced(name) {
            return Err(Refusal { code, message: None });
        }
        let topic = self.shared.topics.by_name(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let old = if replace { Values::new() } else { topic.configs.current().own.clone() };
        let defaults = self.shared.topics.defaults();
        let default = |it: &'static Definition| defaults.get(it.name).map_or(it.default, String::as_str).to_owned();
        let new = configs::changed(|name| configs::find(configs::TOPIC, name), &old, changes, default)?;
        let config = self.shared.topics.config(new)?;
        if !dry {
            topic.configs.replace(config);
        }
        Ok(())
    }

    fn alter_broker(
        &self,
        name: &str,
        changes: Vec<(String, Change)>,
        replace: bool,
        dry: bool,
    ) -> Result<(), Refusal> {
        let known = name.is_empty() || self.shared.nodes().iter().any(|node| node.id.to_string() == name);
        if !known {
            return Err(Refusal::new(ResponseError::InvalidRequest, format!("there is no broker {name}")));
        }
        let old = if replace { Values::new() } else { self.shared.configs_of(BROKER, name) };
        let default = |definition: &'static Definition| definition.default.to_owned();
        let new = configs::changed(configs::find_brokers, &old, changes, default)?;
        if name.is_empty() && !dry {
            let mut defaults = self.shared.settings.topic_defaults();
            let known = new.iter().filter_map(|(name, value)| Some((configs::find_topics(name)?, value)));
            defaults.extend(known.map(|(definition, value)| (definition.name.to_owned(), value.clone())));
            self.shared.topics.set_defaults(defaults)?;
        }
        self.shared.set_configs(BROKER, name, new, dry)
    }
}

fn described(definition: &'static Definition, name: &str, value: String, source: i8) -> Described {
    Described {
        name: name.to_owned(),
        synonyms: vec![(
            if source == FROM_DEFAULT { default_name(definition, name) } else { name.to_owned() },
            value.clone(),
            source,
        )],
        value,
        source,
        read_only: false,
        kind: definition.type_code(),
        doc: definition.doc,
    }
}

/// Defaults go by the brokers' name of a setting.
fn default_name(definition: &Definition, name: &str) -> String {
    if definition.broker_name.is_empty() { name.to_owned() } else { definition.broker_name.to_owned() }
}

fn altered(name: &str, value: String, source: i8) -> Option<Described> {
    Some(described(configs::find_brokers(name)?, name, value, source))
}

impl Serve for AlterConfigsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.resources.iter().any(|wanted| wanted.resource_type == TOPIC && wanted.resource_name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let responses = self.resources.into_iter().map(|wanted| {
            let change = |(name, value): (StrBytes, Option<StrBytes>)| match value {
                Some(value) => Ok((name.to_string(), Change::Set(value.to_string()))),
                None => Err(no_value(&name)),
            };
            let changes = wanted.configs.into_iter().map(|config| change((config.name, config.value)));
            let done = changes.collect::<Result<Vec<_>, _>>().and_then(|changes| {
                call.alter(wanted.resource_type, &wanted.resource_name, changes, true, self.validate_only)
            });
            let Refusal { code, message } = done.err().unwrap_or(DONE);
            AlterConfigsResourceResponse::default()
                .with_resource_type(wanted.resource_type)
                .with_resource_name(wanted.resource_name)
                .with_error_code(code)
                .with_error_message(message)
        });
        let response = AlterConfigsResponse::default().with_responses(responses.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

impl Serve for IncrementalAlterConfigsRequest {
    fn names(&self, _: &Call, topic: &str) -> bool {
        self.resources.iter().any(|wanted| wanted.resource_type == TOPIC && wanted.resource_name.as_str() == topic)
    }

    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        let responses = self.resources.into_iter().map(|wanted| {
            let changes = wanted.configs.into_iter().map(|config| {
                let name = config.name.to_string();
                let value = config.value.map(|value| value.to_string());
                match (config.config_operation, value) {
                    (1, _) => Ok((name, Change::Delete)),
                    (0, Some(value)) => Ok((name, Change::Set(value))),
                    (2, Some(value)) => Ok((name, Change::Append(value))),
                    (3, Some(value)) => Ok((name, Change::Subtract(value))),
                    (0 | 2 | 3, None) => Err(no_value(&name)),
                    (other, _) => Err(Refusal::new(ResponseError::InvalidRequest, format!("no operation {other}"))),
                }
            });
            let done = changes.collect::<Result<Vec<_>, _>>().and_then(|changes| {
                call.alter(wanted.resource_type, &wanted.resource_name, changes, false, self.validate_only)
            });
            let Refusal { code, message } = done.err().unwrap_or(DONE);
            IncrementalResponse::default()
                .with_resource_type(wanted.resource_type)
                .with_resource_name(wanted.resource_name)
                .with_error_code(code)
                .with_error_message(message)
        });
        let response = IncrementalAlterConfigsResponse::default().with_responses(responses.collect());
        call.encode(&response.with_throttle_time_ms(call.throttle_ms()))
    }
}

fn no_value(name: &str) -> Refusal {
    Refusal::new(ResponseError::InvalidRequest, format!("Null value not supported for {name}"))
}

const DONE: Refusal = Refusal { code: 0, message: None };

impl Serve for ListConfigResourcesRequest {
    async fn serve(self, call: &Call) -> Result<Option<Body>, Unanswered> {
        // Version 0 asks for the settings of client metrics alone, of which there are none (KIP-714, KIP-1142).
        let wanted =
            |kind: i8| call.version >= 1 && (self.resource_types.is_empty() || self.resource_types.contains(&kind));
        let topics = call.shared.topics.all().into_iter().map(|topic| (TOPIC, topic.name.clone()));
        let brokers = call.shared.nodes().into_iter().map(|node| (BROKER, node.id.to_string()));
        let groups = call.shared.configured(GROUP).into_iter().map(|name| (GROUP, name));
        let known = topics.chain(brokers).chain(groups).filter(|(kind, _)| wanted(*kind));
        let resources = known.map(|(kind, name)| {
            ConfigResource::default().with_resource_name(StrBytes::from_string(name)).with_resource_type(kind)
        });
        let response = ListConfigResourcesResponse::default().with_config_resources(resources.collect());
        call.encode(&response.with_error_code(call.forced_code()).with_throttle_time_ms(call.throttle_ms()))
    }
}

/// Kinds of resources, by Kafka's numbers.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
pub(super) const GROUP: i8 = 32;

/// Who says what a setting is, by Kafka's numbers.
const FROM_TOPIC: i8 = 1;
const FROM_BROKER: i8 = 2;
const FROM_ALL_BROKERS: i8 = 3;
const FROM_START: i8 = 4;
const FROM_DEFAULT: i8 = 5;
const FROM_GROUP: i8 = 8;
