"""Every name of the four original documents has its row in the reference, and the row is true.

``tests/data/original_names.txt`` lists the names and says where they are from.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from trireme_collector.netobserv import SEED_FIELDS
from trireme_datapath.recorder.protocol import recorder_schema

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "names.md"
NAMES = ROOT / "tests" / "data" / "original_names.txt"
ROW = re.compile(r"^\| ([\w ]+) \| `([\w.]+)` \| (\w+) \| `([\w.]+)` \|$", re.MULTILINE)


class Row(NamedTuple):
    """A name of a document, and what it is called here."""

    system: str
    name: str
    kind: str
    python: str


ROWS = [Row(*found) for found in ROW.findall(PAGE.read_text("utf-8"))]


def names() -> list[tuple[str, ...]]:
    lines = NAMES.read_text("utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if not line.startswith("#")]


def find(name: str) -> object:
    """Follow a full name; fields of a record are attributes of its class."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found: object = importlib.import_module(module)
        except ModuleNotFoundError as error:
            # A missing dependency is another matter than a name that is no module.
            if not module.startswith(error.name or "?"):
                raise
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


def test_the_table_has_every_name_once() -> None:
    listed = [(row.system, row.name) for row in ROWS]
    assert len(names()) > 490
    assert sorted(listed) == sorted(names())


@pytest.mark.parametrize("system", sorted({row.system for row in ROWS}))
def test_every_row_names_something(system: str) -> None:
    wrong = []
    for row in ROWS:
        try:
            found = find(row.python)
        except AttributeError:
            found = None
        if row.system == system and found is None:
            wrong.append(row)
    assert wrong == []


def test_numbers_are_those_of_the_original() -> None:
    """Constants of one block of Go's count up, from zero."""
    blocks = {
        "DbgCapture": (0, 11),
        "Dbg": (0, 64),
        "Ct": (0, 3),
        "TraceReason": (0, 4),
        "TraceNotifyVersion": (0, 1),
    }
    constants = [row for row in ROWS if (row.system, row.kind) == ("Cilium monitor", "constant")]
    counted = {
        prefix: [
            find(row.python)
            for row in constants
            if re.match(rf"{prefix}(?!Capture|EncryptMask)", row.name)
        ]
        for prefix in blocks
    }
    assert counted == {
        prefix: list(range(first, last + 1)) for prefix, (first, last) in blocks.items()
    }


def test_the_recorder_speaks_every_message_under_its_name() -> None:
    schema = recorder_schema()
    file = next(file for file in schema.files if file.package == "recorder")
    spoken = {message.name for message in file.messages} | {enum.name for enum in file.enums}
    spoken |= {service.name for service in file.services}
    spoken = {name.removeprefix("recorder.") for name in spoken}
    listed = {row.name for row in ROWS if row.system == "Hubble recorder"}
    assert {name for name in listed if "." not in name and "PROTOCOL_" not in name} == spoken


def test_the_fields_of_flow_logs_are_those_of_the_format() -> None:
    listed = {r.name for r in ROWS if r.system == "NetObserv flows" and r.kind == "field"}
    assert listed == set(SEED_FIELDS)
