"""A client, a server with an agent in front of it, and what the agent takes of the machine.

Everything is in network namespaces of its own and goes with the `Lab`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trireme_collector.control import AgentStatus, ControlClient, ControlError
from trireme_datapath.kernel.namespaces import Network, missing_means

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from trireme_datapath.kernel.namespaces import Namespace

__all__ = [
    "CLIENT",
    "POLICY",
    "PORT",
    "SERVER",
    "Agent",
    "Lab",
    "cpu_seconds",
    "processes_of",
    "proportional_mebibytes",
    "require_means",
    "wait_until",
]

CLIENT, SERVER = "10.77.0.1", "10.77.255.254"
PORT = 8080
"""Where the server listens; the policy allows nothing else."""

POLICY = f"""
version = 1
[[unit]]
id = "server"
select.address = "{SERVER}"
[[unit.ingress]]
id = "service"
action = "accept"
from = "any"
protocol = ["tcp", "udp"]
ports = {PORT}
"""
_CONFIG = """
instance = "bench"
[datapath]
policy = "policy.toml"
{datapath}
[datapath.rules]
hooks = ["input"]
mode = "{mode}"
[control]
path = "{directory}/control"
{sections}
"""
_COMMAND = (
    *(sys.executable, "-P", "-c"),
    "import sys; from trireme_collector.cli import main; sys.exit(main(sys.argv[1:]))",
)
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 30.0
_PAGE_KIB = 1024


def require_means(*programs: tuple[str, str]) -> None:
    """End the program, and say why, where a namespace, a queue or a program is missing.

    Args:
        programs: Names of programs, and how each is installed.

    Raises:
        SystemExit: Something is missing.
    """
    import shutil

    missing = missing_means()
    missing += [
        f"the program {name} is not installed ({advice})"
        for name, advice in programs
        if not shutil.which(name)
    ]
    if missing:
        raise SystemExit("this benchmark needs: " + "; ".join(missing))


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something.

    Raises:
        SystemExit: It was not so in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"after {seconds:g} s it was not so: {what}")
        time.sleep(0.02)


def processes_of(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += processes_of(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """Give the CPU time of a process, all that descend from it, and those of them that ended.

    User and system time of every thread, as /proc/PID/stat has it.
    """
    total = 0
    for one in processes_of(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{one}/stat").read_text(encoding="ascii", errors="replace")
            total += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
    return total / _TICKS


def proportional_mebibytes(pid: int) -> float:
    """Give the memory of a process and all that descend from it; shared pages are divided."""
    kibibytes = 0
    for one in processes_of(pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii")
            kibibytes += next(
                int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")
            )
    return kibibytes / _PAGE_KIB


class Agent:
    """An agent of several processes in front of the server, with everything as it is by default.

    Args:
        server: The namespace of the server.
        directory: Where its files are made; records go to ``flows.json``.
        mode: Which packets are queued.
        datapath: More lines of the section ``[datapath]``.
        sections: Other sections; without any, there is one collector that writes a file.
    """

    def __init__(
        self,
        server: Namespace,
        directory: Path,
        *,
        mode: str = "new",
        datapath: str = "",
        sections: str = "",
        policy: str = POLICY,
    ) -> None:
        """Start it, and wait until it judges."""
        self.records = directory / "flows.json"
        self.control = ControlClient(str(directory / "control"), timeout_seconds=60)
        (directory / "policy.toml").write_text(policy, encoding="utf-8")
        config = directory / "agent.toml"
        sections = sections or f'[collectors.file]\npath = "{self.records}"'
        config.write_text(
            _CONFIG.format(directory=directory, mode=mode, datapath=datapath, sections=sections),
            encoding="utf-8",
        )
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                server.command([*_COMMAND, "run", "-c", str(config)]),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self.pid = self._process.pid
        try:
            wait_until(self._settled, _START_SECONDS, "the agent judges")
            if self._process.poll() is not None:
                raise SystemExit("the agent ended")
        except SystemExit:
            self.close()
            print(self._log.read_text(encoding="utf-8"), file=sys.stderr)
            raise

    def status(self) -> AgentStatus:
        """Ask it how it is."""
        return self.control.call("status", AgentStatus)

    def judges(self) -> bool:
        """Tell whether it judges packets, and has another enforcer in reserve."""
        with contextlib.suppress(ControlError):
            states = {one.state for one in self.status().processes}
            return "judging" in states and "starting" not in states
        return False

    def _settled(self) -> bool:
        return self.judges() or self._process.poll() is not None

    def pid_of(self, name: str) -> int:
        """Give the process with a name."""
        return next(one.pid for one in self.status().processes if one.name.startswith(name))

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Lab:
    """Two namespaces with a link, and processes in them; all of it ends with the lab.

    Attributes:
        client: Where clients run; it has the address ``CLIENT``, and more if asked for.
        server: Where the server and the agent run.
        directory: For files.
    """

    def __init__(self, *, clients: int = 1) -> None:
        """Make it, with so many addresses on the client's side."""
        self._clients = clients
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Make the namespaces."""
        with contextlib.ExitStack() as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            network = stack.enter_context(Network())
            self.client, self.server = network.namespace("client"), network.namespace("server")
            addresses = [f"10.77.{n >> 8}.{n & 255}/16" for n in range(1, self._clients + 1)]
            network.link(self.client, "out", addresses, self.server, "in", [f"{SERVER}/16"])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every process, and take the namespaces down."""
        self._stack.close()

    def agent(self, **options: str) -> Agent:
        """Start an agent; see `Agent`."""
        agent = Agent(self.server, self.directory, **options)
        self._stack.callback(agent.close)
        return agent

    def start(self, namespace: Namespace, command: list[str]) -> subprocess.Popen[str]:
        """Start a program, whose output is to be read."""
        process = subprocess.Popen(
            namespace.command(command),
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._stack.callback(_end, process)
        return process

    def ask(self, process: subprocess.Popen[str], words: str) -> dict[str, float]:
        """Have a client of `bench.agent_traffic` begin, and give what it saw."""
        if process.stdin is None or process.stdout is None:
            raise SystemExit("a client was started without its pipes")
        process.stdin.write(f"{words}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SystemExit("a client ended early")
        seen: dict[str, float] = json.loads(line)
        return seen

    def traffic(self, namespace: Namespace, *words: str) -> subprocess.Popen[str]:
        """Start one of the programs of `bench.agent_traffic`; wait until it is ready."""
        process = self.start(namespace, [sys.executable, "-m", "bench.agent_traffic", *words])
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit(f"the traffic {words[0]} does not start")
        return process


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()
