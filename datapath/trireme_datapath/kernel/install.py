"""Puts kernel rules in place, checks them and takes them away."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from trireme_collector.errors import DatapathError, PrivilegeError
from trireme_datapath.kernel.rules import QueueRules, install_text, problems_in, remove_text
from trireme_datapath.kernel.rules._saved_rules import own_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["KernelRules", "run_iptables"]

_LOCK_SECONDS: Final = 5  # how long to wait while another program changes rules
_COMMAND_SECONDS: Final = 20
_PREFIXES: Final = {4: "iptables", 6: "ip6tables"}


def run_iptables(command: Sequence[str], text: str = "") -> str:
    """Run a program of iptables with a text as its input, and give what it prints.

    Raises:
        PrivilegeError: The program is not installed, or may not change rules.
        DatapathError: It refuses the input.
    """
    try:
        done = subprocess.run(  # noqa: S603  programs of iptables, no shell
            command,
            check=False,
            input=text,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
        )
    except FileNotFoundError as error:
        raise PrivilegeError(
            f"the kernel rules need the program {command[0]}, which is not installed:"
            " install the package iptables"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DatapathError(
            f"{command[0]} does not end: does another program hold the lock of iptables?"
        ) from error
    if done.returncode:
        why = done.stderr.strip() or f"exit code {done.returncode}"
        if "ermission denied" in why or "not permitted" in why:
            raise PrivilegeError(
                f"{command[0]} may not change kernel rules: CAP_NET_ADMIN is missing."
                f" Run as root, or give the program that capability ({why})"
            )
        raise DatapathError(f"{command[0]} refused the kernel rules: {why}")
    return done.stdout


class KernelRules:
    """Kernel rules of both IP versions, in the network namespace of the caller.

    Attributes:
        rules: What they are.
    """

    def __init__(
        self,
        rules: QueueRules,
        *,
        families: Sequence[int] = (4, 6),
        run: Callable[[Sequence[str], str], str] = run_iptables,
    ) -> None:
        """Describe; nothing is changed yet.

        Args:
            rules: The rules.
            families: The IP versions.
            run: Runs a program with an input and gives what it prints; for tests and for
                another network namespace.
        """
        self.rules = rules
        self._families = tuple(families)
        self._run = run
        # Our rules by IP version as the kernel's tools write them, once they were seen to be right.
        self._seen: dict[int, dict[str, list[str]]] = {}

    def install(self) -> None:
        """Put the rules in place, in every IP version or in none.

        What was installed before is replaced, in one transaction for each IP version and table: no
        packet passes unjudged in between.

        Raises:
            ConfigError: The rules can not be made.
            PrivilegeError: iptables is missing or may not change rules.
            DatapathError: The kernel refuses the rules.
        """
        self.rules.check()
        again = bool(self._seen)  # then whoever repairs looks at once
        self._seen.clear()
        saved = {family: self._saved(family) for family in self._families}
        done: list[int] = []
        try:
            for family in self._families:
                self._restore(family, install_text(self.rules, family, saved[family]))
                done.append(family)
        except DatapathError:
            for family in done:
                if not remove_text(self.rules, saved[family]):  # it was not there before us
                    self._restore(family, remove_text(self.rules, self._saved(family)))
            raise
        if not again:
            self.verify()

    def verify(self) -> list[str]:
        """Say how what is in place differs; an empty list when it does not.

        Every word counts from the first time on that nothing differed: a rule with a condition
        more looks much the same, and lets others pass.

        Raises:
            PrivilegeError: iptables is missing or may not read rules.
            DatapathError: iptables fails.
        """
        return [
            problem
            for family in self._families
            for problem in self._problems(family, self._saved(family))
        ]

    def _problems(self, family: int, saved: str) -> list[str]:
        problems = problems_in(self.rules, family, saved)
        if problems:
            return problems
        found = own_rules(saved, self.rules.chains)
        seen = self._seen.setdefault(family, found)
        changed = sorted(one for one in found.keys() | seen if found.get(one) != seen.get(one))
        return [f"IPv{family}: our rules in {chain} have other conditions" for chain in changed]

    def remove(self) -> None:
        """Take the rules away; what is not there is no error.

        Raises:
            PrivilegeError: iptables is missing or may not change rules.
            DatapathError: The kernel refuses, for instance because another rule uses a chain.
        """
        for family in self._families:
            text = remove_text(self.rules, self._saved(family))
            if text:
                self._restore(family, text)

    def _saved(self, family: int) -> str:
        return self._run([f"{_PREFIXES[family]}-save"], "")

    def _restore(self, family: int, text: str) -> None:
        self._run([f"{_PREFIXES[family]}-restore", "--noflush", "-w", str(_LOCK_SECONDS)], text)
