"""The template of a plugin project, filled in.

It is a template for copier whose text has nothing but ``{{ names }}`` in it: every choice is the
value of a name. So a plain installation can fill it in, and copier gives the same files.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import urllib.parse
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trireme_collector import __version__
from trireme_collector.cli._output_file import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

__all__ = [
    "DEFAULT_AUTHOR",
    "DEFAULT_SUMMARIES",
    "LONGEST_NAME",
    "describe_project",
    "write_project",
]

LONGEST_NAME: Final = 40
"""Longer names make longer lines than the style of the project allows."""
DEFAULT_AUTHOR: Final = "The authors"
DEFAULT_SUMMARIES: Final = {"simple": "Adds flows to a file.", "batched": "Posts records to a URL."}

_SUFFIX = ".jinja"
_NAME = re.compile(r"\{\{ (\w+) \}\}")
_DISTRIBUTION = "trireme-collector"
_OPTIONS = {
    "simple": 'path = "flows.jsonl"',
    "batched": 'url = "https://collector.example/records"',
}


def describe_project(*, name: str, variant: str, summary: str, author: str) -> dict[str, str]:
    """Make every value of the template.

    Args:
        name: The name of the collector.
        variant: ``simple`` or ``batched``.
        summary: What it does.
        author: Who writes it.
    """
    chosen = {f"{one}_collector": "" for one in _OPTIONS} | {f"{one}_test": "" for one in _OPTIONS}
    return {
        **chosen,
        f"{variant}_collector": "_collector.py",
        f"{variant}_test": "test_collector.py",
        "author": author,
        "distribution": f"{_DISTRIBUTION}-{name}",
        "dot": ".",
        "module": f"trireme_collector_{name.replace('-', '_')}",
        "name": name,
        "required_option": _OPTIONS[variant],
        "requirement": f"{_DISTRIBUTION}>={__version__}",
        "summary": summary,
        "tox_deps": _installed_from(),
    }


def write_project(directory: Path, values: Mapping[str, str]) -> list[str]:
    """Write the project, all of it or nothing.

    Args:
        directory: Where; it must not exist.
        values: The values of the template.

    Returns:
        The files, as paths in the directory.

    Raises:
        OutputError: It exists, or cannot be written.
    """
    if os.path.lexists(directory):
        msg = f"{str(directory)!r} exists: choose another place with --directory, or remove it"
        raise OutputError(msg)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        # All of it or nothing: it is made beside its place, and moved there when it is whole.
        with tempfile.TemporaryDirectory(prefix=".new-plugin-", dir=directory.parent) as beside:
            made = Path(beside) / directory.name
            written = []
            for path, content in _files(values):
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_text(content, encoding="utf-8")
                written.append(path)
            made.rename(directory)
    except OSError as error:
        msg = f"cannot write {str(directory)!r}: {error.strerror}; check the path and its rights"
        raise OutputError(msg) from error
    return sorted(written)


def _files(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    root = resources.files("trireme_collector") / "plugin_template" / "project"

    def fill(text: str) -> str:
        return _NAME.sub(lambda match: values[match[1]], text)

    def walk(place: Traversable, path: str) -> Iterator[tuple[str, str]]:
        for one in place.iterdir():
            name = fill(one.name.removesuffix(_SUFFIX))
            if not name:
                continue
            if one.is_dir():
                yield from walk(one, f"{path}{name}/")
            else:
                text = one.read_text(encoding="utf-8")
                yield path + name, fill(text) if one.name.endswith(_SUFFIX) else text

    return walk(root, "")


def _installed_from() -> str:
    """Tell tox where this installation came from, when that was no index (PEP 610)."""
    try:
        text = metadata.distribution(_DISTRIBUTION).read_text("direct_url.json")
        found = json.loads(text) if text else {}
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    url = str(found.get("url", ""))
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file" and not Path(urllib.parse.unquote(parts.path)).exists():
        return ""
    if revision := found.get("vcs_info"):
        url = f"{revision.get('vcs', 'git')}+{url}@{revision.get('commit_id', '')}"
    if not url:
        return ""
    reason = "# It was installed from here, and not from an index; take it out once it is there."
    return f"\n    {reason}\n    {_DISTRIBUTION} @ {url}"
