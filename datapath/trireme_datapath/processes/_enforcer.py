"""The process that judges packets: a backend and an engine, and nothing else."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Final

import msgspec

from trireme_collector.errors import DatapathError, TriremeError
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.backends.netlink import NetlinkQueue
from trireme_datapath.loop import ClockWatch
from trireme_datapath.processes._board import EnforcerBoard
from trireme_datapath.processes._channel import Channel
from trireme_datapath.processes._enforcer_messages import (
    Anticipate,
    Anticipating,
    Counted,
    Enforce,
    EnforcerSetup,
    Enforcing,
    Learn,
    Learned,
    LearnedName,
    Limited,
    Look,
    Looked,
    NewPolicy,
    Release,
    Released,
    Take,
    Taken,
    ToEnforcer,
    TraceUnit,
)
from trireme_datapath.processes._enforcer_parts import build_backends, build_engine, build_follower
from trireme_datapath.processes._messages import Failed, Ready
from trireme_datapath.processes._moderation import Moderation
from trireme_datapath.processes._preparation import Preparation
from trireme_datapath.processes._privileges import Capability, die_with_parent, keep_only
from trireme_datapath.processes._record_link import RecordSender
from trireme_datapath.processes._slot_counts import SlotCounts

if TYPE_CHECKING:
    from trireme_collector.records import Record
    from trireme_datapath.backends.netlink import NetlinkBackend
    from trireme_datapath.backends.paced import PacedBackend
    from trireme_datapath.engine import Engine
    from trireme_datapath.kernel.conntrack import ConnectionTracker
    from trireme_datapath.processes._enforcer_messages import Slot
    from trireme_datapath.processes._follow import Follower
    from trireme_datapath.recorder.queue_feed import QueueFeed

__all__ = ["Enforcer", "run_enforcer"]

_TURN_SECONDS: Final = 0.5
# Records wait for others for so long: each time that some are handed over costs as much as
# several records, here and where they are taken.
_GATHER_NS: Final = 50_000_000
_GATHERED: Final = 1_000  # so many wait for no others
_SECOND_NS: Final = 1_000_000_000
_GOODBYE_SECONDS: Final = 1.0
_NAMES_NS: Final = 50_000_000  # all names are gone through each time


class Enforcer:
    """Judges the packets of one slot; before it has one, it stands by with everything prepared.

    Args:
        channel: The way to the supervisor.
    """

    def __init__(self, channel: Channel[ToEnforcer]) -> None:
        """Wait for the setup."""
        self._channel = channel
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._preparation = Preparation()
        self._epoll.register(self._preparation.fileno(), select.EPOLLIN)
        self._setup: EnforcerSetup | None = None
        self._engine: Engine | None = None
        self._backends: dict[int, NetlinkBackend | PacedBackend] = {}
        self._follower: Follower | None = None
        self._tracker: ConnectionTracker | None = None
        self._feed: QueueFeed | None = None
        self._counts: SlotCounts | None = None
        self._sender: RecordSender | None = None
        self._told: dict[str, int] = {}
        self._told_names: set[LearnedName] = set()
        self._answers_seen = self._next_names_ns = 0
        self._gathered: list[Record] = []
        self._unreported = False  # packets were judged since records were last taken
        self._prompt = True  # each turn takes records, so that flows in different turns are several
        self._next_turn_ns = self._next_records_ns = 0
        self._clock_watch = ClockWatch()
        self._moderation = Moderation(0)
        self._active = self._ending = False

    def run(self) -> None:
        """Do what the supervisor says until it says that it is enough, or is gone.

        Raises:
            OSError: A socket is of no use any more.
        """
        while not (self._ending or self._channel.ended):
            waits = self._gathered or self._unreported
            patience = _GATHER_NS / _SECOND_NS if waits else _TURN_SECONDS
            descriptors = [one for one, _ in self._epoll.poll(patience)]
            if self._engine is not None and self._active:
                pause = self._moderation.pause
                if pause and not self._backends.keys().isdisjoint(descriptors):
                    time.sleep(pause)
                self._turn(self._engine, descriptors)
            if self._channel.fileno() in descriptors:
                self._obey()
            if self._preparation.fileno() in descriptors:
                for answer in self._preparation.answers():
                    self._channel.send(answer)
            self._channel.flush()

    # One turn.

    def _turn(self, engine: Engine, descriptors: list[int]) -> None:
        now_ns = time.time_ns()
        jump_ns = self._clock_watch.turn(now_ns)
        if jump_ns:
            engine.shift_clock(jump_ns)
        records = self._gathered
        tracker = self._tracker
        # The ends of connections first: a packet may begin one anew.
        if tracker is not None and tracker.fileno() in descriptors:
            records += tracker.drain(now_ns)
        for descriptor, backend in self._backends.items():
            if descriptor in descriptors:
                self._unreported = True
                records += backend.drain(now_ns)
        beat_ns = time.monotonic_ns()
        self._moderation.note(engine.counters["packets"], beat_ns)
        due = beat_ns >= self._next_turn_ns
        ripe = beat_ns >= self._next_records_ns
        if due or (self._unreported and (ripe or self._prompt)):
            self._unreported = False
            if tracker is not None:
                tracker.tick(now_ns)
            records += engine.take_records(now_ns)
        if ripe or len(records) >= _GATHERED:
            self._next_records_ns = beat_ns + _GATHER_NS
            self._send_records()
        self._write_board()
        if self._feed is not None:
            self._feed.turn()
        # In a Counter, what was never counted is slow to look up with brackets.
        answers = engine.counters.get("dns_answers", 0)
        if answers != self._answers_seen and beat_ns >= self._next_names_ns:
            self._next_names_ns = beat_ns + _NAMES_NS
            self._tell_names(engine)
        if due:
            self._next_turn_ns = beat_ns + _SECOND_NS
            self._tell_counters(engine)

    def _send_records(self) -> None:
        records, self._gathered = self._gathered, []
        if records and self._sender is not None:
            self._sender.put(records)
        if self._tracker is not None and self._tracker.listed_ns and self._counts is not None:
            self._counts.board.listed_ns = self._tracker.listed_ns

    def _write_board(self) -> None:
        counts, sender, engine = self._counts, self._sender, self._engine
        if counts is None or sender is None or engine is None:
            return
        counters = engine.counters
        counts.board.write(
            beat_ns=time.monotonic_ns(),
            judged=counts.judged_before + counters["packets"],
            denied=counts.denied_before + counters["packets_denied"],
            made=sender.made,
            sent=sender.sent,
            unsent=sender.unsent,
        )

    def _tell_counters(self, engine: Engine) -> None:
        counters = dict(engine.counters)
        if counters != self._told and not self._channel.is_behind:
            self._told = counters
            self._channel.send(Counted(counters=counters))

    def _tell_names(self, engine: Engine) -> None:
        """Tell what names stand for: others judge by it, too, and those who come after us."""
        self._answers_seen = engine.counters["dns_answers"]
        known = {LearnedName(*one) for one in engine.learned_names()}
        news = known - self._told_names
        self._told_names = known
        if news:
            self._channel.send(Learned(names=tuple(news)))

    # What the supervisor says.

    def _obey(self) -> None:
        for message in self._channel.receive():
            engine = self._engine
            if isinstance(message, EnforcerSetup):
                self._prepare(message)
            elif isinstance(message, Anticipate):
                if self._follower is not None:
                    self._follower.anticipate()
                self._channel.send(Anticipating())
            elif isinstance(message, Take):
                self._take(message)
            elif isinstance(message, NewPolicy):
                self._preparation.begin(message, None if engine is None else engine.policy)
            elif isinstance(message, Enforce):
                self._enforce(message)
            elif isinstance(message, Learn):
                self._learn(message)
            elif isinstance(message, Look):
                self._look(message)
            elif isinstance(message, Release):
                self._release(message)
            else:
                self._trace(message)

    def _trace(self, order: TraceUnit) -> None:
        if self._engine is not None:
            with contextlib.suppress(LookupError):  # the policy changed meanwhile
                self._engine.trace(order.unit, order.request)

    def _prepare(self, setup: EnforcerSetup) -> None:
        self._setup = setup
        self._engine = engine = build_engine(setup)
        self._moderation = Moderation(setup.gather_seconds)
        if setup.accounting is not None:
            self._prompt = setup.accounting.report_opened
        if not setup.accountant:
            self._follower = build_follower(setup, engine)
        # What stands now stays: the collector of garbage need not look at it again.
        gc.collect()
        gc.freeze()
        self._channel.send(Ready(edition=engine.policy.edition))

    def _take(self, order: Take) -> None:
        setup, engine = self._setup, self._engine
        if setup is None or engine is None or self._active:
            raise DatapathError("a slot was given to an enforcer that is not ready for one")
        slot = next(one for one in setup.slots if one.number == order.slot)
        for other in setup.slots:
            if other is not slot:
                for descriptor in other.descriptors:
                    os.close(descriptor)
        board = EnforcerBoard(slot.board)
        self._counts = counts = SlotCounts(board, slot.queues, setup.statistics)
        self._sender = RecordSender(
            socket.socket(fileno=slot.records),
            self._write_board,
            made=board.made,
            sent=board.sent,
            unsent=board.unsent,
        )
        if setup.accountant and slot.accounting:
            self._follower = build_follower(setup, engine)
        elif self._follower is not None and order.adopt:
            self._follower.adopt()
        queues = [
            NetlinkQueue.from_socket(one.descriptor, one.number, setup.settings)
            for one in slot.queues
        ]
        counts.settle(queues, order.settle)
        if setup.counter_report_seconds:
            engine.report_counters(
                lambda: counts.queue_totals(engine.counters["packets"]),
                interval_seconds=setup.counter_report_seconds,
            )
        for backend in build_backends(setup, queues, engine):
            self._backends[backend.fileno()] = backend
            self._epoll.register(backend.fileno(), select.EPOLLIN)
        self._active = True
        self._write_board()
        capacity = min((queue.capacity for queue in queues), default=0)
        self._channel.send(Taken(slot=slot.number, capacity=capacity))
        self._turn(engine, list(self._backends))
        self._follow()
        self._feed_recorders(setup, slot)

    def _follow(self) -> None:
        """Follow connections from now on; the kernel tells later what was missed until here."""
        follower, self._follower = self._follower, None
        if follower is None:
            return
        told_until_ns = 0 if self._counts is None else self._counts.board.listed_ns
        self._tracker = follower.open(told_until_ns)
        if self._tracker is not None:
            self._epoll.register(self._tracker.fileno(), select.EPOLLIN)
        if follower.problems:
            self._channel.send(Limited(problems=tuple(follower.problems)))

    def _feed_recorders(self, setup: EnforcerSetup, slot: Slot) -> None:
        path, group = setup.recorder
        if not (path and self._backends) or self._engine is None:
            return
        # Each slot has a place of its own, which recorders know.
        path = f"{path}.{slot.number}" if slot.number else path
        from trireme_datapath.processes._recording import open_feed  # noqa: PLC0415  not everybody

        try:
            self._feed = open_feed(path, group, self._engine, list(self._backends.values()))
        except TriremeError as error:
            self._channel.send(Limited(problems=(str(error),)))

    def _enforce(self, order: Enforce) -> None:
        engine = self._engine
        if engine is None:
            return
        prepared = self._preparation.take()
        if prepared is not None:
            engine.replace_policy(prepared)
            if self._tracker is not None:
                self._tracker.tick(time.time_ns())
        self._channel.send(Enforcing(request=order.request, edition=engine.policy.edition))

    def _learn(self, order: Learn) -> None:
        if self._engine is None:
            return
        self._engine.learn_names(order.names)
        self._told_names.update(order.names)
        if order.tell_all:
            self._told_names.clear()
            self._tell_names(self._engine)

    def _look(self, order: Look) -> None:
        counters = {} if self._engine is None else dict(self._engine.counters)
        counts, packets = self._counts, counters.get("packets", 0)
        denied = counters.get("packets_denied", 0)
        self._channel.send(
            Looked(
                request=order.request,
                counters=counters,
                judged=packets if counts is None else counts.judged_before + packets,
                denied=denied if counts is None else counts.denied_before + denied,
                queues=() if counts is None else counts.whole_queues(packets),
            )
        )

    def _release(self, order: Release) -> None:
        engine = self._engine
        if engine is not None and self._active:
            if order.drain:
                # What waits was sent by somebody: it is judged once more before the queue goes.
                self._turn(engine, list(self._backends))
                if self._tracker is not None:
                    self._gathered += self._tracker.last_list()
            self._gathered += engine.take_last_records(time.time_ns())
            self._send_records()
            self._write_board()
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        self._channel.send(Released(counters={} if engine is None else dict(engine.counters)))
        self._channel.finish(_GOODBYE_SECONDS)
        self._ending = True


def run_enforcer(descriptor: int) -> ExitCode:
    """Be an enforcer until the supervisor says that it is enough.

    Args:
        descriptor: The way to the supervisor, inherited.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the supervisor is who obeys them
    die_with_parent()
    decoder: msgspec.msgpack.Decoder[ToEnforcer] = msgspec.msgpack.Decoder(ToEnforcer)
    channel = Channel.inherited(descriptor, decoder)
    try:
        keep_only([Capability.NET_ADMIN])
        Enforcer(channel).run()
    except (TriremeError, OSError) as error:
        channel.send(Failed(message=str(error), exit_code=int(ExitCode.FAILURE)))
        channel.finish(_GOODBYE_SECONDS)
        return ExitCode.FAILURE
    return ExitCode.OK
