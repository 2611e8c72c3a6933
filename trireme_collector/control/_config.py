"""The section ``[control]``: where a running agent takes commands, and from whom."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from trireme_collector._toml_checker import Unfit

__all__ = ["DEFAULT_PATH", "MAX_PATH_BYTES", "ControlConfig"]

DEFAULT_PATH: Final = "/run/trireme-collector/control.sock"
"""Where commands look for a running agent, and where it listens if nothing else is said."""
MAX_PATH_BYTES: Final = 107  # sun_path of linux/un.h, without its final NUL


def _check_path(value: object) -> object:
    text = str(value)
    size = len(text.encode("utf-8", "surrogateescape"))
    if text and (not text.startswith("/") or "\0" in text or size > MAX_PATH_BYTES):
        msg = f"an absolute path of at most {MAX_PATH_BYTES} bytes"
        raise Unfit(msg)
    return value


class ControlConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a running agent takes commands.

    Attributes:
        enabled: Whether it takes any.
        path: The unix socket; ``/run/trireme-collector/control.sock`` if not given. Its directory
            must be there and must not be writable by everybody.
        group: The group, by name or number, that may open the socket besides its owner; the
            group of the process if not given.
    """

    enabled: bool = True
    path: Annotated[
        str, msgspec.Meta(extra={"validate": _check_path, "expected": "an absolute path"})
    ] = ""
    group: Annotated[str, msgspec.Meta(max_length=64)] = ""

    @property
    def place(self) -> str:
        """The path, the default one included."""
        return self.path or DEFAULT_PATH

    @property
    def is_demanded(self) -> bool:
        """Whether the configuration says more than nothing, so that it must not fail."""
        return self.enabled and bool(self.path or self.group)
