"""The sections of the configuration file that belong to the datapath."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from trireme_collector.config import Configuration, LoadedConfiguration, load_config
from trireme_collector.control import ControlConfig
from trireme_datapath.agent._discovery import check_discovery
from trireme_datapath.dns_observer import DNSLimits
from trireme_datapath.engine import EngineLimits
from trireme_datapath.kernel.marks import DEFAULT_ACCEPT_MARK, DEFAULT_MARK_MASK
from trireme_datapath.kernel.rules import QueueMode, RuleHook
from trireme_datapath.observer.config import ObserverConfig
from trireme_datapath.processes.config import ProcessesConfig
from trireme_datapath.recorder.config import RecorderConfig

if TYPE_CHECKING:
    import os

    from trireme_collector.registry import Registry

__all__ = [
    "AccountingConfig",
    "AgentConfiguration",
    "BackendName",
    "DNSConfig",
    "DatapathConfig",
    "PublishConfig",
    "QueueMode",
    "RuleHook",
    "RulesConfig",
    "load_agent_config",
]

_PATH = msgspec.Meta(min_length=1, extra={"expected": "the path of a file"})
_INTERFACE = msgspec.Meta(
    pattern=r"^[A-Za-z0-9_.:@][A-Za-z0-9_.:@-]{0,14}\+?$(?!\n)",
    extra={"expected": "the name of a network interface"},
)

Interfaces: TypeAlias = list[Annotated[str, _INTERFACE]]


class BackendName(enum.StrEnum):
    """Where packets come from."""

    NETLINK = "netlink"
    NFQUEUE = "nfqueue"


class RulesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The kernel rules that queue packets.

    Attributes:
        install: Whether the agent installs them. Without them nothing is queued, unless somebody
            else does it.
        remove_at_stop: Whether they go when the agent ends. They stay by default: without an
            agent, packets that would be queued are dropped.
        hooks: Which packets are queued.
        mode: ``new`` queues what begins a connection or belongs to none, and leaves accepted
            connections to the kernel; ``all`` queues every packet.
        interfaces: The interfaces whose packets are queued; all when empty. A final ``+`` stands
            for any ending.
        loopback: Queue what the host sends to itself, too.
        fail_open: Let packets pass while no agent runs. Off: they are dropped.
        verify_seconds: How often the rules are compared with what they should be; 0 for never. They
            are also when the kernel tells of a change, which it does not of those by the legacy
            iptables.
        repair: Put them in place again when they differ. Off: the status and the log say so.
    """

    install: bool = True
    remove_at_stop: bool = False
    hooks: Annotated[list[RuleHook], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [RuleHook.INPUT, RuleHook.OUTPUT, RuleHook.FORWARD]
    )
    mode: QueueMode = QueueMode.NEW
    interfaces: Interfaces = []
    loopback: bool = False
    fail_open: bool = False
    verify_seconds: Annotated[float, msgspec.Meta(ge=0, le=3_600)] = 3.0
    repair: bool = True


class AccountingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the kernel counts of accepted connections, and how it comes into records.

    Attributes:
        enabled: Whether records tell what connections carried, and when they ended.
        update_seconds: How often an open connection that carries something is reported.
        list_seconds: How often the connections of the kernel are listed: that finds out at once
            what has ended, and brings the counts of those that live long.
        event_buffer_bytes: Room for the ends of connections that were not read yet; an event
            takes about 800 bytes.
        reliable: Let the kernel keep the end of a connection while that room is full. Off: it is
            found out with the next list, without its last counts.
        max_evicted: Connections whose reported counts are remembered after they had to leave the
            flow table.
        report_opened: Report an accepted connection when it is judged, too. Off: when it ended, and
            every `update_seconds` while it is open, which is one record for each that is short.
    """

    enabled: bool = True
    update_seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 60.0
    list_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 10.0
    event_buffer_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=0x3FFFFFFF)] = 33_554_432
    reliable: bool = True
    max_evicted: Annotated[int, msgspec.Meta(ge=0, le=16_777_216)] = 65_536
    report_opened: bool = True


class DNSConfig(DNSLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is reported of the names that units look up, and learned for rules that name them.

    Attributes:
        enabled: Whether all packets of connections to port 53 are queued and read.
        copy_range: How many bytes of each packet are read at least, with ``mode = "new"``: an
            answer that is longer counts as far as it was read.
        timeout_seconds: How long an answer is waited for.
        min_ttl_seconds: How long a learned address counts at least, whatever the answer says.
        max_ttl_seconds: How long it counts at most.
        max_pending: Questions that wait for their answer; beyond, the oldest is not reported.
        max_names: Look-ups that are being counted; beyond, each is reported by itself.
        max_streams: TCP connections whose messages are put together, 8 KiB for each direction.
        max_reports_per_second: More are counted only.
    """

    enabled: bool = True
    copy_range: Annotated[int, msgspec.Meta(ge=64, le=65_531)] = 1_536

    @property
    def limits(self) -> DNSLimits:
        """What the engine needs of it."""
        return DNSLimits(**{name: getattr(self, name) for name in DNSLimits.__struct_fields__})


class DatapathConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How packets are received and judged.

    Attributes:
        policy: The policy file; a relative path begins at the configuration file.
        observe: Only report what the policy would reject, and let it through. It counts like
            ``observe_only`` in the policy, and a reload takes it over; ``ctl observe`` counts more.
        backend: ``netlink`` needs nothing more; ``nfqueue`` uses the package NetfilterQueue.
        queue: The number of the packet queue.
        queue_length: How many packets may wait for their verdict.
        opening_queue: The number of a queue for the packets that open TCP connections: however many
            there are, they take no room from others, and others are judged first. Left out, they
            are queued with the rest.
        opening_queue_length: How many packets may wait there.
        opening_rate: How many of them are judged in a second, at most, by each worker; 0 for any
            number. A flood of them leaves the processor to the connections that are there.
        gather_microseconds: How long a packet may wait for others, where more than 2,000 come in a
            second and several come meanwhile: read together they cost half. A fifth of it where
            every packet is queued, 0 for not at all. In a tree of processes.
        copy_range: How many bytes of each packet are read.
        fail_open: Let packets pass unjudged when the queue is full. Off: they are dropped.
        gso: Take large segments whole. Off: the kernel cuts them first, which costs much.
        refuse: Answer rejected clients with a reset or an ICMP error instead of silence.
        refuse_mark: The bit of the packet mark that `refuse` uses; nobody else may use it.
        accept_mark: The bit of the packet mark that accepted packets have on their way to the rule
            that marks their connection; nobody else may use it.
        connection_mark_mask: The bits of the connection mark that are ours, two or more: one for
            connections that were accepted, one for those that need no judgement.
        rules: The kernel rules that queue packets.
        limits: How much the engine may hold.
        accounting: What is reported of accepted connections after their first packet.
        dns: What is reported of names that are looked up.
        connection_exceptions: Report accepted connections that nobody answered, or that a server
            refused.
        unit_events: Report the units of the policy when they come, change and go with it.
        counter_report_seconds: How often the counters are reported, and at the end; 0 for never.
    """

    policy: Annotated[str, _PATH]
    observe: bool = False
    backend: BackendName = BackendName.NETLINK
    queue: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    queue_length: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 8192
    opening_queue: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    opening_queue_length: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1024
    opening_rate: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 5_000
    gather_microseconds: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 500
    copy_range: Annotated[int, msgspec.Meta(ge=64, le=65_531)] = 128
    fail_open: bool = False
    gso: bool = True
    refuse: bool = False
    refuse_mark: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)] = 0x20000
    accept_mark: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)] = DEFAULT_ACCEPT_MARK
    connection_mark_mask: Annotated[int, msgspec.Meta(ge=3, le=0xFFFFFFFF)] = DEFAULT_MARK_MASK
    rules: RulesConfig = RulesConfig()
    limits: EngineLimits = EngineLimits()
    accounting: AccountingConfig = AccountingConfig()
    dns: DNSConfig = DNSConfig()
    connection_exceptions: bool = True
    unit_events: bool = True
    counter_report_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30.0

    @property
    def captured_bytes(self) -> int:
        """How many bytes of each packet the queue is asked for."""
        wants_more = self.dns.enabled and self.rules.mode is QueueMode.NEW
        return max(self.copy_range, self.dns.copy_range) if wants_more else self.copy_range


class PublishConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where decisions can be watched as they are made.

    Attributes:
        socket: The Unix socket that ``trireme-collector monitor --socket`` connects to; a
            relative path begins at the configuration file. Nothing is published without it.
        mode: The permissions of the socket. Who may write to it may watch.
        max_clients: How many may watch at once.
        client_bytes: How much is kept for one that is slow; beyond, it is told how much it lost.
    """

    socket: str = ""
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o777)] = 0o600
    max_clients: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    client_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=67_108_864)] = 1_048_576


class AgentConfiguration(Configuration, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration file of an agent: the core sections and those of the datapath.

    Attributes:
        datapath: How packets are received and judged.
        control: Where a running agent takes commands.
        publish: Where decisions can be watched.
        recorder: How packets are recorded. An agent only hands over what it judges; the recorder
            is a process of its own.
        observer: Where the last flows can be asked for, and followed.
        processes: Which processes do it.
        discovery: How processing units are found that come and go, one table for each way.
    """

    datapath: DatapathConfig
    control: ControlConfig = ControlConfig()
    publish: PublishConfig = PublishConfig()
    recorder: RecorderConfig = RecorderConfig()
    observer: ObserverConfig = ObserverConfig()
    processes: ProcessesConfig = ProcessesConfig()
    discovery: dict[str, dict[str, object]] = msgspec.field(default_factory=dict)


def load_agent_config(
    path: str | os.PathLike[str], *, registry: Registry | None = None
) -> LoadedConfiguration[AgentConfiguration]:
    """Read the configuration file of an agent; the policy file is not looked at.

    Args:
        path: The file.
        registry: The plugins to use instead of the installed ones that the file allows.

    Raises:
        ConfigError: The file cannot be read or has mistakes; all of them are listed.
        PluginError: The only mistakes are plugins that are unknown, blocked or broken.
    """
    loaded = load_config(path, AgentConfiguration, registry=registry)
    if loaded.settings.discovery:
        check_discovery(path, loaded.registry)
    return loaded
