"""Links of every page lead somewhere: files, headings, and the form of other addresses."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("docs", "examples", "changelog.d", "packaging")
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(`{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    found = list(ROOT.glob("*.md"))
    for place in PLACES:
        found += (ROOT / place).rglob("*.md")
    return sorted(path for path in found if "_build" not in path.parts)


def text_of(path: Path) -> str:
    """Read a page without its code."""
    return re.sub(r"`[^`\n]+`", "`", FENCED.sub("", path.read_text("utf-8")))


def anchors(path: Path) -> set[str]:
    """List the headings of a page, as links name them."""
    heads = re.findall(r"^#+ +(.+)$", FENCED.sub("", path.read_text("utf-8")), re.MULTILINE)
    found: set[str] = set()
    for head in heads:
        name = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).strip().lower()
        name = re.sub(r"[^\w\- ]", "", name).replace(" ", "-")
        number = 1
        unique = name
        while unique in found:
            unique, number = f"{name}-{number}", number + 1
        found.add(unique)
    return found


def trouble(target: str, page: Path) -> str:
    """Say what is wrong with a link, or nothing."""
    if re.match(r"[a-z]+:", target):
        parts = urlsplit(target)
        sound = parts.scheme == "https" and re.fullmatch(r"[\w.-]+\.\w{2,}", parts.netloc)
        return "" if sound else f"{target} has not the form of an address"
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return f"{target} leads to no file"
    if anchor and path.suffix == ".md" and anchor not in anchors(path):
        return f"{target} leads to no heading"
    return ""


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    found = [trouble(target, page) for target in LINK.findall(text_of(page))]
    assert list(filter(None, found)) == []


def test_broken_links_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` (c)\n\n# A `b` (c)\n", encoding="utf-8")
    assert anchors(page) == {"a-b-c", "a-b-c-1"}
    assert trouble("#a-b-c-1", page) == trouble("page.md", page) == ""
    assert trouble("https://example.org/x", page) == ""
    for wrong in ("#d", "other.md", "http://example.org", "https://example"):
        assert trouble(wrong, page)
