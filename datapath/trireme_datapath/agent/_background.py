"""Work that takes long, beside a loop that must not wait."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BackgroundWork"]

# A thread that works gives way to the loop after so long; 5 ms are usual.
_SWITCH_SECONDS: Final = 0.0002

ResultT = TypeVar("ResultT")


class BackgroundWork:
    """Does one thing after the other in threads, and tells a loop what came of it.

    Args:
        post: Has something called by the thread of the loop; from any thread.
    """

    def __init__(self, post: Callable[[Callable[[], None]], object]) -> None:
        """Do nothing yet."""
        self._post = post

    def do(
        self,
        work: Callable[[], ResultT],
        done: Callable[[ResultT], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Have something done.

        Args:
            work: Done in a thread.
            done: Called by the loop with the result.
            failed: Called by the loop with what was raised.
        """

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  carried to the thread of the loop
                reason = error  # the name above is gone when the loop asks
                self._post(lambda: failed(reason))
            else:
                self._post(lambda: done(result))

        sys.setswitchinterval(_SWITCH_SECONDS)
        threading.Thread(target=run, name="trireme-background", daemon=True).start()
