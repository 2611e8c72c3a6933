"""Units that plugins find: told of when they come, change and go."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from trireme_collector import DiscoveredUnit, DiscovererSpec, hookimpl
from trireme_collector.errors import ConfigError, PluginError
from trireme_collector.records import ContainerRecord, Record
from trireme_collector.registry import Registry
from trireme_datapath.agent._discovery import Discovery, build_discoverers
from trireme_datapath.lifecycle import UnitLifecycle
from trireme_datapath.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable

WEB = DiscoveredUnit(context_id="web", addresses={"bridge": "10.0.0.9"}, tags=("a=b",))
OTHER = DiscoveredUnit(context_id="other")
POLICY = 'version = 1\n[[unit]]\nid = "web"\nselect.local = true\n'


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    names: list[str] = []


class Fixed:
    """Finds what it is told."""

    def __init__(self, options: Options | None = None) -> None:
        self.found = [DiscoveredUnit(context_id=one) for one in (options or Options()).names]
        self.error: Exception | None = None
        self.closed = False

    def poll(self) -> list[DiscoveredUnit]:
        if self.error is not None:
            raise self.error
        return self.found

    def close(self) -> None:
        self.closed = True


class Bench:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.units = UnitLifecycle(self.records.append)
        self.units.enter_policy(parse_policy(POLICY))
        self.records.clear()
        self.discovery = Discovery([], self.units, self.ask)

    @staticmethod
    def ask(job: Callable[[], None]) -> None:
        job()

    def look(self, name: str, discoverer: Fixed) -> list[tuple[str, str]]:
        self.discovery.look(name, discoverer)
        told = [
            (one.context_id, one.event) for one in self.records if isinstance(one, ContainerRecord)
        ]
        self.records.clear()
        return told


def test_units_are_told_of_once_each() -> None:
    bench, fixed = Bench(), Fixed()
    assert bench.look("fixed", fixed) == []
    fixed.found = [WEB, OTHER]
    assert bench.look("fixed", fixed) == [("web", "update"), ("other", "ignore")]
    assert bench.look("fixed", fixed) == []
    fixed.found = [OTHER]
    assert bench.look("fixed", fixed) == [("web", "delete")]
    fixed.found = []
    assert bench.look("fixed", fixed) == [("other", "delete")]


def test_what_fails_leaves_units_as_they_were_and_is_said_once() -> None:
    bench, fixed = Bench(), Fixed()
    fixed.found = [OTHER]
    bench.look("fixed", fixed)
    fixed.error = OSError("no")
    with capture_logs() as logs:
        assert bench.look("fixed", fixed) == []
        assert bench.look("fixed", fixed) == []
    assert [one["event"] for one in logs] == ["discovery_failed"]
    fixed.error = None
    assert bench.look("fixed", fixed) == []


def test_a_unit_that_two_find_belongs_to_the_first() -> None:
    bench, first, second = Bench(), Fixed(), Fixed()
    first.found = second.found = [OTHER]
    assert bench.look("first", first) == [("other", "ignore")]
    assert bench.look("second", second) == []
    second.found = []
    assert bench.look("second", second) == []
    first.found = []
    assert bench.look("first", first) == [("other", "delete")]


def test_it_looks_in_a_thread_of_its_own_until_it_is_told_to_stop() -> None:
    bench, fixed = Bench(), Fixed()
    looked = threading.Event()
    fixed.found = [OTHER]

    def ask(job: Callable[[], None]) -> None:
        job()
        looked.set()

    discovery = Discovery([("fixed", fixed, 60)], bench.units, ask)
    discovery.start()
    assert looked.wait(5)
    discovery.stop()
    assert fixed.closed
    assert len(bench.records) == 1


class Plugin:
    """Offers `Fixed`, and one that is broken."""

    @hookimpl
    def trireme_register_discoverers(self) -> list[DiscovererSpec[Options]]:
        def broken(_: Options) -> object:
            raise RuntimeError("oh")

        return [
            DiscovererSpec(name="fixed", factory=Fixed, config_type=Options),
            DiscovererSpec(name="broken", factory=broken, config_type=Options),
            DiscovererSpec(name="mute", factory=lambda _: object(), config_type=Options),
        ]


def registry(*names: str) -> Registry:
    made = Registry(entry_points=[])
    for name in names:
        made.register(Plugin(), name=name)
    return made


def test_tables_become_discoverers() -> None:
    tables = {"mine": {"type": "fixed", "every_seconds": 2, "names": ["a"]}, "fixed": {}}
    (name, first, seconds), second = build_discoverers(tables, registry("fixed"))
    assert (name, seconds) == ("mine", 2)
    assert [one.context_id for one in first.poll()] == ["a"]
    assert second[::2] == ("fixed", 5.0)


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        ({"nmes": []}, ConfigError, "discovery.fixed.*nmes"),
        ({"every_seconds": 0}, ConfigError, "discovery.fixed.*every_seconds"),
        ({"type": "unknown"}, PluginError, "unknown"),
        ({"type": "broken"}, PluginError, "RuntimeError: oh"),
        ({"type": "mute"}, PluginError, "no poll"),
    ],
)
def test_mistakes_are_named(table: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build_discoverers({"fixed": table}, registry("fixed", "broken", "mute"))
