"""The enforcers: one at each post, one that stands by, and nobody for long who hangs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trireme_datapath.processes._child import Child, start_child
from trireme_datapath.processes._enforcer_messages import (
    Anticipate,
    Anticipating,
    Counted,
    Enforce,
    EnforcerSetup,
    Enforcing,
    FromEnforcer,
    Learn,
    Learned,
    LearnedName,
    Limited,
    Looked,
    NewPolicy,
    PolicyReady,
    PolicyRefused,
    Release,
    Released,
    Taken,
    TraceUnit,
)
from trireme_datapath.processes._messages import Failed, Ready
from trireme_datapath.processes._post import Duty, Enforcement
from trireme_datapath.processes._shared_knowledge import SharedKnowledge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._child import Reactor
    from trireme_datapath.processes._post import Post
    from trireme_datapath.processes._state import EnforcerState

__all__ = ["Staff"]

_SECOND_NS: Final = 1_000_000_000
_HUNG_NS: Final = 3 * _SECOND_NS  # a loop turns every half second
_TAKING_NS: Final = 3 * _SECOND_NS
_PREPARING_NS: Final = 120 * _SECOND_NS  # a large policy on a small machine
_LONGEST_PAUSE: Final = 5.0
_SHORTEST_PAUSE: Final = 0.1
_NO_REQUEST: Final = -1
_RESERVE_AFTER_DEATH: Final = 3
_WARY_NS: Final = 60 * _SECOND_NS
_DECODER: Final[msgspec.msgpack.Decoder[FromEnforcer]] = msgspec.msgpack.Decoder(FromEnforcer)


class Staff:
    """Keeps an enforcer at every post.

    Args:
        reactor: Who listens to them.
        posts: The posts.
        setup: What an enforcer has to know, for the policy in force.
        log: The words that tell a child how to log.

    Attributes:
        policy: The policy in force.
        generation: How often the program was exchanged.
        failures: How many, one after the other, could not even prepare.
        failure: What one of them said.
        answered: Called with what an enforcer answers to a question.
        gone: Called when one is gone that may owe an answer.
    """

    def __init__(
        self,
        reactor: Reactor,
        posts: Sequence[Post],
        setup: Callable[[CompiledPolicy], EnforcerSetup],
        policy: CompiledPolicy,
        log: tuple[str, str],
    ) -> None:
        """Keep what is needed to start enforcers; start none."""
        self._reactor = reactor
        self._posts = posts
        self._setup = setup
        self._log_words = log
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")
        self._staff: list[Enforcement] = []
        self.failures = 0
        self._not_before_ns = self._wary_until_ns = 0
        self._looked_ns = time.monotonic_ns()
        self._shared = SharedKnowledge()
        self._ending = False
        self.policy = policy
        self.generation = 0
        self.failure: Failed | None = None
        self.answered: Callable[[Enforcement, FromEnforcer], None] = lambda _who, _what: None
        self.gone: Callable[[Enforcement], None] = lambda _who: None

    @property
    def all(self) -> list[Enforcement]:
        """Everybody, also those who stand by or are on their way out."""
        return list(self._staff)

    @property
    def judging(self) -> list[Enforcement]:
        """Those who judge."""
        return [one for one in self._staff if one.duty is Duty.JUDGING]

    @property
    def complete(self) -> bool:
        """Whether somebody judges at every post, with the program and the policy of now."""
        judging = [post.judged_by for post in self._posts]
        return all(
            one is not None
            and one.child.generation == self.generation
            and one.edition == self.policy.edition
            for one in judging
        )

    @property
    def restarting(self) -> bool:
        """Whether somebody still runs the program of before."""
        return any(one.child.generation != self.generation for one in self._staff)

    def step(self) -> None:
        """Do what is due: replace who hangs, fill vacant posts, have somebody stand by.

        Raises:
            OSError: There is no room for another process.
        """
        now_ns = time.monotonic_ns()
        # Where we ourselves did not run, nobody else is to blame for not having run.
        if now_ns - self._looked_ns < _SECOND_NS:
            self._end_hanging(now_ns)
        self._looked_ns = now_ns
        if self._ending:
            return
        self._exchange()
        vacant = [post for post in self._posts if post.enforcer is None]
        for post in vacant:
            spare = self._spare()
            if spare is not None and post.wants(now_ns):
                post.give(spare)
        # Where one died, more may: a busy machine needs a second to start another.
        reserve = _RESERVE_AFTER_DEATH if now_ns < self._wary_until_ns else 1
        missing = reserve + sum(post.enforcer is None for post in self._posts)
        coming = sum(
            one.duty in {Duty.PREPARING, Duty.STANDING_BY} and not self._is_old(one)
            for one in self._staff
        )
        if now_ns >= self._not_before_ns:
            for _ in range(missing - coming):
                self._start()

    def exchange_all(self) -> None:
        """Replace everybody by processes that are started from now on, one after the other."""
        self.generation += 1

    def release_all(self, *, drain: bool) -> None:
        """Tell everybody to judge no more, and to end.

        Args:
            drain: Judge what waits now before.
        """
        self._ending = True
        for one in self._staff:
            if one.duty is not Duty.RELEASED:
                one.child.send(Release(drain=drain))
                if one.duty is not Duty.JUDGING:
                    one.enter(Duty.RELEASED)

    def trace(self, order: TraceUnit) -> None:
        """Have everybody report the packets of a unit, those who come later included."""
        self._shared.trace(order)
        for one in self._staff:
            one.child.send(order)

    @property
    def traces(self) -> tuple[TraceUnit, ...]:
        """What is traced now."""
        return self._shared.traces

    def kill_all(self) -> None:
        """End everybody now."""
        self._ending = True
        for one in self._staff:
            one.child.kill()

    def bring_all_up_to_date(self) -> None:
        """Give the policy in force to those who judge by another."""
        for one in self._staff:
            if one.duty in {Duty.JUDGING, Duty.TAKING, Duty.STANDING_BY}:
                self._bring_up_to_date(one)

    # Coming and going.

    def _is_old(self, one: Enforcement | None) -> bool:
        return one is not None and one.child.generation != self.generation

    def _spare(self) -> Enforcement | None:
        for one in self._staff:
            prepared = one.edition == self.policy.edition and not self._is_old(one)
            if prepared and one.duty is Duty.STANDING_BY:
                return one
        return None

    def _exchange(self) -> None:
        """Let go of one who runs the program of before, if somebody can take over at once."""
        for one in self._staff:
            if self._is_old(one) and one.duty in {Duty.STANDING_BY, Duty.PREPARING}:
                one.enter(Duty.RELEASED)
                one.child.send(Release(drain=False))
        leaving = any(one.duty is Duty.RELEASED and one.post is not None for one in self._staff)
        old = [one for one in self._staff if self._is_old(one) and one.duty is Duty.JUDGING]
        spare = self._spare()
        if leaving or spare is None or not old:
            return
        if not spare.told:
            spare.told = True
            spare.child.send(Anticipate())
        elif spare.expects:
            old[0].enter(Duty.RELEASED)
            old[0].child.send(Release(drain=False))

    def resume(
        self, states: Iterable[EnforcerState], generation: int, traces: Iterable[TraceUnit] = ()
    ) -> None:
        """Go on with the enforcers of the program of before.

        Args:
            states: What it left of them.
            generation: How often the program was exchanged.
            traces: What they trace.
        """
        self.generation = generation
        self._shared.resume(traces)
        for state in states:
            one = Enforcement(Child.resumed(state.child, _DECODER))
            one.enter(Duty(state.duty))
            one.edition, one.counters = state.edition, state.counters
            if state.slot >= 0:
                one.post = post = self._posts[state.slot]
                if one.duty is not Duty.RELEASED:
                    post.enforcer = one
            self._listen(one)
            if one.duty is Duty.JUDGING:
                one.child.send(Learn(names=(), tell_all=True))

    def _start(self) -> None:
        setup = self._setup(self.policy)
        descriptors = [fd for slot in setup.slots for fd in slot.descriptors]
        if setup.statistics >= 0:
            descriptors.append(setup.statistics)
        child = start_child(
            "enforcer",
            _DECODER,
            descriptors,
            log=self._log_words,
            generation=self.generation,
        )
        self._listen(Enforcement(child))
        child.send(setup)

    def _listen(self, one: Enforcement) -> None:
        self._staff.append(one)
        self._reactor.add(
            one.child, lambda message: self._hear(one, message), lambda how: self._bury(one, how)
        )

    def _bury(self, one: Enforcement, how: str) -> None:
        self._staff.remove(one)
        expected = one.duty is Duty.RELEASED
        if one.post is not None:
            self._vacate(one, died=not expected)
        elif not expected:
            self.failures += 1
            pause = min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(self.failures - 1, 10))
            self._not_before_ns = time.monotonic_ns() + round(pause * _SECOND_NS)
        if not (expected or self._ending):
            self._wary_until_ns = time.monotonic_ns() + _WARY_NS
            post = one.post
            self._log.error(
                "enforcer_died",
                pid=one.child.pid,
                how=how,
                slot=None if post is None else post.number,
                consequence="its packets wait for the next one",
            )
        self.gone(one)

    def _vacate(self, one: Enforcement, *, died: bool) -> None:
        post = one.post
        if post is not None and post.enforcer is one:
            post.vacate(died=died)
            # The next one takes over now: packets wait.
            spare = self._spare()
            if spare is not None and not self._ending and post.wants(time.monotonic_ns()):
                post.give(spare)

    def _end_hanging(self, now_ns: int) -> None:
        for one in self._staff:
            waited_ns = now_ns - one.since_ns
            if one.duty is Duty.JUDGING and one.post is not None:
                hangs = now_ns - max(one.post.board.beat_ns, one.since_ns) > _HUNG_NS
            elif one.duty is Duty.TAKING or one.duty is Duty.RELEASED:
                hangs = waited_ns > _TAKING_NS
            elif one.duty is Duty.PREPARING:
                hangs = waited_ns > _PREPARING_NS
            else:
                hangs = bool(one.behind_ns) and now_ns - one.behind_ns > _PREPARING_NS
            if hangs:
                self._log.error("enforcer_hangs", pid=one.child.pid, doing=one.duty.value)
                one.child.kill()

    # What names stand for.

    def _share(self, teller: Enforcement, names: Iterable[LearnedName]) -> None:
        """Keep what one has learned for those who come later, and tell the others."""
        news = tuple(names)
        self._shared.learn(news)
        for other in self._staff:
            if other is not teller and other.duty not in {Duty.PREPARING, Duty.RELEASED}:
                other.child.send(Learn(names=news))

    # What they say.

    def _hear(self, one: Enforcement, message: FromEnforcer) -> None:
        if isinstance(message, Counted):
            one.counters = message.counters
        elif isinstance(message, Learned):
            self._share(one, message.names)
        elif isinstance(message, Ready):
            self._ready(one, message)
        elif isinstance(message, Anticipating):
            one.expects = True
        elif isinstance(message, Taken):
            self._taken(one, message)
        elif isinstance(message, Limited):
            for problem in message.problems:
                self._log.warning("accounting_incomplete", problem=problem)
        elif isinstance(message, Released):
            one.counters = message.counters
            self._vacate(one, died=False)
            if one.duty is not Duty.RELEASED:
                one.enter(Duty.RELEASED)
        elif isinstance(message, Failed):
            self.failure = message
            self._log.error("enforcer_failed", pid=one.child.pid, reason=message.message)
        elif isinstance(message, (PolicyReady, PolicyRefused, Enforcing, Looked)):
            self._answer(one, message)

    def _ready(self, one: Enforcement, message: Ready) -> None:
        self.failures = 0
        one.edition = message.edition
        one.enter(Duty.STANDING_BY)
        for message_to_all in self._shared.for_newcomers():
            one.child.send(message_to_all)
        self._bring_up_to_date(one)

    def _bring_up_to_date(self, one: Enforcement) -> None:
        """Give the policy in force to one who prepared another while that changed."""
        if one.edition != self.policy.edition and one.duty is not Duty.RELEASED:
            policy = self.policy
            one.behind_ns = one.behind_ns or time.monotonic_ns()
            one.child.send(NewPolicy(request=_NO_REQUEST, policy=policy.policy, told=policy.told))

    def _taken(self, one: Enforcement, message: Taken) -> None:
        post = one.post
        if post is None:
            return
        one.enter(Duty.JUDGING)
        post.taken(one.since_ns)
        self._log.info(
            "enforcer_took_over",
            slot=message.slot,
            pid=one.child.pid,
            packets_settled=post.board.settled,
            vacant_ms=round((one.since_ns - post.vacant_ns) / 1e6, 1),
        )

    def _answer(
        self, one: Enforcement, message: PolicyReady | PolicyRefused | Enforcing | Looked
    ) -> None:
        if isinstance(message, Enforcing):
            one.edition = message.edition
            one.behind_ns = 0
        if message.request != _NO_REQUEST:
            self.answered(one, message)
        elif isinstance(message, PolicyReady):
            one.child.send(Enforce(request=_NO_REQUEST))
        elif isinstance(message, PolicyRefused):
            one.child.kill()
        elif isinstance(message, Enforcing):
            self._bring_up_to_date(one)
