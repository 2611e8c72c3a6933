"""What others build on changes only after users were told: see `tests.project.interface`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.project import interface
from trireme_collector import FlowRecord, Record, RecordBase, __version__, hookspecs, pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CHANGELOG = interface.ROOT / "CHANGELOG.md"


@pytest.fixture(scope="module")
def described() -> dict[str, str]:
    return interface.describe()


def test_nothing_has_changed_since_it_was_announced(described: dict[str, str]) -> None:
    _, announced = interface.read_snapshot()
    difference = interface.compare(announced, described)
    kind = "changed or removed" if difference.breaking else "added"
    assert described == announced, (
        f"tell users in a news fragment ({kind}), and then run\n"
        f"  python -m tests.project.interface changelog.d/+few-words.KIND.md\n{difference}"
    )


def test_users_were_told() -> None:
    head, _ = interface.read_snapshot()
    is_released = re.search(
        rf"^## {re.escape(head['version'])} ", CHANGELOG.read_text("utf-8"), re.MULTILINE
    )
    assert is_released or (interface.ROOT / "changelog.d" / head["news"]).is_file()


def test_what_matters_is_described(described: dict[str, str]) -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("trireme_")]
    assert {f"trireme_collector.hookspecs.{name}" for name in hooks} <= described.keys()
    fields = [path for path in described if path.startswith("trireme_collector.FlowRecord[")]
    assert len(fields) == len(FlowRecord.__struct_fields__)
    for kind in (pipeline.Pipeline, hookspecs.CollectorSpec, RecordBase):
        assert f"trireme_collector.{kind.__name__}" in described
    assert not [line for line in described.values() if " at 0x" in line]


def struct(*fields: tuple[str, type] | tuple[str, type, object]) -> dict[str, str]:
    kind = msgspec.defstruct("Before", fields, frozen=True, kw_only=True)
    kind.__module__ = "trireme_collector.records"
    return interface._describe("Before", kind)


@pytest.mark.parametrize(
    ("fields", "breaks"),
    [
        ((("first", int), ("second", str, ""), ("third", int, 0)), False),
        ((("first", int), ("second", str, ""), ("third", int)), True),
        ((("second", str, ""), ("first", int)), True),
        ((("first", int), ("third", int, 0), ("second", str, "")), True),
        ((("first", int),), True),
        ((("first", int), ("other", str, "")), True),
        ((("first", str), ("second", str, "")), True),
        ((("first", int), ("second", str, "x")), True),
        ((("first", int), ("second", str)), True),
    ],
)
def test_a_record_may_only_gain_fields_at_its_end(
    fields: Iterable[tuple[str, type]], breaks: bool
) -> None:
    before = struct(("first", int), ("second", str, ""))
    difference = interface.compare(before, struct(*fields))
    assert (difference.added, difference.removed, difference.changed) != ((), (), ())
    assert bool(difference.breaking) is breaks


def before(first: int, *, second: str = "") -> None: ...


def with_option(first: int, *, second: str = "", third: int = 0) -> None: ...


def with_option_at_the_end(first: int, third: int = 0, *, second: str = "") -> None: ...


def with_requirement(first: int, *, second: str = "", third: int) -> None: ...


def without_option(first: int) -> None: ...


def with_other_name(one: int, *, second: str = "") -> None: ...


def with_other_type(first: str, *, second: str = "") -> None: ...


def with_other_default(first: int, *, second: str = "x") -> None: ...


def with_other_result(first: int, *, second: str = "") -> int: ...  # type: ignore[empty-body]  # its annotations matter


@pytest.mark.parametrize(
    ("after", "breaks"),
    [
        (with_option, False),
        (with_option_at_the_end, False),
        (with_requirement, True),
        (without_option, True),
        (with_other_name, True),
        (with_other_type, True),
        (with_other_default, True),
        (with_other_result, True),
    ],
)
def test_a_function_may_only_gain_optional_arguments(after: object, breaks: bool) -> None:
    old, new = interface._describe("f", before), interface._describe("f", after)
    assert old != new
    assert bool(interface.compare(old, new).breaking) is breaks


def test_a_hook_that_is_changed_is_seen(
    described: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trireme_register_formats(extra: int) -> None:
        del extra

    monkeypatch.setattr(hookspecs, "trireme_register_formats", trireme_register_formats)
    monkeypatch.setattr(hookspecs, "__all__", [n for n in hookspecs.__all__ if n != "NoOptions"])
    difference = interface.compare(described, interface.describe())
    path = "trireme_collector.hookspecs.trireme_register_formats"
    assert f"{path}(0 extra) is required" in difference.breaking
    assert "trireme_collector.hookspecs.NoOptions" in difference.removed


def test_a_new_name_breaks_nobody(described: dict[str, str]) -> None:
    new = {
        **described,
        "trireme_collector.new": "function -> None",
        "trireme_collector.new(x)": "int",
    }
    difference = interface.compare(described, new)
    assert len(difference.added) == 2
    assert difference.breaking == ()


def test_only_a_fragment_announces(
    tmp_path: Path, described: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "interface.txt"
    monkeypatch.setattr(interface, "SNAPSHOT", snapshot)
    gone = {**described, "trireme_collector.gone": "function -> None"}
    lines = "".join(f"{path}: {text}\n" for path, text in gone.items())
    snapshot.write_text(f"# version: {__version__}\n# news: +x.added.md\n{lines}", encoding="utf-8")
    directory = tmp_path / "changelog.d"
    directory.mkdir()
    for name in ("+x.added.md", "+x.removed.md"):
        (directory / name).touch()
    with pytest.raises(ValueError, match=r"must be changed or removed:\n  trireme_collector\.gone"):
        interface.announce(directory / "+x.added.md")
    with pytest.raises(ValueError, match="is no news fragment"):
        interface.announce(directory / "+none.removed.md")
    interface.announce(directory / "+x.removed.md")
    assert interface.read_snapshot() == (
        {"version": __version__, "news": "+x.removed.md"},
        described,
    )


def test_every_kind_of_record_is_described(described: dict[str, str]) -> None:
    for kind in Record.__args__:  # type: ignore[attr-defined]  # a union has them
        assert described[f"trireme_collector.{kind.__name__}"].startswith("struct type=")
