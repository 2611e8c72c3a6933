"""What an operator may write; what is refused is refused with its place and never repeated."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme

from tests.plugins.operators_file import SECRET, problems_of
from trireme_collector import ConfigError, Registry
from trireme_collector.cli.errors import exit_code_of
from trireme_collector.exit_codes import ExitCode
from trireme_collector_kafka import KafkaCollector, KafkaOptions

if TYPE_CHECKING:
    from pathlib import Path

BASE = 'brokers = ["kafka.example:9092"]\ntopic = "records"'


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path("ca.pem")
    authority.private_key_pem.write_to_path("key.pem")
    (tmp_path / "secret").write_text(SECRET)


def problems(tmp_path: Path, *lines: str, base: str = BASE) -> list[str]:
    return problems_of(tmp_path, "kafka", base, *lines)


def test_it_enters_by_the_plugin_door() -> None:
    assert Registry().collector_spec("kafka").config_type is KafkaOptions


def test_brokers_and_a_topic_are_enough(tmp_path: Path) -> None:
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    "broker", ["kafka", "kafka.example.", "10.0.0.1:9092", "[2001:db8::7]:9092", "kafka_1-a:1"]
)
def test_brokers_that_will_do(tmp_path: Path, broker: str) -> None:
    assert problems(tmp_path, base=f'brokers = ["{broker}"]\ntopic = "t"') == []


@pytest.mark.parametrize(
    ("broker", "found"),
    [
        ("", "none"),
        ("https://kafka.example:9092", "a URL or a path"),
        (f"user:{SECRET}@kafka.example:9092", "a text with '@'"),
        ("a:1,b:1", "a text with ','"),
        ("kafka.example:0", "an impossible port"),
        ("kafka.example:65536", "an impossible port"),
        ("kafka.example:", "an impossible port"),
        ("kafka example:9092", "another text"),
        ("kafka.example\\n:9092", "another text"),
        ("2001:db8::7", "another text"),
        ("[2001:db8::7", "another text"),
    ],
)
def test_brokers_that_will_not_do(tmp_path: Path, broker: str, found: str) -> None:
    (problem,) = problems(tmp_path, base=f'brokers = ["{broker}"]\ntopic = "t"')
    assert problem.startswith("2:12: collectors.kafka.brokers[0]: found ")
    assert found in problem


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "a/b", "a\\n", "é", "x" * 250])
def test_topics_that_will_not_do(tmp_path: Path, topic: str) -> None:
    (problem,) = problems(tmp_path, base=f'brokers = ["a"]\ntopic = "{topic}"')
    assert problem.startswith("3:9: collectors.kafka.topic: found ")
    assert "expected 1 to 249 letters" in problem


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["brokers = []"], "brokers"),
        ([f'password = "{SECRET}"'], 'found unknown key "password"'),
        (['sasl_mechanism = "PLAIN"'], "user, and password_file"),
        (['user = "u"', 'password_env = "P"'], "sasl_mechanism beside user"),
        (
            [
                'sasl_mechanism = "PLAIN"',
                'user = "u"',
                'password_env = "P"',
                'password_file = "secret"',
            ],
            "one of password_file, password_env",
        ),
        (['sasl_mechanism = "GSSAPI"'], 'one of "", "PLAIN"'),
        (['ca_file = "ca.pem"'], "tls = true beside ca_file"),
        (["verify = false"], "tls = true beside verify"),
        (["tls = true", 'client_key_file = "key.pem"'], "client_certificate_file beside"),
        (["tls = true", 'client_key_password_env = "P"'], "client_certificate_file beside"),
        (["tls = true", 'ca_file = "none.pem"'], "a file that can be read; check the path"),
        (["tls = true", 'ca_file = "key.pem"'], "a file without a usable certificate"),
        (["tls = true", 'client_certificate_file = "key.pem"'], "a file without a certificate"),
        (['agent_ip = "10.0.0.1"'], "format = netobserv beside agent_ip"),
        (['format = "netobserv"', 'agent_ip = "host"'], "an IP address"),
        (['compression = "brotli"'], 'one of "gzip", "lz4"'),
        (["max_message_bytes = 1"], "from 1024"),
        (["timeout_seconds = 0"], "above 0"),
        (['client_id = "a b"'], "1 to 255 letters"),
        (['topik = "x"'], "did you mean topic?"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, lines: list[str], said: str) -> None:
    base = 'topic = "t"' if lines[0].startswith("brokers") else BASE
    found = problems(tmp_path, *lines, base=base)
    assert len(found) == 1, found
    assert said in found[0]


def test_options_that_are_built_in_code_are_checked_too() -> None:
    for given in (
        {"brokers": [f"u:{SECRET}@a"], "topic": "t"},
        {"brokers": ["a"], "topic": "a b"},
    ):
        with pytest.raises(ValueError, match=r"without user|letters") as caught:
            KafkaOptions(**given)  # type: ignore[arg-type]  # only the types of these are known
        assert SECRET not in str(caught.value)


def test_defaults_pass_their_own_checks() -> None:
    options = KafkaOptions(brokers=["a"], topic="t")
    given = {name: v for name, v in msgspec.structs.asdict(options).items() if v != ""}
    assert msgspec.convert(given, KafkaOptions) == options


def test_building_one_touches_nothing() -> None:
    options = KafkaOptions(brokers=["a"], topic="t", tls=True, ca_file="/none")
    KafkaCollector(options).close()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "confluent_kafka" else find_spec(name),
    )
    collector = KafkaCollector(KafkaOptions(brokers=["a"], topic="t"), name="k")
    with pytest.raises(ConfigError, match=r"pip install 'trireme-collector\[kafka\]'") as caught:
        collector.open()
    assert exit_code_of(caught.value) == ExitCode.MISSING_EXTRA
