"""What an option may be, beyond its plain type.

No message repeats a value: a secret may stand where it does not belong.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from msgspec import Meta

from trireme_collector.strict_toml import REDACTED_WORDS, Unfit, quote

__all__ = [
    "HeaderName",
    "HeaderValue",
    "ProxyUrl",
    "SecretHeaderName",
    "Url",
    "check_header",
    "check_url",
    "names_secret",
]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_FIELD_VALUE = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")
_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[^\s/?#@\\\[\]%]+|[0-9A-Fa-f:.]+")
# Ours, or the library's: another value would make requests that nobody can read.
_OWN_HEADERS = {
    "accept-encoding": "answers are read as they come",
    "connection": "set keep_alive_seconds",
    "content-encoding": "set compression",
    "content-length": "it is worked out",
    "content-type": "set format",
    "expect": "it is not supported",
    "host": "set url",
    "idempotency-key": "it is worked out",
    "keep-alive": "set keep_alive_seconds",
    "te": "it is not supported",
    "trailer": "it is not supported",
    "transfer-encoding": "it is worked out",
    "upgrade": "it is not supported",
    "webhook-id": "set signing_secret_file",
    "webhook-signature": "set signing_secret_file",
    "webhook-timestamp": "set signing_secret_file",
}
_URL_EXPECTED = "a URL such as https://collector.example/records"


def names_secret(name: str) -> bool:
    """Whether what is called so is probably a secret."""
    lowered = name.lower().replace("-", "_")
    return any(word in lowered for word in REDACTED_WORDS)


def check_url(value: object) -> None:
    """Check a URL to send to.

    Raises:
        Unfit: It is none, or carries credentials.
    """
    text = str(value)
    if not _VISIBLE.fullmatch(text) or "\\" in text:
        raise Unfit(_URL_EXPECTED, found="a URL with a blank or a character that URLs do not have")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise Unfit(_URL_EXPECTED, found="a URL with an impossible host or port") from None
    if parts.scheme not in ("http", "https"):
        raise Unfit(_URL_EXPECTED, found="a URL that begins with neither https:// nor http://")
    if "@" in parts.netloc:
        raise Unfit(
            "a URL without user and password; set user and password_file, or token_file",
            found="a URL with credentials",
        )
    if not _HOST.fullmatch(host) or port == 0:
        raise Unfit(_URL_EXPECTED, found="a URL without a usable host and port")
    if parts.fragment or text.endswith("#"):
        raise Unfit("a URL without '#'", found="a URL with a fragment")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if names_secret(name):
            raise Unfit(
                "a URL without secrets; set token_file or header_files",
                found=f"a URL with the parameter {quote(name)}",
            )


def _check_proxy(value: object) -> None:
    if "@" in str(value):
        raise Unfit(
            "the URL of a proxy without user and password; one that asks for them cannot be used",
            found="a URL with credentials",
        )
    check_url(value)
    parts = urlsplit(str(value))
    if parts.path not in ("", "/") or parts.query:
        raise Unfit("a URL such as http://proxy.example:3128", found="a URL with a path")


def _check_header_name(value: object) -> None:
    name = str(value)
    if not _TOKEN.fullmatch(name):
        raise Unfit("a header name of letters, digits and '-'", found="another name")
    if remedy := _OWN_HEADERS.get(name.lower()):
        raise Unfit(f"another header; {remedy}", found=f"header {quote(name)}")


def _check_plain_header_name(value: object) -> None:
    _check_header_name(value)
    name = str(value)
    if names_secret(name) or name.lower() == "cookie":
        raise Unfit(
            "a header that is no secret; set token_file, or name a file in header_files",
            found=f"header {quote(name)}",
        )


def _check_header_value(value: object) -> None:
    text = str(value)
    if "\r" in text or "\n" in text:
        raise Unfit("a value on one line", found="a value with a line end")
    if not _FIELD_VALUE.fullmatch(text):
        raise Unfit(
            "printable ASCII characters, none of them a blank at either end",
            found="a value with other characters" if text else "an empty value",
        )


def check_header(name: str, value: str) -> None:
    """Check a header that may be written into a configuration.

    Raises:
        Unfit: It is a secret, one of ours, or would break the request.
    """
    _check_plain_header_name(name)
    _check_header_value(value)


Url: TypeAlias = Annotated[str, Meta(extra={"validate": check_url, "expected": _URL_EXPECTED})]
ProxyUrl: TypeAlias = Annotated[str, Meta(extra={"validate": _check_proxy})]
HeaderName: TypeAlias = Annotated[str, Meta(extra={"validate": _check_plain_header_name})]
SecretHeaderName: TypeAlias = Annotated[str, Meta(extra={"validate": _check_header_name})]
HeaderValue: TypeAlias = Annotated[str, Meta(extra={"validate": _check_header_value})]
