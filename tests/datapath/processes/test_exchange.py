"""What is said of an exchange of the children, whatever came of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from trireme_collector.control import RestartResult
from trireme_datapath.processes._exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.processes._tree import Tree


class FakeTree:
    """Children that are exchanged at once, in time or not."""

    def __init__(self, *, in_time: bool) -> None:
        self.posts = [SimpleNamespace(changes=1, longest_pause_ns=0)]
        self.staff = self.keeper = self
        self.complete = self.ready = in_time
        self.pid = 7

    def exchange_all(self) -> None:
        self.posts[0].changes += 1
        self.posts[0].longest_pause_ns = 1_500_000

    def exchange(self, _deadline_seconds: float) -> None:
        self.pid += 1

    def wait(self, condition: Callable[[], bool], _seconds: float) -> bool:
        return condition()


@pytest.mark.parametrize(
    ("in_time", "ending", "said"),
    [
        (True, False, ""),
        (False, False, "not every process could be exchanged"),
        (True, True, "told to end meanwhile"),
    ],
)
def test_only_what_was_done_is_said(*, in_time: bool, ending: bool, said: str) -> None:
    tree = cast("Tree", FakeTree(in_time=in_time))
    with capture_logs() as log:
        result = Exchange(tree, 1.0, lambda: ending).run()
    assert [one["complete"] for one in log if one["event"] == "restarted"] == [not said]
    if said:
        assert said in str(result)
    else:
        assert isinstance(result, RestartResult)
        assert (result.enforcers, result.longest_pause_ms) == (1, 1.5)
