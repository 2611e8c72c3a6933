"""What an operator may write; what is refused is refused with its place and never repeated."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.plugins.operators_file import SECRET, problems_of
from trireme_collector import ConfigError, Registry
from trireme_collector.cli.errors import exit_code_of
from trireme_collector.exit_codes import ExitCode
from trireme_collector_loki import LokiCollector, LokiOptions

if TYPE_CHECKING:
    from pathlib import Path

URL = 'url = "https://loki.example:3100"'


def problems(tmp_path: Path, *lines: str, url: str = URL) -> list[str]:
    return problems_of(tmp_path, "loki", url, *lines)


def test_it_enters_by_the_plugin_door() -> None:
    assert Registry().collector_spec("loki").config_type is LokiOptions


@pytest.mark.parametrize("url", ["http://loki:3100", "https://h.example/api/logs/v1/network/"])
def test_an_url_is_enough(tmp_path: Path, url: str) -> None:
    assert problems(tmp_path, url=f'url = "{url}"') == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['tenant = "a|b"'], "the name of a tenant"),
        (['tenant = "a\\r\\nX-Evil: 1"'], "the name of a tenant"),
        (['headers = { x-scope-orgid = "a" }'], "tenant instead of the header"),
        (['labels = ["Src-Addr"]'], "a name of letters, digits and '_'"),
        (['labels = ["__name__"]'], "does not begin with a digit or '__'"),
        (["static_labels = {}"], "at least one label in static_labels"),
        (['static_labels = { "a b" = "x" }'], "a name of letters"),
        (['static_labels = { site = "" }'], "1 to 2048 printable characters"),
        (['static_labels = { site = "a\\nb" }'], "1 to 2048 printable characters"),
        (['compression = "gzip"'], "only beside encoding = json"),
        (['format = "json"', 'agent_ip = "10.0.0.1"'], "format = netobserv beside agent_ip"),
        (['agent_ip = "host"'], "an IP address"),
        (['encoding = "thrift"'], 'one of "json", "protobuf"'),
        (["max_body_bytes = 1"], "from 1024"),
        (["retry_statuses = [400]"], "retry_statuses without 400"),
        ([f'token = "{SECRET}"'], "did you mean token_"),
        (['tenent = "x"'], "did you mean tenant?"),
    ],
)
def test_options_that_will_not_do(tmp_path: Path, lines: list[str], said: str) -> None:
    found = problems(tmp_path, *lines)
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://loki:3100/loki/api/v1/push", "a url without /loki/api/v1/push"),
        ("http://loki:3100/?tenant=a", "a url without '?'"),
        (f"http://u:{SECRET}@loki:3100", "a URL with credentials"),
    ],
)
def test_urls_that_will_not_do(tmp_path: Path, url: str, said: str) -> None:
    (problem,) = problems(tmp_path, url=f'url = "{url}"')
    assert said in problem


@pytest.mark.parametrize("package", ["httpx2", "cramjam"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    if package == "cramjam":
        pytest.importorskip("httpx2", reason="the extra loki is not installed")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find_spec(name)
    )
    collector = LokiCollector(LokiOptions(url="http://127.0.0.1:1"), name="l")
    named = rf"{package}: pip install 'trireme-collector\[loki\]'"
    with pytest.raises(ConfigError, match=named) as caught:
        collector.open()
    assert exit_code_of(caught.value) == ExitCode.MISSING_EXTRA
    collector.close()
