"""A spool that could not be opened is refused when the configuration is read, with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from xxhash import xxh64_hexdigest

from trireme_collector import CollectorSpec, NullCollector, hookimpl
from trireme_collector.config import Configuration, load_config
from trireme_collector.delivery.spool import Spool
from trireme_collector.errors import ConfigError
from trireme_collector.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path


class NoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ProbePlugin:
    """Offers one collector."""

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec[msgspec.Struct]]:
        return [
            CollectorSpec(
                name="probe",
                factory=lambda config, context: NullCollector(),  # noqa: ARG005  keyword-free on purpose
                config_type=NoOptions,
            )
        ]


def load(path: Path, *lines: str, state: str = "state") -> None:
    registry = Registry(entry_points=())
    registry.register(ProbePlugin(), name="probe")
    file = path / "agent.toml"
    text = ["[collectors.probe]", "[delivery]", f'state_directory = "{path / state}"', *lines]
    file.write_text("\n".join(text), encoding="utf-8")
    load_config(file, Configuration, registry=registry)


def problem(path: Path, *lines: str, state: str = "state") -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, *lines, state=state)
    (found,) = caught.value.problems
    return found.removeprefix(f"{path / 'agent.toml'}:")


def test_a_directory_that_could_not_be_made_is_refused(tmp_path: Path) -> None:
    found = problem(tmp_path, state="gone/state")
    assert found.startswith("3:19: delivery.state_directory: found string")
    assert f"there is no directory {tmp_path / 'gone'}; make it" in found


def test_one_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    assert f"chmod o-w {tmp_path / 'state'}" in problem(tmp_path)


def test_bounds_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    found = problem(tmp_path, "spool = { max_bytes = 20000 }")
    assert found.startswith("4:9: delivery.spool: ")
    assert "more than a quarter" in found


def test_one_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "spool" / "probe"
    directory.parent.mkdir(parents=True)
    with Spool.open(directory) as spool:
        spool.reader("delivery")
        spool.append([b"x"], 0)
    state = directory / "state"
    places = state.read_bytes()
    for text in {line for line in places.split(b"\n") if line.startswith(b"{")}:
        newer = text.replace(b'"version":1', b'"version":9')
        assert newer != text
        places = places.replace(xxh64_hexdigest(text).encode(), xxh64_hexdigest(newer).encode())
        places = places.replace(text, newer)
    state.write_bytes(places)
    assert "version 9" in problem(tmp_path)
    assert state.read_bytes() == places


def test_one_in_use_is_no_mistake(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "spool" / "probe"
    directory.parent.mkdir(parents=True)
    with Spool.open(directory):
        load(tmp_path)


def test_one_that_is_turned_off_is_not_looked_at(tmp_path: Path) -> None:
    load(tmp_path, "spool = { enabled = false }", state="gone/state")
