"""Fuzz how answers of RELP are read: ``python -m tests.fuzz.fuzz_relp --seconds 60 --seed 1``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector_syslog._relp_frames import (
    MAX_DATA_BYTES,
    FrameReader,
    RelpError,
    parse_answer,
    parse_offers,
    render_frame,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_OFFERS = b"200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0\ncommands=syslog"
_SEEDS = (
    render_frame(1, "rsp", _OFFERS) + render_frame(2, "rsp", b"200 OK"),
    render_frame(3, "rsp", b"500 refused") + render_frame(0, "serverclose", b""),
    render_frame(999_999_999, "syslog", bytes(range(256))),
    b"0 serverclose 0 \n",
    b"1 rsp 65537 x",
)


def _read(data: bytes, step: int) -> list[tuple[int, str, bytes]] | None:
    reader = FrameReader()
    frames: list[tuple[int, str, bytes]] = []
    try:
        for start in range(0, len(data), step):
            frames += reader.feed(data[start : start + step])
    except RelpError:
        return None
    return frames


def run(data: bytes) -> Hashable:
    """Read a stream at once and in pieces, write what came of it again, and read the answers."""
    frames = _read(data, len(data) or 1)
    assert _read(data, 7) == frames
    if frames is None:
        return None
    again = b"".join(render_frame(*frame) for frame in frames)
    assert _read(again, len(again) or 1) == frames
    codes = []
    for _, _, body in frames:
        assert len(body) <= MAX_DATA_BYTES
        try:
            answer = parse_answer(body)
        except RelpError as error:
            assert str(error).isprintable()  # noqa: PT017  any input may raise it
            continue
        assert 0 <= answer.code <= 999
        assert answer.text.isprintable()
        codes.append((answer.ok, len(parse_offers(answer.data))))
    return len(frames), tuple(codes)


TARGET = Target(name="relp", seeds=_SEEDS, run=run, max_bytes=4_000, max_seconds=0.05)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
