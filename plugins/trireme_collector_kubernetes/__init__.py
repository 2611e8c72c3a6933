"""Names for the addresses of a cluster."""

from __future__ import annotations

from trireme_collector_kubernetes.object_file import (
    ObjectFile,
    ObjectFileOptions,
    trireme_register_enrichers,
)

__all__ = ["ObjectFile", "ObjectFileOptions", "trireme_register_enrichers"]
