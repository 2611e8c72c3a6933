"""Other programs that write a JSON record for each connection, set up to do only that."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from bench.agent_lab import wait_until

if TYPE_CHECKING:
    from bench.agent_lab import Lab

__all__ = ["Suricata", "Ulogd"]

_QUEUE: Final = 7
_START_SECONDS: Final = 30.0
_SURICATA: Final = """%YAML 1.1
---
vars:
  address-groups:
    HOME_NET: "[10.77.0.0/16]"
    EXTERNAL_NET: "any"
default-log-dir: {directory}
stats:
  enabled: no
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - flow
logging:
  default-log-level: notice
  outputs:
    - file:
        enabled: yes
        filename: suricata.log
nfq:
  mode: accept
  batchcount: 20
  fail-open: no
app-layer:
  protocols:
    http:
      enabled: no
flow:
  memcap: 256mb
  hash-size: 65536
  prealloc: 10000
flow-timeouts:
  tcp:
    new: 3
    established: 60
    closed: 0
stream:
  memcap: 64mb
  midstream: false
unix-command:
  enabled: no
"""
_ULOGD: Final = """[global]
logfile="{directory}/ulogd.log"
loglevel=5
plugin="{plugins}/ulogd_inpflow_NFCT.so"
plugin="{plugins}/ulogd_filter_IP2STR.so"
plugin="{plugins}/ulogd_output_JSON.so"
stack=ct1:NFCT,ip2str1:IP2STR,json1:JSON
[ct1]
netlink_socket_buffer_size=8388608
netlink_socket_buffer_maxsize=33554432
reliable=1
{more}
[json1]
file="{directory}/ulogd.json"
sync=0
"""


class _Program:
    """A program in the namespace of the server."""

    records: Path

    def __init__(self, lab: Lab, command: list[str]) -> None:
        self._process = subprocess.Popen(
            lab.server.command(command),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = self._process.pid

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Suricata(_Program):
    """Suricata 7 on a queue, without rules, with its log of flows."""

    needs: ClassVar = (
        (
            "suricata",
            "version 7, of backports on Debian 12: apt-get install -t bookworm-backports suricata",
        ),
    )

    def __init__(self, lab: Lab, run_mode: str = "") -> None:
        """Start it, and queue what begins a connection; in its default run mode, or another."""
        config = lab.directory / "suricata.yaml"
        config.write_text(_SURICATA.format(directory=lab.directory), encoding="utf-8")
        self.records = lab.directory / "eve.json"
        super().__init__(
            lab,
            [
                *("suricata", "-c", str(config), "-q", str(_QUEUE), "-S", "/dev/null"),
                *("-l", str(lab.directory), *(("--runmode", run_mode) if run_mode else ())),
            ],
        )
        log = lab.directory / "suricata.log"
        wait_until(
            lambda: log.exists() and "ngine started" in log.read_text(encoding="utf-8"),
            _START_SECONDS,
            "Suricata has started",
        )
        new = ["-m", "conntrack", "--ctstate", "NEW"]
        queue = ["-j", "NFQUEUE", "--queue-num", str(_QUEUE)]
        lab.server.run(["iptables", "-A", "INPUT", "-i", "in", *new, *queue])


class Ulogd(_Program):
    """ulogd2, which hears of connections from the kernel."""

    needs: ClassVar = (("ulogd", "apt-get install ulogd2 ulogd2-json"),)

    def __init__(self, lab: Lab, more: str = "") -> None:
        """Start it, and have the kernel track connections."""
        plugins = next(Path("/usr/lib").glob("*/ulogd"), None) or Path("/usr/lib64/ulogd")
        if not (plugins / "ulogd_output_JSON.so").exists():
            raise SystemExit("this benchmark needs: apt-get install ulogd2-json")
        config = lab.directory / "ulogd.conf"
        config.write_text(
            _ULOGD.format(directory=lab.directory, plugins=plugins, more=more), encoding="utf-8"
        )
        self.records = lab.directory / "ulogd.json"
        lab.server.run(["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"])
        super().__init__(lab, ["ulogd", "-c", str(config)])
