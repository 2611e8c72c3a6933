"""The way to find units ``host``: named network namespaces and control groups.

Both are directories that the kernel or a container runtime keeps, so looking is listing. A unit of
the policy is the one that is found if its ``context`` is the same: ``netns:NAME`` or
``cgroup:PATH``. To the unit of a namespace belongs what passes the interfaces of this host that
lead into it, to that of a control group what its processes send.
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from trireme_collector import DiscoveredUnit, DiscovererSpec, Stability, hookimpl
from trireme_collector_host._links import NamespaceLinks

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HostDiscoverer", "HostOptions", "trireme_register_discoverers"]

_MAX_DEPTH: Final = 16  # of control groups; runtimes nest half as deep
_MAX_GROUPS: Final = 100_000

_Directory = Annotated[str, msgspec.Meta(min_length=1)]


class HostOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked at.

    Attributes:
        namespace_directories: Directories with a file for each network namespace. A directory that
            is not there holds none.
        cgroups: Which control groups of version 2 are units: patterns of paths below their root, in
            which ``*`` stands for anything but ``/``. None when empty.
        cgroup_root: Where control groups are mounted.
    """

    namespace_directories: list[_Directory] = msgspec.field(
        default_factory=lambda: ["/run/netns", "/run/docker/netns"]
    )
    cgroups: list[_Directory] = []
    cgroup_root: _Directory = "/sys/fs/cgroup"


class HostDiscoverer:
    """Lists the namespaces and control groups that there are.

    Args:
        options: What is looked at.
    """

    def __init__(self, options: HostOptions) -> None:
        """Look at nothing yet."""
        self._directories = [Path(one) for one in options.namespace_directories]
        self._root = Path(options.cgroup_root)
        self._patterns = [one.strip("/").split("/") for one in options.cgroups]

    def poll(self) -> list[DiscoveredUnit]:
        """Give every unit that there is now.

        Raises:
            OSError: A directory cannot be read.
        """
        return [*self._namespaces(), *self._groups()]

    def _namespaces(self) -> Iterator[DiscoveredUnit]:
        with NamespaceLinks() as links:
            yield from self._linked_namespaces(links)

    def _linked_namespaces(self, links: NamespaceLinks) -> Iterator[DiscoveredUnit]:
        seen: set[str] = set()
        for directory in self._directories:
            try:
                entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
            except FileNotFoundError:
                continue
            for entry in entries:
                if entry.name in seen or not entry.is_file(follow_symlinks=False):
                    continue
                seen.add(entry.name)
                try:
                    number = entry.stat(follow_symlinks=False).st_ino
                except FileNotFoundError:  # it went meanwhile
                    continue
                try:
                    interfaces = links.into(entry.path)
                except OSError:  # a plain file stands for no namespace
                    interfaces = ()
                yield DiscoveredUnit(
                    context_id=f"netns:{entry.name}",
                    tags=(f"netns={entry.name}", f"netns-inode={number}"),
                    interfaces=interfaces,
                )

    def _groups(self) -> Iterator[DiscoveredUnit]:
        found: dict[str, None] = {}
        for pattern in self._patterns:
            if len(pattern) <= _MAX_DEPTH:
                found.update(dict.fromkeys(self._matching(self._root, pattern, "")))
        for path in sorted(found)[:_MAX_GROUPS]:
            yield DiscoveredUnit(
                context_id=f"cgroup:{path}", tags=(f"cgroup={path}",), cgroups=(path,)
            )

    def _matching(self, directory: Path, pattern: list[str], prefix: str) -> Iterator[str]:
        try:
            with os.scandir(directory) as entries:
                names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            if not prefix:
                raise  # nothing is mounted there
            return
        for name in fnmatch.filter(names, pattern[0]):
            path = f"{prefix}{name}"
            if len(pattern) == 1:
                yield path
            else:
                yield from self._matching(directory / name, pattern[1:], f"{path}/")


@hookimpl
def trireme_register_discoverers() -> list[DiscovererSpec[HostOptions]]:
    """Offer it."""
    return [
        DiscovererSpec(
            name="host",
            factory=HostDiscoverer,
            config_type=HostOptions,
            summary="Finds units by named network namespaces and control groups.",
            stability=Stability.BETA,
        )
    ]
