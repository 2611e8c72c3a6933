"""The example in the description of each hook is a plugin that works."""

from __future__ import annotations

import inspect
import re
import textwrap
import types
from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector import EndPoint, FlowRecord, PluginState, Registry, hookspecs
from trireme_collector.netobserv import KubernetesObject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_collector import PluginInfo

HOOKS = [name for name in vars(hookspecs) if name.startswith("trireme_")]


def example(hook: str) -> str:
    """Cut the example out of the description of a hook."""
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    match = re.search(r"^Example:\n.*?::\n\n(.*)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{hook} has no example"
    return textwrap.dedent(match[1])


def admit(hook: str) -> PluginInfo:
    module = types.ModuleType(f"example_of_{hook}")
    exec(compile(example(hook), hook, "exec"), module.__dict__)
    return Registry(entry_points=[]).register(module, name="example")


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_is_a_plugin_that_offers_one_thing(hook: str) -> None:
    info = admit(hook)
    assert info.state is PluginState.LOADED
    kind = hook.removeprefix("trireme_register_")
    (spec,) = getattr(info, kind)
    assert spec.summary
    others = {"collectors", "discoverers", "enrichers", "filters", "formats"} - {kind}
    assert [getattr(info, other) for other in sorted(others)] == [()] * 4


def test_there_is_one_hook_for_each_thing_that_a_plugin_is_said_to_offer() -> None:
    kinds = {hook.removeprefix("trireme_register_") for hook in HOOKS}
    assert kinds == {"collectors", "discoverers", "enrichers", "filters", "formats"}


FLOW = FlowRecord(source=EndPoint(ip="10.0.0.1"), destination=EndPoint(ip="192.0.2.2"))


def check_collectors(info: PluginInfo, capsys: pytest.CaptureFixture[str]) -> None:
    (spec,) = info.collectors
    context = hookspecs.CollectorContext(name="example", instance="host")
    collector = spec.factory(hookspecs.NoOptions(), context)
    rejected = msgspec.json.decode(b'"reject"', type=type(FLOW.action))
    collector.collect_flow_event(msgspec.structs.replace(FLOW, action=rejected))  # type: ignore[attr-defined]  # the example has the method
    assert capsys.readouterr().out == "10.0.0.1 -> 192.0.2.2\n"


def check_formats(info: PluginInfo, capsys: pytest.CaptureFixture[str]) -> None:
    del capsys
    (spec,) = info.formats
    assert spec.render(FLOW) == b"10.0.0.1,192.0.2.2"


def check_filters(info: PluginInfo, capsys: pytest.CaptureFixture[str]) -> None:
    del capsys
    (spec,) = info.filters
    passes = spec.factory(spec.config_type())
    assert not passes(FLOW)
    assert passes(msgspec.structs.replace(FLOW, source=EndPoint(ip="192.0.2.1")))


def check_enrichers(info: PluginInfo, capsys: pytest.CaptureFixture[str]) -> None:
    del capsys
    (spec,) = info.enrichers
    find: Callable[[str], object] = spec.factory(hookspecs.NoOptions()).find  # type: ignore[attr-defined]  # the example has the method
    assert find("192.0.2.1") == KubernetesObject(name="gateway", type="Node")
    assert find("192.0.2.2") is None


@pytest.mark.parametrize("check", [check_collectors, check_formats, check_filters, check_enrichers])
def test_the_example_does_what_it_says(
    check: Callable[[PluginInfo, pytest.CaptureFixture[str]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(admit(check.__name__.replace("check_", "trireme_register_")), capsys)


def test_the_example_of_discovery_finds_units(tmp_path: Path) -> None:
    code = example("trireme_register_discoverers").replace("/run/units", str(tmp_path))
    (tmp_path / "web").touch()
    module = types.ModuleType("example_of_discovery")
    exec(compile(code, "example", "exec"), module.__dict__)
    (spec,) = Registry(entry_points=[]).register(module, name="example").discoverers
    found = list(spec.factory(hookspecs.NoOptions()).poll())  # type: ignore[attr-defined]  # the example has the method
    assert found == [hookspecs.DiscoveredUnit(context_id="web")]
