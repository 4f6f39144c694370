"""Both Python clients over TLS and SASL: who is let in, and who is not.

Usage: security.py BOOTSTRAP [WORD...], see stories.py. MILENA_CA_FILE is the authority, alice may come in.
"""

import os

from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient
from kafka import KafkaProducer
from kafka.errors import KafkaError as PythonError

from stories import equal, run, until

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
CA = os.environ["MILENA_CA_FILE"]


def librdkafka_writes_by_every_mechanism(bootstrap, name):
    for mechanism in MECHANISMS:
        producer = Producer(librdkafka(bootstrap, mechanism, "alice-secret"))
        errors = []
        producer.produce(name, mechanism, on_delivery=lambda error, message: errors.append(error))
        equal((producer.flush(20), errors), (0, [None]), mechanism)


def librdkafka_with_a_wrong_password_is_told_so(bootstrap, name):
    for mechanism in MECHANISMS:
        told = []
        settings = librdkafka(bootstrap, mechanism, "wrong")
        admin = AdminClient({**settings, "error_cb": lambda error: told.append(error.code())})
        until(mechanism, lambda: admin.poll(0.1) or KafkaError._AUTHENTICATION in told)


def kafka_python_writes_by_every_mechanism(bootstrap, name):
    for mechanism in MECHANISMS:
        producer = KafkaProducer(**kafka_python(bootstrap, mechanism, "alice-secret"))
        equal(producer.send(name, mechanism.encode()).get(20).topic, name)
        producer.close()


def kafka_python_with_a_wrong_password_fails(bootstrap, name):
    for mechanism in MECHANISMS:
        try:
            KafkaProducer(**kafka_python(bootstrap, mechanism, "wrong"), bootstrap_timeout_ms=3000)
        except PythonError:
            continue
        raise AssertionError(f"{mechanism}: a wrong password was good enough")


def librdkafka(bootstrap, mechanism, password):
    return {"bootstrap.servers": bootstrap, "security.protocol": "SASL_SSL", "ssl.ca.location": CA,
            "sasl.mechanism": mechanism, "sasl.username": "alice", "sasl.password": password, "log_level": 0}


def kafka_python(bootstrap, mechanism, password):
    return {"bootstrap_servers": bootstrap, "security_protocol": "SASL_SSL", "ssl_cafile": CA,
            "sasl_mechanism": mechanism, "sasl_plain_username": "alice", "sasl_plain_password": password}


run("security", [
    librdkafka_writes_by_every_mechanism,
    librdkafka_with_a_wrong_password_is_told_so,
    kafka_python_writes_by_every_mechanism,
    kafka_python_with_a_wrong_password_fails,
])
