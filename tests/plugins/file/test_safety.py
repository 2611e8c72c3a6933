"""Nobody else can have the collector write to a file that is not meant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.file.lives import Life, reports
from trireme_collector import ConfigError, RetryableDeliveryError
from trireme_collector_file import FileCollector, FileOptions
from trireme_collector_file._disk import SystemDisk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


class Foreign(SystemDisk):
    """Shows files as another user's."""

    def describe(self, descriptor: int) -> os.stat_result:
        fields = list(super().describe(descriptor))
        fields[4] = os.geteuid() + 1
        return os.stat_result(fields)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"whole\n")
    life = Life(tmp_path / "d", SystemDisk())
    (life.directory / "flows.jsonl").symlink_to(target)
    with pytest.raises(ConfigError, match="it is a symbolic link; name the file that it leads to"):
        life.build().open()
    assert target.read_bytes() == b"whole\n"


def test_a_link_that_leads_nowhere_makes_no_file(tmp_path: Path) -> None:
    life = Life(tmp_path / "d", SystemDisk())
    (life.directory / "flows.jsonl").symlink_to(tmp_path / "new")
    with pytest.raises(ConfigError, match="symbolic link"):
        life.build().open()
    assert not (tmp_path / "new").exists()


def test_a_link_that_takes_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    life = Life(tmp_path / "d", SystemDisk())
    collector = life.build()
    collector.open()
    path = life.directory / "flows.jsonl"
    path.rename(tmp_path / "target")
    path.symlink_to(tmp_path / "target")
    with pytest.raises(RetryableDeliveryError, match="symbolic link"):
        collector.deliver(reports(0, 1))
    path.unlink()
    collector.deliver(reports(0, 1))
    collector.close()
    assert (tmp_path / "target").read_bytes() == b""
    assert path.stat().st_size


def test_a_linked_directory_is_followed(tmp_path: Path) -> None:
    life = Life(tmp_path / "d", SystemDisk())
    (tmp_path / "link").symlink_to(life.directory)
    options = msgspec.structs.replace(life.options, path=str(tmp_path / "link" / "flows.jsonl"))
    collector = FileCollector(options)
    collector.open()
    collector.deliver(reports(0, 1))
    collector.close()
    assert (life.directory / "flows.jsonl").stat().st_size


def test_a_loop_of_directories_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ConfigError, match="its directory is in a loop of symbolic links"):
        FileCollector(FileOptions(path=str(tmp_path / "a" / "f"))).open()


def test_a_file_of_another_user_in_a_shared_directory_is_refused(shared: Path) -> None:
    options = FileOptions(path=str(shared / "f"))

    def try_to_open(disk: SystemDisk) -> None:
        collector = FileCollector(options, disk=disk)
        try:
            collector.open()
        finally:
            collector.close()

    for disk in (SystemDisk(), Foreign(), SystemDisk()):
        # Whoever makes the file has it; only one that was there is looked at.
        (shared / "f").unlink(missing_ok=True)
        try_to_open(disk)
    with pytest.raises(ConfigError, match="made by another user or has a second name; set a path"):
        try_to_open(Foreign())
    shared.chmod(0o755)
    try_to_open(Foreign())


def test_a_second_name_in_a_shared_directory_is_refused(shared: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"whole\n")
    (shared / "f").hardlink_to(target)
    with pytest.raises(ConfigError, match="second name"):
        FileCollector(FileOptions(path=str(shared / "f"))).open()
    assert target.read_bytes() == b"whole\n"


def test_standard_output_is_written_wherever_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "redirected"
    # As the shell does: it belongs to whoever has redirected it, and is neither locked nor rotated.
    with path.open("wb") as file:
        table = {"path": f"/proc/self/fd/{file.fileno()}", "rotate_records": 1, "fsync": "always"}
        collector = FileCollector(msgspec.convert(table, FileOptions))
        collector.open()
        collector.deliver(reports(0, 3))
        collector.close()
    assert path.read_bytes().count(b"\n") == 3
    assert [other.name for other in tmp_path.iterdir()] == ["redirected"]
