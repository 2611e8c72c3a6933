"""The enforcer in a network of namespaces made for it: ``demo.py``, as root."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trireme_datapath.demo import Topology

WEB = "198.51.100.20"


def attempt(network: Topology, port: int) -> str:
    """Connect from the client to the web server, through the enforcer."""
    with network.hosts["client"].socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        try:
            client.connect((WEB, port))
        except TimeoutError:
            return f"port {port}: no answer"
    return f"port {port}: connected"


def main(place: Path) -> None:
    """Show a reject, open the port, and show that it is open."""
    containers, services, records = place / "containers", place / "services.json", place / "flows"
    containers.mkdir()
    web = {"addresses": [WEB], "labels": ["app=web"]}
    (containers / "web.json").write_text(json.dumps(web), encoding="utf-8")
    services.write_text('[{"label": "app=web", "ports": [80]}]', encoding="utf-8")
    with (
        Topology() as network,
        network.hosts["web"].socket(socket.AF_INET, socket.SOCK_STREAM) as one,
        network.hosts["web"].socket(socket.AF_INET, socket.SOCK_STREAM) as other,
    ):
        for server, port in ((one, 80), (other, 8080)):
            server.bind((WEB, port))
            server.listen()
        program = str(Path(__file__).with_name("enforcer.py"))
        words = [sys.executable, program, str(containers), str(services), str(records)]
        command = network.enforcer.command(words)
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  it is ours
        if agent.stdout is None:
            raise AssertionError("a pipe was asked for")
        print(agent.stdout.readline(), end="", flush=True)
        print(attempt(network, 80))
        print(attempt(network, 8080))
        services.write_text('[{"label": "app=web", "ports": [80, 8080]}]', encoding="utf-8")
        time.sleep(1)  # it looks five times a second
        print(attempt(network, 8080))
        agent.terminate()
        print(agent.communicate(timeout=10)[0], end="")
    kinds = [json.loads(line)["type"] for line in records.read_text(encoding="utf-8").splitlines()]
    print(f"{kinds.count('flow')} flows and {kinds.count('container')} container in the file")
    sys.exit(agent.returncode)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(Path(directory))
