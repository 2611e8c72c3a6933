"""The supervisor after a planned restart: another program in the same process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from trireme_collector.cli.errors import report
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.agent import load_agent_config
from trireme_datapath.cli._serving import serve
from trireme_datapath.processes._state import decode_state, load_state
from trireme_datapath.processes.supervisor import Supervisor

if TYPE_CHECKING:
    from trireme_datapath.processes._state import SupervisorState

__all__ = ["probe", "resume"]


def probe(config_path: str) -> int:
    """Say by the exit code whether this program could go on with a configuration.

    What the program of before would leave stands on standard input.
    """
    try:
        load_agent_config(config_path)
        decode_state(sys.stdin.buffer.read())
    except Exception as error:  # noqa: BLE001  whatever it is: the program of before goes on
        return report(error, as_json=False, color=False)
    return ExitCode.OK


def resume(memory: int) -> int:
    """Go on where the program of before stopped, until told to end.

    Args:
        memory: What it left.
    """
    state = load_state(memory)
    try:
        interrupted = serve(_supervisor(state), as_json=state.log[0] == "json")
    except Exception as error:  # noqa: BLE001  the end of the program: told as by the command line
        return report(error, as_json=state.log[0] == "json")
    sys.stdout.flush()
    return ExitCode.INTERRUPTED if interrupted else ExitCode.OK


def _supervisor(state: SupervisorState) -> Supervisor:
    config = load_agent_config(state.config_path)
    return Supervisor(
        config, remove_rules=state.remove_rules, log=state.log, whole_program=True, state=state
    )
