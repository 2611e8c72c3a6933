"""Several workers share what is queued: opening packets, whole connections, and their account."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, POLICY, SERVER, wait_for
from tests.live.test_processes_live import Tree, kill
from tests.live.test_processes_live import tree as tree  # noqa: PLC0414  a fixture of both
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.conftest import Lab

pytestmark = pytest.mark.live


def addresses(tree: Tree) -> list[str]:
    """Give the client many addresses: the kernel's hash of them spreads over all workers."""
    network = SERVER[4].rpartition(".")[0]
    found = [f"{network}.{number}" for number in range(101, 117)]
    for address in found:
        tree.lab.client.ip("addr", "add", f"{address}/24", "dev", "eth0")
    tree.write_policy(POLICY.replace('"192.0.2.1"', f'"{network}.0/24"'))
    return found


def connection(lab: Lab, address: str, port: int = ALLOWED) -> socket.socket:
    client = lab.open_socket(lab.client, 4, socket.SOCK_STREAM)
    client.bind((address, 0))
    client.connect((SERVER[4], port))
    return client


def ended(tree: Tree) -> dict[str, list[int]]:
    """Give the bytes of each report on a connection that went on or ended, by client."""
    found: dict[str, list[int]] = {}
    for line in (tree.directory / "flows.json").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("phase") in {"ended", "continued"} and record["l4_protocol"] == 6:
            found.setdefault(record["source"]["ip"], []).append(record["bytes"])
    return found


def with_opening_queue(tree: Tree, first: int) -> None:
    path = tree.directory / "agent.toml"
    text = path.read_text(encoding="utf-8")
    assert "[datapath]\n" in text
    text = text.replace("[datapath]\n", f"[datapath]\nopening_queue = {first}\n")
    path.write_text(text, encoding="utf-8")


def test_opening_packets_meet_the_worker_of_their_connection(tree: Tree) -> None:
    tree.set_up(mode="all", processes="workers = 2")
    with_opening_queue(tree, 30)
    clients = addresses(tree)
    agent = tree.start()
    listener = tree.lab.listen(4, ALLOWED)
    listener.listen(64)
    for address in clients:
        with connection(tree.lab, address) as client:
            peer, _ = listener.accept()
            with peer:
                client.send(b"question")
                assert peer.recv(100) == b"question"
                peer.send(b"answer")
                assert client.recv(100) == b"answer"
    assert tree.lab.connect(4, DENIED) == "timed out"
    status = tree.check()
    received = {queue.number: queue.received for queue in status.packets.queues}
    assert sorted(received)[-2:] == [30, 31]
    # Nothing of the middle of a connection came to the wrong one: all were answered. And both work.
    assert all(received.values()), received
    opened = received[30] + received[31]
    assert 17 <= opened <= 20  # with those that the kernel sent again to the denied port
    assert agent.end()[0] == ExitCode.OK, agent.log()


def test_connections_outlive_every_worker_where_all_is_queued(tree: Tree) -> None:
    tree.set_up(mode="all", processes="workers = 2")
    clients = addresses(tree)
    agent = tree.start()
    listener = tree.lab.listen(4, ALLOWED)
    listener.listen(64)
    talks = {}
    for address in clients:
        client = connection(tree.lab, address)
        peer, _ = listener.accept()
        talks[address] = (client, peer)
        client.send(b"x" * 1_000)
        assert peer.recv(2_000)
    for name in ("enforcer 0", "enforcer 1"):
        pid = tree.pid(name)
        kill(pid, signal.SIGKILL)
        assert tree.replaced(name, pid, "judging"), agent.log()
    for client, peer in talks.values():
        peer.settimeout(3)
        client.send(b"y" * 1_000)
        assert peer.recv(2_000) == b"y" * 1_000
    assert tree.lab.connect(4, DENIED) == "timed out"
    tree.check()
    for client, peer in talks.values():
        client.close()
        peer.close()
    # Each end is told once, by the worker that saw the connection.
    assert wait_for(lambda: len(ended(tree)) == len(talks), 30), agent.log()
    assert agent.end()[0] == ExitCode.OK, agent.log()
    found = ended(tree)
    assert found.keys() == talks.keys()
    for address, sizes in found.items():
        assert 2_000 < sum(sizes) < 4_000, (address, sizes)
