"""What a picture is made of, boxes and arrows, and how it becomes SVG.

A box may carry the full name of what it stands for: it is looked up when the picture is drawn, so
a name that is gone ends the build. Colours are those of the page: a picture suits a light and a
dark one.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

CHARACTER = 6.9  # the width of one, in the units of the drawing, at most
LINE = 17
PADDING = 10


class Box(NamedTuple):
    """Something that does something.

    Attributes:
        left: Where it begins, in the units of the drawing.
        top: As above.
        width: How wide it is.
        title: What it is.
        code: The full name of what it stands for, or ``""``.
        notes: What else is to be said, a line each.
        kind: ``own``, ``kernel`` or ``outside``.
    """

    left: int
    top: int
    width: int
    title: str
    code: str = ""
    notes: tuple[str, ...] = ()
    kind: str = "own"

    @property
    def height(self) -> int:
        """Say how much room its lines take."""
        return PADDING * 2 + LINE * (1 + bool(self.code) + len(self.notes)) - 3

    @property
    def lines(self) -> list[tuple[str, str]]:
        """List what stands in it: the kind of each line, and its text.

        Raises:
            AttributeError: There is nothing with the name that it carries.
        """
        lines = [("title", self.title)]
        if self.code:
            find(self.code)
            lines.append(("code", self.shown_code))
        return lines + [("note", note) for note in self.notes]

    @property
    def shown_code(self) -> str:
        """Give the name as it stands in the box: without its package."""
        parts = self.code.split(".")
        first = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
        return ".".join(parts[first:])


class Arrow(NamedTuple):
    """What goes from one place to another.

    Attributes:
        points: The corners of its way.
        label: What goes there.
        at: Where the label stands.
        anchor: ``start``, ``middle`` or ``end``: what of the label stands there.
    """

    points: tuple[tuple[int, int], ...]
    label: str = ""
    at: tuple[int, int] = (0, 0)
    anchor: str = "middle"


class Frame(NamedTuple):
    """A border around boxes that belong together."""

    left: int
    top: int
    width: int
    height: int
    title: str


class Picture(NamedTuple):
    """A drawing, and what it says to those who cannot see it."""

    width: int
    height: int
    text: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Frame, ...] = ()


def find(name: str) -> object:
    """Look up a full name.

    Raises:
        AttributeError: There is no such thing.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def rectangle(kind: str, left: int, top: int, width: int, height: int) -> str:
    """Draw a rectangle with round corners."""
    place = f'x="{left}" y="{top}" width="{width}" height="{height}"'
    return f'<rect class="{kind}" {place} rx="6"/>'


def words(kind: str, x: int, y: int, text: str, anchor: str = "middle") -> str:
    """Write a line of text."""
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def draw_box(box: Box) -> list[str]:
    """Draw a box and its lines."""
    lines = [rectangle(box.kind, box.left, box.top, box.width, box.height)]
    for number, (kind, text) in enumerate(box.lines):
        down = box.top + PADDING + LINE * (number + 1) - 5
        lines.append(words(kind, box.left + box.width // 2, down, text))
    return lines


def draw(picture: Picture, name: str) -> str:
    """Write a picture as SVG that takes its colours from the page."""
    head = f"head-{name}"
    size = f"0 0 {picture.width} {picture.height}"
    lines = [
        f'<svg class="picture" role="img" viewBox="{size}" aria-label={quoteattr(picture.text)}>',
        f'<defs><marker id="{head}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"',
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for frame in picture.frames:
        lines.append(rectangle("frame", frame.left, frame.top, frame.width, frame.height))
        lines.append(words("label", frame.left + 12, frame.top + 20, frame.title, "start"))
    for arrow in picture.arrows:
        way = " ".join(f"{x},{y}" for x, y in arrow.points)
        lines.append(f'<polyline class="arrow" points="{way}" marker-end="url(#{head})"/>')
    for box in picture.boxes:
        lines += draw_box(box)
    for arrow in picture.arrows:
        if arrow.label:
            lines.append(words("label", *arrow.at, arrow.label, arrow.anchor))
    return "\n".join([*lines, "</svg>"])
