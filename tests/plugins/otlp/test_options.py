"""What an operator may write; what is refused is refused with its place."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.plugins.operators_file import problems_of
from trireme_collector import ConfigError, Registry
from trireme_collector_otlp import OtlpCollector, OtlpOptions

if TYPE_CHECKING:
    from pathlib import Path

URL = 'url = "https://otel.example:4318"'


def test_it_enters_by_the_plugin_door() -> None:
    assert Registry().collector_spec("otlp").config_type is OtlpOptions


def test_an_url_is_enough(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "otlp", URL) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['url = "http://otel:4318/v1/logs"'], "a url without /v1/logs"),
        (['url = "http://otel:4318/?a=b"'], "a url without '?'"),
        ([URL, 'resource = { "a\\nb" = "x" }'], "1 to 1024 printable characters"),
        ([URL, 'resource = { site = "" }'], "1 to 1024 printable characters"),
        ([URL, 'agent_ip = "10.0.0.1"'], "format = netobserv beside agent_ip"),
        ([URL, 'format = "netobserv"', 'agent_ip = "x"'], "an IP address"),
        ([URL, 'encoding = "grpc"'], 'one of "json", "protobuf"'),
        ([URL, "max_body_bytes = 1"], "from 1024"),
        ([URL, 'endpoint = "x"'], 'found unknown key "endpoint"'),
    ],
)
def test_options_that_will_not_do(tmp_path: Path, lines: list[str], said: str) -> None:
    found = problems_of(tmp_path, "otlp", *lines)
    assert len(found) == 1, found
    assert said in found[0]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "httpx2" else find_spec(name)
    )
    collector = OtlpCollector(OtlpOptions(url="http://127.0.0.1:1"), name="o")
    with pytest.raises(ConfigError, match=r"pip install 'trireme-collector\[otlp\]'"):
        collector.open()
