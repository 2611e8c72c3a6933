"""`plugins list` and `plugins show` tell what is installed and how it is configured."""

from __future__ import annotations

import enum
import importlib.metadata
import json
import types
from typing import Annotated

import msgspec
import pytest

from trireme_collector import (
    CollectorSpec,
    DiscovererSpec,
    EnricherSpec,
    FilterSpec,
    FormatSpec,
    NullCollector,
    Registry,
    cli,
    hookimpl,
)
from trireme_collector.cli._options import describe_options
from trireme_collector.exit_codes import ExitCode


class Mode(enum.StrEnum):
    LINE = "line"
    OCTET = "octet"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the probe works.

    Attributes:
        path: Where it writes.
        size: How much it holds, over
            two lines of text.
        mode: Ignored here, since the annotation says more.
    """

    path: str
    size: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3
    mode: Annotated[Mode, msgspec.Meta(description="How it frames.")] = Mode.OCTET
    addresses: tuple[str, ...] = ("a",)
    password: str = "hunter2"
    limit: int | None = None


class Plugin:
    @staticmethod
    @hookimpl
    def trireme_register_collectors() -> list[CollectorSpec[msgspec.Struct]]:
        return [
            CollectorSpec(
                name="probe",
                factory=lambda config, context: NullCollector(),  # noqa: ARG005  nothing is built
                config_type=Options,
                summary="Probes.",
            )
        ]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = importlib.metadata.entry_points

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        if group != "trireme_collector":
            return list(everything(group=group))
        module = Plugin.__module__
        return [
            importlib.metadata.EntryPoint("probe", f"{module}:Plugin", group),
            importlib.metadata.EntryPoint("wrong", "module_that_is_not_there", group),
        ]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.setattr(
        importlib.metadata.EntryPoint,
        "load",
        lambda point: Plugin if point.name == "probe" else _load(point),
    )


_load = importlib.metadata.EntryPoint.load


def test_options_are_read_from_the_type() -> None:
    path, size, mode, addresses, password, limit = describe_options(Options)
    assert (path.name, path.type, path.required, path.help) == (
        "path",
        "string",
        True,
        "Where it writes.",
    )
    assert (size.type, size.default) == ("integer from 1 to 9", "3")
    assert size.help == "How much it holds, over two lines of text."
    assert (mode.type, mode.default, mode.help) == ('"line", "octet"', '"octet"', "How it frames.")
    assert (addresses.type, addresses.default) == ("array of string", '["a"]')
    assert password.default == "(not shown)"
    assert (limit.type, limit.default, limit.required) == ("integer", "", False)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "list"]) == ExitCode.OK
    head, probe, wrong = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "STATE", "STABILITY", "DISTRIBUTION", "SUMMARY"]
    assert probe.split() == ["probe", "loaded", "experimental", "(unknown)", "Probes."]
    assert wrong.split()[:2] == ["wrong", "broken"]
    assert "ModuleNotFoundError" in wrong


def test_list_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "list", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["version"] == 1
    probe, wrong = shown["plugins"]
    assert (probe["name"], probe["state"], probe["error"]) == ("probe", "loaded", None)
    assert (wrong["name"], wrong["state"]) == ("wrong", "broken")
    assert "module_that_is_not_there" in wrong["error"]


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "show", "probe"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "size  integer from 1 to 9; default 3" in out
    assert "path  string; required" in out
    assert '[collectors.probe]\n    type = "probe"\n    path = ...' in out
    assert "hunter2" not in out


def test_show_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "show", "probe", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    (collector,) = shown["collectors"]
    assert [option["name"] for option in collector["options"]][:2] == ["path", "size"]


def test_show_a_broken_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "show", "wrong"]) == ExitCode.OK
    assert "ModuleNotFoundError" in capsys.readouterr().out


def test_show_a_plugin_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "show", "prob"]) == ExitCode.PLUGIN
    assert "there is no plugin 'prob'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("collectors", '[collectors.x]\n    type = "x"\n    path = ...'),
        ("discoverers", '[discovery.x]\n    type = "x"\n    path = ...'),
        ("enrichers", '[enrichment.lookups.x]\n    type = "x"\n    path = ...'),
        ("filters", "[collectors.NAME.filter.plugins.x]\n    path = ..."),
        ("formats", 'format = "x"'),
    ],
)
def test_how_it_is_chosen_is_shown(
    kind: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs: dict[str, object] = {
        "collectors": CollectorSpec(name="x", factory=make, config_type=Options),
        "discoverers": DiscovererSpec(name="x", factory=make, config_type=Options),
        "enrichers": EnricherSpec(name="x", factory=make, config_type=Options),
        "filters": FilterSpec(name="x", factory=lambda _: bool, config_type=Options),
        "formats": FormatSpec(name="x", render=lambda _: b""),
    }
    plugin = types.ModuleType("x")
    setattr(plugin, f"trireme_register_{kind}", hookimpl(lambda: [specs[kind]]))
    info = Registry(entry_points=[]).register(plugin, name="x")
    monkeypatch.setattr(Registry, "describe", lambda _self, _name: info)
    assert cli.main(["plugins", "show", "x"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert said in shown
    assert ("It takes no options." in shown) is (kind == "formats")
    assert cli.main(["plugins", "show", "x", "--json"]) == ExitCode.OK
    described = json.loads(capsys.readouterr().out)
    assert [spec["name"] for spec in described[kind]] == ["x"]
    others = {"collectors", "discoverers", "enrichers", "filters", "formats"} - {kind}
    assert [described[other] for other in sorted(others)] == [[]] * 4


def make(*_: object) -> NullCollector:
    return NullCollector()
