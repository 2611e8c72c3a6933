"""Directories that are not safe, and spools that are not ours, are refused and left alone."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest
from xxhash import xxh64_hexdigest, xxh64_intdigest

from tests.core.delivery.spool.faulty_storage import FaultyStorage
from tests.core.delivery.spool.spools import SMALL, drain, fill, segments
from trireme_collector.delivery.spool import Spool, SystemStorage, inspect_spool
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def refused(directory: Path, words: str, storage: SystemStorage | None = None) -> None:
    with pytest.raises(ConfigError, match=words):
        Spool.open(directory, SMALL, storage=storage)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_a_missing_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    Spool.open(tmp_path / "s", SMALL).close()
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    fill(tmp_path / "s", 1)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "s").iterdir()} == {0o600}


def test_a_second_instance_is_kept_out_until_the_first_is_gone(tmp_path: Path) -> None:
    first = Spool.open(tmp_path / "s", SMALL)
    refused(tmp_path / "s", "another instance uses it")
    first.close()
    # The file is still there, and means nothing.
    assert (tmp_path / "s" / "lock").exists()
    Spool.open(tmp_path / "s", SMALL).close()


def test_directories_that_others_can_change_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "s").chmod(0o777)
    refused(tmp_path / "s", "everybody can write to it; chmod o-w")
    (tmp_path / "s").chmod(0o1777)
    refused(tmp_path / "s", "everybody can write to it")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    refused(tmp_path / "open" / "s", "everybody can replace what lies in")
    (tmp_path / "open").chmod(0o1777)
    Spool.open(tmp_path / "open" / "s", SMALL).close()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused(tmp_path / "file", "not a directory")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    refused(tmp_path / "link", "a symbolic link")
    refused(tmp_path / "no" / "where", "No such file or directory; make it")


class ForeignStorage(SystemStorage):
    """A system in which things are not as they should be."""

    def __init__(self, owner: int = 0, kind: str = "ext4") -> None:
        self.owner = owner
        self.kind = kind

    def status(self, path: str) -> os.stat_result:
        found = list(super().status(path))
        found[4] = self.owner
        return os.stat_result(found)

    def filesystem(self, path: str) -> str:
        return self.kind if path else ""


def test_directories_of_others_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "s", "belongs to user 4711", ForeignStorage(owner=4711))


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "ceph"])
def test_network_file_systems_are_refused(tmp_path: Path, kind: str) -> None:
    storage = ForeignStorage(owner=os.geteuid(), kind=kind)
    refused(tmp_path / "s", f"network file system \\({kind}\\)", storage)


def test_the_file_system_is_known(tmp_path: Path) -> None:
    assert SystemStorage().filesystem("/proc") == "proc"
    assert isinstance(SystemStorage().filesystem(str(tmp_path)), str)


def test_links_in_the_directory_are_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "s", 5)
    (tmp_path / "target").write_bytes(b"precious")
    for name in ("state", "lock"):
        (tmp_path / "s" / name).unlink(missing_ok=True)
        (tmp_path / "s" / name).symlink_to(tmp_path / "target")
    refused(tmp_path / "s", "Too many levels of symbolic links")
    (tmp_path / "s" / "lock").unlink()
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert drain(spool.reader("a")) == list(range(5))
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_a_newer_segment_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    fill(tmp_path / "s", 200)
    path = segments(tmp_path / "s")[0]
    content = bytearray(path.read_bytes())
    content[8:10] = struct.pack("<H", 2)
    content[56:64] = xxh64_intdigest(bytes(content[:56])).to_bytes(8, "little")
    path.write_bytes(content)
    (tmp_path / "s" / "x.segment.new").write_bytes(b"left over")
    before = contents(tmp_path / "s")
    refused(tmp_path / "s", r"has version 2, this program knows up to 1; .* nothing was changed")
    assert contents(tmp_path / "s") == before


def test_a_newer_state_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    fill(tmp_path / "s", 20)
    text = b'{"version":2,"anything":"else"}'
    head = f"{xxh64_hexdigest(text)} {len(text):07}\n".encode()
    (tmp_path / "s" / "state").write_bytes(head + text)
    before = contents(tmp_path / "s")
    refused(tmp_path / "s", "has version 2")
    assert contents(tmp_path / "s") == before


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    fill(tmp_path / "s", 5)
    (tmp_path / "s" / "README").write_bytes(b"mine")
    (tmp_path / "s" / "1-2.segment").write_bytes(b"not a name of ours")
    with Spool.open(tmp_path / "s", SMALL) as spool:
        assert drain(spool.reader("a")) == list(range(5))
    assert (tmp_path / "s" / "README").read_bytes() == b"mine"
    assert (tmp_path / "s" / "1-2.segment").exists()


def test_a_refused_start_leaves_no_file_open(tmp_path: Path) -> None:
    fill(tmp_path / "s", 20)
    storage = FaultyStorage()
    storage.faults.begin(5, last=10**9, kinds=("names",))
    refused(tmp_path / "s", "cannot be listed", storage)
    Spool.open(tmp_path / "s", SMALL).close()


def test_start_reads_one_segment_however_many_there_are(tmp_path: Path) -> None:
    fill(tmp_path / "s", 1000, at_once=50)
    assert len(segments(tmp_path / "s")) >= 15
    storage = FaultyStorage()
    with Spool.open(tmp_path / "s", SMALL, storage=storage):
        # One read for each head, two for each place of a state, and those of the last segment.
        assert storage.log.count("read_at") <= len(segments(tmp_path / "s")) + 18


def test_a_link_that_only_its_owner_can_replace_is_as_good_as_what_it_leads_to(
    tmp_path: Path,
) -> None:
    """A dynamic user of systemd finds its state directory behind one."""
    (tmp_path / "private" / "state").mkdir(parents=True)
    (tmp_path / "state").symlink_to("private/state")
    inspect_spool(tmp_path / "state" / "file", SMALL)
    Spool.open(tmp_path / "state" / "file", SMALL).close()


@pytest.mark.parametrize("place", ["links", "private/state"])
def test_a_link_helps_nobody_into_an_open_directory(tmp_path: Path, place: str) -> None:
    (tmp_path / "private" / "state").mkdir(parents=True)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "state").symlink_to(tmp_path / "private" / "state")
    (tmp_path / place).chmod(0o777)
    with pytest.raises(ConfigError, match=f"everybody can replace what lies in {tmp_path / place}"):
        inspect_spool(tmp_path / "links" / "state" / "file", SMALL)
    refused(tmp_path / "links" / "state" / "file", "everybody can replace what lies in")
