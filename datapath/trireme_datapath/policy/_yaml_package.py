"""The one place that imports PyYAML, which is an extra."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from trireme_collector.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["yaml_package"]


def yaml_package() -> ModuleType:
    """Give the package.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module("yaml")
    except ImportError as error:
        msg = (
            "a policy in YAML needs the package PyYAML:"
            ' pip install "trireme-collector[yaml]", or write the policy as TOML'
        )
        raise MissingExtraError(msg) from error
