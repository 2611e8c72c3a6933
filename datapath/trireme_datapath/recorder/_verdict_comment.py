"""What stands beside a packet that was judged."""

from __future__ import annotations

from typing import Final

from trireme_datapath.packets import Hook, QueuedPacket, Verdict

__all__ = ["verdict_comment"]

_VERDICTS: Final = {Verdict.ACCEPT: "accept", Verdict.DROP: "drop", Verdict.REPEAT: "reject"}
_HOOKS: Final = {
    Hook.PREROUTING: "prerouting",
    Hook.LOCAL_IN: "input",
    Hook.FORWARD: "forward",
    Hook.LOCAL_OUT: "output",
    Hook.POSTROUTING: "postrouting",
}


def verdict_comment(packet: QueuedPacket, verdict: Verdict, rule: str) -> str:
    """Say what became of a packet, by which rule, and where it was queued."""
    words = [f"verdict={_VERDICTS[verdict]}"]
    if rule:
        words.append(f"rule={rule}")
    if packet.hook in _HOOKS:
        words.append(f"hook={_HOOKS[Hook(packet.hook)]}")
    if packet.indev:
        words.append(f"in={packet.indev}")
    if packet.outdev:
        words.append(f"out={packet.outdev}")
    return " ".join(words)
