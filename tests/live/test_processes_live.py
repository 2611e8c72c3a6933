"""The tree of processes: who dies, hangs or is exchanged costs no packet and opens nothing."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.live.conftest import ALLOWED, DENIED, POLICY, SERVER, Lab, wait_for
from tests.live.test_dns_live import POLICY as NAMES_POLICY
from tests.live.test_dns_live import NameServer, connect, look_up
from tests.live.test_run_live import Place
from trireme_collector.control import AgentStatus, ControlClient, ControlError, RestartResult
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.backends._queue_statistics import read_statistics
from trireme_datapath.backends.netlink import NetlinkBackend, NetlinkQueue
from trireme_datapath.engine import Engine
from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.kernel.rules import QueueMode, QueueRules, RuleHook
from trireme_datapath.packets import Verdict
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

CONFIG = """
instance = "live"
[datapath]
policy = "policy.toml"
queue = 9
[datapath.rules]
hooks = ["input"]
mode = "{mode}"
[processes]
{processes}
[control]
path = '{directory}/ctl'
[aggregation]
window_seconds = 0
[delivery]
{delivery}
[collectors.file]
path = '{directory}/flows.json'
"""
STRANGER = 65_534
_STAMP = struct.Struct("!QQ")
_SO_RCVBUFFORCE = 33
# For less, a FIN is sent again or an ACK put off.
_STILL_SECONDS = 0.3


class Stream:
    """Datagrams at a steady rate, numbered and stamped, and what arrives of them.

    Every tenth is one that the policy does not allow.
    """

    def __init__(self, lab: Lab, rate: int) -> None:
        self._rate = rate
        self._sender = lab.open_socket(lab.client, 4, socket.SOCK_DGRAM)
        self._receivers = {}
        for port in (ALLOWED, DENIED):
            receiver = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
            receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
            receiver.bind((SERVER[4], port))
            self._receivers[port] = receiver
        self._ending = threading.Event()
        self.sent = {ALLOWED: 0, DENIED: 0}
        self.delays: list[tuple[int, float]] = []
        self.passed_denied = 0
        self._threads = [
            threading.Thread(target=self._send),
            threading.Thread(target=self._receive),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        for receiver in self._receivers.values():
            receiver.close()

    def _send(self) -> None:
        began, number = time.monotonic(), 0
        while not self._ending.is_set():
            due = int((time.monotonic() - began) * self._rate)
            while number < due:
                number += 1
                port = ALLOWED if number % 10 else DENIED
                stamp = _STAMP.pack(number, time.monotonic_ns())
                self._sender.sendto(stamp, (SERVER[4], port))
                self.sent[port] += 1
            time.sleep(0.001)

    def _receive(self) -> None:
        end = float("inf")
        receiver = self._receivers[ALLOWED]
        receiver.settimeout(0.05)
        while time.monotonic() < end:
            if self._ending.is_set() and end == float("inf"):
                end = time.monotonic() + 3
            try:
                number, stamp = _STAMP.unpack(receiver.recv(100))
            except TimeoutError:
                if self._ending.is_set() and len(self.delays) == self.sent[ALLOWED]:
                    break
                continue
            self.delays.append((number, (time.monotonic_ns() - stamp) / 1e6))
        self._receivers[DENIED].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._receivers[DENIED].recv(100):
                self.passed_denied += 1

    @property
    def lost(self) -> int:
        return self.sent[ALLOWED] - len({number for number, _ in self.delays})

    @property
    def twice(self) -> int:
        return len(self.delays) - len({number for number, _ in self.delays})

    @property
    def longest_ms(self) -> float:
        return max(delay for _, delay in self.delays)


class Tree(Place):
    """An agent as a tree of processes."""

    def set_up(self, *, mode: str = "all", processes: str = "", delivery: str = "") -> None:
        text = CONFIG.format(
            directory=self.directory, mode=mode, processes=processes, delivery=delivery
        )
        (self.directory / "agent.toml").write_text(text, encoding="utf-8")

    @property
    def client(self) -> ControlClient:
        return ControlClient(str(self.directory / "ctl"), timeout_seconds=90)

    def listens(self) -> bool:
        """Tell whether the agent takes commands."""
        with contextlib.suppress(ControlError):
            return bool(self.client.call_raw("status"))
        return False

    def status(self) -> AgentStatus:
        return self.client.call("status", AgentStatus)

    def pid(self, name: str) -> int:
        return next((one.pid for one in self.status().processes if one.name == name), 0)

    def state(self, name: str) -> str:
        return next((one.state for one in self.status().processes if one.name == name), "")

    def replaced(self, name: str, pid: int, state: str, seconds: float = 10) -> bool:
        return wait_for(
            lambda: self.pid(name) not in {0, pid} and self.state(name) == state, seconds
        )

    def check(self) -> AgentStatus:
        """Hold the numbers to each other, once the queue is empty and connections have closed."""
        judged, since = -1, 0.0

        def is_still() -> bool:
            nonlocal judged, since
            status = self.status()
            if status.packets.judged != judged:
                judged, since = status.packets.judged, time.monotonic()
            return self._settled(status) and time.monotonic() - since > _STILL_SECONDS

        assert wait_for(is_still, 10)
        status = self.status()
        packets, queue, crossing = status.packets, status.packets.queue, status.crossing
        assert packets.exact
        assert queue is not None
        assert queue.dropped_full == queue.dropped_socket == 0
        assert queue.received == packets.judged + packets.settled + queue.waiting
        assert crossing is not None
        assert crossing.made == crossing.sent + crossing.dropped
        assert crossing.sent == crossing.taken + crossing.lost + crossing.waiting
        return status

    def ended(self) -> list[tuple[int, int]]:
        """Give port and bytes of the connections that ended."""
        lines = (self.directory / "flows.json").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        return [
            (record["destination"]["port"], record["bytes"])
            for record in records
            if record.get("phase") == "ended"
        ]

    @staticmethod
    def _settled(status: AgentStatus) -> bool:
        queue, crossing = status.packets.queue, status.crossing
        return bool(queue and not queue.waiting and crossing and not crossing.waiting)


@pytest.fixture
def tree(lab: Lab, tmp_path: Path) -> Iterator[Tree]:
    with contextlib.ExitStack() as stack:
        place = Tree(lab, tmp_path, stack)
        place.set_up()
        yield place


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)


def test_an_enforcer_that_is_killed_costs_no_packet(tree: Tree) -> None:
    agent = tree.start()
    with Stream(tree.lab, 1_000) as stream:
        for _ in range(20):
            pid = tree.pid("enforcer 0")
            time.sleep(0.3)
            # One crash after the other is another matter: see the loop of crashes.
            assert wait_for(lambda: tree.state("enforcer in reserve") == "standing by", 20)
            kill(pid)
            assert tree.replaced("enforcer 0", pid, "judging"), agent.log()
    assert stream.lost == 0
    assert stream.passed_denied == 0
    assert stream.longest_ms < 1_000, agent.log()
    status = tree.check()
    # What one judged and did not live to count is told apart: it adds up all the same.
    assert status.packets.judged + status.packets.settled >= sum(stream.sent.values())
    assert agent.log().count("enforcer_died") == 20
    code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert " 0 packets dropped by the kernel" in out


def test_an_enforcer_that_hangs_is_replaced_and_costs_no_packet(tree: Tree) -> None:
    agent = tree.start()
    with Stream(tree.lab, 500) as stream:
        pid = tree.pid("enforcer 0")
        kill(pid, signal.SIGSTOP)
        assert tree.replaced("enforcer 0", pid, "judging", 5), agent.log()
    assert "enforcer_hangs" in agent.log()
    assert (stream.lost, stream.passed_denied) == (0, 0)
    assert stream.longest_ms < 5_000
    tree.check()


class Echo:
    """A server that answers, and clients that never stop asking it."""

    def __init__(self, lab: Lab, clients: int) -> None:
        self._ending = threading.Event()
        self.rounds = [0] * clients
        self.errors: list[str] = []
        self.longest_ms = 0.0
        self._listener = lab.listen(4, ALLOWED)
        self._sockets = [lab.open_socket(lab.client, 4, socket.SOCK_STREAM) for _ in range(clients)]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads += [
            threading.Thread(target=self._ask, args=(index,)) for index in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            peers = []
            while not self._ending.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is self._listener:
                        peer, _ = self._listener.accept()
                        peers.append(peer)
                        selector.register(peer, selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket):
                        with contextlib.suppress(OSError):
                            key.fileobj.send(key.fileobj.recv(100))
            for peer in peers:
                peer.close()

    def _ask(self, index: int) -> None:
        client = self._sockets[index]
        client.settimeout(5)
        try:
            client.connect((SERVER[4], ALLOWED))
            while not self._ending.is_set():
                began = time.monotonic()
                client.send(b"question")
                assert client.recv(100) == b"question"
                self.longest_ms = max(self.longest_ms, (time.monotonic() - began) * 1e3)
                self.rounds[index] += 1
                time.sleep(0.03)
        except (OSError, AssertionError) as error:
            if not self._ending.is_set():
                self.errors.append(repr(error))


@pytest.mark.parametrize("mode", ["new", "all"])
def test_a_planned_restart_costs_nothing_and_stalls_nobody(tree: Tree, mode: str) -> None:
    tree.set_up(mode=mode)
    agent = tree.start()
    with Echo(tree.lab, 50) as echo, Stream(tree.lab, 3_000) as stream:
        assert wait_for(lambda: min(echo.rounds) > 2)
        before = {name: tree.pid(name) for name in ("enforcer 0", "collectors")}
        result = tree.client.call("restart", RestartResult)
        assert agent.says("program_exchanged"), agent.log()
        after = {name: tree.pid(name) for name in ("enforcer 0", "collectors")}
        rounds = list(echo.rounds)
        assert wait_for(lambda: min(map(int.__sub__, echo.rounds, rounds)) > 2), echo.errors
    assert not set(before.values()) & set(after.values())
    assert result.enforcers == 1
    assert (stream.lost, stream.passed_denied, stream.twice) == (0, 0, 0)
    assert echo.errors == []
    assert result.longest_pause_ms < 50
    status = tree.check()
    assert status.pid == agent.process.pid
    code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert f"{status.packets.judged} packets judged" in out
    assert agent.log().count("_died") == 0


@pytest.mark.parametrize("mode", ["new", "all"])
def test_open_connections_outlive_who_accepted_them(tree: Tree, mode: str) -> None:
    tree.set_up(mode=mode)
    agent = tree.start()
    with Echo(tree.lab, 5) as echo:
        assert wait_for(lambda: min(echo.rounds) > 2)
        for _ in range(3):
            pid = tree.pid("enforcer 0")
            kill(pid)
            assert tree.replaced("enforcer 0", pid, "judging"), agent.log()
            rounds = list(echo.rounds)
            assert wait_for(lambda: min(map(int.__sub__, echo.rounds, rounds)) > 2), echo.errors  # noqa: B023
    assert echo.errors == []
    tree.check()


def test_collectors_that_are_killed_cost_only_what_they_held(tree: Tree) -> None:
    tree.set_up(mode="new", delivery=f"state_directory = '{tree.directory}/state'")
    agent = tree.start()
    tree.lab.listen(4, ALLOWED)
    for done in range(20, 101, 20):
        pid = tree.pid("collectors")
        kill(pid)
        for _ in range(20):
            assert tree.lab.connect(4, ALLOWED) == "connected"
        assert tree.replaced("collectors", pid, "running"), agent.log()
        # What waited for them was taken, and is on disk before the next blow.
        assert wait_for(lambda: tree.status().records.collectors[0].accepted >= done)  # noqa: B023
    status = tree.check()
    assert status.crossing is not None
    assert (status.crossing.dropped, status.crossing.lost) == (0, 0)
    assert next(p for p in status.processes if p.name == "collectors").deaths == 5
    code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert "undelivered: 0" in out
    accepted = [flow for flow in tree.flows() if flow == ("accept", "service", ALLOWED)]
    assert len(accepted) >= 100


def test_sigterm_ends_everybody_and_delivers_what_waits(tree: Tree) -> None:
    agent = tree.start()
    pids = [one.pid for one in tree.status().processes]
    assert len(pids) == 3
    with Stream(tree.lab, 500):
        time.sleep(0.3)
        code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert "undelivered: 0" in out
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert tree.jumps() == 1


def test_the_place_for_recorders_goes_with_the_agent(tree: Tree) -> None:
    place = tree.directory / "packets.sock"
    tree.set_up(delivery=f"[recorder]\npackets_socket = '{place}'")
    for killed in (False, True):
        agent = tree.start()
        assert wait_for(place.exists), agent.log()
        if killed:
            pid = tree.pid("enforcer 0")
            kill(pid)
            assert tree.replaced("enforcer 0", pid, "judging"), agent.log()
            assert wait_for(place.exists), agent.log()
        assert agent.end()[0] == ExitCode.OK, agent.log()
        assert not list(tree.directory.glob("packets.sock*"))


def test_a_supervisor_that_is_killed_takes_its_children_along(tree: Tree) -> None:
    agent = tree.start()
    pids = [one.pid for one in tree.status().processes]
    agent.process.kill()
    agent.wait()
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)
    with Stream(tree.lab, 200) as stream:
        time.sleep(0.2)
    assert len(stream.delays) == 0
    tree.start()


def open_to_everybody(program: Path) -> tuple[str, ...]:
    """Give what stands before a command that another user has to be able to run.

    Where Python lies below a closed directory, the command gets a view of its own in which that
    directory is open and holds nothing else.
    """
    closed = [one for one in (*program.parents[::-1], program) if not one.stat().st_mode & 0o001]
    if not closed:
        return ()
    script = (
        f"mkdir -p /run/t && mount -t tmpfs t /run/t && mkdir /run/t/p"
        f" && mount --bind {program} /run/t/p && mount -t tmpfs -o mode=755 t {closed[0]}"
        f' && mkdir -p {program} && mount --bind /run/t/p {program} && exec "$@"'
    )
    return "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"


def capabilities(pid: int) -> tuple[int, int, int]:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return int(fields["CapPrm"], 16), int(fields["NoNewPrivs"]), int(fields["Uid"].split()[1])


def test_collectors_that_are_away_at_the_end_come_back_for_what_waits(tree: Tree) -> None:
    agent = tree.start()
    tree.lab.listen(4, ALLOWED)
    kill(tree.pid("collectors"))
    for _ in range(10):
        assert tree.lab.connect(4, ALLOWED) == "connected"
    code, _ = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert len([flow for flow in tree.flows() if flow[2] == ALLOWED]) == 10


def test_each_process_may_do_what_it_has_to_and_nothing_else(tree: Tree) -> None:
    os.chown(tree.directory, STRANGER, STRANGER)
    tree.directory.parent.chmod(0o755)
    tree.directory.parent.parent.chmod(0o755)
    tree.set_up(processes=f'user = "{STRANGER}"')
    agent = tree.run(prefix=open_to_everybody(Path(sys.base_prefix)))
    assert agent.says("agent_started"), agent.log()
    assert tree.lab.connect(4, DENIED) == "timed out"
    admin, raw = 1 << 12, 1 << 13
    assert capabilities(agent.process.pid) == (admin | raw, 1, STRANGER)
    assert capabilities(tree.pid("enforcer 0")) == (admin, 1, STRANGER)
    assert capabilities(tree.pid("collectors")) == (0, 1, STRANGER)
    # What the kernel counts, only root can read: the supervisor opened it before.
    tree.check()
    tree.client.call("restart", RestartResult)
    assert agent.says("program_exchanged"), agent.log()
    assert capabilities(agent.process.pid) == (admin | raw, 1, STRANGER)
    assert capabilities(tree.pid("enforcer 0")) == (admin, 1, STRANGER)
    assert capabilities(tree.pid("collectors")) == (0, 1, STRANGER)
    assert tree.lab.connect(4, DENIED) == "timed out"
    tree.check()
    assert agent.end()[0] == ExitCode.OK, agent.log()


def test_several_workers_share_the_packets_and_one_account_counts_for_all(tree: Tree) -> None:
    tree.set_up(mode="new", processes="workers = 3")
    agent = tree.start()
    listener = tree.lab.listen(4, ALLOWED)
    names = [one.name for one in tree.status().processes]
    workers = ["enforcer 0", "enforcer 1", "enforcer 2"]
    assert names == [*workers, "accountant", "enforcer in reserve", "collectors"]
    killed = [tree.pid(name) for name in workers]
    for name, pid in zip(workers, killed, strict=True):
        kill(pid)
        assert tree.replaced(name, pid, "judging"), agent.log()
    assert tree.lab.connect(4, DENIED) == "timed out"
    client = tree.lab.open_socket(tree.lab.client, 4, socket.SOCK_STREAM)
    client.connect((SERVER[4], ALLOWED))
    client.send(b"x" * 1_000)
    peer, _ = listener.accept()
    assert peer.recv(2_000)
    client.close()
    peer.close()
    status = tree.check()
    assert len(status.packets.queues) == 3
    # The end of the connection is told by the one who follows all of them.
    assert wait_for(lambda: tree.ended() != [], 60), agent.log()
    ((port, size),) = tree.ended()
    assert port == ALLOWED
    assert size > 1_000
    assert agent.end()[0] == ExitCode.OK, agent.log()


@pytest.mark.parametrize("received", [2, 5])
@pytest.mark.parametrize("known", [True, False])
def test_what_a_dead_process_had_in_hand_goes_round_again(
    lab: Lab, received: int, known: bool
) -> None:
    """Whoever takes over gets each packet once, and accepts none that it did not judge."""
    queue = lab.server.call(lambda: NetlinkQueue.open(9))
    lab.sockets.callback(queue.close)
    rules = QueueRules(queue=9, hooks=(RuleHook.INPUT,), mode=QueueMode.ALL)
    lab.server.call(KernelRules(rules).install)
    servers = {}
    for port in (ALLOWED, DENIED):
        servers[port] = lab.open_socket(lab.server, 4, socket.SOCK_DGRAM)
        servers[port].bind((SERVER[4], port))
    client = lab.open_socket(lab.client, 4, socket.SOCK_DGRAM)
    for number in range(5):
        client.sendto(b"%d" % number, (SERVER[4], DENIED if number == 1 else ALLOWED))
    dead = socket.socket(fileno=os.dup(queue.fileno()))
    for _ in range(received):
        assert dead.recv(1_000)
    dead.close()
    statistics = lab.server.call(read_statistics)[9]
    assert statistics.waiting == 5
    last = statistics.last_packet_id if known else 5 + 64
    queue.settle(Verdict.REPEAT, last)
    engine = Engine(compile_policy(parse_policy(POLICY)))
    backend = NetlinkBackend(queue, engine)
    backend.drain(time.time_ns())
    assert sorted(servers[ALLOWED].recv(10) for _ in range(4)) == [b"0", b"2", b"3", b"4"]
    for server in servers.values():
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(10)
    assert engine.counters["packets"] == 5
    assert engine.counters["packets_denied"] == 1
    statistics = lab.server.call(read_statistics)[9]
    # Who had them in hand used up as many numbers of the kernel.
    assert (statistics.waiting, statistics.last_packet_id) == (0, 5 + received)


def test_names_outlive_those_who_learned_them(tree: Tree) -> None:
    names = NameServer(tree.lab, 4)
    try:
        tree.write_policy(NAMES_POLICY)
        tree.set_up(mode="new")
        path = tree.directory / "agent.toml"
        text = path.read_text(encoding="utf-8").replace('["input"]', '["input", "output"]')
        path.write_text(text, encoding="utf-8")
        agent = tree.start()
        assert connect(tree.lab, 4) == "timed out"
        assert look_up(tree.lab, 4, "api.example.com")
        assert wait_for(lambda: connect(tree.lab, 4) == "reached"), agent.log()
        pid = tree.pid("enforcer 0")
        kill(pid)
        assert tree.replaced("enforcer 0", pid, "judging"), agent.log()
        assert connect(tree.lab, 4) == "reached"
        tree.client.call("restart", RestartResult)
        assert agent.says("program_exchanged"), agent.log()
        pid = tree.pid("enforcer 0")
        assert connect(tree.lab, 4) == "reached"
        time.sleep(1)
        kill(pid)
        assert tree.replaced("enforcer 0", pid, "judging"), agent.log()
        assert connect(tree.lab, 4) == "reached"
    finally:
        names.stop()


def test_a_short_connection_is_one_record_where_that_is_wanted(tree: Tree) -> None:
    tree.set_up(
        mode="new", processes="[datapath.accounting]\nreport_opened = false\nlist_seconds = 1"
    )
    tree.start()
    flows = tree.directory / "flows.json"
    for _ in range(3):
        listener = tree.lab.listen(4, ALLOWED)
        assert tree.lab.connect(4, ALLOWED) == "connected"
        listener.close()  # resets what nobody accepted: both sides are done
    assert tree.lab.connect(4, DENIED) == "timed out"

    def told() -> Counter[tuple[str, str, int]]:
        records = [json.loads(line) for line in flows.read_text(encoding="utf-8").splitlines()]
        found = [one for one in records if one["type"] == "flow"]
        return Counter((one["action"], one.get("phase", ""), one["count"]) for one in found)

    once = {("accept", "ended", 1): 3, ("reject", "", 1): 1}
    assert wait_for(lambda: told() == once, 15), told()
    assert tree.status().packets.counters["flows_accepted"] == 3
    # The kernel still knows them; who comes after tells of those only that were not told of.
    pid = tree.pid("enforcer 0")
    kill(pid)
    assert tree.replaced("enforcer 0", pid, "judging")
    listener = tree.lab.listen(4, ALLOWED)
    assert tree.lab.connect(4, ALLOWED) == "connected"
    listener.close()
    ended = ("accept", "ended", 1)
    assert wait_for(lambda: told()[ended] == 4, 15), told()
    assert not wait_for(lambda: told()[ended] > 4, 1.5), told()
