"""The log of a command: readable, and harmless to the terminal that shows it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
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


def test_a_full_disk_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logging(as_json=False, color=False)
        structlog.get_logger().error("rules_changed")


def test_a_reader_that_is_gone_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        configure_logging(as_json=False, color=False)
        structlog.get_logger().error("rules_changed")


def test_a_log_that_was_closed_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure_logging(as_json=False, color=None)
    structlog.get_logger().error("rules_changed")


def test_a_reader_that_reads_nothing_delays_nobody_and_hears_what_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as slow, os.fdopen(writer, "w", encoding="utf-8") as stuck:
        monkeypatch.setattr(sys, "stderr", stuck)
        configure_logging(as_json=True, color=False)
        log = structlog.get_logger()
        for number in range(200):  # 65,536 bytes are room for the first of them
            log.info("x" * 1_000, number=number)
        os.set_blocking(reader, False)
        first = slow.read()
        log.info("at_last")
        log.info("and_again")
        lines = [json.loads(line) for line in (first + slow.read()).splitlines()]
    written = [line["number"] for line in lines[:-2]]
    assert written == list(range(len(written)))
    assert 30 < len(written) < 100
    assert lines[-2]["log_lines_lost"] == 200 - len(written)
    assert "log_lines_lost" not in lines[-1]


def test_a_line_that_was_torn_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as slow, os.fdopen(writer, "w", encoding="utf-8") as stuck:
        monkeypatch.setattr(sys, "stderr", stuck)
        configure_logging(as_json=False, color=False)
        log = structlog.get_logger()
        log.info("x" * 100_000)
        os.set_blocking(reader, False)
        first = slow.read()
        log.info("next")
        *_, last = (first + slow.read()).splitlines()
    assert last.split()[-2:] == [b"next", b"log_lines_lost=1"]
    assert b"xxx" not in last
