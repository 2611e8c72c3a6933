"""Names for addresses, from the configuration to what collectors write."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from trireme_collector import (
    ActionType,
    ConfigError,
    EndPoint,
    EnricherSpec,
    FlowRecord,
    PluginError,
    Registry,
    hookimpl,
)
from trireme_collector.config import Configuration, load_config
from trireme_collector.enrichment import Enrichment, EnrichmentConfig, LookupConfig, SteadyForms
from trireme_collector.metrics import PipelineMetrics
from trireme_collector.netobserv import KubernetesObject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_collector.config import LoadedConfiguration

FLOW = FlowRecord(
    namespace="/shop",
    source=EndPoint(ip="192.0.2.1", port=40000),
    destination=EndPoint(ip="192.0.2.9", port=443),
    policy_id="web",
    action=ActionType.ACCEPT,
    l4_protocol=6,
    count=1,
    source_packets=4,
    source_bytes=400,
    destination_packets=3,
    destination_bytes=3000,
)
OBJECTS = """
[[object]]
addresses = ["192.0.2.1"]
name = "{name}"
type = "Pod"
namespace = "shop"
host_ip = "198.51.100.7"
"""


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Knows:
    """Knows one address, or fails."""

    def __init__(self, name: str, address: str = "", error: Exception | None = None) -> None:
        self.name, self.address, self.error = name, address, error
        self.closed = 0

    def find(self, address: str) -> Any:  # noqa: ANN401  a broken one gives anything
        if self.error is not None:
            raise self.error
        if address == "wrong":
            return "no object"
        known = not self.address or address == self.address
        return KubernetesObject(name=self.name, type="Pod") if known else None

    def close(self) -> None:
        self.closed += 1


def enrichment(
    *lookups: object, factory: Callable[[], object] | None = None, max_entries: int = 64
) -> Enrichment:
    def config(number: int, lookup: object) -> LookupConfig:
        spec: EnricherSpec[msgspec.Struct] = EnricherSpec(
            name="test", factory=lambda _: factory() if factory else lookup, config_type=NoOptions
        )
        return LookupConfig(name=f"l{number}", spec=spec, options=NoOptions())

    configs = [config(number, lookup) for number, lookup in enumerate(lookups)]
    return Enrichment(
        EnrichmentConfig(max_entries=max_entries), configs, now_ms=lambda: 0, threads=False
    )


def test_nobody_is_asked_before_the_start_and_after_the_end() -> None:
    lookup = Knows("pod")
    made = enrichment(lookup)
    assert made.enrich({"SrcAddr": "192.0.2.1"}) == {"SrcAddr": "192.0.2.1"}
    assert [status.name for status in made.status()] == ["l0"]
    made.open()
    assert made.enrich({"SrcAddr": "192.0.2.1"})["SrcK8S_Name"] == "pod"
    made.close()
    assert lookup.closed == 1
    assert made.enrich({"SrcAddr": "192.0.2.1"}) == {"SrcAddr": "192.0.2.1"}


def test_the_first_that_knows_is_believed() -> None:
    made = enrichment(Knows("first", "192.0.2.1"), Knows("second"))
    made.open()
    record = made.enrich({"SrcAddr": "192.0.2.1", "DstAddr": "192.0.2.9"})
    assert (record["SrcK8S_Name"], record["DstK8S_Name"]) == ("first", "second")
    assert [(s.misses, s.entries) for s in made.status()] == [(2, 2), (1, 1)]


def test_a_broken_look_up_costs_names_and_no_record() -> None:
    made = enrichment(Knows("broken", error=OSError("away")), Knows("second", "192.0.2.1"))
    made.open()
    assert made.enrich({"SrcAddr": "192.0.2.1"})["SrcK8S_Name"] == "second"
    broken, second = made.status()
    assert (broken.failures, broken.last_error) == (1, "OSError: away")
    assert (second.failures, second.last_error) == (0, "")


def test_an_answer_of_another_type_is_a_failure() -> None:
    made = enrichment(Knows("odd"))
    made.open()
    assert "SrcK8S_Name" not in made.enrich({"SrcAddr": "wrong"})
    assert made.status()[0].failures == 1


def test_a_broken_factory_is_named() -> None:
    def fail() -> object:
        raise ZeroDivisionError

    with pytest.raises(PluginError, match=r"look-up 'l0'.*mistake in the plugin"):
        enrichment(None, factory=fail).open()
    with pytest.raises(PluginError, match="it has no find"):
        enrichment(object()).open()

    first = Knows("first")
    answers = iter([first, ConfigError("no such file")])

    def second_refuses() -> object:
        answer = next(answers)
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    with pytest.raises(ConfigError, match=r"enrichment\.lookups\.l1: no such file"):
        enrichment(None, None, factory=second_refuses).open()
    assert first.closed == 1


def test_reopening_builds_anew_or_keeps_what_works() -> None:
    answers: list[object] = [Knows("old"), Knows("new"), ConfigError("half written")]
    old = answers[0]

    def build() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = enrichment(None, factory=build)
    made.reopen()
    assert len(answers) == 3
    made.open()
    assert made.enrich({"SrcAddr": "192.0.2.1"})["SrcK8S_Name"] == "old"
    made.reopen()
    assert made.enrich({"SrcAddr": "192.0.2.1"})["SrcK8S_Name"] == "new"
    assert isinstance(old, Knows)
    assert old.closed == 1
    made.reopen()
    assert not answers
    assert made.enrich({"SrcAddr": "192.0.2.2"})["SrcK8S_Name"] == "new"


def test_many_threads_share_one() -> None:
    made = enrichment(Knows("pod"), max_entries=32)
    made.open()
    wrong: list[object] = []

    def ask(first: int) -> None:
        for number in range(2_000):
            record = made.enrich({"SrcAddr": f"192.0.2.{(first + number) % 256}"})
            if record.get("SrcK8S_Name") != "pod":
                wrong.append(record)

    threads = [threading.Thread(target=ask, args=(number * 64,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (status,) = made.status()
    assert not wrong
    assert (status.hits + status.misses, status.entries <= 32) == (8_000, True)


def test_forms_stay_as_they_were_until_they_are_delivered() -> None:
    forms: SteadyForms[int] = SteadyForms()
    numbers = iter(range(100))
    records = [msgspec.structs.replace(FLOW, sequence=number) for number in range(1, 5)]
    assert forms.of(records, lambda _: next(numbers)) == [0, 1, 2, 3]
    forms.forget(1)
    assert forms.of(records[1:], lambda _: next(numbers)) == [1, 2, 3]
    forms.forget(2)
    # Others came before it: nobody knows it by its place.
    assert forms.of([records[0], records[3]], lambda _: next(numbers)) == [4, 5]


def load(path: Path, text: str, registry: Registry | None = None) -> LoadedConfiguration[Any]:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load_config(path, Configuration, registry=registry)


CONFIG = """
[enrichment.lookups.objects]
type = "kubernetes-file"
path = "{directory}/objects.toml"

[collectors.archive]
type = "file"
path = "{directory}/flows.json"
format = "netobserv"
agent_ip = "198.51.100.7"
"""


def test_names_of_a_file_stand_in_the_file_of_flow_logs(tmp_path: Path) -> None:
    objects = tmp_path / "objects.toml"
    objects.write_text(OBJECTS.format(name="web-1"), encoding="utf-8")
    loaded = load(tmp_path / "collector.toml", CONFIG.format(directory=tmp_path))
    assert loaded.probe_lookups() is None
    pipeline = loaded.pipeline()
    with pipeline:
        pipeline.collect_flow_event(FLOW)
        assert pipeline.flush()
        status = pipeline.status()
    lines = (tmp_path / "flows.json").read_text(encoding="utf-8").splitlines()
    there, back = map(json.loads, lines)
    assert (there["SrcK8S_Name"], there["SrcK8S_Namespace"]) == ("web-1", "shop")
    assert (there["FlowDirection"], there["K8S_FlowLayer"]) == (1, "app")
    assert (back["DstK8S_Name"], back["FlowDirection"]) == ("web-1", 0)
    (lookup,) = status.lookups
    assert (lookup.name, lookup.hits, lookup.misses, lookup.entries) == ("objects", 2, 2, 2)
    samples = {
        (metric.spec.name, labels): value
        for metric in PipelineMetrics(pipeline).metrics()
        for labels, value in metric.samples
    }
    assert samples["trireme_enrichment_lookups", ("objects", "hit")] == 0  # it is closed
    assert ("trireme_enrichment_entries", ("objects",)) in samples


def test_a_file_that_changed_is_read_with_the_next_reopening(tmp_path: Path) -> None:
    objects = tmp_path / "objects.toml"
    objects.write_text(OBJECTS.format(name="old"), encoding="utf-8")
    loaded = load(tmp_path / "collector.toml", CONFIG.format(directory=tmp_path))
    with loaded.pipeline() as pipeline:
        pipeline.collect_flow_event(FLOW)
        assert pipeline.flush()
        objects.write_text(OBJECTS.format(name="new"), encoding="utf-8")
        pipeline.reopen()
        for thread in threading.enumerate():
            if thread.name == "trireme-enrichment":
                thread.join()
        pipeline.collect_flow_event(FLOW)
        assert pipeline.flush()
    lines = (tmp_path / "flows.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["SrcK8S_Name"] for line in lines[::2]] == ["old", "new"]


def test_a_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    loaded = load(tmp_path / "collector.toml", CONFIG.format(directory=tmp_path))
    found = loaded.probe_lookups()
    assert isinstance(found, ConfigError)
    assert "enrichment.lookups.objects" in str(found)
    with pytest.raises(ConfigError, match=r"enrichment\.lookups\.objects"):
        loaded.pipeline().start()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[enrichment]\nlifetime = 1\n", "enrichment.lifetime"),
        ("[enrichment]\nlifetime_seconds = 0\n", "enrichment.lifetime_seconds"),
        ("[enrichment]\nmax_entries = 1\n", "enrichment.max_entries"),
        ("[enrichment.lookups.'a b']\n", "a name of letters"),
        ("[enrichment]\nlookups = []\n", "enrichment.lookups"),
        ("[enrichment.lookups.x]\ntype = 5\n", "enrichment.lookups.x.type"),
        ('[enrichment.lookups.kubernetes-file]\npth = "x"\n', "did you mean path"),
        ("[enrichment.lookups.kubernetes-file]\n", "enrichment.lookups.kubernetes-file"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        load(tmp_path / "collector.toml", text)
    assert said in str(found.value)
    assert "collector.toml:" in str(found.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[enrichment.lookups.kubernetes-fil]\n", 'did you mean "kubernetes-file"'),
        ('[enrichment.lookups.x]\ntype = "file"\n', "look-up"),
    ],
)
def test_a_look_up_that_there_is_not(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PluginError) as found:
        load(tmp_path / "collector.toml", text)
    assert said in str(found.value)
    assert "enrichment.lookups" in str(found.value)


def test_a_look_up_of_somebody_else(tmp_path: Path) -> None:
    class Plugin:
        @staticmethod
        @hookimpl
        def trireme_register_enrichers() -> list[EnricherSpec[msgspec.Struct]]:
            return [EnricherSpec(name="mine", factory=lambda _: Knows("x"), config_type=NoOptions)]

    registry = Registry()
    registry.register(Plugin(), name="mine")
    text = CONFIG.format(directory=tmp_path).replace(
        f'type = "kubernetes-file"\npath = "{tmp_path}/objects.toml"', 'type = "mine"'
    )
    with load(tmp_path / "collector.toml", text, registry).pipeline() as pipeline:
        pipeline.collect_flow_event(FLOW)
        assert pipeline.flush()
    line = (tmp_path / "flows.json").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(line)["SrcK8S_OwnerName"] == "x"
