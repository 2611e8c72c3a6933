"""A policy that an enforcer prepares beside its packets."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from trireme_collector.errors import ConfigError
from trireme_datapath.policy import compile_policy
from trireme_datapath.processes._enforcer_messages import PolicyReady, PolicyRefused

if TYPE_CHECKING:
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._enforcer_messages import NewPolicy

__all__ = ["Preparation"]

_WAKES: Final = 65_536
# A thread that compiles a policy gives way to packets after so long; 5 ms are usual.
_SWITCH_SECONDS: Final = 0.0002


class Preparation:
    """Compiles policies in threads, one for each that is asked for."""

    def __init__(self) -> None:
        """Prepare nothing yet."""
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._answers: list[PolicyReady | PolicyRefused] = []
        self._prepared: dict[str, CompiledPolicy] = {}
        self._last = ""

    def fileno(self) -> int:
        """Give the descriptor: readable when there is an answer."""
        return self._read

    def begin(self, order: NewPolicy, before: CompiledPolicy | None) -> None:
        """Compile what is asked for.

        Args:
            order: That.
            before: The policy in force.
        """

        def work() -> None:
            answer: PolicyReady | PolicyRefused
            try:
                prepared = _compiled(order, before)
                self._prepared[prepared.edition] = prepared
                answer = PolicyReady(request=order.request, edition=prepared.edition)
            except ConfigError as error:
                problems = error.problems or (str(error),)
                answer = PolicyRefused(request=order.request, problems=problems)
            except Exception as error:  # noqa: BLE001  told to the supervisor, who keeps the old one
                problems = (f"{type(error).__name__}: {error}",)
                answer = PolicyRefused(request=order.request, problems=problems)
            self._answers.append(answer)
            with contextlib.suppress(OSError):
                os.write(self._write, b".")

        sys.setswitchinterval(_SWITCH_SECONDS)
        threading.Thread(target=work, name="trireme-policy", daemon=True).start()

    def answers(self) -> list[PolicyReady | PolicyRefused]:
        """Give what came of what was asked for."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, _WAKES)
        found = []
        while self._answers:
            found.append(self._answers.pop(0))
        self._last = next(
            (one.edition for one in found if isinstance(one, PolicyReady)), self._last
        )
        return found

    def take(self) -> CompiledPolicy | None:
        """Give the policy that was last said to be ready, and forget all others."""
        found = self._prepared.get(self._last)
        self._prepared.clear()
        return found


def _compiled(order: NewPolicy, before: CompiledPolicy | None) -> CompiledPolicy:
    policy = order.policy
    if policy is None and before is not None:
        policy = before.policy
    if policy is None:
        raise ConfigError("there is no policy yet that units could be told of for")
    return compile_policy(policy, order.told, before=before)
