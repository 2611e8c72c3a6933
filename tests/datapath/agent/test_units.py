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
from trireme_collector.records import ContainerRecord, UserRecord
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
