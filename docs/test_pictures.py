"""The pictures are legible, and what they say is so."""

from __future__ import annotations

import ast
import importlib.metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

import drawing
import pictures
import trireme_datapath.processes
from trireme_datapath.processes import supervisor

NAMES = ("packet", "processes", "record")


def test_every_picture_is_tested_and_used() -> None:
    assert tuple(pictures.PICTURES) == NAMES
    pages = "".join(p.read_text("utf-8") for p in Path(__file__).parent.glob("*/*.md"))
    assert [name for name in NAMES if f"```{{picture}} {name}\n" not in pages] == []


@pytest.mark.parametrize("name", NAMES)
def test_it_is_drawn(name: str) -> None:
    """A name of the code that is gone raises here, and ends the build."""
    drawn = ElementTree.fromstring(drawing.draw(pictures.PICTURES[name](), name))  # noqa: S314  ours
    assert len(drawn.get("aria-label", "")) > 100


@pytest.mark.parametrize("name", NAMES)
def test_texts_fit_into_their_boxes(name: str) -> None:
    wide = [
        text
        for box in pictures.PICTURES[name]().boxes
        for _, text in box.lines
        if len(text) * drawing.CHARACTER > box.width
    ]
    assert wide == []


@pytest.mark.parametrize("name", NAMES)
def test_boxes_lie_apart_and_within(name: str) -> None:
    picture = pictures.PICTURES[name]()
    for box in picture.boxes:
        assert 0 <= box.left <= box.left + box.width <= picture.width
        assert 0 <= box.top <= box.top + box.height <= picture.height
        for other in picture.boxes:
            assert (
                other is box
                or other.left >= box.left + box.width
                or box.left >= other.left + other.width
                or other.top >= box.top + box.height
                or box.top >= other.top + other.height
            )


@pytest.mark.parametrize("name", NAMES)
def test_arrows_lead_from_box_to_box(name: str) -> None:
    picture = pictures.PICTURES[name]()

    def touches(x: int, y: int) -> bool:
        return any(
            box.left <= x <= box.left + box.width and box.top <= y <= box.top + box.height
            for box in picture.boxes
        )

    ends = [end for arrow in picture.arrows for end in (arrow.points[0], arrow.points[-1])]
    assert [end for end in ends if not touches(*end)] == []


def test_unknown_names_are_seen() -> None:
    with pytest.raises(AttributeError):
        _ = drawing.Box(0, 0, 100, "gone", "trireme_collector.Gone").lines


def test_every_collector_is_shown() -> None:
    shown = ", ".join(pictures.collectors()).split(", ")
    own = importlib.metadata.distribution("trireme-collector").entry_points
    installed = {entry.name for entry in own.select(group="trireme_collector")}
    assert set(shown) <= installed
    pages = Path(__file__).parent / "reference"
    documented = {path.stem.partition("-")[2] for path in pages.glob("collectors-*.md")}
    assert documented == set(shown)


def _kept(module: str) -> list[tuple[str, ...]]:
    """Read what a process keeps from its calls of ``keep_only``."""
    path = Path(trireme_datapath.processes.__file__ or "").parent / f"{module}.py"
    found: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "keep_only":
            kept = node.args[0]
            if isinstance(kept, ast.List):
                found.append(tuple(e.attr for e in kept.elts if isinstance(e, ast.Attribute)))
            else:
                assert isinstance(kept, ast.Name)
                found.append(tuple(one.name for one in getattr(supervisor, kept.id)))
    return found


@pytest.mark.parametrize(
    ("role", "module"),
    [("supervisor", "supervisor"), ("enforcer", "_enforcer"), ("collector", "_collector")],
)
def test_processes_keep_what_the_picture_says(role: str, module: str) -> None:
    assert set(_kept(module)) == {pictures.KEEPS[role]}
