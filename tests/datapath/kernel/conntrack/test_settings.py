"""The settings without which the kernel counts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.kernel.conntrack import enable_accounting

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_off_is_switched_on_and_the_rest_left_alone(tmp_path: Path) -> None:
    (tmp_path / "nf_conntrack_acct").write_text("0\n")
    (tmp_path / "nf_conntrack_timestamp").write_text("1\n")
    events = tmp_path / "nf_conntrack_events"
    events.write_text("1\n")
    events.chmod(0o444)
    assert enable_accounting(tmp_path) == []
    assert (tmp_path / "nf_conntrack_acct").read_text() == "1\n"
    assert events.read_text() == "1\n"


def test_what_is_impossible_is_said(tmp_path: Path) -> None:
    (tmp_path / "nf_conntrack_acct").write_text("1")
    (tmp_path / "nf_conntrack_timestamp").mkdir()
    problems = enable_accounting(tmp_path)
    assert len(problems) == 2
    assert "cannot set net.netfilter.nf_conntrack_timestamp to 1" in problems[0]
    assert problems[1].startswith("the end of a connection is not told: ")
