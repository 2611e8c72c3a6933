"""What `explain` found out, as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.policy.explain import Explanation, Judgement, RuleNote

__all__ = ["explanation_lines", "stated"]


def stated(found: Explanation) -> str:
    """Write the flow that was explained."""
    what = found.protocol
    if found.port is not None:
        what += f" port {found.port}"
    if found.icmp_type is not None:
        what += f" type {found.icmp_type} code {found.icmp_code}"
    return f"{found.source} -> {found.destination} {what}"


def explanation_lines(
    found: Explanation,
    *,
    show_all: bool = False,
    show_record: bool = True,
    paint: Callable[[str], str] = str,
) -> list[str]:
    """Tell what happens to a flow, which rule decides, and what the record would say.

    Args:
        found: The explanation.
        show_all: Whether to name the rules that do not match, too.
        show_record: Whether to say what the record would say.
        paint: Colours an action.
    """
    lines = [
        f"{stated(found)}: {paint(found.action)}",
        f"  because {printable(found.reason)}",
    ]
    for judgement in found.judgements:
        lines.extend(_judgement_lines(judgement, paint, show_all=show_all))
    if found.record is not None and show_record:
        record = found.record
        shown = {
            "action": record.action,
            "policy_id": record.policy_id,
            "observed_action": record.observed_action,
            "observed_policy_id": record.observed_policy_id,
            "drop_reason": record.drop_reason,
            "source": f"{record.source_id} ({record.source_type})",
            "destination": f"{record.destination_id} ({record.destination_type})",
            "direction": record.direction,
        }
        lines.append("the record would say")
        lines.extend(f"  {key:<19}{printable(text) or '-'}" for key, text in shown.items())
    return lines


def _judgement_lines(
    judgement: Judgement, paint: Callable[[str], str], *, show_all: bool
) -> list[str]:
    tags = f" tags {' '.join(judgement.peer_tags)}" if judgement.peer_tags else ""
    who = f"{judgement.peer}{tags}" if judgement.peer else "nobody known"
    said = f"{paint(judgement.action)} by {printable(judgement.policy_id)}"
    side = f"{judgement.direction} of {printable(judgement.unit)}"
    lines = [f"{side}, peer {judgement.peer_address} ({printable(who)}): {said}"]
    matching = [note for note in judgement.rules if note.matches]
    others = [note for note in judgement.rules if not note.matches]
    lines.extend(_note_line(note) for note in (*matching, *(others if show_all else ())))
    if not matching:
        lines.append("  no rule matches")
    if others and not show_all:
        rules = "1 rule" if len(others) == 1 else f"{len(others)} rules"
        lines.append(f"  {rules} not matching; --all shows why")
    return lines


def _note_line(note: RuleNote) -> str:
    sign = "=>" if note.decides else " ~" if note.reported else "  " if note.matches else " x"
    observe = f" observe-{note.observe}" if note.observe != "none" else ""
    by = f" by {note.by}" if note.by else ""
    text = f"{sign} {note.id}: {note.action}{observe}{by}; {note.reason}"
    return "  " + printable(text)
