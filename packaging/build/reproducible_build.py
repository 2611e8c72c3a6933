"""The build backend: setuptools, and then archives with the same bytes wherever they are built.

What setuptools leaves to the machine is set here: times, owners, permissions and the order of
files. ``SOURCE_DATE_EPOCH`` gives the time; without it, it is a fixed one.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

OLDEST: Final = 315532800
"""The first second of 1980, UTC: a zip file knows no earlier one."""


def build_time() -> int:
    """Say what time the archives carry, in seconds since 1970 UTC."""
    return max(OLDEST, int(os.environ.get("SOURCE_DATE_EPOCH") or OLDEST))


@contextlib.contextmanager
def _plain_umask() -> Iterator[None]:
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, object] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build a wheel; see PEP 517."""
    with _plain_umask():
        name = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
        settle_wheel(Path(wheel_directory, name))
    return str(name)


def build_sdist(sdist_directory: str, config_settings: Mapping[str, object] | None = None) -> str:
    """Build a source archive; see PEP 517."""
    with _plain_umask():
        name = build_meta.build_sdist(sdist_directory, config_settings)
        settle_sdist(Path(sdist_directory, name))
    return str(name)


def _mode(mode: int) -> int:
    return 0o755 if mode & 0o100 else 0o644


def settle_wheel(path: Path) -> None:
    """Write a wheel anew: its files in the order in which they are, at one time."""
    when = time.gmtime(build_time())[:6]
    new = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as archive:
        for entry in old.infolist():
            info = zipfile.ZipInfo(entry.filename, when)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, whatever it was built on
            info.external_attr = (0o100000 | _mode(entry.external_attr >> 16)) << 16
            archive.writestr(info, old.read(entry), compresslevel=9)
    path.write_bytes(new.getvalue())


def settle_sdist(path: Path) -> None:
    """Write a source archive anew: its files by name, at one time, of nobody."""
    new = io.BytesIO()
    with (
        tarfile.open(path) as old,
        gzip.GzipFile(filename="", mode="wb", fileobj=new, mtime=build_time()) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for entry in sorted(old.getmembers(), key=lambda entry: entry.name):
            info = tarfile.TarInfo(entry.name)
            info.type, info.size, info.linkname = entry.type, entry.size, entry.linkname
            info.mtime = build_time()
            info.mode = 0o755 if entry.isdir() else _mode(entry.mode)
            archive.addfile(info, old.extractfile(entry) if entry.isfile() else None)
    path.write_bytes(new.getvalue())
