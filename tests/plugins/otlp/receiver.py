"""A receiver of OTLP logs on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugins.otlp.decoding import Seen, decode
from tests.plugins.push_receiver import PushAnswer, PushReceiver

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OtlpReceiver"]


class OtlpReceiver(PushReceiver):
    """Keeps the log records of each request, as far as it is there and takes them.

    Attributes:
        seen: What it took.
        script: Answers to give instead: status, type of the body, body.
        status: The status of every other answer.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.script: list[tuple[int, str, bytes]] = []
        self.status = 200
        super().__init__()

    def answer(self, headers: Mapping[str, str], body: bytes) -> PushAnswer:
        """Decode a request, unless the script has another answer."""
        if self.script:
            status, kind, answer = self.script.pop(0)
            return status, {"Content-Type": kind}, answer
        if self.status == 200:
            self.seen += decode(dict(headers), body)
        return self.status, {"Content-Type": headers["Content-Type"]}, b""
