"""URLs as Go's ``net/url`` takes them apart and puts them together again.

Everything is done on bytes that stand in strings of latin-1, so that each character is a byte.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct, structs

from trireme_datapath.monitor._go_text import quoted

__all__ = ["GoURL", "URLError", "parse_url", "url_form", "url_text"]


class URLError(ValueError):
    """A URL that Go does not take; the text is Go's."""


class GoURL(Struct, frozen=True, kw_only=True):
    """The parts of a URL.

    Attributes:
        scheme: Before the first colon.
        opaque: What follows the scheme, if it is no path.
        user: User and password, escaped.
        host: Host and port.
        path: The path, unescaped.
        raw_path: The path as it came, if it is not how one would escape it.
        omit_host: Whether there is a scheme, but no host, not even an empty one.
        force_query: Whether there is a question mark with nothing behind it.
        raw_query: What is behind the question mark.
        fragment: What is behind the hash, unescaped.
        raw_fragment: The same as it came, if it is not how one would escape it.
    """

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    host: str = ""
    path: str = ""
    raw_path: str = ""
    omit_host: bool = False
    force_query: bool = False
    raw_query: str = ""
    fragment: str = ""
    raw_fragment: str = ""


_UNRESERVED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
# What each part of a URL may hold without escaping it.
_IN_HOST: Final = _UNRESERVED | set("!$&'()*+,;=:[]<>\"")
_IN_PATH: Final = _UNRESERVED | set("$&+,/:;=@")
_IN_USER: Final = _UNRESERVED | set("$&+,;=")
_IN_FRAGMENT: Final = _UNRESERVED | set("$&+,/:;=?@!()*")
_IN_USERINFO: Final = _UNRESERVED | set(":!$&'()*+,;=%@")
# What may stand in a path or fragment that was escaped in another way than ours.
_IN_ENCODED: Final = set("!$&'()*+,;=:@[]%")

_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile("([A-Za-z][A-Za-z0-9+.-]*):")
_PORT: Final = re.compile("(?::[0-9]*)?")
_ESCAPE: Final = re.compile("%([0-9A-Fa-f]{2})")


def parse_url(raw: bytes) -> GoURL:
    """Take a URL apart.

    Raises:
        URLError: It is none.
    """
    text = raw.decode("latin-1")
    rest, _, raw_fragment = text.partition("#")
    try:
        url = _parse(rest)
    except URLError as error:
        raise URLError(f"parse {_quoted(rest)}: {error}") from error
    if not raw_fragment:
        return url
    try:
        fragment = _unescape(raw_fragment)
    except URLError as error:
        raise URLError(f"parse {_quoted(text)}: {error}") from error
    return _with(
        url,
        fragment=_text(fragment),
        raw_fragment="" if _escape(fragment, _IN_FRAGMENT) == raw_fragment else _text(raw_fragment),
    )


def url_text(url: GoURL) -> str:
    """Put a URL together."""
    text = f"{url.scheme}:" if url.scheme else ""
    if url.opaque:
        text += url.opaque
    else:
        text += _authority_text(url)
        path = _escaped(url.path, url.raw_path, _IN_PATH)
        if path and not path.startswith("/") and url.host:
            text += "/"
        if not text and ":" in path.partition("/")[0]:
            text += "./"  # or the segment would be read as a scheme
        text += path
    if url.force_query or url.raw_query:
        text += f"?{url.raw_query}"
    if url.fragment:
        text += f"#{_escaped(url.fragment, url.raw_fragment, _IN_FRAGMENT)}"
    return _printable(text)


def url_form(url: GoURL, *, omit_host: bool) -> dict[str, object]:
    """Give the JSON form; user and password stay out of it."""
    form: dict[str, object] = {
        "Scheme": url.scheme,
        "Opaque": url.opaque,
        "User": None if url.user is None else {},
        "Host": url.host,
        "Path": url.path,
        "RawPath": url.raw_path,
        "OmitHost": url.omit_host,
        "ForceQuery": url.force_query,
        "RawQuery": url.raw_query,
        "Fragment": url.fragment,
        "RawFragment": url.raw_fragment,
    }
    if not omit_host:
        del form["OmitHost"]
    return form


def _parse(text: str) -> GoURL:
    if _CONTROL.search(text):
        raise URLError("net/url: invalid control character in URL")
    if text == "*":
        return GoURL(path="*")
    scheme, rest = _scheme(text)
    force_query = rest.endswith("?") and rest.count("?") == 1
    rest, _, raw_query = rest.partition("?")
    url = GoURL(scheme=scheme.lower(), force_query=force_query, raw_query=_text(raw_query))
    if not rest.startswith("/"):
        if scheme:
            return _with(url, opaque=_text(rest))
        if ":" in rest.partition("/")[0]:
            raise URLError("first path segment in URL cannot contain colon")
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, rest = rest[2:].partition("/")
        user, host = _authority(authority)
        url = _with(url, user=user, host=_text(host))
        rest = slash + rest
    elif scheme and rest.startswith("/"):
        url = _with(url, omit_host=True)
    path = _unescape(rest)
    raw_path = "" if _escape(path, _IN_PATH) == rest else rest
    return _with(url, path=_text(path), raw_path=_text(raw_path))


def _scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise URLError("missing protocol scheme")
    found = _SCHEME.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def _authority(text: str) -> tuple[str | None, str]:
    userinfo, at, host = text.rpartition("@")
    host = _host(host)
    if not at:
        return None, host
    if not _IN_USERINFO.issuperset(userinfo):
        raise URLError("net/url: invalid userinfo")
    user, colon, password = map(_unescape, userinfo.partition(":"))
    if not user and not password:
        return "", host
    return _escape(user, _IN_USER) + colon + _escape(password, _IN_USER), host


def _host(text: str) -> str:
    if text.startswith("["):
        end = text.rfind("]")
        if end < 0:
            raise URLError("missing ']' in host")
        _check_port(text[end + 1 :])
        zone = text.find("%25", 0, end)
        if zone >= 0:
            # A zone may hold what a host may not, for it was escaped.
            return _unescape_host(text[:zone]) + _unescape(text[zone:end]) + text[end:]
    elif ":" in text:
        _check_port(text[text.rindex(":") :])
    return _unescape_host(text)


def _check_port(text: str) -> None:
    if not _PORT.fullmatch(text):
        raise URLError(f"invalid port {_quoted(text)} after host")


def _unescape_host(text: str) -> str:
    for escape in _ESCAPE.finditer(text):
        if int(escape[1], 16) < 0x80 and escape[0] != "%25":
            raise URLError(f"invalid URL escape {_quoted(escape[0])}")
    for character in _ESCAPE.sub("", text):
        if character < "\x80" and character != "%" and character not in _IN_HOST:
            raise URLError(f"invalid character {_quoted(character)} in host name")
    return _unescape(text)


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    at = text.find("%")
    while at >= 0:
        if not _ESCAPE.match(text, at):
            raise URLError(f"invalid URL escape {_quoted(text[at : at + 3])}")
        at = text.find("%", at + 3)
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)


def _escape(text: str, plain: frozenset[str]) -> str:
    if plain.issuperset(text):
        return text
    return "".join(c if c in plain else f"%{ord(c):02X}" for c in text)


def _escaped(text: str, raw: str, plain: frozenset[str]) -> str:
    """Escape a part, in the way that it came if that is a valid one."""
    if raw and (plain | _IN_ENCODED).issuperset(raw):
        return raw
    if text == "*" and plain is _IN_PATH:
        return "*"
    return _text(_escape(_bytes(text), plain))


def _authority_text(url: GoURL) -> str:
    if not (url.scheme or url.host or url.user is not None):
        return ""
    if url.omit_host and not url.host and url.user is None:
        return ""
    text = "//" if url.host or url.path or url.user is not None else ""
    if url.user is not None:
        text += f"{url.user}@"
    return text + _text(_escape(_bytes(url.host), _IN_HOST))


def _quoted(raw: str) -> str:
    return quoted(_text(raw))


def _text(raw: str) -> str:
    return raw if raw.isascii() else raw.encode("latin-1").decode("utf-8", "surrogateescape")


def _printable(text: str) -> str:
    return text if text.isascii() else _bytes(text).encode("latin-1").decode("utf-8", "replace")


def _bytes(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _with(url: GoURL, **changes: str | bool | None) -> GoURL:
    return structs.replace(url, **changes)
