"""A Loki as far as pushes go: it decodes them, and refuses lines as Loki does."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from tests.plugins.loki.decoding import Line, decode_push
from tests.plugins.push_receiver import PushAnswer, PushReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LokiReceiver"]


class LokiReceiver(PushReceiver):
    """Keeps the lines of each push, as far as it is there and takes them.

    Attributes:
        lines: What it took, in the order in which it came; a line that is in its stream already,
            with the same time, is taken once, as Loki does.
        pushes: How many requests there were.
        script: Answers to give instead, one for each request: status, headers, body.
        oldest_ns: Lines before that are too old; the others of the push are taken.
        refuses: Says why a line is refused for another reason, or "".
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.tenants: list[str | None] = []
        self.script: list[tuple[int, dict[str, str], bytes]] = []
        self.oldest_ns = 0
        self.refuses: Callable[[Line], str] = lambda _: ""
        self._known: set[tuple[object, int, str]] = set()
        super().__init__()

    @property
    def pushes(self) -> int:
        return len(self.targets)

    def answer(self, headers: Mapping[str, str], body: bytes) -> PushAnswer:
        """Decode a push, unless the script has another answer."""
        self.tenants.append(headers.get("X-Scope-OrgID"))
        if self.script:
            return self.script.pop(0)
        encoding = headers.get("Content-Encoding", "")
        status, complaint = self.take(decode_push(headers["Content-Type"], encoding, body))
        return status, {}, complaint

    def take(self, lines: list[Line]) -> tuple[int, bytes]:
        """Take what is good of a push, and complain about the rest, as Loki does."""
        complaint = ""
        for line in lines:
            labels = "{" + ", ".join(f'{name}="{value}"' for name, value in line.stream) + "}"
            if line.time_ns < self.oldest_ns:
                complaint = (
                    f"entry for stream '{labels}' has timestamp too old: {_rfc3339(line.time_ns)},"
                    f" oldest acceptable timestamp is: {_rfc3339(self.oldest_ns)}"
                )
            elif reason := self.refuses(line):
                complaint = reason
            elif (key := (line.stream, line.time_ns, line.text)) not in self._known:
                self._known.add(key)
                self.lines.append(line)
        return (400, complaint.encode()) if complaint else (204, b"")


def _rfc3339(time_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
