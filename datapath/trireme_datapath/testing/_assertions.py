"""Assertions about what a policy does with flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.policy import compile_policy
from trireme_datapath.policy.explain import explain
from trireme_datapath.policy.explanation_text import explanation_lines
from trireme_datapath.testing._flow_text import read_flow
from trireme_datapath.testing._policies import compiled

if TYPE_CHECKING:
    from typing import Literal

    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.policy.explain import Explanation
    from trireme_datapath.testing._policies import PolicySource

__all__ = ["assert_allows", "assert_denies", "complaint", "explain_flow"]

_NO_UNIT = "context"  # the reason of packets that belong to nobody: FlowDropReason.INVALID_CONTEXT


def explain_flow(
    policy: PolicySource,
    flow: str,
    *,
    unit: str | None = None,
    direction: Literal["ingress", "egress"] | None = None,
) -> Explanation:
    """Find out what a policy does with a flow, and why.

    Args:
        policy: The policy: a path, a text, or what was read or compiled before.
        flow: ``CLIENT -> SERVER:PORT/PROTOCOL``; see `assert_allows`.
        unit: The unit at one end, if neither an address nor the flow says which.
        direction: Whether that unit receives the flow (ingress) or begins it (egress).

    Raises:
        FlowError: The flow cannot be read, or names nobody that the policy knows.
        ValueError: There is no such unit, or it is not clear at which end it is.
        ConfigError: The policy cannot be read, or has mistakes.
    """
    ready = compiled(policy)
    stated = read_flow(flow, ready.policy)
    if stated.destination_name:
        # What a name stands for is remembered: the next question must not profit from this one.
        ready = compile_policy(ready.policy)
    return explain(
        ready,
        stated.flow,
        unit=unit or stated.unit,
        direction=direction or stated.direction,
        destination_name=stated.destination_name,
    )


def assert_allows(
    policy: PolicySource,
    *flows: str,
    by: str | None = None,
    unit: str | None = None,
    direction: Literal["ingress", "egress"] | None = None,
) -> None:
    """Assert that a policy accepts flows.

    ::

        assert_allows("policy.toml", "10.0.0.1 -> 10.0.0.2:443/tcp", "lb -> web:443/tcp")

    Args:
        policy: The policy: a path, a text of several lines, or what was read or compiled before.
        *flows: ``CLIENT -> SERVER:PORT/PROTOCOL``. Either end is an address (``[ADDRESS]:PORT``
            for IPv6), or the id of a unit, a peer or a network of the policy; the server may also
            be a DNS name. ICMP has no port: ``10.0.0.1 -> web/icmp``, or with a type
            ``10.0.0.1 -> web/icmp:echo-reply``.
        by: The id of the rule that has to decide, or ``default``.
        unit: The unit at one end, if neither an address nor the flow says which.
        direction: Whether that unit receives the flow (ingress) or begins it (egress).

    Raises:
        AssertionError: A flow is rejected, or another rule decides; it shows every rule.
        FlowError: A flow cannot be read, or names nobody that the policy knows.
        ConfigError: The policy cannot be read, or has mistakes.
    """
    ready = compiled(policy)
    _check(ready, flows, unit, direction, allowed=True, by=by)


def assert_denies(
    policy: PolicySource,
    *flows: str,
    reason: str | None = None,
    by: str | None = None,
    unit: str | None = None,
    direction: Literal["ingress", "egress"] | None = None,
) -> None:
    """Assert that a policy rejects flows.

    Args:
        policy: As in `assert_allows`.
        *flows: As in `assert_allows`.
        reason: The drop reason: ``policy`` for what rules or the default reject, ``context``
            for flows that belong to no unit. See `FlowDropReason`.
        by: The id of the rule that has to decide, or ``default``.
        unit: As in `assert_allows`.
        direction: As in `assert_allows`.

    Raises:
        AssertionError: A flow is accepted, or rejected for another reason; it shows every rule.
        FlowError: A flow cannot be read, or names nobody that the policy knows.
        ConfigError: The policy cannot be read, or has mistakes.
    """
    ready = compiled(policy)
    _check(ready, flows, unit, direction, allowed=False, by=by, reason=reason)


def _check(
    ready: CompiledPolicy,
    flows: tuple[str, ...],
    unit: str | None,
    direction: Literal["ingress", "egress"] | None,
    *,
    allowed: bool,
    by: str | None,
    reason: str | None = None,
) -> None:
    if not flows:
        raise TypeError("no flow is given: what is to be asserted?")
    wrong = []
    for flow in flows:
        found = explain_flow(ready, flow, unit=unit, direction=direction)
        said = complaint(found, allowed=allowed, by=by, reason=reason)
        if said:
            lines = explanation_lines(found, show_all=True, show_record=False)
            wrong.append("\n".join([f"{flow}: {said}", *(f"  {line}" for line in lines)]))
    if wrong:
        raise AssertionError("\n".join(wrong))


def complaint(
    found: Explanation, *, allowed: bool, by: str | None = None, reason: str | None = None
) -> str:
    """Say what is not as expected, in one line; nothing when all is well.

    Args:
        found: What the policy does.
        allowed: Whether the flow is to be accepted.
        by: The rule that has to decide.
        reason: The drop reason.
    """
    wanted = "accept" if allowed else "reject"
    if found.action != wanted:
        return f"expected {wanted}, got {found.action}: {found.reason}"
    record = found.record
    got_reason = _NO_UNIT if record is None else record.drop_reason
    if reason is not None and got_reason != str(reason):
        return f"expected the drop reason {str(reason)!r}, got {got_reason!r}: {found.reason}"
    rule = "" if record is None else record.policy_id
    if by is not None and rule != by:
        return f"expected rule {by!r} to decide, got {rule!r}: {found.reason}"
    return ""
