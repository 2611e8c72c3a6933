"""CPU per packet of a recording, against dumpcap and tcpdump on the same traffic.

A sender puts frames on a virtual Ethernet pair at a steady pace; what records at the other end
writes whole packets into a file. The recorders run in turn, each as a process of its own. What
is measured is the CPU time of their threads from before the first packet until all are counted,
read from the scheduler; starting and ending are not in it. Then, the encoding and writing alone,
what the kernel takes for it included, beside dumpcap that writes the same bytes from a pipe.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import interleave, show, show_ratio
from trireme_datapath.kernel.namespaces import Network, missing_means
from trireme_datapath.recorder._output import FileOutput
from trireme_datapath.recorder._store import RecordingStore, StoreLimits
from trireme_datapath.recorder.capture_formats import (
    CaptureFormat,
    CaptureInterface,
    CaptureStatistics,
    encoder_of,
)

if TYPE_CHECKING:
    from trireme_datapath.kernel.namespaces import Namespace

RUNS = 5
# Bytes of a frame: how many are sent, and how many in a second. Large ones at a pace that a disk
# holds, so that the recorders are compared and not the disk.
TRAFFIC = {64: (200_000, 100_000), 1400: (60_000, 20_000)}
RATIO = 2.5
WRITE_MICROSECONDS = 1.0
WRITTEN_BYTES = 300_000_000
WRITTEN_SIZES = (64, 500, 1400)


def _commands(directory: str) -> dict[str, list[str]]:
    own = [sys.executable, "-m", "bench.recorder_consumer", f"{directory}/own"]
    return {
        "dumpcap, pcap": [
            "dumpcap",
            "-q",
            "-P",
            "-B",
            "16",
            "-i",
            "in",
            "-w",
            f"{directory}/dumpcap.pcap",
        ],
        "tcpdump": [
            "tcpdump",
            "-n",
            "-B",
            "16384",
            "-i",
            "in",
            "-w",
            f"{directory}/tcpdump.pcap",
            "-Z",
            "root",
        ],
        "recorder, pcap": [*own, "pcap"],
        "recorder, pcap-ns": [*own, "pcap-ns"],
        "recorder, pcapng": [*own, "pcapng"],
    }


def _cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks)


def _settled_ns(pid: int) -> int:
    """Wait until a process does nothing but look now and then."""
    before = _cpu_ns(pid)
    for _ in range(100):
        time.sleep(0.2)
        after = _cpu_ns(pid)
        if after - before < 2_000_000:
            return after
        before = after
    return before


def _frames_in(path: Path) -> int:
    found = subprocess.run(
        ["capinfos", "-M", "-c", "-T", "-r", path], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[-1])


def _measure(sender: Namespace, taker: Namespace, name: str, size: int) -> float:
    """Give the CPU microseconds for a packet."""
    target = json.loads(taker.ip("-json", "link", "show", "in"))[0]["address"]
    directory = tempfile.mkdtemp(prefix="recorder-")
    process = subprocess.Popen(
        taker.command(_commands(directory)[name]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        time.sleep(0.7)
        before = _settled_ns(process.pid)
        packets, rate = TRAFFIC[size]
        words = [target, str(size), str(packets), str(rate)]
        sender.run([sys.executable, "-m", "bench.recorder_flood", *words])
        spent = _settled_ns(process.pid) - before
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        files = [one for one in Path(directory).rglob("*.pcap*") if one.stat().st_size > 100_000]
        recorded = _frames_in(files[0]) if files else 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        shutil.rmtree(directory)
    if recorded < packets:
        print(f"    {name} lost {packets - recorded:,} of {packets:,} packets")
    return spent / 1000 / max(recorded, 1)


def _write(capture_format: CaptureFormat, size: int) -> float:
    """Give the CPU microseconds to encode and write a packet, with those of the kernel."""
    with tempfile.TemporaryDirectory() as directory:
        store = RecordingStore(
            f"{directory}/own", node_name="bench", limits=StoreLimits(min_free_bytes=0)
        )
        output = FileOutput(
            store, "", encoder_of(capture_format, [CaptureInterface("in")]), time.monotonic_ns()
        )
        data = bytes(size)
        frames = [(1_700_000_000, number, size, size, data) for number in range(700)]
        begin = resource.getrusage(resource.RUSAGE_SELF)
        rounds = max(1, WRITTEN_BYTES // (len(frames) * (size + 16)))
        for _ in range(rounds):
            now_ns = time.monotonic_ns()
            output.add(frames, 0, None, now_ns)
            output.flush(now_ns)
        output.flush(0, force=True)
        end = resource.getrusage(resource.RUSAGE_SELF)
        output.close(CaptureStatistics(0, 0), 0, 0)
        store.close()
    spent = end.ru_stime - begin.ru_stime + end.ru_utime - begin.ru_utime
    return spent / (rounds * len(frames)) * 1_000_000


def _write_by_dumpcap(size: int) -> float:
    """Give the CPU microseconds of dumpcap to read a packet from a pipe and write it."""
    encoder = encoder_of(CaptureFormat.PCAP, [CaptureInterface("in")])
    block = encoder.encode([(1_700_000_000, 1, size, size, bytes(size))] * 700)
    rounds = max(1, WRITTEN_BYTES // len(block))
    with tempfile.TemporaryDirectory() as directory:
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["dumpcap", "-q", "-P", "-i", "-", "-w", f"{directory}/out.pcap"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(encoder.begin())
            for _ in range(rounds):
                pipe.write(block)
        process.wait()
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = end.ru_stime - begin.ru_stime + end.ru_utime - begin.ru_utime
    return spent / (rounds * 700) * 1_000_000


def run() -> bool:
    """Compare them."""
    missing = missing_means(queues=False)
    missing += [
        f"{one} is not installed"
        for one in ("dumpcap", "capinfos", "tcpdump")
        if not shutil.which(one)
    ]
    if missing:
        print(f"  cannot be measured here: {'; '.join(missing)}")
        return False
    met = True
    with Network() as network:
        sender, taker = network.namespace("sender"), network.namespace("taker")
        network.link(sender, "out", ["10.78.0.1/16"], taker, "in", ["10.78.0.2/16"])
        taker.run(["iptables", "-t", "raw", "-A", "PREROUTING", "-p", "udp", "-j", "DROP"])
        for size, (_, rate) in TRAFFIC.items():
            print(f"  {size}-byte frames, {rate:,} a second")
            figures = interleave(
                RUNS,
                {name: partial(_measure, sender, taker, name, size) for name in _commands("")},
            )
            medians = {name: show(f"  {name}", values, "us") for name, values in figures.items()}
            ratio = medians["recorder, pcap"] / medians["dumpcap, pcap"]
            met &= show_ratio("  ratio to dumpcap, pcap", ratio, RATIO)
            plain = medians["recorder, pcap"] / medians["tcpdump"]
            print(f"  {'  ratio to tcpdump':<46} {plain:9.2f} x")
    for size in WRITTEN_SIZES:
        contenders = {one.value: partial(_write, one, size) for one in CaptureFormat}
        contenders["dumpcap, from a pipe"] = partial(_write_by_dumpcap, size)
        for name, values in interleave(RUNS, contenders).items():
            median = show(f"  write {name}, {size} bytes", values, "us")
            if name == CaptureFormat.PCAP:
                met &= show_ratio("  against its limit", median / WRITE_MICROSECONDS, 1.0)
    return met
