"""Every message, in every mode: the text is that of Cilium, to the last byte."""

from __future__ import annotations

import pytest

from tests.monitor.cilium_vectors import Case, cases, printed
from trireme_datapath.monitor import render, render_stream

TYPES = (
    "agent",
    "capture",
    "debug",
    "drop",
    "l7",
    "policy-verdict",
    "recorder",
    "trace",
    "trace-sock",
    "unknown",
)
# A mode that a case does not have prints what another one prints.
SAME_AS = {"debug": "info", "info_numeric": "info", "verbose_numeric": "verbose"}
NUMERIC = {"info_numeric", "verbose_numeric"}


def name(value: object) -> str | None:
    return value["id"] if isinstance(value, dict) else None


def expected(profile: str, case: Case) -> dict[str, str]:
    """Give the text of each mode."""
    texts = {mode: printed(value) for mode, value in case["out"].items()}
    for mode, same in SAME_AS.items():
        # 1.9 knows no numeric modes: its identities are always numbers.
        if mode not in NUMERIC or profile.startswith("1.16"):
            texts.setdefault(mode, texts[same])
    return texts


@pytest.mark.parametrize(("profile", "case"), cases(*TYPES), ids=name)
def test_message(profile: str, case: Case) -> None:
    message = bytes.fromhex(case["hex"])
    texts = expected(profile, case)
    assert {
        mode: render(
            message, profile=profile, mode=mode, cpu=case["cpu"], ifnames=case.get("ifnames")
        )
        for mode in texts
    } == texts


@pytest.mark.parametrize(("profile", "case"), cases("stream"), ids=name)
def test_session(profile: str, case: Case) -> None:
    session = bytes.fromhex(case["stream_hex"])
    texts = {mode: printed(value) for mode, value in case["out"].items()}
    assert {
        mode: render_stream(
            session, profile=profile, mode=mode, filter=case["filter"], ifnames=case["ifnames"]
        )
        for mode in texts
    } == texts


def test_there_is_something_to_compare() -> None:
    found = cases(*TYPES, "stream")
    assert {profile for profile, _ in found} == {"1.16.2", "1.9.18"}
    assert {case["type"] for _, case in found} == {*TYPES, "stream"}
    assert sum(len(expected(profile, case)) for profile, case in found) > 7500
