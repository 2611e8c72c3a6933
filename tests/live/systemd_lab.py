"""A systemd of one's own: booted in namespaces, over the files of this machine, gone afterwards.

Its files are an overlay over ours, so nothing that it writes stays. It runs in a network namespace
of the laboratory and in a control group of its own. The program is laid out as an installation in
``/opt/trireme``, where the unit file expects it and where any user may read it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live.conftest import wait_for

if TYPE_CHECKING:
    from typing import Self

    from trireme_datapath.kernel.namespaces import Namespace

__all__ = ["OwnSystemd"]

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "trireme-collector.service"
BOOT_SECONDS = 30

# In the first namespaces: a control group, then namespaces of its own for what follows.
ENTER = """
set -e
mount --make-rprivate /
mount -t cgroup2 groups "$TOP/groups"
mkdir -p "$TOP/groups/$GROUP"
echo $$ > "$TOP/groups/$GROUP/cgroup.procs"
exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup bash -c "$BOOT"
"""
# In the second: what systemd wants to find, and nothing that reaches this machine.
BOOT = """
set -e
mount --make-rprivate /
root="$TOP/root"
mkdir -p "$TOP/layer" "$root"
mount -t tmpfs -o mode=755 layer "$TOP/layer"
mkdir "$TOP/layer/upper" "$TOP/layer/work"
mount -t overlay root -o "lowerdir=/,upperdir=$TOP/layer/upper,workdir=$TOP/layer/work" "$root"
mkdir -p "$root/opt/trireme" "$root/opt/python" "$root/opt/packages" "$root/etc/trireme"
mount --bind "$TOP/installation" "$root/opt/trireme"
mount --bind "$PYTHON" "$root/opt/python"
mount --bind "$PACKAGES" "$root/opt/packages"
mount --bind "$TOP/etc" "$root/etc/trireme"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 groups sys/fs/cgroup
for place in run dev tmp; do mount -t tmpfs -o mode=755 "$place" "$place"; done
for name in null zero full random urandom tty; do
    touch "dev/$name"; mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm run/lock
chmod 1777 tmp dev/shm run/lock
mount -t devpts -o newinstance,ptmxmode=0666 pts dev/pts
ln -s pts/ptmx dev/ptmx
hostname inside
rm -rf etc/machine-id etc/systemd/system lib/systemd/system/sysinit.target.wants var/log/journal
echo 0123456789abcdef0123456789abcdef > etc/machine-id
mkdir -p etc/systemd/system/sysinit.target.wants old
for name in systemd-journald.service systemd-tmpfiles-setup.service; do
    ln -s "/lib/systemd/system/$name" etc/systemd/system/sysinit.target.wants/
done
pivot_root . old
umount -l /old
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --show-status=no < /dev/null
"""
UNDO = """
set -e
mount --make-rprivate /
mount -t cgroup2 groups "$TOP/groups"
cd "$TOP/groups"
[ ! -d "$GROUP" ] && exit
[ ! -e "$GROUP/cgroup.kill" ] || echo 1 > "$GROUP/cgroup.kill"
for _ in $(seq 100); do
    find "$GROUP" -depth -type d -exec rmdir {} + 2> /dev/null && exit
    sleep 0.05
done
exit 1
"""


class OwnSystemd:
    """Boots it, and asks it.

    Attributes:
        etc: What it sees as ``/etc/trireme``.
    """

    def __init__(self, namespace: Namespace) -> None:
        """Lay out the installation; boot nothing."""
        self._namespace = namespace
        # Any user of the machine inside has to reach it.
        self._top = Path(tempfile.mkdtemp(prefix="trireme-systemd-"))
        self._top.chmod(0o755)
        self.etc = self._top / "etc"
        self.etc.mkdir()
        (self._top / "groups").mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._environment = {
            **os.environ,
            "TOP": str(self._top),
            "GROUP": f"trireme-systemd-{os.getpid()}",
            "BOOT": BOOT,
            "PYTHON": sys.base_prefix,
            "PACKAGES": sysconfig.get_path("purelib"),
        }
        _install(self._top / "installation")

    def __enter__(self) -> Self:
        """Boot."""
        log = (self._top / "console").open("wb")
        with log:
            self._process = subprocess.Popen(
                self._namespace.command(["unshare", "--mount", "bash", "-c", ENTER]),
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        try:
            booted = wait_for(self._is_up, BOOT_SECONDS)
            assert booted, f"systemd does not boot: {self.console()}"
            self.put("/etc/systemd/system/trireme-collector.service", UNIT.read_text("utf-8"))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all of it, and leave nothing behind."""
        self._end()

    def _is_up(self) -> bool:
        process = self._process
        assert process is not None
        assert process.poll() is None, self.console()
        with contextlib.suppress(OSError, ValueError):
            path = f"/proc/{process.pid}/task/{process.pid}/children"
            child = Path(path).read_text(encoding="ascii").split()
            if child and Path(f"/proc/{child[0]}/comm").read_text(encoding="ascii") == "systemd\n":
                self._pid = int(child[0])
                return "running" in self.ask("systemctl", "is-system-running")[1]
        return False

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
        command = ["unshare", "--mount", "bash", "-c", UNDO]
        undone = subprocess.run(command, env=self._environment, check=False, timeout=20)
        shutil.rmtree(self._top)
        assert not undone.returncode

    def console(self) -> str:
        """Give what it said while it booted."""
        return (self._top / "console").read_text(encoding="utf-8", errors="replace")

    def _inside(self) -> list[str]:
        return ["nsenter", "--target", str(self._pid), "--all", "env", "-i", f"PATH={_PATH}"]

    def ask(self, *command: str) -> tuple[int, str]:
        """Run a command inside; give how it ended and what it printed."""
        done = subprocess.run(
            [
                "nsenter",
                "--target",
                str(self._pid),
                "--all",
                "env",
                "-i",
                f"PATH={_PATH}",
                *command,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def do(self, *command: str) -> str:
        """Run a command inside that has to succeed; give what it printed."""
        code, out = self.ask(*command)
        assert not code, f"{' '.join(command)}: {out}\n{self.journal()}"
        return out

    def put(self, path: str, text: str) -> None:
        """Write a file inside, and have systemd read its own again."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && systemctl daemon-reload'
        subprocess.run(
            [*self._inside(), "sh", "-c", script, "sh", path],
            input=text,
            text=True,
            check=True,
            timeout=20,
        )

    def shown(self, name: str) -> str:
        """Give a property of the unit."""
        return self.do("systemctl", "show", "--value", f"--property={name}", UNIT.name).strip()

    def journal(self) -> str:
        """Give what the unit logged."""
        return self.ask("journalctl", "--no-pager", "--output=cat", f"--unit={UNIT.name}")[1]


_PATH = "/opt/trireme/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _install(place: Path) -> None:
    """Lay the program out as ``pip`` would, with the packages that it runs with here."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = place / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (place / "bin").mkdir()
    for module in _modules():
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.submodule_search_locations
        source = next(iter(spec.submodule_search_locations))
        shutil.copytree(source, packages / module, ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "others.pth").write_text("/opt/packages\n", encoding="ascii")
    (place / "pyvenv.cfg").write_text("home = /opt/python/bin\n", encoding="ascii")
    (place / "bin" / "python").symlink_to(f"/opt/python/bin/{version}")
    program = place / "bin" / "trireme-collector"
    program.write_text(
        "#!/opt/trireme/bin/python -P\nimport sys\nfrom trireme_collector.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n",
        encoding="ascii",
    )
    program.chmod(0o755)


def _modules() -> list[str]:
    """Name our packages: those that stand at the top of one of the three roots."""
    roots = (ROOT, ROOT / "datapath", ROOT / "plugins")
    found = {path.parent.name for root in roots for path in root.glob("trireme_*/__init__.py")}
    return sorted(found)
