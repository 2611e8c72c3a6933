"""One kind of objects, listed once and watched from then on."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from trireme_collector_kubernetes._objects import (
    Event,
    Listing,
    addresses_of,
    object_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trireme_collector.netobserv import KubernetesObject
    from trireme_collector_kubernetes._objects import Item, Kind

    _Entry: TypeAlias = tuple[KubernetesObject, tuple[str, ...]]

__all__ = ["Answer", "ApiError", "ClusterApi", "Watcher"]

_PAGE = 500
_WATCH_SECONDS = 300
_BACK_OFF_SECONDS = (1.0, 60.0)
_QUIET_SECONDS = 10.0
_GONE = 410
_MAX_EVENT_BYTES = 16 * 1024 * 1024  # an object of the API has a tenth of that at most

_decode_listing = msgspec.json.Decoder(Listing).decode
_decode_event = msgspec.json.Decoder(Event).decode


class ApiError(Exception):
    """The server did not do what it was asked.

    Attributes:
        code: The HTTP code; 0 if there was no answer.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.code = code


class Answer(Protocol):
    """An answer of the server."""

    def read(self) -> bytes:
        """Give all of it."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Give it as it comes."""
        ...

    def interrupt(self) -> None:
        """Make a thread that waits for more of it go on; called by another one."""

    def close(self) -> None:
        """End it."""


class ClusterApi(Protocol):
    """What a watcher needs of the API."""

    def ask(self, kind: Kind, parameters: Mapping[str, object]) -> Answer:
        """List or watch all objects of a kind.

        Raises:
            ApiError: There is no answer, or a refusal.
        """
        ...


class Watcher:
    """Knows the objects of one kind by their addresses.

    Its thread lists the objects, a page at a time, and watches what changes from there on. When
    the server has forgotten where that was (410 Gone), it lists again; when it does not answer,
    it tries again, later each time. What is known stays known meanwhile.

    Args:
        kind: What is watched.
        api: The API.
        max_objects: How many objects are kept; more are passed over.
        warn: Takes what went wrong, and how often in a row.
        stop: Ends the thread.

    Attributes:
        is_ready: Set once everything was listed.
        by_address: The objects by address.
        by_name: Nodes by name.
        lists: How often everything was listed.
        passed_over: How many objects were too many.
    """

    def __init__(
        self,
        kind: Kind,
        api: ClusterApi,
        *,
        max_objects: int,
        warn: Callable[[str, int], object],
        stop: threading.Event,
    ) -> None:
        """Start knowing nothing; `run` is for a thread."""
        self.is_ready = threading.Event()
        self.by_address: dict[str, KubernetesObject] = {}
        self.by_name: dict[str, KubernetesObject] = {}
        self.lists = self.passed_over = 0
        self._kind: Kind = kind
        self._api = api
        self._max_objects = max_objects
        self._warn = warn
        self._stop = stop
        self._known: dict[str, _Entry] = {}
        self._version = ""
        self._answer: Answer | None = None

    def interrupt(self) -> None:
        """Wake the thread that follows changes, once it is to stop."""
        answer = self._answer
        if answer is not None:
            answer.interrupt()

    def run(self) -> None:
        """List and watch until it is to stop."""
        failures = 0
        while not self._stop.is_set():
            try:
                if not self._version:
                    self._list()
                # An answer that ends at once must not be asked for again and again.
                failures = 0 if self._watch() else failures + 1
            except ApiError as error:
                failures += 1
                if error.code == _GONE:
                    self._version = ""
                    if failures == 1:
                        continue
                self._tell(error, failures)
            if failures:
                self._stop.wait(self._pause(failures))

    def _tell(self, error: ApiError, failures: int) -> None:
        if not self._stop.is_set():
            self._warn(f"{self._kind}: {error}", failures)

    @staticmethod
    def _pause(failures: int) -> float:
        first, most = _BACK_OFF_SECONDS
        # Not all at the same moment: there may be one on every node.
        longest = min(most, first * float(2 ** min(failures - 1, 10)))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  no secret

    def _list(self) -> None:
        known: dict[str, _Entry] = {}
        by_address: dict[str, KubernetesObject] = {}
        by_name: dict[str, KubernetesObject] = {}
        passed_over, page = 0, ""
        while True:
            parameters: dict[str, object] = {"limit": _PAGE}
            if page:
                parameters["_continue"] = page
            answer = self._api.ask(self._kind, parameters)
            try:
                listing = _decode_listing(answer.read())
            except (ValueError, RecursionError) as error:
                raise ApiError(f"a list cannot be read: {error}") from error
            finally:
                answer.close()
            for item in listing.items or ():
                passed_over += not self._put(item, known, by_address, by_name)
            page = listing.metadata.next_page or ""
            if not page:
                break
        # At once: whoever looks something up sees the old or the new.
        self._known, self.by_address, self.by_name = known, by_address, by_name
        self.passed_over = passed_over
        self._version = listing.metadata.resource_version
        self.lists += 1
        self.is_ready.set()

    def _watch(self) -> bool:
        """Follow changes; say whether that went well: something came, or it lasted."""
        begin = time.monotonic()
        answer = self._api.ask(
            self._kind,
            {
                "watch": True,
                "resource_version": self._version,
                "allow_watch_bookmarks": True,
                "timeout_seconds": _WATCH_SECONDS,
            },
        )
        came = False
        self._answer = answer
        try:
            # Between the question and here nobody could have woken this thread.
            if self._stop.is_set():
                return True
            for line in _lines(answer.pieces()):
                self._take(line)
                came = True
                if self._stop.is_set():
                    break
        finally:
            self._answer = None
            answer.close()
        return came or time.monotonic() - begin >= _QUIET_SECONDS

    def _take(self, line: bytes) -> None:
        try:
            event = _decode_event(line)
        except (ValueError, RecursionError) as error:
            # What changed is unknown, so everything is.
            raise ApiError(f"a change cannot be read: {error}", _GONE) from error
        item = event.item
        if event.type == "ERROR":
            raise ApiError(f"the server ends the watch: {item.message}", item.code or _GONE)
        if event.type == "DELETED":
            _remove(self._known.pop(item.metadata.uid, None), self.by_address, self.by_name)
        elif event.type != "BOOKMARK":
            self.passed_over += not self._put(item, self._known, self.by_address, self.by_name)
        if item.metadata.resource_version:
            self._version = item.metadata.resource_version

    def _put(
        self,
        item: Item,
        known: dict[str, _Entry],
        by_address: dict[str, KubernetesObject],
        by_name: dict[str, KubernetesObject],
    ) -> bool:
        old = known.pop(item.metadata.uid, None)
        addresses = addresses_of(self._kind, item)
        has_room = not addresses or len(known) < self._max_objects
        if addresses and has_room:
            found = object_of(self._kind, item)
            known[item.metadata.uid] = found, addresses
            if self._kind == "nodes":
                by_name[item.metadata.name] = found
            by_address.update(dict.fromkeys(addresses, found))
        # Afterwards, so that nobody finds nothing in between.
        _remove(old, by_address, by_name)
        return has_room


def _remove(
    old: _Entry | None,
    by_address: dict[str, KubernetesObject],
    by_name: dict[str, KubernetesObject],
) -> None:
    if old is None:
        return
    found, addresses = old
    for address in addresses:
        # Its next state, or somebody else, may have the address by now.
        if by_address.get(address) is found:
            del by_address[address]
    if by_name.get(found.name) is found:
        del by_name[found.name]


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from filter(None, lines)
        if len(rest) > _MAX_EVENT_BYTES:
            raise ApiError("a change is longer than anything should be", _GONE)
