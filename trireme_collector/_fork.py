"""What a fork leaves in the child: threads do not come along, and locks stay as they were."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["leave_in_child"]

_methods: set[weakref.WeakMethod[Callable[[], None]]] = set()


def leave_in_child(method: Callable[[], None]) -> None:
    """Call a method in every child that is forked from now on, while its object lives."""
    _methods.add(weakref.WeakMethod(method, _methods.discard))


def _leave_all() -> None:
    methods = [reference() for reference in _methods.copy()]
    _methods.clear()
    for method in methods:
        if method is not None:
            method()


os.register_at_fork(after_in_child=_leave_all)
