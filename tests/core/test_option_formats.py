"""Formats that plugins offer: in the file collector, on the command line, and told when wrong."""

from __future__ import annotations

import importlib.metadata
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector import (
    CollectorContext,
    ConfigError,
    EndPoint,
    FlowRecord,
    FormatSpec,
    PermanentDeliveryError,
    PluginError,
    Registry,
    UserRecord,
    build_pipeline,
    cli,
    encode_json,
    hookimpl,
)
from trireme_collector.config import Configuration, load_config
from trireme_collector.exit_codes import ExitCode
from trireme_collector.hookspecs import ENTRY_POINT_GROUP
from trireme_collector.option_formats import find_renderer, format_option, render_line
from trireme_collector_file import trireme_register_collectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_collector import Record

FLOW = FlowRecord(source=EndPoint(ip="192.0.2.1"), destination=EndPoint(ip="192.0.2.2"), count=1)


def pairs(record: Record) -> bytes | None:
    if not isinstance(record, FlowRecord):
        return None
    return f"{record.source.ip},{record.destination.ip}".encode()


class Pairs:
    @staticmethod
    @hookimpl
    def trireme_register_formats() -> list[FormatSpec]:
        return [FormatSpec(name="pairs", render=pairs)]


class File:
    trireme_register_collectors = staticmethod(trireme_register_collectors)


@pytest.fixture
def registry() -> Registry:
    made = Registry(entry_points=[])
    made.register(Pairs, name="pairs")
    made.register(File, name="file")
    return made


def test_the_file_collector_writes_in_the_format_of_a_plugin(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "flows.csv"
    with build_pipeline({"file": {"path": str(path), "format": "pairs"}}, registry) as pipeline:
        pipeline.collect_user_event(UserRecord(id="one"))
        pipeline.collect_flow_event(FLOW)
    assert path.read_bytes() == b"192.0.2.1,192.0.2.2\n"
    assert pipeline.status().collectors[0].delivered == 2


def test_an_unknown_format_is_told_with_its_place(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "collector.toml"
    path.write_text('[collectors.file]\npath = "x"\nformat = "pears"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, Configuration, registry=registry)
    message = str(caught.value)
    assert 'collector.toml:3:10: collectors.file.format: found string "pears"' in message
    assert "there is no plugin 'pears'" in message
    assert "(did you mean pairs?)" in message
    with pytest.raises(ConfigError, match=r"collectors\.file: format 'pears' is none"):
        build_pipeline({"file": {"path": "x", "format": "pears"}}, registry)


def test_a_known_format_is_taken(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "collector.toml"
    file = tmp_path / "flows.csv"
    path.write_text(f'[collectors.file]\npath = "{file}"\nformat = "pairs"\n', encoding="utf-8")
    loaded = load_config(path, Configuration, registry=registry)
    assert loaded.probe_outputs() == []
    with loaded.pipeline() as pipeline:
        pipeline.collect_flow_event(FLOW)
    assert file.read_bytes() == b"192.0.2.1,192.0.2.2\n"


def test_without_plugins_there_are_the_own_formats_only() -> None:
    def render(record: Record) -> bytes:
        return encode_json(record) + b"\n"

    context = CollectorContext(name="probe", instance="host")
    assert find_renderer("json", {"json": render}, context) is render
    with pytest.raises(ConfigError, match="no plugin can offer one here"):
        find_renderer("pairs", {"json": render}, context)


def test_the_mark_is_for_options_only() -> None:
    assert format_option("json").extra == {
        "formats": ("json",),
        "expected": '"json" or a format that a plugin offers',
    }


def broken(_record: Record) -> bytes:
    raise KeyError("inside")


@pytest.mark.parametrize(
    ("render", "said"),
    [
        (broken, "KeyError: 'inside'; this is a mistake in the plugin"),
        (lambda _: b"one\ntwo", "gives more than one line"),
        (lambda _: "text", "gives str"),
    ],
)
def test_what_is_no_line_is_refused(render: Callable[[Record], bytes], said: str) -> None:
    with pytest.raises(PermanentDeliveryError, match=said):
        render_line(FormatSpec(name="bad", render=render), FLOW)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = importlib.metadata.entry_points
    point = importlib.metadata.EntryPoint("pairs", "pairs_plugin", ENTRY_POINT_GROUP)

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        return [point] if group == ENTRY_POINT_GROUP else list(everything(group=group))

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    load = importlib.metadata.EntryPoint.load
    monkeypatch.setattr(
        importlib.metadata.EntryPoint,
        "load",
        lambda self: Pairs if self.value == "pairs_plugin" else load(self),
    )


@pytest.mark.usefixtures("installed")
def test_convert_writes_in_the_format_of_a_plugin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records.jsonl"
    lines = [encode_json(FLOW), encode_json(UserRecord(id="one"))]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert cli.main(["convert", "--to", "pairs", "--json", str(path)]) == ExitCode.OK
    shown = capsys.readouterr()
    assert shown.out == "192.0.2.1,192.0.2.2\n"
    counts = json.loads(shown.err)["summary"]
    assert (counts["written"], counts["left_out"]) == (1, 1)


@pytest.mark.usefixtures("installed")
def test_convert_names_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"")
    assert cli.main(["convert", "--to", "pears", str(path)]) == ExitCode.PLUGIN
    said = capsys.readouterr().err
    assert "native, netobserv, netobserv-strict, text" in said
    assert "installed are: pairs" in said


def test_the_registry_tells_what_a_plugin_does_not_offer(registry: Registry) -> None:
    assert registry.format_spec("pairs").name == "pairs"
    with pytest.raises(PluginError, match=r"offers no format$"):
        registry.format_spec("file")
    with pytest.raises(PluginError, match=r"offers no filter$"):
        registry.filter_spec("file")


class Struct(msgspec.Struct):
    """Not an options type with formats."""

    format: str = "anything"


def test_an_option_without_the_mark_is_left_alone(registry: Registry) -> None:
    from trireme_collector.option_formats import find_unknown_formats  # noqa: PLC0415

    assert list(find_unknown_formats(Struct(), registry)) == []
