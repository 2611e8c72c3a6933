"""The configuration of the library, and the files and secrets that stand behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.client_tls import identify_files
from trireme_collector.option_secrets import Secret

if TYPE_CHECKING:
    from trireme_collector.client_tls import FileIdentities
    from trireme_collector_kafka._connection import ConnectionOptions
    from trireme_collector_kafka._options import KafkaOptions

__all__ = [
    "PARTITIONERS",
    "connection_configuration",
    "fingerprint",
    "library_configuration",
    "producer_configuration",
    "read_password",
]

PARTITIONERS = {"murmur2": "murmur2_random", "crc32": "consistent_random", "fnv1a": "fnv1a_random"}
_NO_LIMIT = 2_147_483_647


def library_configuration(options: KafkaOptions) -> dict[str, object]:
    """Write the options of the collector as the library wants them; secrets are read.

    Raises:
        SecretError: A secret cannot be read.
    """
    return {
        **connection_configuration(options),
        **producer_configuration(),
        "message.max.bytes": options.max_message_bytes,
        "compression.type": options.compression,
        "partitioner": PARTITIONERS[options.partitioner],
    }


def producer_configuration() -> dict[str, object]:
    """Give what every producer here has: all replicas, once, and no giving up."""
    return {
        "acks": "all",
        "enable.idempotence": True,
        # A message that the library gave up on its own might have been written: sent again, it
        # would be there twice. So it never gives up; a batch that takes long waits here.
        "message.timeout.ms": 0,
        "queue.buffering.max.messages": 0,  # a batch is the limit, and it is not exceeded
        "queue.buffering.max.kbytes": _NO_LIMIT,
        "topic.metadata.propagation.max.ms": 5_000,  # how long a missing topic is waited for
    }


def connection_configuration(options: ConnectionOptions) -> dict[str, object]:
    """Write how brokers are reached as the library wants it; secrets are read.

    Raises:
        SecretError: A secret cannot be read.
    """
    return {
        "bootstrap.servers": ",".join(options.brokers),
        "client.id": options.client_id,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "security.protocol": _protocol(options),
        **(_tls(options) if options.tls else {}),
        **(_sasl(options) if options.sasl_mechanism else {}),
    }


def read_password(options: ConnectionOptions) -> str:
    """Read the password of the user; empty without one.

    Raises:
        SecretError: It cannot be read.
    """
    secret = Secret.of_options(options, "password")
    return "" if secret is None else _text(secret)


def fingerprint(options: ConnectionOptions) -> FileIdentities:
    """Take down which certificate files the options name now."""
    return identify_files(
        options.ca_file,
        options.client_certificate_file,
        options.client_key_file,
        options.client_key_password_file,
    )


def _protocol(options: ConnectionOptions) -> str:
    base = "sasl_" if options.sasl_mechanism else ""
    return f"{base}ssl" if options.tls else f"{base}plaintext"


def _tls(options: ConnectionOptions) -> dict[str, object]:
    found: dict[str, object] = {
        "ssl.ca.location": options.ca_file or "probe",
        "enable.ssl.certificate.verification": options.verify,
        "ssl.endpoint.identification.algorithm": "https" if options.verify else "none",
    }
    if options.client_certificate_file:
        found["ssl.certificate.location"] = options.client_certificate_file
        found["ssl.key.location"] = options.client_key_file or options.client_certificate_file
        secret = Secret.of_options(options, "client_key_password")
        if secret is not None:
            found["ssl.key.password"] = _text(secret)
    return found


def _sasl(options: ConnectionOptions) -> dict[str, object]:
    return {
        "sasl.mechanism": options.sasl_mechanism,
        "sasl.username": options.user,
        "sasl.password": read_password(options),
    }


def _text(secret: Secret) -> str:
    try:
        return secret.line().decode()
    except UnicodeDecodeError:
        # Not "from": the original would carry the bytes.
        raise secret.error("it is not UTF-8") from None
