"""The packet scripts of the testing kit."""

from __future__ import annotations

from trireme_datapath.testing import craft

__all__ = ["craft"]
