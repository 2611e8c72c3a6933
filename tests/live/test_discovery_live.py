"""Units that a running agent finds on its host."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, CLIENT, DENIED, SERVER, wait_for
from tests.live.test_control_live import place
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.kernel.namespaces import Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.test_run_live import Place
    from trireme_datapath.kernel.namespaces import Namespace

pytestmark = pytest.mark.live
__all__ = ["place"]

TABLES = """
[processes]
layout = "{layout}"
[discovery.host]
every_seconds = 0.1
namespace_directories = ["{names}"]
"""


def told(place: Place) -> list[tuple[str, str]]:
    text = (place.directory / "flows.json").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    return [(one["context_id"], one["event"]) for one in records if one["type"] == "container"]


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_namespaces_that_come_and_go_are_told_of(place: Place, layout: str) -> None:
    names = place.directory / "netns"
    names.mkdir()
    place.configure(collectors=TABLES.format(layout=layout, names=names))
    agent = place.start()
    (names / "shop").touch()
    assert wait_for(lambda: ("netns:shop", "ignore") in told(place), 5), told(place)
    (names / "shop").unlink()
    assert wait_for(lambda: ("netns:shop", "delete") in told(place), 5), told(place)
    assert told(place) == [
        ("ctx-server", "start"),
        ("netns:shop", "ignore"),
        ("netns:shop", "delete"),
    ]
    assert agent.end()[0] == ExitCode.OK


SHOP = "192.0.3.2"
SHOP_POLICY = f"""
version = 1
[[unit]]
id = "shop"
context = "netns:shop"
select = {{ told = true }}
[[unit.ingress]]
id = "service"
action = "accept"
from = "{CLIENT[4]}"
protocol = "tcp"
ports = [{ALLOWED}]
"""


@contextlib.contextmanager
def named(path: Path, namespace: Namespace) -> Iterator[None]:
    """Give a namespace a name, as ``ip netns`` does."""
    path.touch()
    subprocess.run(["mount", "--bind", f"/proc/{namespace.pid}/ns/net", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)
        path.unlink()


def test_what_a_namespace_sends_and_gets_is_judged_while_it_is_there(place: Place) -> None:
    lab, names = place.lab, place.directory / "netns"
    names.mkdir()
    with Network() as network:
        shop = network.namespace("shop")
        network.link(lab.server, "v-shop", ["192.0.3.1/24"], shop, "eth0", [f"{SHOP}/24"])
        shop.add_route("default", "192.0.3.1")
        lab.client.add_route("192.0.3.0/24", SERVER[4])
        lab.server.forward()
        listeners = []
        for port in (ALLOWED, DENIED):
            listener = lab.open_socket(shop, 4, socket.SOCK_STREAM)
            listener.bind((SHOP, port))
            listener.listen()
            listeners.append(listener)

        def reaches(port: int) -> bool:
            client = lab.open_socket(lab.client, 4, socket.SOCK_STREAM)
            with contextlib.suppress(TimeoutError):
                client.connect((SHOP, port))
                return True
            return False

        place.write_policy(SHOP_POLICY)
        place.configure(collectors=TABLES.format(layout="tree", names=names))
        path = place.directory / "agent.toml"
        text = path.read_text(encoding="utf-8").replace('["input"]', '["forward"]')
        path.write_text(text, encoding="utf-8")
        agent = place.start()
        assert not reaches(ALLOWED)
        with named(names / "shop", shop):
            assert wait_for(lambda: ("netns:shop", "start") in told(place), 5), agent.log()
            assert wait_for(lambda: reaches(ALLOWED), 3), agent.log()
            assert not reaches(DENIED)
        assert wait_for(lambda: ("netns:shop", "delete") in told(place), 5), agent.log()
        assert wait_for(lambda: not reaches(ALLOWED), 3), agent.log()
        assert agent.end()[0] == ExitCode.OK
