"""The directory of recordings: names, links, races, limits, and who did what."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.errors import ConfigError
from trireme_datapath.recorder import RecorderError, RecordingStore, Refusal, StoreLimits
from trireme_datapath.recorder._store import check_prefix

NOW_NS = 1_744_498_105 * 1_000_000_000
ROOMY = StoreLimits(min_free_bytes=0)


def open_store(
    directory: Path, *, limits: StoreLimits = ROOMY, node: str = "node-1", now_ns: int = NOW_NS
) -> RecordingStore:
    return RecordingStore(directory, node_name=node, limits=limits, clock=lambda: now_ns)


@pytest.fixture
def store(tmp_path: Path) -> RecordingStore:
    return open_store(tmp_path / "recordings")


def make(store: RecordingStore, prefix: str = "", content: bytes = b"x") -> str:
    name, descriptor = store.create(prefix, ".pcap")
    os.write(descriptor, content)
    os.close(descriptor)
    return name


def test_directory_and_files_are_private(store: RecordingStore) -> None:
    previous = os.umask(0)
    try:
        path = Path(store.path_of(make(store)))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_are_those_of_cilium(store: RecordingStore) -> None:
    assert re.fullmatch(r"hubble_1744498105_\d{1,10}_node-1\.pcap", make(store))
    assert make(store, "abc1").startswith("abc1_1744498105_")


def test_names_are_harmless(tmp_path: Path) -> None:
    name = make(open_store(tmp_path / "r", node="c1/nöde\n../x" + "y" * 500))
    assert re.fullmatch(r"hubble_1744498105_\d+_c1_n_de_.._xy+\.pcap", name)
    assert len(name) < 255


@pytest.mark.parametrize(
    "prefix",
    ["Abc", "1a", "a-b", "a/b", "../x", "ab\n", "ä", "a" * 21, "a\0", ".", "a b", "%2e", "a٣"],
)
def test_a_prefix_is_one_harmless_word(store: RecordingStore, prefix: str) -> None:
    with pytest.raises(RecorderError, match=r"^invalid file sink prefix: ") as caught:
        store.create(prefix, ".pcap")
    assert caught.value.refusal is Refusal.INVALID
    assert list(store.path.iterdir()) == []


@given(st.text(max_size=30))
def test_any_prefix_is_a_word_or_refused(prefix: str) -> None:
    try:
        found = check_prefix(prefix)
    except RecorderError:
        return
    assert re.fullmatch("[a-z][a-z0-9]{0,19}", found, re.ASCII)


def test_what_is_there_is_never_opened(
    store: RecordingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands under the next names: links, dangling ones too, files, directories."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    numbers = iter([*range(4), 7])
    monkeypatch.setattr("secrets.randbits", lambda _: next(numbers))
    names = [f"hubble_1744498105_{n}_node-1.pcap" for n in range(4)]
    (store.path / names[0]).symlink_to(victim)
    (store.path / names[1]).symlink_to(tmp_path / "not-there")
    (store.path / names[2]).mkdir()
    os.link(victim, store.path / names[3])
    name, descriptor = store.create("", ".pcap")
    os.write(descriptor, b"new")
    os.close(descriptor)
    assert name == "hubble_1744498105_7_node-1.pcap"
    assert victim.read_text() == "precious"
    assert not (tmp_path / "not-there").exists()


def test_no_free_name_is_one_error(store: RecordingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbits", lambda _: 5)
    make(store)
    with pytest.raises(RecorderError, match=r"failed to create pcap file .*file exists"):
        store.create("", ".pcap")


def test_the_directory_is_held_whatever_becomes_of_its_name(
    store: RecordingStore, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = store.path.rename(tmp_path / "moved")
    store.path.symlink_to(elsewhere)
    name = make(store)
    assert list(elsewhere.iterdir()) == []
    assert (moved / name).exists()
    assert [one.name for one in store.files()] == [name]
    store.remove(name)
    assert list(moved.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(ConfigError, match="others may use it"):
        open_store(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == mode


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match=r"\[recorder\] cannot use the directory"):
        open_store(tmp_path / "link")


def test_relative_and_missing_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not absolute"):
        open_store(Path("here"))
    with pytest.raises(ConfigError, match=f"no such file or directory; make {tmp_path}/"):
        open_store(tmp_path / "a" / "b")
    with pytest.raises(ConfigError, match="no group 'nobody-has-it'"):
        RecordingStore(tmp_path / "c", node_name="n", group="nobody-has-it")


def test_a_group_may_read(tmp_path: Path) -> None:
    store = RecordingStore(
        tmp_path / "r", node_name="n", limits=ROOMY, group=str(os.getgid()), clock=lambda: NOW_NS
    )
    path = Path(store.path_of(make(store)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    open_store_again = RecordingStore(tmp_path / "r", node_name="n", group=str(os.getgid()))
    open_store_again.close()


def test_only_recordings_can_be_read(store: RecordingStore, tmp_path: Path) -> None:
    name = make(store, content=b"packets")
    descriptor = store.open_for_reading(name)
    assert os.read(descriptor, 100) == b"packets"
    os.close(descriptor)
    store.audit({"event": "test"})
    (tmp_path / "secret_x.pcap").write_text("secret")
    (store.path / "link_1.pcap").symlink_to(tmp_path / "secret_x.pcap")
    os.mkfifo(store.path / "pipe_1.pcap")
    for wrong in (
        "audit.jsonl",
        "../secret_x.pcap",
        "/etc/passwd",
        "",
        ".",
        "..",
        "link_1.pcap",
        "pipe_1.pcap",
        f"./{name}",
        name + "\0",
        name.upper(),
        "x_" + "y" * 5000 + ".pcap",
    ):
        with pytest.raises(RecorderError, match="there is no recording") as caught:
            store.open_for_reading(wrong)
        assert caught.value.refusal is Refusal.UNKNOWN_RECORDING


def age(store: RecordingStore, name: str, seconds: int) -> None:
    when = NOW_NS - seconds * 1_000_000_000
    os.utime(store.path / name, ns=(when, when))


def test_the_oldest_finished_files_make_room(tmp_path: Path) -> None:
    store = open_store(tmp_path / "r", limits=StoreLimits(min_free_bytes=0, max_files=3))
    names = [make(store) for _ in range(4)]
    for index, name in enumerate(names):
        age(store, name, 100 - index)
        if index != 0:
            store.finished(name)  # the oldest one is still written to
    assert store.make_room() == [names[1], names[2]]
    assert [one.name for one in store.files()] == [names[0], names[3]]


def test_bytes_and_age_are_limited(tmp_path: Path) -> None:
    limits = StoreLimits(min_free_bytes=0, max_total_bytes=25, max_age_seconds=50)
    store = open_store(tmp_path / "r", limits=limits)
    names = [make(store, content=b"0123456789") for _ in range(3)]
    for index, name in enumerate(names):
        age(store, name, 60 - 20 * index)
        store.finished(name)
    assert store.make_room() == [names[0]]
    (store.path / "notes.txt").write_text("x" * 100)
    assert store.make_room() == [], "what is no recording is not counted, and never removed"


def test_running_recordings_can_fill_the_directory(tmp_path: Path) -> None:
    store = open_store(tmp_path / "r", limits=StoreLimits(min_free_bytes=0, max_files=1))
    make(store)
    with pytest.raises(RecorderError, match="the recordings that run now fill") as caught:
        store.check_room()
    assert caught.value.refusal is Refusal.EXHAUSTED


def test_nothing_begins_on_a_full_disk(tmp_path: Path) -> None:
    store = open_store(tmp_path / "r", limits=StoreLimits(min_free_bytes=2**60))
    assert not store.has_space()
    with pytest.raises(RecorderError, match="bytes are free") as caught:
        store.check_room()
    assert caught.value.refusal is Refusal.EXHAUSTED


def test_the_audit_is_one_line_each(store: RecordingStore) -> None:
    store.audit({"event": "started", "who": "uid 0\n{}"})
    store.audit({"event": "stopped"})
    path = store.path / "audit.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert entries[0] == {"time_ns": NOW_NS, "event": "started", "who": "uid 0\n{}"}
    assert len(entries) == 2


def test_the_audit_follows_no_link(store: RecordingStore, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    (store.path / "audit.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        store.audit({"event": "started"})
    assert victim.read_text() == ""
    (store.path / "audit.jsonl").unlink()
    os.mkfifo(store.path / "audit.jsonl")
    with pytest.raises(OSError, match=r"no plain file|No such device"):
        store.audit({"event": "started"})


def test_a_long_audit_is_put_aside(store: RecordingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trireme_datapath.recorder._store._MAX_AUDIT_BYTES", 10)
    store.audit({"event": "first"})
    store.audit({"event": "second"})
    store.audit({"event": "third"})
    assert "second" in (store.path / "audit.jsonl.1").read_text()
    assert "third" in (store.path / "audit.jsonl").read_text()
