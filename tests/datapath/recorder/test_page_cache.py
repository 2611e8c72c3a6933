"""Pages of recordings that leave the memory of the host."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.recorder._page_cache import PageRelease

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

MIB = 1 << 20


def _open(path: Path) -> int:
    return os.open(path / "capture", os.O_RDWR | os.O_CREAT)


def test_small_files_cost_no_thread(tmp_path: Path, mocker: MockerFixture) -> None:
    advise = mocker.patch("os.posix_fadvise")
    descriptor = _open(tmp_path)
    pages = PageRelease(descriptor)
    before = threading.active_count()
    pages.grown(4 * MIB - 1)
    assert threading.active_count() == before
    pages.close()
    pages.join()
    os.close(descriptor)
    advise.assert_not_called()


def test_grown_files_are_let_go_of(tmp_path: Path, mocker: MockerFixture) -> None:
    called = threading.Semaphore(0)
    advise = mocker.patch("os.posix_fadvise", side_effect=lambda *_: called.release())
    descriptor = _open(tmp_path)
    pages = PageRelease(descriptor)
    for size in (4 * MIB, 7 * MIB, 100 * MIB):
        pages.grown(size)
        if size != 7 * MIB:  # that is too little since the last time
            assert called.acquire(timeout=10)
    os.close(descriptor)
    pages.close()
    pages.join(10)
    own = advise.call_args_list[0].args[0]
    assert own != descriptor
    assert [call.args for call in advise.call_args_list] == [
        (own, 0, 4 * MIB, os.POSIX_FADV_DONTNEED),
        (own, 36 * MIB, 64 * MIB, os.POSIX_FADV_DONTNEED),
        (own, 0, 0, os.POSIX_FADV_DONTNEED),
    ]


def test_a_file_system_that_does_not_know_how(tmp_path: Path, mocker: MockerFixture) -> None:
    mocker.patch("os.posix_fadvise", side_effect=OSError(errno.EINVAL, "invalid"))
    descriptor = _open(tmp_path)
    pages = PageRelease(descriptor)
    pages.grown(4 * MIB)
    pages.close()
    pages.join(10)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("missing", "error"),
    [("os.dup", OSError(errno.EMFILE, "many")), ("threading.Thread.start", RuntimeError("none"))],
)
def test_without_means_the_pages_stay(
    tmp_path: Path, mocker: MockerFixture, missing: str, error: Exception
) -> None:
    advise = mocker.patch("os.posix_fadvise")
    descriptor = _open(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    pages = PageRelease(descriptor)
    mocker.patch(missing, side_effect=error)
    for size in (4 * MIB, 100 * MIB):
        pages.grown(size)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    pages.close()
    pages.join()
    os.close(descriptor)
    advise.assert_not_called()


def test_who_writes_never_waits_for_it(tmp_path: Path, mocker: MockerFixture) -> None:
    disk = threading.Event()
    mocker.patch("os.posix_fadvise", side_effect=lambda *_: disk.wait(10))
    descriptor = _open(tmp_path)
    pages = PageRelease(descriptor)
    for size in range(4 * MIB, 200 * MIB, 4 * MIB):
        pages.grown(size)
    pages.close()
    os.close(descriptor)
    assert not disk.is_set()
    disk.set()
    pages.join(10)
