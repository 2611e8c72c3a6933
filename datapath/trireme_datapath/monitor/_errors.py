"""The one error of the messages."""

from __future__ import annotations

from trireme_collector.errors import DatapathError

__all__ = ["MessageError"]


class MessageError(DatapathError):
    """A message is shorter than its kind, of an unknown version, or does not hold what it should.

    Its text is that of Cilium.
    """
