"""One living holder, a safe replacement of a dead one, and nobody but the group."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from trireme_collector.control import SocketBusyError
from trireme_collector.control._socket import ControlSocket
from trireme_collector.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "c")


def dead(path: str) -> None:
    """Leave what a killed process leaves: a socket without a listener, and a lock file."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    Path(f"{path}.lock").touch(0o600)


def can_connect(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def test_it_listens_for_owner_and_group_and_leaves_nothing(path: str) -> None:
    listening = ControlSocket(path, str(os.getgid()))
    status = Path(path).stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == os.getgid()
    assert stat.S_IMODE(Path(f"{path}.lock").stat().st_mode) == 0o600
    assert can_connect(path)
    listening.close()
    assert list(Path(path).parent.iterdir()) == []


def test_a_living_holder_keeps_it(path: str) -> None:
    first = ControlSocket(path)
    with pytest.raises(SocketBusyError, match="another process has"):
        ControlSocket(path)
    assert can_connect(path)
    first.close()
    ControlSocket(path).close()


def test_a_living_stranger_without_a_lock_keeps_it(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(SocketBusyError):
            ControlSocket(path)
        assert can_connect(path)


def test_a_dead_one_is_replaced(path: str) -> None:
    dead(path)
    listening = ControlSocket(path)
    assert can_connect(path)
    listening.close()


def test_a_holder_that_does_not_listen_yet_keeps_it(path: str) -> None:
    dead(path)
    with Path(f"{path}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SocketBusyError):
            ControlSocket(path)
    assert Path(path).exists()


def test_what_is_no_socket_is_not_touched(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        ControlSocket(path)
    assert Path(path).read_text() == "precious"
    assert not Path(f"{path}.lock").exists()


def test_a_link_in_place_of_the_lock_is_not_followed(path: str, tmp_path: Path) -> None:
    Path(f"{path}.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="symbolic link"):
        ControlSocket(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_its_holder_removed_meanwhile_is_no_lock(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    removed: list[bool] = []

    def late(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(True)
            Path(f"{path}.lock").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    listening = ControlSocket(path)
    with pytest.raises(SocketBusyError):
        ControlSocket(path)
    listening.close()


def test_a_path_that_is_somebody_elses_now_stays(path: str) -> None:
    listening = ControlSocket(path)
    Path(path).unlink()
    Path(path).write_text("new")
    listening.close()
    assert Path(path).read_text() == "new"


def test_a_directory_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody can replace"):
        ControlSocket(str(directory / "c"))
    directory.chmod(0o1777)
    ControlSocket(str(directory / "c")).close()


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="create the directory"):
        ControlSocket(str(tmp_path / "none" / "c"))


def test_a_group_that_is_not_there(path: str) -> None:
    with pytest.raises(ConfigError, match="no group 'nosuchgroup'"):
        ControlSocket(path, "nosuchgroup")
    assert not Path(path).exists()


def test_a_group_that_may_not_be_given(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(ConfigError, match="only root, or a member, can let the group '0' in"):
        ControlSocket(path, "0")
    assert list(Path(path).parent.iterdir()) == []
