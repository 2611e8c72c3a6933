"""Filters choose what the original chooses, and refuse what it refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec

from trireme_datapath.observer import compile_filters, read_filter
from trireme_datapath.observer.flow_filter import FilterError
from trireme_datapath.observer.json_form import FLOW, read_message

DATA = Path(__file__).parents[2] / "data" / "hubble_filters.json.gz"


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """Lists of filters, and what the original made of them."""

    allow: list[dict[str, object]]
    deny: list[dict[str, object]]
    flows: list[dict[str, object]] = []
    fits: list[bool] = []
    error: str = ""


def rows() -> list[Row]:
    return msgspec.convert(json.loads(gzip.decompress(DATA.read_bytes())), list[Row])


def chosen(row: Row) -> list[bool]:
    test = compile_filters(map(read_filter, row.allow), map(read_filter, row.deny))
    flows = [read_message(FLOW, flow) for flow in row.flows]
    return [test is None or bool(test(flow)) for flow in flows]


def test_the_same_flows_fit() -> None:
    sound = [row for row in rows() if not row.error]
    assert len(sound) > 400
    assert [row for row in sound if chosen(row) != row.fits] == []


def test_the_same_filters_are_refused() -> None:
    texts = 0
    for row in (row for row in rows() if row.error):
        try:
            chosen(row)
        except FilterError as error:
            found = str(error)
        else:
            raise AssertionError(f"expected: {row.error}")
        fields = [name for one in (*row.allow, *row.deny) for name in one]
        # With several mistakes the first one is told, and which that is may differ; selectors of
        # labels are read by another parser, with words of its own.
        if len(fields) == 1 and "label filter" not in row.error:
            assert found == row.error
            texts += 1
    assert texts > 10
