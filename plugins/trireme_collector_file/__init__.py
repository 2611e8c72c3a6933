"""The collector ``file``: one line of JSON per record."""

from __future__ import annotations

from trireme_collector import CollectorSpec, Stability, hookimpl
from trireme_collector_file._options import FileOptions, Fsync
from trireme_collector_file.collector import FileCollector

__all__ = ["FileCollector", "FileOptions", "Fsync", "trireme_register_collectors"]


@hookimpl
def trireme_register_collectors() -> list[CollectorSpec[FileOptions]]:
    """Offer the collector."""
    return [
        CollectorSpec(
            name="file",
            factory=lambda options, context: FileCollector(
                options, name=context.name, context=context
            ),
            config_type=FileOptions,
            summary="Writes records as JSON lines to a file that it rotates.",
            stability=Stability.BETA,
        )
    ]
