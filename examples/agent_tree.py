"""Run an agent as a tree of processes from a program of your own: ``agent_tree.py AGENT.TOML``."""

from __future__ import annotations

import signal
import sys

import msgspec

from trireme_collector.control import ControlCommand, NoArguments, Peer
from trireme_datapath.agent import load_agent_config
from trireme_datapath.processes.supervisor import Supervisor


class Greeting(msgspec.Struct, frozen=True):
    """What our own command answers."""

    text: str


def greet(_arguments: NoArguments, peer: Peer) -> Greeting:
    """Answer whoever may open the control socket."""
    return Greeting(text=f"hello, process {peer.pid}")


def main(path: str) -> None:
    """Judge packets until SIGTERM."""
    supervisor = Supervisor(load_agent_config(path))
    supervisor.commands.add(
        ControlCommand(
            name="greet",
            summary="Say hello.",
            arguments=NoArguments,
            result=Greeting,
            handler=greet,
        )
    )
    signal.signal(signal.SIGTERM, lambda _number, _frame: supervisor.stop())
    supervisor.start()
    print(supervisor.run().summary())


if __name__ == "__main__":
    main(sys.argv[1])
