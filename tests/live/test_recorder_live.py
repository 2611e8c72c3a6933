"""Recording from real interfaces and real queues; Wireshark's tools read every file."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from tests.live.conftest import (
    ALLOWED,
    BACKENDS,
    CLIENT,
    DENIED,
    POLICY,
    SERVER,
    Enforcer,
    Lab,
    wait_for,
)
from trireme_datapath.recorder import (
    CaptureFilter,
    CaptureFormat,
    Recorder,
    RecorderConfig,
    RecorderError,
    RecordingRequest,
    RecordingStore,
    Refusal,
    StopCondition,
    StopReason,
    StoreLimits,
    build_filter,
)
from trireme_datapath.recorder._matcher import compile_matcher, network_start
from trireme_datapath.recorder._tap import InterfaceTap
from trireme_datapath.recorder.queue_feed import QueueFeed
from trireme_datapath.recorder.recorder import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_datapath.recorder import ActiveRecording
    from trireme_datapath.recorder._source import PacketSource

pytestmark = pytest.mark.live

ANY4, ANY6 = build_filter("0.0.0.0/0", "0.0.0.0/0"), build_filter("::/0", "::/0")

WEB6 = build_filter("::/0", "::/0", 0, 443)
# Without what the namespaces say to each other unasked: neighbour discovery, reports.
CHATTER = "not icmpv6 or icmpv6.type == 128"


@pytest.fixture(scope="module", autouse=True)
def wireshark() -> None:
    missing = [one for one in ("tshark", "capinfos") if not shutil.which(one)]
    if missing:
        pytest.fail(f"these tests need {' and '.join(missing)} (Debian: tshark)")


def tshark(path: str, *fields: str, display: str = "") -> list[list[str]]:
    """Give fields of all packets; fail on whatever tshark complains about."""
    words = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|"]
    words += [word for field in fields for word in ("-e", field)]
    words += ["-Y", display] if display else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "Running as user" not in line]
    assert (done.returncode, complaints) == (0, [])
    return [line.split("|") for line in done.stdout.splitlines()]


def capinfos(path: str) -> int:
    done = subprocess.run(
        ["capinfos", "-M", "-c", "-T", "-r", path], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split("\t")[-1])


class Recording:
    """A recorder in the server's namespace."""

    def __init__(self, lab: Lab, directory: Path, **settings: object) -> None:
        self.lab = lab
        settings.setdefault("interfaces", ("eth0",))
        config = RecorderConfig(directory=str(directory), **settings)  # type: ignore[arg-type]
        self.store = RecordingStore(
            directory, node_name="live", limits=StoreLimits(min_free_bytes=0)
        )
        self.recorder = Recorder(config, self.store, open_source=self._open)

    def _open(self, config: RecorderConfig, request: RecordingRequest) -> PacketSource:
        return self.lab.server.call(lambda: open_source(config, request))

    def start(self, *include: CaptureFilter, **options: object) -> ActiveRecording:
        request = RecordingRequest(include=include or (ANY4, ANY6), **options)  # type: ignore[arg-type]
        return self.recorder.start(request, "test")

    def finish(self, active: ActiveRecording) -> str:
        active.stop()
        assert active.ended.wait(10)
        active.raise_error()
        path = active.path
        assert capinfos(path) == active.statistics.packets_captured
        return path


@pytest.fixture
def record(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Recording]]:
    with contextlib.ExitStack() as stack:

        def make(**settings: object) -> Recording:
            made = Recording(lab, tmp_path / "recordings", **settings)
            stack.callback(made.recorder.close)
            return made

        yield make


def send_frames(lab: Lab, frames: list[bytes], interface: str = "eth0") -> None:
    """Put frames on the wire at the client's end."""
    raw = lab.client.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with raw:
        raw.bind((interface, 0))
        for frame in frames:
            raw.send(frame)


def frame(packet: Packet) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)


@pytest.mark.parametrize("capture_format", list(CaptureFormat))
def test_connections_are_recorded_whole(
    lab: Lab, record: Callable[..., Recording], capture_format: CaptureFormat
) -> None:
    recording = record(default_capture_bytes=0)
    active = recording.start(capture_format=capture_format)
    for version in (4, 6):
        lab.listen(version, ALLOWED)
        assert lab.connect(version, ALLOWED) == "connected"
        assert lab.ask(version, DENIED) == "answered"
        assert lab.ping(version) == "answered"
    path = recording.finish(active)
    assert active.statistics.packets_lost == 0
    rows = tshark(
        path, "tcp.flags.str", "udp.length", "frame.len", "frame.cap_len", display=CHATTER
    )
    assert sum("S" in row[0] for row in rows) == 4
    assert sum(row[1] == "30" for row in rows) == 4
    assert all(row[2] == row[3] for row in rows)
    assert len(tshark(path, "frame.number", display="icmp.type == 8")) == 1
    assert len(tshark(path, "frame.number", display="icmpv6.type == 128")) == 1
    times = tshark(path, "frame.time_epoch")
    assert all(abs(float(row[0]) - time.time()) < 60 for row in times)
    if capture_format is CaptureFormat.PCAPNG:
        assert {row[0] for row in tshark(path, "frame.interface_name")} == {"eth0"}


PACKETS: dict[str, Packet] = {
    "web": IP(src="10.1.2.3", dst="192.0.2.2") / TCP(sport=40000, dport=443),
    "dns": IP(src="10.1.2.3", dst="192.0.2.2") / UDP(sport=40000, dport=53),
    "ping": IP(src="10.1.2.3", dst="192.0.2.2") / ICMP(),
    "sctp": IP(src="10.1.2.3", dst="192.0.2.2") / SCTP(sport=36412, dport=36412),
    "later": IP(src="10.1.2.3", dst="192.0.2.2", frag=3, proto=17) / Raw(b"\0\x35" * 20),
    "options": IP(src="10.9.2.3", dst="192.0.2.2", options=b"\x01" * 8) / TCP(sport=7, dport=443),
    "vlan": Dot1Q(vlan=7) / IP(src="10.1.2.3", dst="192.0.2.2") / TCP(sport=40000, dport=443),
    "vlan6": Dot1Q(vlan=7) / IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=4, dport=443),
    "provider": Dot1AD(vlan=9)
    / Dot1Q(vlan=7)
    / IP(src="10.1.2.3", dst="192.0.2.2")
    / TCP(dport=443),
    "tags6": Dot1Q(vlan=9) / Dot1Q(vlan=7) / IPv6(src="2001:db8::1", dst="::2") / TCP(dport=443),
    "web6": IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=40000, dport=443),
    "headers": IPv6(src="2001:db8::1", dst="2001:db8::2")
    / IPv6ExtHdrDestOpt()
    / TCP(sport=40000, dport=443),
    "first": IPv6(src="2001:db8::1", dst="2001:db8::2")
    / IPv6ExtHdrFragment(m=1, nh=17)
    / UDP(sport=40000, dport=53),
    "later6": IPv6(src="2001:db8::1", dst="2001:db8::2")
    / IPv6ExtHdrFragment(offset=9, nh=17)
    / UDP(sport=40000, dport=53),
    "ping6": IPv6(src="2001:db8::1", dst="2001:db8::2") / ICMPv6EchoRequest(),
    "arp": ARP(pdst="192.0.2.2"),
}


@pytest.mark.parametrize(
    "filters",
    [
        (ANY4,),
        (build_filter("10.1.0.0/16", "0.0.0.0/0", 0, 443, 6),),
        (build_filter("0.0.0.0/0", "192.0.2.0/24", 0, 53),),
        (
            build_filter("0.0.0.0/0", "0.0.0.0/0", protocol=132),
            build_filter("::/0", "::/0", 0, 443),
        ),
        (build_filter("2001:db8::1/128", "2001:db8::/64", protocol=17),),
        (build_filter("2001:db8::/32", "::/0", 40000, 53, 17),),
        tuple(build_filter(f"10.1.2.{n % 250}/32", "0.0.0.0/0", n, 443, 6) for n in range(1000)),
    ],
    ids=["any", "web", "dns", "mixed", "udp6", "dns6", "thousand"],
)
def test_kernel_and_matcher_choose_the_same(
    lab: Lab, record: Callable[..., Recording], filters: tuple[CaptureFilter, ...]
) -> None:
    """The kernel of this machine runs the program; what comes out is what the matcher says."""
    recording = record(default_capture_bytes=0)
    active = recording.start(*filters)
    frames = [frame(packet) for packet in PACKETS.values()]
    send_frames(lab, frames)
    path = recording.finish(active)
    match = compile_matcher(filters)
    wanted = [data for data in frames if match(data, network_start(data)[0])]
    content = Path(path).read_bytes()
    for data in wanted:
        assert data in content, "with its VLAN tag, too"
    sources = tshark(path, "eth.src", display="eth.src == 02:00:00:00:00:01")
    assert len(sources) == len(wanted)


def test_both_directions_and_only_what_is_kept(lab: Lab, record: Callable[..., Recording]) -> None:
    recording = record()
    active = recording.start(ANY4, max_capture_length=40)
    assert lab.ask(4, ALLOWED) == "answered"
    path = recording.finish(active)
    rows = tshark(path, "ip.src", "frame.cap_len", "frame.len")
    assert {row[0] for row in rows} == {CLIENT[4], SERVER[4]}
    assert {row[1] for row in rows} == {"40"}
    assert {row[2] for row in rows} == {str(14 + 20 + 8 + 22)}
    assert active.statistics.bytes_captured == 40 * len(rows)


def test_loopback_packets_are_recorded_once(lab: Lab, record: Callable[..., Recording]) -> None:
    recording = record(interfaces=("lo",))
    active = recording.start(ANY4)
    local = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with local:
        local.bind(("127.0.0.1", 0))
        for _ in range(7):
            local.sendto(b"to myself", local.getsockname())
    assert len(tshark(recording.finish(active), "frame.number")) == 7


@pytest.mark.parametrize("interfaces", [("any",), ("eth0", "lo"), ("eth0", "tun9")])
def test_several_interfaces(
    lab: Lab, record: Callable[..., Recording], interfaces: tuple[str, ...]
) -> None:
    if "tun9" in interfaces:
        lab.server.ip("tuntap", "add", "dev", "tun9", "mode", "tun")
    recording = record(interfaces=interfaces, default_capture_bytes=0)
    active = recording.start(
        ANY4, build_filter("::/0", "::/0", 0, DENIED, 17), capture_format=CaptureFormat.PCAPNG
    )
    for version in (4, 6):
        assert lab.ask(version, DENIED) == "answered"
    local = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with local:
        local.bind(("127.0.0.1", 0))
        local.sendto(b"to myself", local.getsockname())
    path = recording.finish(active)
    assert len(tshark(path, "frame.number", display="ip.src == 192.0.2.1")) == 1
    assert len(tshark(path, "frame.number", display="ipv6.src == 2001:db8::1")) == 1
    own = 0 if "tun9" in interfaces else 1
    assert len(tshark(path, "frame.number", display="ip.src == 127.0.0.1")) == own


def test_vlan_tags_come_back(lab: Lab, record: Callable[..., Recording]) -> None:
    """The kernel takes the tag out of what comes in; it is in the file all the same."""
    recording = record()
    active = recording.start(
        build_filter("10.1.2.3/32", "0.0.0.0/0", 0, 443), max_capture_length=50
    )
    send_frames(lab, [frame(PACKETS[name]) for name in ("vlan", "web", "provider")])
    path = recording.finish(active)
    rows = tshark(
        path, "eth.type", "vlan.id", "ieee8021ad.id", "ip.src", "frame.len", "frame.cap_len"
    )
    assert rows == [
        ["0x8100", "7", "", "10.1.2.3", "58", "50"],
        ["0x0800", "", "", "10.1.2.3", "54", "50"],
        ["0x88a8", "7", "9", "10.1.2.3", "62", "50"],
    ]


def test_tags_that_leave_are_seen_like_those_that_come(
    lab: Lab, record: Callable[..., Recording]
) -> None:
    """At the sender's end the tags are in the frame, at the other the kernel took one out."""
    recording = record()
    names = ("vlan", "vlan6", "provider", "tags6")
    filters = (build_filter("10.1.2.3/32", "0.0.0.0/0", 0, 443), WEB6)
    request = RecordingRequest(include=filters, interfaces=("eth0",), max_capture_length=1514)
    there = lab.client.call(lambda: open_source(recording.recorder.config, request))
    try:
        active = recording.start(*filters, max_capture_length=1514)
        frames = [frame(PACKETS[name]) for name in names]
        send_frames(lab, frames)
        sent: list[bytes] = []

        def are_sent() -> bool:
            sent.extend(one[4] for batch in there.read(0.1) for one in batch.frames)
            return len(sent) >= len(frames)

        assert wait_for(are_sent)
    finally:
        there.close()
    assert sent == frames
    content = Path(recording.finish(active)).read_bytes()
    assert all(data in content for data in frames)


def test_limits_hold_on_a_real_interface(lab: Lab, record: Callable[..., Recording]) -> None:
    recording = record()
    packets = recording.start(ANY4, stop_condition=StopCondition(packets_captured_count=10))
    size = recording.start(ANY4, stop_condition=StopCondition(bytes_captured_count=500))
    timed = recording.start(ANY4, stop_condition=StopCondition(time_elapsed_ns=300_000_000))
    send_frames(lab, [frame(PACKETS["dns"])] * 50)
    for active in (packets, size, timed):
        assert active.ended.wait(5)
    assert packets.statistics.packets_captured == 10
    assert packets.reason is StopReason.PACKETS
    each = len(frame(PACKETS["dns"]))
    assert size.statistics.bytes_captured == -(-500 // each) * each
    assert timed.statistics.packets_captured == 50
    assert timed.reason is StopReason.TIME


def test_what_the_kernel_loses_is_counted(lab: Lab) -> None:
    """Nobody reads the ring for a while: what was sent is in it, or counted as lost."""
    tap = lab.server.call(
        lambda: InterfaceTap("eth0", [ANY4], capture_bytes=262_144, ring_bytes=2 * 1024**2)
    )
    sent = 4000
    send_frames(lab, [frame(PACKETS["dns"] / Raw(bytes(1400)))] * sent)
    tap.end()
    received = 0
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        received += sum(len(frames) for frames in tap.read())
        time.sleep(0.01)
    lost, _ = tap.losses()
    tap.close()
    assert 0 < received < sent
    assert received + lost == sent


def test_an_interface_that_goes_down_is_no_end(lab: Lab, record: Callable[..., Recording]) -> None:
    recording = record()
    active = recording.start(ANY4)
    lab.server.ip("link", "set", "eth0", "down")
    lab.server.ip("link", "set", "eth0", "up")
    lab.server.wait_for_link("eth0")
    assert wait_for(lambda: lab.ask(4, ALLOWED) == "answered")
    assert active.reason is None
    assert len(tshark(recording.finish(active), "frame.number")) >= 2


def test_an_interface_that_is_not_there_is_refused(record: Callable[..., Recording]) -> None:
    recording = record(interfaces=("eth0", "nothing0"))
    with pytest.raises(RecorderError, match="no such interface") as caught:
        recording.start()
    assert caught.value.refusal is Refusal.UNFIT
    assert recording.store.files() == []


def test_without_the_right_the_remedy_is_named(lab: Lab) -> None:
    code = (
        "from trireme_datapath.recorder import RecorderError, build_filter\n"
        "from trireme_datapath.recorder._tap import InterfaceTap\n"
        "import os; os.setgid(65534); os.setuid(65534)\n"
        "try: InterfaceTap('lo', [build_filter('::/0', '::/0')], capture_bytes=64)\n"
        "except RecorderError as error: print(error.refusal.name, error)\n"
    )
    output = lab.server.run([sys.executable, "-c", code])
    assert output.startswith("FORBIDDEN cannot record on lo: CAP_NET_RAW is missing; run as root")


# What an agent judges.


@pytest.mark.parametrize("backend", BACKENDS)
def test_verdicts_and_rules_are_in_the_file(
    lab: Lab,
    enforce: Callable[..., Enforcer],
    record: Callable[..., Recording],
    tmp_path: Path,
    backend: str,
) -> None:
    enforcer = enforce(backend)
    path = str(tmp_path / "packets.sock")
    feed = QueueFeed(path, rule_of=enforcer.engine.rule_of)
    feed.open()
    feed.watch(enforcer.backend)
    recording = record(packets_socket=path, record_queue=True)
    try:
        with turning(feed):
            active = recording.start(capture_format=CaptureFormat.PCAPNG)
            for version in (4, 6):
                lab.listen(version, ALLOWED)
                assert lab.connect(version, ALLOWED) == "connected"
                lab.listen(version, DENIED)
                assert lab.connect(version, DENIED) == "timed out"
            file = recording.finish(active)
    finally:
        feed.close()
    accepted = tshark(file, "frame.comment", display=f"tcp.dstport == {ALLOWED}")
    assert accepted
    assert {row[0] for row in accepted} == {"verdict=accept rule=service hook=input in=eth0"}
    denied = tshark(file, "frame.comment", display=f"tcp.dstport == {DENIED}")
    assert denied
    assert {row[0] for row in denied} == {"verdict=drop rule=default hook=input in=eth0"}
    assert {row[0] for row in tshark(file, "frame.interface_name")} == {"queue"}
    assert len(tshark(file, "frame.number", display="ipv6")) >= 2
    assert enforcer.backend.counters["watcher_errors"] == 0
    assert active.statistics.packets_lost == 0


@contextlib.contextmanager
def turning(feed: QueueFeed) -> Iterator[None]:
    """Turn the feed as an agent does, in the thread that judges; here beside it."""
    import threading  # noqa: PLC0415  only here

    ending = threading.Event()

    def run() -> None:
        while not ending.wait(0.01):
            feed.turn()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


# A small disk.


def test_a_full_disk_ends_a_recording_and_spoils_nothing(lab: Lab, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = (
        "set -e; mount -t tmpfs -o size=2m,mode=700 tmpfs $0;"
        f' exec {sys.executable} {Path(__file__).with_name("full_recording.py")} "$0"'
    )
    # The mount is in a namespace of its own, and goes with it.
    done = subprocess.run(
        lab.server.command(["unshare", "--mount", "sh", "-c", program, str(disk)]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["errno"] == errno.ENOSPC
    assert seen["reason"] == "failed"
    assert seen["refusal"] == "EXHAUSTED"
    assert seen["captured"] == seen["in_file"] > 100
    assert seen["captured"] + seen["lost"] == seen["sent"]
    assert seen["whole"], "the file ends with a whole packet"


# The command.


def test_a_recording_of_this_host(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "here.pcap"
    program = Path(sys.executable).with_name("trireme-collector")
    words = ["record", "start", "--local", "-i", "eth0", "-c", "4", "udp", "-w", str(path)]
    started = subprocess.Popen(
        lab.server.command([str(program), *words]), stdout=subprocess.PIPE, text=True
    )
    assert wait_for(path.exists, 20)
    time.sleep(0.3)  # the file is there just before the ring is
    while started.poll() is None:
        lab.ask(4, ALLOWED)
    output, _ = started.communicate()
    assert (started.returncode, output.splitlines()[-1]) == (0, str(path))
    assert len(tshark(str(path), "udp.port")) == 4
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("sizes", [(60, 1400)])
def test_a_flood_is_written_or_counted(
    lab: Lab, record: Callable[..., Recording], sizes: tuple[int, ...]
) -> None:
    recording = record(default_capture_bytes=0)
    active = recording.start(ANY4)
    sent = 0
    for size in sizes:
        data = frame(PACKETS["dns"] / Raw(bytes(size)))
        for _ in range(10):
            send_frames(lab, [data] * 2000)
            sent += 2000
    path = recording.finish(active)
    counted = active.statistics
    assert counted.packets_captured + counted.packets_lost == sent
    assert Path(path).stat().st_size == 24 + 16 * counted.packets_captured + counted.bytes_captured


AGENT = """
[datapath]
policy = "policy.toml"

[datapath.rules]
hooks = ["input"]

[processes]
workers = 2

[control]
path = "{directory}/control.sock"

[recorder]
directory = "{directory}/recordings"
listen = ["unix://{directory}/recorder.sock"]
packets_socket = "{directory}/packets.sock"
limits = {{ min_free_bytes = 0 }}

[collectors.flows]
type = "file"
path = "{directory}/flows.jsonl"
"""


def test_an_agent_of_several_processes_hands_over_what_all_of_them_judge(
    lab: Lab, tmp_path: Path
) -> None:
    """The commands as an administrator gives them: `run`, `record serve`, `record start`."""
    program = str(Path(sys.executable).with_name("trireme-collector"))
    (tmp_path / "policy.toml").write_text(POLICY)
    config = tmp_path / "agent.toml"
    config.write_text(AGENT.format(directory=tmp_path))
    server = f"unix://{tmp_path}/recorder.sock"
    with contextlib.ExitStack() as stack:

        def launch(*words: str) -> subprocess.Popen[str]:
            started = subprocess.Popen(
                lab.server.command([program, *words]),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(started.communicate)
            stack.callback(started.terminate)
            return started

        launch("run", "-c", str(config))
        launch("record", "serve", "-c", str(config))
        assert wait_for((tmp_path / "packets.sock.1").is_socket, 20)
        assert wait_for((tmp_path / "recorder.sock").is_socket, 20)
        words = ["--from-queue", "--format", "pcapng", "--json", "tcp"]
        recording = launch("record", "start", "--server", server, *words)
        assert recording.stderr is not None
        assert "0 packets" in recording.stderr.readline()
        lab.listen(4, ALLOWED)
        for _ in range(10):
            assert lab.connect(4, ALLOWED) == "connected"
        assert lab.connect(4, DENIED) == "timed out"
        lines = iter(recording.stderr.readline, "")
        assert any(int(line.partition(" packets")[0]) > 10 for line in lines)
        recording.send_signal(signal.SIGINT)
        output, _ = recording.communicate(timeout=20)
        rows = tshark(json.loads(output)["path"], "tcp.dstport", "frame.comment")
    accepted = [str(ALLOWED), "verdict=accept rule=service hook=input in=eth0"]
    denied = [str(DENIED), "verdict=drop rule=default hook=input in=eth0"]
    assert rows.count(accepted) == 10
    # A client tries again after a second.
    assert [row for row in rows if row != accepted] in ([denied], [denied] * 2)
    assert not list(tmp_path.glob("*.sock*")), "nothing stays behind"


def test_the_unit_of_the_recorder_exposes_little() -> None:
    unit = Path(__file__).parents[2] / "packaging" / "trireme-recorder.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    exposed = float(done.stdout.split("level for trireme-recorder.service: ")[1].split()[0])
    assert exposed <= 2.0
