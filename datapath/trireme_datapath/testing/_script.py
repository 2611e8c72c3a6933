"""Runs packet scripts: lines of packets, and the decisions that they have to cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from trireme_datapath.engine import Engine
from trireme_datapath.testing._policies import engine_for
from trireme_datapath.testing._script_lines import Expected, WaitLine, read_script
from trireme_datapath.testing._script_records import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.records import Record
    from trireme_datapath.testing._policies import PolicySource
    from trireme_datapath.testing._script_lines import ScriptLine

__all__ = ["SECOND_NS", "START_NS", "PlayScript", "play"]

SECOND_NS: Final = 1_000_000_000
START_NS: Final = 1_700_000_000 * SECOND_NS
"""When a script begins, nanoseconds since 1970 UTC; its first packet comes a step later."""


class PlayScript(Protocol):
    """The function `play`, as the fixture ``packet_script`` gives it."""

    def __call__(
        self,
        engine: Engine | PolicySource,
        script: str,
        *,
        start_ns: int = START_NS,
        step_seconds: float = 1.0,
    ) -> list[Record]:
        """Run a packet script."""
        ...


class _Outcome(NamedTuple):
    line: ScriptLine
    expected: str
    got: str
    why: str = ""

    @property
    def differs(self) -> bool:
        return self.expected != self.got


def play(
    engine: Engine | PolicySource,
    script: str,
    *,
    start_ns: int = START_NS,
    step_seconds: float = 1.0,
) -> list[Record]:
    """Run a packet script and compare every decision with what the script expects.

    ::

        play("policy.toml", '''
            web = 10.0.0.2:80
            tcp 192.0.2.1:1000 > web S   -> accept | accept office-http
            tcp 192.0.2.1:1000 < web SA  -> accept
            tcp 192.0.2.1:1001 > 10.0.0.2:22 S  -> drop | reject default policy
        ''')

    Args:
        engine: The engine that judges, or a policy for a fresh one.
        script: The script; the reference has its language.
        start_ns: When it begins, nanoseconds since 1970 UTC.
        step_seconds: How much time passes before each packet.

    Returns:
        All records, in order.

    Raises:
        AssertionError: Some decision is not what was expected; it shows which and how.
        ScriptError: A line cannot be read.
        ConfigError: The policy cannot be read, or has mistakes.
    """
    judge = engine if isinstance(engine, Engine) else engine_for(engine)
    lines = read_script(script)
    now_ns = start_ns
    outcomes: list[_Outcome] = []
    records: list[Record] = []
    for line in lines:
        if isinstance(line, WaitLine):
            now_ns += round(line.seconds * SECOND_NS)
            found = judge.take_records(now_ns)
            expected = line.expected
            if expected is not None:
                said, got = _records_told(expected, found)
                outcomes.append(_Outcome(line, said or "nothing", got or "nothing"))
        else:
            now_ns += round(step_seconds * SECOND_NS)
            decision = judge.receive(line.packet, now_ns)
            found = list(decision.records)
            expected = line.expected
            said, got = _records_told(expected, found)
            verdict = decision.verdict.name.lower()
            heads = ["*" if expected.verdict is None else expected.verdict.name.lower()]
            heads.append(verdict if expected.verdict is not None else "*")
            if expected.mark is not None:
                heads[0] += f" mark={expected.mark:#x}"
                heads[1] += "" if decision.mark is None else f" mark={decision.mark:#x}"
            outcome = _Outcome(line, _join(heads[0], said), _join(heads[1], got))
            if outcome.differs:
                rule = judge.rule_of(line.packet)
                outcome = outcome._replace(why=f"the deciding rule is {rule}" if rule else "")
            outcomes.append(outcome)
        records += found
    if any(outcome.differs for outcome in outcomes):
        raise AssertionError(_report(outcomes))
    return records


def _records_told(expected: Expected, found: Sequence[Record]) -> tuple[str, str]:
    patterns = expected.records
    got = [
        patterns[index].told_of(record) if index < len(patterns) else tell(record)
        for index, record in enumerate(found)
    ]
    if expected.more:
        got = [*got[: len(patterns)], "..."] if len(got) >= len(patterns) else got
    said = [pattern.told() for pattern in patterns]
    return " | ".join([*said, *(["..."] if expected.more else [])]), " | ".join(got)


def _join(head: str, records: str) -> str:
    return f"{head} | {records}" if records else head


def _report(outcomes: Sequence[_Outcome]) -> str:
    wrong = sum(outcome.differs for outcome in outcomes)
    width = max(len(outcome.line.text) for outcome in outcomes)
    lines = [f"{wrong} of {len(outcomes)} lines of the script went another way (- expected, + got)"]
    for outcome in outcomes:
        head = f"{outcome.line.number:>4}  {outcome.line.text:<{width}} ->"
        if not outcome.differs:
            lines.append(f"  {head} {outcome.got}")
            continue
        lines += [f"- {head} {outcome.expected}", f"+ {head} {outcome.got}"]
        if outcome.why:
            lines.append(f"?       {outcome.why}")
    return "\n".join(lines)
