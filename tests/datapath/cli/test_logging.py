"""The log of a command: readable, and harmless to the terminal that shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog

from trireme_datapath.cli._logging import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "x\x00\x1b[31m\u202e\u2028y"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_nothing_that_others_chose_reaches_a_terminal_raw(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(as_json=False, color=False)
    log = structlog.get_logger()
    log.info("unit_told", unit=HOSTILE, reason=f"{HOSTILE} and more", count=3, name="web")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("it_failed")
    text = capsys.readouterr().err
    assert all(line.isprintable() for line in text.split("\n")), text
    first, *rest = text.splitlines()
    assert f"unit={HOSTILE!r} reason={f'{HOSTILE} and more'!r} count=3 name=web" in first
    assert rest[1].startswith("Traceback")
    assert rest[-1] == "ValueError: x\\x00\\x1b[31m\\u202e\\u2028y"


def test_json_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(as_json=True, color=False)
    structlog.get_logger().info("unit_told", unit=HOSTILE)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert json.loads(line)["unit"] == HOSTILE
