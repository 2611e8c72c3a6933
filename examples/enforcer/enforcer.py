"""An enforcer of one's own: ``enforcer.py CONTAINERS SERVICES RECORDS``.

CONTAINERS is a directory of JSON files with addresses and labels, SERVICES a JSON file with what
may be reached. Both may change at any time. RECORDS is the file that every record goes to.
"""

from __future__ import annotations

import concurrent.futures
import ipaddress
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from trireme_collector import (
    CollectorSpec,
    ContainerEvent,
    ContainerRecord,
    FlowRecord,
    Pipeline,
    Registry,
    TriremeError,
    build_pipeline,
    hookimpl,
)
from trireme_datapath.backends.netlink import NetlinkBackend
from trireme_datapath.datapath import Datapath
from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.kernel.marks import DEFAULT_ACCEPT_MARK
from trireme_datapath.kernel.rules import QueueRules, RuleHook
from trireme_datapath.policy import Policy, Rule, Unit, model

QUEUE = 7
LOOK_AGAIN_SECONDS = 0.2
PROTOCOLS = {"tcp": 6, "udp": 17}


class Container(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the registry knows of a container."""

    addresses: tuple[str, ...]
    labels: tuple[str, ...] = ()


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ports that may be reached, from anywhere, on every container with a label."""

    label: str
    ports: tuple[Annotated[int, msgspec.Meta(ge=1, le=65535)], ...]
    protocol: Literal["tcp", "udp"] = "tcp"


class Rejects:
    """A collector of our own: prints what was rejected."""

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Print a flow."""
        if record.action.rejected:
            source, end = record.source, record.destination
            print(f"rejected {source.ip} -> {end.ip} port {end.port}", flush=True)

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec]:
        """Offer this very object."""
        return [CollectorSpec(name="rejects", factory=lambda _options, _context: self)]


def read_containers(directory: Path) -> dict[str, Container]:
    """Read what the registry wrote."""
    files = sorted(directory.glob("*.json"))
    return {file.stem: msgspec.json.decode(file.read_bytes(), type=Container) for file in files}


def read_policy(services_file: Path, containers: dict[str, Container]) -> Policy:
    """Make a policy of our own source: one unit for each container, one rule for each service."""
    services = msgspec.json.decode(services_file.read_bytes(), type=tuple[Service, ...])

    def rule(service: Service) -> Rule:
        return Rule(
            id=f"{service.label} {service.protocol}",
            action=model.RuleAction.ACCEPT,
            addresses=(model.AddressSet(prefixes=model.ANY_ADDRESS),),
            protocols=(PROTOCOLS[service.protocol],),
            ports=tuple(model.PortRange(first=port, last=port) for port in service.ports),
        )

    def unit(name: str, container: Container) -> Unit:
        hosts = map(ipaddress.ip_address, container.addresses)
        prefixes = tuple(model.Prefix(host.packed, host.max_prefixlen) for host in hosts)
        return Unit(
            id=name,
            context_id=name,
            tags=container.labels,
            select=model.UnitSelector(addresses=prefixes),
            ingress=tuple(rule(one) for one in services if one.label in container.labels),
        )

    return Policy(name=services_file.name, units=tuple(unit(*item) for item in containers.items()))


def report(pipeline: Pipeline, old: dict[str, Container], new: dict[str, Container]) -> None:
    """Report every container that came or went."""
    for event, here, there in ((ContainerEvent.START, new, old), (ContainerEvent.DELETE, old, new)):
        for name in here.keys() - there.keys():
            record = ContainerRecord(context_id=name, tags=here[name].labels, event=event)
            pipeline.collect_container_event(record)


def main(directory: Path, services: Path, records: Path) -> None:
    """Enforce until SIGTERM."""
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    containers = read_containers(directory)
    policy = read_policy(services, containers)
    registry = Registry()
    registry.register(Rejects(), name="rejects")
    rules = KernelRules(QueueRules(queue=QUEUE, hooks=(RuleHook.INPUT, RuleHook.FORWARD)))
    datapath = Datapath(
        policy, lambda engine: NetlinkBackend.open(QUEUE, engine), accept_mark=DEFAULT_ACCEPT_MARK
    )
    pipeline = build_pipeline({"file": {"path": str(records)}, "rejects": {}}, registry)
    with datapath, pipeline, concurrent.futures.ThreadPoolExecutor(1) as threads:
        judging = threads.submit(datapath.run, pipeline)
        try:
            rules.install()  # last: from now on packets wait for us
            report(pipeline, {}, containers)
            print(f"enforcing for {len(containers)} containers", flush=True)
            while not (judging.done() or ending.wait(LOOK_AGAIN_SECONDS)):
                try:
                    found = read_containers(directory)
                    wanted = read_policy(services, found)
                    if wanted != policy:
                        datapath.replace_policy(wanted).result(timeout=10)
                    report(pipeline, containers, found)
                    containers, policy = found, wanted
                except (OSError, ValueError, TriremeError) as error:
                    print(f"the old policy stays in force: {error}", file=sys.stderr, flush=True)
        finally:
            rules.remove()
            datapath.stop()
        judging.result()  # raises why it ended, if nobody asked it to


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
