"""Who reaches a port and is not let in leaves no line in the log."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("grpc")
trustme = pytest.importorskip("trustme")

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import socket, sys
from trireme_datapath.grpc_server import require_grpc
require_grpc()
import grpc
from concurrent.futures import ThreadPoolExecutor
key, certificate = (open(path, "rb").read() for path in sys.argv[1:])
server = grpc.server(ThreadPoolExecutor(1))
credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, True)
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
for _ in range(3):
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"nonsense" * 10)
        stranger.shutdown(socket.SHUT_WR)
        try:
            while stranger.recv(100):
                pass
        except ConnectionResetError:
            pass
server.stop(0).wait()
"""


def test_strangers_write_nothing_into_the_log(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    command = [sys.executable, "-c", PROGRAM, str(key), str(certificate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
