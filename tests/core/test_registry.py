"""Plugins are found by name, loaded when asked for, and never break anything but themselves."""

from __future__ import annotations

import importlib.metadata
import sys
import types

import pytest

from trireme_collector import (
    CollectorSpec,
    NoOptions,
    NullCollector,
    PluginError,
    PluginState,
    Registry,
    hookimpl,
)
from trireme_collector.hookspecs import ENTRY_POINT_GROUP


def spec(name: str) -> CollectorSpec[NoOptions]:
    return CollectorSpec(name=name, factory=lambda _options, _context: NullCollector())


class Plugin:
    def __init__(self, *names: str) -> None:
        self.names = names
        self.called = 0

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec[NoOptions]]:
        self.called += 1
        return [spec(name) for name in self.names]


class Raises:
    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec[NoOptions]]:
        raise KeyError("inside")


class WrongType:
    @hookimpl
    def trireme_register_collectors(self) -> list[object]:
        return [object()]


class WrongHook:
    @hookimpl
    def trireme_register_collector(self) -> list[object]:
        return []


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("probe_module_for_registry")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def entry_point(
    name: str, value: str = "module_that_is_not_there"
) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(name, value, ENTRY_POINT_GROUP)


def test_the_built_in_collectors_come_through_the_same_door() -> None:
    registry = Registry()
    assert {"file", "syslog"} <= set(registry.names())
    for name in ("file", "syslog"):
        info = registry.describe(name)
        assert info.state is PluginState.LOADED
        assert info.distribution.startswith("trireme-collector ")
        assert registry.collector_spec(name).summary


def test_names_are_known_without_loading() -> None:
    registry = Registry(entry_points=[entry_point("b"), entry_point("a")])
    assert registry.names() == ["a", "b"]
    assert registry.describe("a", load=False).state is PluginState.AVAILABLE


def test_a_plugin_is_asked_once(module: types.ModuleType) -> None:
    plugin = Plugin("probe")
    module.plugin = plugin  # type: ignore[attr-defined]  # the entry point names it
    registry = Registry(entry_points=[entry_point("probe", f"{module.__name__}:plugin")])
    assert registry.collector_spec("probe").name == "probe"
    assert registry.collector_spec("probe").name == "probe"
    assert plugin.called == 1


def test_a_module_that_does_not_load_is_a_fact_to_show() -> None:
    registry = Registry(entry_points=[entry_point("gone"), entry_point("other")])
    info = registry.describe("gone")
    assert info.state is PluginState.BROKEN
    assert isinstance(info.error, ModuleNotFoundError)
    with pytest.raises(PluginError, match=r"'gone' .* is broken: ModuleNotFoundError") as caught:
        registry.collector_spec("gone")
    assert caught.value.__cause__ is info.error
    assert [info.name for info in registry.describe_all()] == ["gone", "other"]


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Raises(), "KeyError: 'inside'"),
        (WrongType(), "must return CollectorSpec objects, got object"),
        (WrongHook(), "unknown hook 'trireme_register_collector'"),
    ],
)
def test_a_plugin_that_misbehaves_is_broken_and_no_other(plugin: object, message: str) -> None:
    registry = Registry(entry_points=[])
    with pytest.raises(PluginError, match=message):
        registry.register(plugin, name="bad")
    assert registry.describe("bad").state is PluginState.BROKEN
    registry.register(Plugin("good"), name="good")
    assert registry.collector_spec("good").name == "good"


def test_a_plugin_that_offers_another_name_says_which() -> None:
    registry = Registry(entry_points=[])
    registry.register(Plugin("theirs"), name="ours")
    with pytest.raises(PluginError, match=r"'ours' .* offers no collector of that name, but 'the"):
        registry.collector_spec("ours")


def test_an_unknown_plugin_lists_the_known_ones() -> None:
    registry = Registry(entry_points=[entry_point("a")])
    with pytest.raises(PluginError, match="no plugin 'b'; installed are: a"):
        registry.describe("b")
    with pytest.raises(PluginError, match="installed are: none"):
        Registry(entry_points=[]).describe("b")


def test_a_name_is_registered_once() -> None:
    registry = Registry(entry_points=[entry_point("a")])
    with pytest.raises(PluginError, match="the name is taken"):
        registry.register(Plugin("a"), name="a")


def test_the_deny_list_wins_and_nothing_is_loaded() -> None:
    registry = Registry(entry_points=[entry_point("a")], allow=["a"], deny=["a"])
    info = registry.describe("a")
    assert info.state is PluginState.BLOCKED
    assert "deny list" in str(info.error)
    with pytest.raises(PluginError, match="'a' is on the deny list"):
        registry.collector_spec("a")


def test_what_is_not_on_the_allow_list_is_blocked() -> None:
    registry = Registry(entry_points=[entry_point("a"), entry_point("b")], allow=["b"])
    assert registry.describe("a").state is PluginState.BLOCKED
    assert "not on the allow list" in str(registry.describe("a").error)


def test_two_plugins_of_one_name_are_both_named() -> None:
    registry = Registry(entry_points=[entry_point("a", "one"), entry_point("a", "two")])
    assert registry.describe("a").state is PluginState.BROKEN
    with pytest.raises(PluginError, match="uninstall all but one"):
        registry.collector_spec("a")


def test_one_plugin_seen_twice_is_one() -> None:
    registry = Registry(entry_points=[entry_point("a", "json"), entry_point("a", "json")])
    assert registry.describe("a").state is PluginState.LOADED
