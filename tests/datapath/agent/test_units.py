"""Units and users of a running agent: through the control socket and the embedding API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.datapath.agent.test_agent import HTTP, POLICY, Bench
from tests.datapath.agent.test_control import Run
from trireme_collector.control import (
    CommandFailedError,
    UnitArguments,
    UnitResult,
    UserArguments,
    UserResult,
)
from trireme_collector.errors import ConfigError
from trireme_collector.records import ContainerEvent, ContainerRecord, UserRecord
from trireme_datapath.agent import _kept_rules
from trireme_datapath.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTEXT = parse_policy(POLICY).units[0].context_id


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    bench = Bench(tmp_path)
    bench.packets = (HTTP,)
    made = Run(bench, tmp_path / "c")
    made.start()
    yield made
    made.agent.stop()
    made.join()


def end(run: Run) -> list[ContainerRecord]:
    run.agent.stop()
    run.join()
    return [one for one in run.bench.output.records if isinstance(one, ContainerRecord)]


def tell(run: Run, event: str, context: str = CONTEXT, **more: object) -> str:
    arguments = UnitArguments(context_id=context, event=event, **more)  # type: ignore[arg-type]  # checked by the agent
    return run.client.call("unit", UnitResult, arguments).event


def test_units_are_told_of_over_the_socket(run: Run) -> None:
    assert tell(run, "update", addresses={"bridge": "192.0.2.99"}, tags=("a=b",)) == "update"
    assert tell(run, "update", addresses={"bridge": "192.0.2.99"}, tags=("a=b",)) == ""
    assert tell(run, "start", "stranger") == "ignore"
    assert tell(run, "forcestop", "stranger") == "forcestop"
    assert tell(run, "delete") == "delete"
    assert tell(run, "delete") == "unknowncontainer"
    told = [(one.context_id, one.event) for one in end(run)]
    assert told == [
        (CONTEXT, "start"),
        (CONTEXT, "update"),
        ("stranger", "ignore"),
        ("stranger", "forcestop"),
        (CONTEXT, "delete"),
        (CONTEXT, "unknowncontainer"),
    ]


def test_users_are_told_of_once(run: Run) -> None:
    arguments = UserArguments(claims=("name=eve",), namespace="/n")
    first = run.client.call("user", UserResult, arguments)
    again = run.client.call("user", UserResult, arguments)
    assert first.reported
    assert again == UserResult(id=first.id, reported=False)
    end(run)
    (record,) = [one for one in run.bench.output.records if isinstance(one, UserRecord)]
    assert (record.id, record.claims, record.namespace) == (first.id, ("name=eve",), "/n")


def test_units_are_told_of_by_who_embeds_the_agent(run: Run) -> None:
    event = run.agent.ask(lambda: run.agent.units.start("mine", {"bridge": "192.0.2.5"})).result(5)
    assert event is not None
    assert event.value == "ignore"
    assert [one.context_id for one in end(run)] == [CONTEXT, "mine"]


def test_what_is_no_event_is_refused(run: Run) -> None:
    with pytest.raises(CommandFailedError, match="event"):
        tell(run, "explode")


def test_a_reload_tells_of_units(run: Run) -> None:
    path = run.bench.directory / "policy.toml"
    path.write_text(POLICY.replace(f'"{CONTEXT}"', '"renamed"'), encoding="utf-8")
    run.agent.ask_reload().result(5)
    assert [(one.context_id, one.event) for one in end(run)] == [
        (CONTEXT, "start"),
        ("renamed", "start"),
        (CONTEXT, "delete"),
    ]


def test_packets_belong_to_a_unit_when_the_answer_comes(run: Run) -> None:
    assert tell(run, "update", addresses={"bridge": "192.0.2.99"}) == "update"
    found = run.agent.engine.policy.unit_for(bytes([192, 0, 2, 99]))
    assert found is not None
    assert found.context_id == CONTEXT
    assert tell(run, "delete") == "delete"
    assert run.agent.engine.policy.unit_for(bytes([192, 0, 2, 99])) is None


def test_who_embeds_the_agent_waits_for_it_likewise(run: Run) -> None:
    agent = run.agent
    started = agent.ask_unit(lambda: agent.units.start(CONTEXT, {"bridge": "192.0.2.98"}), CONTEXT)
    assert started.result(5) is ContainerEvent.UPDATE
    assert agent.engine.policy.unit_for(bytes([192, 0, 2, 98])) is not None
    refused = agent.ask_unit(lambda: agent.units.start(CONTEXT, {"bridge": "nonsense"}), CONTEXT)
    with pytest.raises(ConfigError, match="nonsense"):
        refused.result(5)


def test_a_unit_that_cannot_be_policed_is_a_mistake_of_who_tells(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"30 20 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n", encoding="utf-8")
    monkeypatch.setattr(_kept_rules, "_MOUNTS", mounts)
    with pytest.raises(CommandFailedError, match="there is no control group nowhere") as caught:
        tell(run, "update", cgroups=("nowhere",))
    assert caught.value.kind == "config"
