"""Tests of a policy as data: a TOML file beside it says which flows it lets through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, structs

from trireme_collector.strict_toml import Document, load_document, nearest
from trireme_datapath.policy import compile_policy, load_policy
from trireme_datapath.policy.explanation_text import explanation_lines
from trireme_datapath.testing._assertions import complaint, explain_flow
from trireme_datapath.testing._crafting import ScriptError
from trireme_datapath.testing._flow_text import FlowError
from trireme_datapath.testing._script import play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_collector.strict_toml import KeyPath
    from trireme_datapath.policy import CompiledPolicy

__all__ = [
    "PolicyTestCase",
    "PolicyTestReport",
    "PolicyTestResult",
    "PolicyTestTable",
    "PolicyTestsFile",
    "run_policy_tests",
]

_Flows = list[str] | str


class PolicyTestTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[test]]`` of the file.

    Attributes:
        name: What the test is about, in words.
        allow: Flows that have to be accepted: one, or an array of them.
        deny: Flows that have to be rejected.
        packets: A packet script that has to go as it says, through an engine of its own.
        by: The rule that has to decide about every flow of the test, or ``default``.
        reason: The drop reason of the flows under ``deny``.
        unit: The unit at one end, if neither addresses nor names say which.
        direction: Whether that unit receives the flows or begins them.
    """

    name: Annotated[str, Meta(min_length=1)]
    allow: _Flows = []
    deny: _Flows = []
    packets: str = ""
    by: str = ""
    reason: str = ""
    unit: str = ""
    direction: Literal["ingress", "egress"] | None = None


class PolicyTestsFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        policy: The policy that is tested; a relative path begins at the directory of the file.
        test: The tests.
    """

    policy: Annotated[str, Meta(min_length=1)]
    test: list[PolicyTestTable]


class PolicyTestCase(Struct, frozen=True, kw_only=True, gc=False):
    """What became of one flow, or of one packet script.

    Attributes:
        expected: ``accept``, ``reject``, or ``packets`` for a script.
        flow: The flow as it stands in the file, empty for a script.
        passed: Whether it went as expected.
        rule: The rule that decided, empty where none was asked.
        message: What is not as expected, in one line or, for a script, in several.
        details: How the decision came about, line by line; only where it was not as expected.
        line: Where it stands in the file, from 1.
        column: Where it stands in that line, from 1.
    """

    expected: str
    flow: str
    passed: bool
    rule: str = ""
    message: str = ""
    details: tuple[str, ...] = ()
    line: int
    column: int


class PolicyTestResult(Struct, frozen=True, kw_only=True, gc=False):
    """What became of one test.

    Attributes:
        name: Its name.
        passed: Whether all of its flows went as expected.
        line: Where it stands in the file, from 1.
        cases: Its flows in order.
    """

    name: str
    passed: bool
    line: int
    cases: tuple[PolicyTestCase, ...]


class PolicyTestReport(Struct, frozen=True, kw_only=True, gc=False):
    """What became of the tests of one file.

    Attributes:
        file: The file.
        policy: The policy that was tested.
        revision: Its revision.
        passed: Whether every test passed.
        tests: The tests that ran, in order.
    """

    file: str
    policy: str
    revision: str
    passed: bool
    tests: tuple[PolicyTestResult, ...]


class _Given(NamedTuple):
    table: PolicyTestTable
    path: KeyPath


def run_policy_tests(
    path: str | os.PathLike[str],
    *,
    policy: str | os.PathLike[str] | None = None,
    select: str = "",
) -> PolicyTestReport:
    """Run the tests of a file.

    Args:
        path: The file.
        policy: Another policy to test than the one that the file names.
        select: Run only tests whose name contains this text; case does not count.

    Returns:
        What became of each.

    Raises:
        ConfigError: The file or the policy cannot be read, or has mistakes; all are listed.
    """
    document = load_document(path)
    tables = document.convert((), PolicyTestsFile)
    document.raise_problems()
    if tables is None:  # convert() gives None only where a problem was noted, and was raised
        raise AssertionError("a file of tests without a value and without a problem")
    _check(document, tables)
    document.raise_problems()
    name = os.fspath(Path(path).parent / tables.policy) if policy is None else os.fspath(policy)
    compiled = compile_policy(load_policy(name))
    results = tuple(
        _run(document, _Given(table, ("test", index)), compiled)
        for index, table in enumerate(tables.test)
        if select.lower() in table.name.lower()
    )
    document.raise_problems()
    return PolicyTestReport(
        file=document.name,
        policy=name,
        revision=compiled.revision,
        passed=all(result.passed for result in results),
        tests=results,
    )


def _check(document: Document, tables: PolicyTestsFile) -> None:
    """Note what the types cannot express."""
    if not tables.test:
        document.add_problem(("test",), found="no test", expected="at least one [[test]]")
    seen: set[str] = set()
    for index, table in enumerate(tables.test):
        path: KeyPath = ("test", index)
        if table.name in seen:
            document.add_problem((*path, "name"), expected="a name of its own for each test")
        seen.add(table.name)
        if not (table.allow or table.deny or table.packets):
            document.add_problem(
                path, found="a test of nothing", expected="flows under allow or deny, or packets"
            )
        if table.reason and not table.deny:
            document.add_problem((*path, "reason"), expected="flows under deny beside it")
        if table.direction and not table.unit:
            document.add_problem((*path, "direction"), expected="unit beside it")


def _run(document: Document, given: _Given, compiled: CompiledPolicy) -> PolicyTestResult:
    table, path = given
    if table.unit and compiled.unit(table.unit) is None:
        known = [unit.id for unit in compiled.units]
        document.add_problem(
            (*path, "unit"),
            expected="a unit of the policy",
            nearest=nearest(table.unit, known) or "",
        )
        table = structs.replace(table, unit="", direction=None)
    cases = []
    for key, flows in (("allow", table.allow), ("deny", table.deny)):
        for place, flow in _places((*path, key), flows):
            case = _ask(document, place, flow, table, compiled, allowed=key == "allow")
            cases += [] if case is None else [case]
    if table.packets:
        cases += _play(document, (*path, "packets"), table.packets, compiled)
    return PolicyTestResult(
        name=table.name,
        passed=all(case.passed for case in cases),
        line=document.position(path).line,
        cases=tuple(cases),
    )


def _places(path: KeyPath, flows: _Flows) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(flows, str):
        yield path, flows
    else:
        yield from (((*path, index), flow) for index, flow in enumerate(flows))


def _ask(
    document: Document,
    place: KeyPath,
    flow: str,
    table: PolicyTestTable,
    compiled: CompiledPolicy,
    *,
    allowed: bool,
) -> PolicyTestCase | None:
    """Judge a flow; a flow that cannot be read is a mistake in the file."""
    try:
        found = explain_flow(
            compiled, flow, unit=table.unit or None, direction=table.direction or None
        )
    except FlowError as error:
        document.add_problem(
            place, expected=error.expected, found=error.found, nearest=error.nearest
        )
        return None
    except ValueError:  # what is left: at which end the unit is
        document.add_problem(
            (*place[:2], "unit"),
            found="a unit that may be at either end",
            expected="direction beside it",
        )
        return None
    reason = None if allowed else table.reason or None
    message = complaint(found, allowed=allowed, by=table.by or None, reason=reason)
    where = document.position(place)
    return PolicyTestCase(
        expected="accept" if allowed else "reject",
        flow=flow,
        passed=not message,
        rule="" if found.record is None else found.record.policy_id,
        message=message,
        details=tuple(explanation_lines(found, show_all=True, show_record=False))
        if message
        else (),
        line=where.line,
        column=where.column,
    )


def _play(
    document: Document, path: KeyPath, script: str, compiled: CompiledPolicy
) -> list[PolicyTestCase]:
    where = document.position(path)
    message = ""
    try:
        # What names stand for is learned from packets: each script begins without.
        play(compile_policy(compiled.policy), script)
    except ScriptError as error:
        document.add_problem(path, expected="a packet script", found=str(error))
        return []
    except AssertionError as error:
        message = str(error)
    return [
        PolicyTestCase(
            expected="packets",
            flow="",
            passed=not message,
            message=message,
            line=where.line,
            column=where.column,
        )
    ]
