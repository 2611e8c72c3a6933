"""How brokers are reached: the options that collector, source and sink have in common."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

import msgspec

from trireme_collector import option_files, option_secrets
from trireme_collector.client_tls import check_client_key
from trireme_collector.strict_toml import Unfit

__all__ = ["ConnectionOptions", "TopicName", "check_topic"]

_BROKER_EXPECTED = "a broker such as kafka.example:9092"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+")


def _check_broker(value: object) -> None:
    text = str(value)
    if "@" in text:
        raise Unfit(
            "a broker without user and password; set user and password_file",
            found="a text with '@'",
        )
    if "/" in text:
        raise Unfit(_BROKER_EXPECTED, found="a URL or a path")
    if "," in text:
        raise Unfit("one broker in each text of the array", found="a text with ','")
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, "9092"
    if host.startswith("[") and host.endswith("]"):
        fits = _ADDRESS.fullmatch(host[1:-1]) is not None
    else:
        fits = _NAME.fullmatch(host) is not None
    if not fits:
        raise Unfit(
            f"{_BROKER_EXPECTED}, or [2001:db8::7]:9092", found="another text" if text else "none"
        )
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise Unfit(_BROKER_EXPECTED, found="an impossible port")


def check_topic(value: object) -> None:
    """Refuse a name that no topic can have.

    Raises:
        Unfit: It is one.
    """
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in {".", ".."}:
        raise Unfit(
            "1 to 249 letters, digits, '.', '_' and '-'",
            found="a name that Kafka does not allow" if text else "an empty name",
        )


_Broker: TypeAlias = Annotated[
    str, msgspec.Meta(extra={"validate": _check_broker, "expected": _BROKER_EXPECTED})
]
TopicName: TypeAlias = Annotated[str, msgspec.Meta(extra={"validate": check_topic})]
_UserName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,255}$(?!\n)", extra={"expected": "the name of a user"}
    ),
]
_ClientId: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9._-]{1,255}$(?!\n)",
        extra={"expected": "1 to 255 letters, digits, '.', '_' and '-'"},
    ),
]
_TLS_ONLY = ("ca_file", "client_certificate_file")


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options that all who talk to brokers have.

    Attributes:
        brokers: Brokers to ask where topics are, ``host:port`` each.
        client_id: What the brokers call this client in their logs and quotas.
        tls: Whether connections are encrypted.
        ca_file: The authorities to trust, in PEM form, instead of the system's.
        client_certificate_file: The certificate to show to the brokers, in PEM form.
        client_key_file: Its key, if that is not in the same file.
        client_key_password_file: The file with the password of the key.
        client_key_password_env: The environment variable with it, instead.
        client_key_password_credential: The systemd credential with it, instead.
        verify: Whether the certificates of the brokers are checked. Turning this off is
            announced at each start.
        sasl_mechanism: How the user is authenticated, if one is.
        user: The user.
        password_file: The file with the password; read again for each batch.
        password_env: The environment variable with it, instead.
        password_credential: The systemd credential with it, instead.
    """

    brokers: Annotated[list[_Broker], msgspec.Meta(min_length=1)]
    client_id: _ClientId = "trireme-collector"
    tls: bool = False
    ca_file: option_files.AuthorityFile = ""
    client_certificate_file: option_files.CertificateFile = ""
    client_key_file: option_files.KeyFile = ""
    client_key_password_file: option_files.ReadableFile = ""
    client_key_password_env: option_secrets.VariableName = ""
    client_key_password_credential: option_secrets.CredentialName = ""
    verify: bool = True
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    user: _UserName = ""
    password_file: option_files.ReadableFile = ""
    password_env: option_secrets.VariableName = ""
    password_credential: option_secrets.CredentialName = ""

    def __post_init__(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            ValueError: They do.
        """
        # Again, for those who build their options without a file.
        for broker in self.brokers:
            _check_broker(broker)
        option_secrets.check_sources(self, "password", "client_key_password")
        self._check_user()
        self._check_tls()

    def _check_user(self) -> None:
        password = option_secrets.is_given(self, "password")
        if self.sasl_mechanism and not (self.user and password):
            raise ValueError(
                "user, and password_file, password_env or password_credential beside sasl_mechanism"
            )
        if (self.user or password) and not self.sasl_mechanism:
            raise ValueError("sasl_mechanism beside user and password")

    def _check_tls(self) -> None:
        given = [name for name in _TLS_ONLY if getattr(self, name)]
        if given and not self.tls:
            msg = f"tls = true beside {given[0]}"
            raise ValueError(msg)
        if not self.verify and not self.tls:
            raise ValueError("tls = true beside verify")
        has_password = option_secrets.is_given(self, "client_key_password")
        check_client_key(
            self.client_certificate_file, self.client_key_file, has_password=has_password
        )
