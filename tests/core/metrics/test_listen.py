"""Metrics are for this host, unless somebody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import ConfigError
from trireme_collector.config import Configuration, load_config
from trireme_collector.metrics import Listen, MetricsConfig, parse_listen

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9464", Listen(host="127.0.0.1", port=9464)),
        ("localhost:9464", Listen(host="127.0.0.1", port=9464)),
        ("[::1]:0", Listen(host="::1", port=0)),
        ("unix:/run/m.sock", Listen(path="/run/m.sock")),
    ],
)
def test_places_are_read(text: str, expected: Listen) -> None:
    assert parse_listen(text) == expected
    assert expected.is_local


@pytest.mark.parametrize(
    "text",
    [
        "9464",
        ":9464",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "::1:9464",
        "[127.0.0.1]:1",
        "example.org:80",
        "unix:run/m",
        "unix:/" + "x" * 107,
        "unix:/\0",
        "1.1:1",
        "127.0.0.1:\u0663",
        "127.0.0.1:" + "9" * 5000,
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9464|an absolute path"):
        parse_listen(text)


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_what_is_written_is_read(address: object, port: int) -> None:
    listen = Listen(host=str(address), port=port)
    assert parse_listen(str(listen)) == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"])
def test_others_are_let_in_only_on_demand(listen: str) -> None:
    with pytest.raises(ValueError, match=r"a loopback address instead of .*allow_remote = true"):
        MetricsConfig(listen=listen)
    MetricsConfig(listen=listen, allow_remote=True)


def load(tmp_path: Path, text: str) -> MetricsConfig:
    path = tmp_path / "agent.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load_config(path, Configuration).settings.metrics


def test_there_is_no_server_by_default(tmp_path: Path) -> None:
    assert load(tmp_path, "") == MetricsConfig(listen="")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'listen = "0.0.0.0:9464"',
            "agent.toml:1:1: metrics: found what does not go together, expected",
        ),
        ('listen = "nowhere"', 'agent.toml:2:10: metrics.listen: found string "nowhere", expected'),
        ('lisen = ""', "did you mean listen?"),
        ('socket_mode = "0666"', 'expected one of "0600", "0660"'),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[metrics]\n{text}\n")
    assert message in str(caught.value)
