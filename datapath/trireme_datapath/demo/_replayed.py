"""The demo without real packets: the bundled capture, judged by the same policy and engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath.backends.replay import ReplayBackend
from trireme_datapath.demo._report import DemoReport
from trireme_datapath.demo._setting import CAPTURE, POLICY, setting
from trireme_datapath.engine import Engine
from trireme_datapath.loop import dispatch
from trireme_datapath.policy import compile_policy, load_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_datapath.demo._screen import Screen

__all__ = ["run_replayed"]

_FLUSH_SECONDS: Final = 5.0


def run_replayed(screen: Screen, missing: Sequence[str]) -> DemoReport:
    """Judge the capture and show what happens.

    Args:
        screen: Where to show it.
        missing: What the machine lacks for real packets.
    """
    for reason in missing:
        screen.say(f"No real packets here: {reason}.")
    screen.say(f"Judging the capture {CAPTURE} by the policy {POLICY} instead.\n")
    screen.say("What the enforcer would record:", bold=True)
    screen.say()
    engine = Engine(compile_policy(load_policy(POLICY)))
    with setting(screen) as place:
        pipeline = place.config.pipeline()
        with pipeline, ReplayBackend(CAPTURE, engine) as backend:
            for replayed in backend:
                for record in replayed.decision.records:
                    dispatch(pipeline, record)
                pipeline.flush(_FLUSH_SECONDS)
            for record in backend.finish():
                dispatch(pipeline, record)
        place.syslog.close()
        return DemoReport(
            mode="replay",
            missing=tuple(missing),
            backend="replay",
            policy=str(POLICY),
            records=tuple(screen.records),
            packets_judged=engine.counters["packets"],
            file_lines=place.file_lines(),
            syslog_messages=tuple(place.syslog.messages),
        )
