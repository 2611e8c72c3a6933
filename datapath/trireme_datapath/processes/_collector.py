"""The process of the collectors: pipeline, plugins and metrics, without any capability."""

from __future__ import annotations

import gc
import selectors
import signal
import socket
import time
from itertools import groupby
from typing import TYPE_CHECKING, Final, cast

import msgspec

from trireme_collector.cli.errors import exit_code_of
from trireme_collector.errors import TriremeError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.records import FlowRecord
from trireme_datapath.agent import load_agent_config
from trireme_datapath.agent._outputs import start_outputs
from trireme_datapath.agent._publisher import Publisher
from trireme_datapath.agent._services import AgentServices
from trireme_datapath.agent._status import health_statuses
from trireme_datapath.agent._watch import AgentWatch
from trireme_datapath.backends.netlink import QueueStatistics
from trireme_datapath.loop import dispatch
from trireme_datapath.processes._board import CollectorBoard
from trireme_datapath.processes._channel import Channel
from trireme_datapath.processes._collector_messages import (
    Begin,
    CollectorSetup,
    Finish,
    Finished,
    Reopen,
    Report,
    Tell,
    ToCollector,
    Told,
)
from trireme_datapath.processes._messages import Failed, Ready
from trireme_datapath.processes._metrics import ProcessMetrics
from trireme_datapath.processes._privileges import keep_only
from trireme_datapath.processes._record_link import RecordReceiver

if TYPE_CHECKING:
    from trireme_collector.collector import EventCollector
    from trireme_collector.pipeline import Pipeline, ShutdownReport
    from trireme_collector.records import Record
    from trireme_datapath.processes._collector_messages import Feed

__all__ = ["CollectorProcess", "run_collector"]

_TURN_SECONDS: Final = 0.5
_ORPHAN_SECONDS: Final = 5.0  # how long to deliver when the supervisor is gone
_GOODBYE_SECONDS: Final = 5.0
_BATCHES: Final = 64  # of one slot in one turn: the others wait no longer than for these


class _RemotePolicy:
    """What metrics tell of the policy of the enforcers."""

    revision = ""


class _RemoteDatapath:
    """What metrics tell of the datapath, as the supervisor says it."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.policy = _RemotePolicy()
        self._queues: Feed | None = None

    def take(self, feed: Feed) -> None:
        self.counters = feed.counters
        self.policy.revision = feed.revision
        self._queues = feed

    def statistics(self) -> QueueStatistics | None:
        """Add up the kernel's counters of all queues."""
        queues = () if self._queues is None else self._queues.queues
        if not queues:
            return None
        return QueueStatistics(
            queue_number=queues[0].number,
            port_id=0,
            waiting=sum(queue.waiting for queue in queues),
            copy_mode=0,
            copy_range=0,
            dropped=sum(queue.dropped_full for queue in queues),
            user_dropped=sum(queue.dropped_socket for queue in queues),
            last_packet_id=0,
        )


class CollectorProcess:
    """Takes the records of every enforcer and hands them to the collectors.

    Args:
        channel: The way to the supervisor.
        setup: What it said first.

    Raises:
        TriremeError: The configuration cannot be used, or an output cannot be opened.
    """

    def __init__(self, channel: Channel[ToCollector], setup: CollectorSetup) -> None:
        """Open the outputs."""
        self._channel = channel
        self._datapath = _RemoteDatapath()
        config = load_agent_config(setup.config_path)
        settings = config.settings
        self._pipeline: Pipeline = config.pipeline()
        self._processes = ProcessMetrics()
        self._services = AgentServices(
            settings.observer, node_name=self._pipeline.instance, resolve=config.resolve
        )
        self._watch = AgentWatch(
            settings.metrics,
            self._pipeline,
            self._datapath,
            sources=(self._processes, self._services),
        )
        self._watch.others.append(self._processes.health)
        self._publisher = Publisher(settings.publish, config.resolve)
        start_outputs(self._pipeline)
        try:
            self._watch.open()
            self._publisher.open()
            self._services.open()
        except BaseException:
            self._close(0)
            raise
        self._collector: EventCollector = self._services.before(
            self._publisher.before(self._pipeline)
        )
        self._board = CollectorBoard(setup.board)
        self._receivers = [
            RecordReceiver(
                socket.socket(fileno=descriptor),
                taken=self._board.taken(slot),
                lost=self._board.lost(slot),
            )
            for slot, descriptor in enumerate(setup.records)
        ]
        self._began = False
        self._ending = False
        channel.send(Ready(edition=self._pipeline.instance))

    def run(self) -> None:
        """Do what the supervisor says until it says that it is enough, or is gone.

        Raises:
            OSError: A socket is of no use any more.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel.fileno(), selectors.EVENT_READ)
            for slot, receiver in enumerate(self._receivers):
                selector.register(receiver.fileno(), selectors.EVENT_READ, slot)
            while not self._ending:
                for key, _ in selector.select(_TURN_SECONDS):
                    if key.data is None:
                        self._obey()
                    else:
                        self._take(key.data)
                self._board.beat(time.monotonic_ns())
                self._publisher.turn()
                if self._channel.is_behind:
                    self._channel.flush()
                    time.sleep(0.001)
                if self._channel.ended and not self._ending:
                    self._finish(_ORPHAN_SECONDS)

    def _take(self, slot: int) -> bool:
        """Take what a slot has handed over; say whether something is left."""
        receiver = self._receivers[slot]
        for _ in range(_BATCHES):
            before = receiver.lost
            records = receiver.take()
            if records is None:
                return False
            self._services.note_lost(receiver.lost - before)
            self._hand_on_all(records)
            self._board.take(slot, receiver.taken, receiver.lost)
        return True

    def _hand_on_all(self, records: list[Record]) -> None:
        """Hand records on in their order; flows together, where nobody wants to see each."""
        if self._collector is not self._pipeline:
            for record in records:
                self._hand_on(record)
            return
        for kind, group in groupby(records, type):
            if kind is FlowRecord:
                self._pipeline.collect_flow_events(cast("list[FlowRecord]", list(group)))
            else:
                for record in group:
                    self._hand_on(record)

    def _hand_on(self, record: Record) -> None:
        # The pipeline never raises, and what stands before it neither.
        dispatch(self._collector, record)

    def _obey(self) -> None:
        for message in self._channel.receive():
            if isinstance(message, Begin):
                self._begin(message)
            elif isinstance(message, Tell):
                self._tell(message)
            elif isinstance(message, Report):
                self._hand_on(message.record)
            elif isinstance(message, Reopen):
                self._pipeline.reopen()
            elif isinstance(message, Finish):
                self._finish(message.deadline_seconds)

    def _begin(self, message: Begin) -> None:
        self._datapath.take(message.feed)
        self._processes.take(message.feed)
        if message.feed.beating:
            self._watch.turn()
        if not self._began:
            self._began = True
            self._watch.start(self._datapath)

    def _tell(self, message: Tell) -> None:
        checks = health_statuses(self._watch.spools.health())
        status = self._pipeline.status()
        self._channel.send(Told(request=message.request, status=status, health=checks))

    def _finish(self, deadline_seconds: float) -> None:
        for slot in range(len(self._receivers)):
            while self._take(slot):
                self._board.beat(time.monotonic_ns())
        report = self._close(deadline_seconds)
        self._channel.send(Finished(report=report))
        self._channel.finish(_GOODBYE_SECONDS)
        self._ending = True

    def _close(self, deadline_seconds: float) -> ShutdownReport:
        self._services.close()
        self._publisher.close()
        self._watch.close()
        return self._pipeline.close(deadline_seconds)


def run_collector(descriptor: int) -> ExitCode:
    """Be the process of the collectors until the supervisor says that it is enough.

    Args:
        descriptor: The way to the supervisor, inherited.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the supervisor is who obeys them
    decoder: msgspec.msgpack.Decoder[ToCollector] = msgspec.msgpack.Decoder(ToCollector)
    channel = Channel.inherited(descriptor, decoder)
    try:
        keep_only([])  # before any plugin is loaded
        process = CollectorProcess(channel, _first(channel))
        gc.collect()
        gc.freeze()
        process.run()
    except (TriremeError, OSError) as error:
        code = exit_code_of(error)
        problems = tuple(getattr(error, "problems", ()))
        channel.send(Failed(message=str(error), exit_code=int(code), problems=problems))
        channel.finish(_GOODBYE_SECONDS)
        return code
    return ExitCode.OK


def _first(channel: Channel[ToCollector]) -> CollectorSetup:
    with selectors.DefaultSelector() as selector:
        selector.register(channel.fileno(), selectors.EVENT_READ)
        while not channel.ended:
            selector.select()
            for message in channel.receive():
                if isinstance(message, CollectorSetup):
                    return message
    raise OSError("the supervisor is gone")
