"""The options that every collector has which sends over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from trireme_collector import option_files, option_secrets
from trireme_collector.client_tls import check_client_key
from trireme_collector.http_client import _checks

__all__ = ["HttpTarget"]

_Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=300)]
_UserName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f:]{1,255}$(?!\n)", extra={"expected": "a user name without ':'"}
    ),
]
_ServerName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9.:_-]{1,253}$(?!\n)",
        extra={"expected": "the name of a host, or an address"},
    ),
]
_RetryStatus: TypeAlias = Annotated[int, msgspec.Meta(ge=400, le=499)]

_TLS_ONLY = ("ca_file", "client_certificate_file", "client_key_file", "server_name", "http2")
# They mean something else than "refused": obeying the option would hide or break that.
_NEVER_RETRIED = frozenset({400, 413, 422})


class HttpTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests go, as whom, and how long that may take.

    Attributes:
        url: Where records go. No user, password or other secret may stand in it.
        http2: Whether HTTP/2 is offered to the server; HTTP/1.1 is spoken if it refuses.
        headers: Headers to add. Secrets are refused here.
        header_files: Headers to add whose values are secrets: the path of a file for each.
        token_file: The file with the bearer token; read again for each request.
        token_env: The environment variable with it, instead.
        token_credential: The systemd credential with it, instead.
        user: The user of basic authentication.
        password_file: The file with its password; read again for each request.
        password_env: The environment variable with it, instead.
        password_credential: The systemd credential with it, instead.
        ca_file: The authorities to trust, in PEM form, instead of the system's.
        client_certificate_file: The certificate to show to the server, in PEM form.
        client_key_file: Its key, if that is not in the same file.
        client_key_password_file: The file with the password of the key.
        client_key_password_env: The environment variable with it, instead.
        client_key_password_credential: The systemd credential with it, instead.
        server_name: The name in the server's certificate, if it is not the host of the URL.
        tls_minimum: The oldest version of TLS to speak.
        verify: Whether the server's certificate is checked. Turning this off is announced at
            each start.
        proxy: The URL of a proxy, without credentials.
        proxy_from_environment: Whether the usual variables (``https_proxy``, ...) name the proxy.
        retry_statuses: Statuses from 400 to 499 to take for a passing trouble, such as 404 while
            the receiver is being replaced.
        connect_timeout_seconds: How long connecting may take.
        timeout_seconds: How long a request may take, from connecting to the end of the answer.
        keep_alive_seconds: How long an idle connection stays open; 0 makes one a request.
    """

    url: _checks.Url
    http2: bool = False
    headers: dict[_checks.HeaderName, _checks.HeaderValue] = {}
    header_files: dict[_checks.SecretHeaderName, option_files.ReadableFile] = {}
    token_file: option_files.ReadableFile = ""
    token_env: option_secrets.VariableName = ""
    token_credential: option_secrets.CredentialName = ""
    user: _UserName = ""
    password_file: option_files.ReadableFile = ""
    password_env: option_secrets.VariableName = ""
    password_credential: option_secrets.CredentialName = ""
    ca_file: option_files.AuthorityFile = ""
    client_certificate_file: option_files.CertificateFile = ""
    client_key_file: option_files.KeyFile = ""
    client_key_password_file: option_files.ReadableFile = ""
    client_key_password_env: option_secrets.VariableName = ""
    client_key_password_credential: option_secrets.CredentialName = ""
    server_name: _ServerName = ""
    tls_minimum: Literal["1.2", "1.3"] = "1.2"
    verify: bool = True
    proxy: _checks.ProxyUrl = ""
    proxy_from_environment: bool = False
    retry_statuses: list[_RetryStatus] = []
    connect_timeout_seconds: _Seconds = 5.0
    timeout_seconds: _Seconds = 30.0
    keep_alive_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 55.0

    def __post_init__(self) -> None:
        """Refuse options that exclude each other, and those that could forge a request.

        Raises:
            ValueError: They do.
        """
        # Again, for those who build their options without a file.
        _checks.check_url(self.url)
        for name, value in self.headers.items():
            _checks.check_header(name, value)
        option_secrets.check_sources(self, "token", "password", "client_key_password")
        self._check_credentials()
        self._check_tls()
        if self.proxy and self.proxy_from_environment:
            raise ValueError("proxy or proxy_from_environment, not both")
        if wrong := _NEVER_RETRIED.intersection(self.retry_statuses):
            msg = f"retry_statuses without {min(wrong)}: the batch is divided to find the reason"
            raise ValueError(msg)

    def _check_credentials(self) -> None:
        token = option_secrets.is_given(self, "token")
        password = option_secrets.is_given(self, "password")
        if self.user and not password:
            raise ValueError("password_file, password_env or password_credential beside user")
        if password and not self.user:
            raise ValueError("user beside the password")
        names = [name.lower() for name in (*self.headers, *self.header_files)]
        if len(names) != len(set(names)):
            raise ValueError("each header once in headers and header_files")
        if len([1 for given in (token, password, "authorization" in names) if given]) > 1:
            raise ValueError("one way to authenticate: a token, a user, or a header")

    def _check_tls(self) -> None:
        has_password = option_secrets.is_given(self, "client_key_password")
        check_client_key(
            self.client_certificate_file, self.client_key_file, has_password=has_password
        )
        given = [name for name in _TLS_ONLY if getattr(self, name)]
        if urlsplit(self.url).scheme != "https" and given:
            msg = f"an https:// URL: {given[0]} means nothing without TLS"
            raise ValueError(msg)
