"""What is wrong in a configuration is told with its place, what was found and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme

from trireme_collector import ConfigError, PluginError, Registry
from trireme_collector.config import Configuration, load_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HTTP = 'type = "http"\nurl = "https://h.example/r"\n'
SECRET = "hunter2"

# The table of a collector, and what the message says; the place is within [collectors.a].
CASES: dict[str, tuple[str, str]] = {
    "file: unknown key": (
        'type = "file"\npath = "x"\ncompress = "gzip"',
        '4:1: collectors.a.compress: found unknown key "compress"',
    ),
    "file: wrong type": (
        'type = "file"\npath = 5',
        "3:8: collectors.a.path: found integer 5, expected the path of a file",
    ),
    "file: a path that no file can have": (
        'type = "file"\npath = "/tmp/a\\u0000b"',
        '3:8: collectors.a.path: found string "/tmp/a\\u0000b", expected the path of a file',
    ),
    "file: a line end in the path": (
        'type = "file"\npath = "/tmp/a\\n"',
        "3:8: collectors.a.path: found string",
    ),
    "file: nothing to compress": (
        'type = "file"\npath = "x"\ncompression = "gzip"',
        (
            "1:1: collectors.a: found what does not go together, expected rotate_bytes,"
            " rotate_seconds or rotate_records beside compression"
        ),
    ),
    "syslog: a line end in the header": (
        'type = "syslog"\nhostname = "h\\n"',
        '3:12: collectors.a.hostname: found string "h\\n", expected at most 255 printable',
    ),
    "syslog: a line end in the application": (
        'type = "syslog"\napp_name = "a\\n"',
        "3:12: collectors.a.app_name: found string",
    ),
    "syslog: a URL": (
        'type = "syslog"\ntransport = "tcp"\nhost = "tcp://h.example"',
        "4:8: collectors.a.host: found a URL or a path, expected the name or the address",
    ),
    "syslog: a host with a port": (
        'type = "syslog"\ntransport = "tcp"\nhost = "h.example:514"',
        (
            "4:8: collectors.a.host: found a text with ':', expected the name or the address of a"
            " host; set port beside it"
        ),
    ),
    "syslog: credentials": (
        f'type = "syslog"\ntransport = "tcp"\nhost = "user:{SECRET}@h.example"',
        "4:8: collectors.a.host: found a text with '@'",
    ),
    "syslog: line ends in the host": (
        'type = "syslog"\ntransport = "tcp"\nhost = "h\\r\\nx"',
        "4:8: collectors.a.host: found another text",
    ),
    "syslog: a socket that cannot be": (
        'type = "syslog"\naddress = "/dev/\\u0000log"',
        "3:11: collectors.a.address: found string",
    ),
    "syslog: authorities that are not there": (
        'type = "syslog"\ntransport = "tls"\nca_file = "none.pem"',
        (
            "4:11: collectors.a.ca_file: found the path of a file that does not exist, expected"
            " a file that can be read; check the path"
        ),
    ),
    "syslog: authorities that are none": (
        'type = "syslog"\ntransport = "tls"\nca_file = "bad.pem"',
        "4:11: collectors.a.ca_file: found a file without a usable certificate",
    ),
    "syslog: a certificate that is none": (
        'type = "syslog"\ntransport = "tls"\nclient_certificate_file = "key.pem"',
        (
            "4:27: collectors.a.client_certificate_file: found a file without a certificate,"
            " expected a file with a certificate in PEM form"
        ),
    ),
    "syslog: a key that is none": (
        (
            'type = "syslog"\ntransport = "tls"\nclient_certificate_file = "ca.pem"\n'
            'client_key_file = "ca.pem"'
        ),
        "5:19: collectors.a.client_key_file: found a file without a private key",
    ),
    "http: a line end in a header": (
        HTTP + 'headers = { X-A = "a\\r\\nEvil: 1" }',
        "4:19: collectors.a.headers.X-A: found a value with a line end, expected a value on one",
    ),
    "http: a line end in the name of a header": (
        HTTP + 'headers = { "X-A\\r\\nEvil" = "a" }',
        'found another name, expected a header name of letters, digits and "-"'.replace('"', "'"),
    ),
    "http: credentials in the URL": (
        f'type = "http"\nurl = "https://user:{SECRET}@h.example/r"',
        (
            "3:7: collectors.a.url: found a URL with credentials, expected a URL without user and"
            " password; set user and password_file"
        ),
    ),
    "http: credentials of a proxy": (
        HTTP + f'proxy = "http://user:{SECRET}@proxy:3128"',
        "4:9: collectors.a.proxy: found a URL with credentials, expected the URL of a proxy",
    ),
    "http: a line end behind the user": (
        HTTP + 'user = "me\\n"\npassword_env = "P"',
        "4:8: collectors.a.user: found string",
    ),
    "http: a certificate that is none": (
        HTTP + 'client_certificate_file = "bad.pem"',
        "4:27: collectors.a.client_certificate_file: found a file without a certificate",
    ),
    "http: a secret where it does not belong": (
        HTTP + f'token = "{SECRET}"',
        '4:1: collectors.a.token: found unknown key "token"',
    ),
    "no type": (
        'path = "x"',
        "there is no plugin 'a'; installed are:",
    ),
    "no type, and what that means": (
        'path = "x"',
        "the name of the collector stands for its type, unless type is set",
    ),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path("ca.pem")
    authority.private_key_pem.write_to_path("key.pem")
    (tmp_path / "bad.pem").write_text("no certificate\n")


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told(name: str, tmp_path: Path) -> None:
    table, message = CASES[name]
    path = tmp_path / "agent.toml"
    path.write_text(f"[collectors.a]\n{table}\n", encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises((ConfigError, PluginError), match=r"agent\.toml:") as caught:
        load_config(path, Configuration)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def patterns(kind: msgspec.inspect.Type) -> Iterator[str]:
    match kind:
        case msgspec.inspect.Metadata():
            yield from patterns(kind.type)
        case msgspec.inspect.UnionType():
            for member in kind.types:
                yield from patterns(member)
        case msgspec.inspect.StructType():
            for field in kind.fields:
                yield from patterns(field.type)
        case msgspec.inspect.ListType():
            yield from patterns(kind.item_type)
        case msgspec.inspect.DictType():
            yield from patterns(kind.key_type)
            yield from patterns(kind.value_type)
        case msgspec.inspect.StrType() if kind.pattern is not None:
            yield kind.pattern
        case _:
            return


@pytest.mark.parametrize(
    "name", ["", "file", "syslog", "http", "kafka", "loki", "otlp", "ipfix", "console"]
)
def test_no_pattern_lets_a_line_end_pass(name: str) -> None:
    # In Python "$" matches before a last line end, too.
    kind = Registry().collector_spec(name).config_type if name else Configuration
    found = list(patterns(msgspec.inspect.type_info(kind)))
    assert found or name in {"console", "ipfix"}
    assert all(pattern.endswith(r"$(?!\n)") for pattern in found)
