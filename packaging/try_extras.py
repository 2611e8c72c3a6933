"""Install the wheel with each extra into an environment of its own, and use what it is for.

``python packaging/try_extras.py WHEEL [PYTHON ...]``; the directory of the wheel will do. Without
interpreters, every one from 3.11 to 3.14 that is in PATH is taken. Each extra is tried in the bare
installation first, which must name it as what is missing. Exits with 1 if anything is not as it
should be.
"""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "192.0.2.10"
"""
KUBERNETES_POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
DATAPATH = '[datapath]\npolicy = "policy.toml"\n'


def collector(options: str) -> str:
    """Write a configuration with one collector."""
    return f"{DATAPATH}[collectors.one]\n{options}"


CONFIGURATIONS = {
    "http": collector('type = "http"\nurl = "http://127.0.0.1:9/"\n'),
    "kafka": collector('type = "kafka"\nbrokers = ["127.0.0.1:9"]\ntopic = "flows"\n'),
    "loki": collector('type = "loki"\nurl = "http://127.0.0.1:9"\n'),
    "metrics": f'{DATAPATH}[collectors.console]\n[metrics]\nlisten = "127.0.0.1:9464"\n',
    "nfqueue": f'{DATAPATH}backend = "nfqueue"\n[collectors.console]\n',
    "otlp": collector('type = "otlp"\nurl = "http://127.0.0.1:9"\n'),
}
# What needs the extra, beginning with a program of the environment; the exit code when it is there.
PROGRAM = "trireme-collector"
COMMANDS: dict[str, tuple[list[str], int]] = {
    **{name: ([PROGRAM, "check", "-c", f"{name}.toml"], 0) for name in CONFIGURATIONS},
    "grpc": ([PROGRAM, "observe", "--server", "unix:///nowhere"], 9),
    "kubernetes": (
        [PROGRAM, "conversations", "--enrich", "kubernetes:kubeconfig=/nowhere", "empty"],
        3,
    ),
    "testing": (["python", "-c", "import trireme_collector.testing.strategies"], 0),
    "yaml": ([PROGRAM, "policy", "check", "policy.yaml"], 0),
}


def extras() -> list[str]:
    """Read the names of the extras."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return list(parser["options.extras_require"])


def run(words: Sequence[str | Path], directory: Path) -> tuple[int, str]:
    """Run a command, and return how it ended and what it printed."""
    done = subprocess.run(  # noqa: S603  the commands of this file
        words, cwd=directory, capture_output=True, text=True, check=False, timeout=600
    )
    return done.returncode, done.stdout + done.stderr


def install(python: str, what: str, place: Path) -> None:
    """Make an environment and install into it.

    Raises:
        RuntimeError: It failed; the message is what was printed.
    """
    steps: list[list[str | Path]] = [
        [python, "-m", "venv", place],
        [place / "bin/pip", "install", "--quiet", "--disable-pip-version-check", what],
        [place / "bin/pip", "check"],
    ]
    for words in steps:
        code, printed = run(words, place.parent)
        if code:
            raise RuntimeError(printed)


def attempt(place: Path, extra: str, *, installed: bool) -> str:
    """Use an extra; return what is wrong, or ``""``."""
    words, expected = COMMANDS[extra]
    code, printed = run([place / "bin" / words[0], *words[1:]], place.parent)
    names_it = f"trireme-collector[{extra}]" in printed
    if installed and (names_it or code != expected):
        return f"exit code {code} and not {expected}: {printed.strip()}"
    if not installed and (not names_it or not code):
        return f"it is not named as missing: {printed.strip()}"
    return ""


def try_python(python: str, wheel: Path, directory: Path) -> int:
    """Try everything with one interpreter, and return how much is wrong."""
    for name, text in CONFIGURATIONS.items():
        (directory / f"{name}.toml").write_text(text, encoding="utf-8")
    (directory / "policy.toml").write_text(POLICY, encoding="utf-8")
    (directory / "policy.yaml").write_text(KUBERNETES_POLICY, encoding="utf-8")
    (directory / "empty").touch()
    bare = directory / "bare"
    install(python, str(wheel), bare)
    wrong = 0
    for extra in extras():
        began = time.monotonic()
        place = directory / extra
        try:
            install(python, f"{wheel}[{extra}]", place)
            trouble = attempt(bare, extra, installed=False)
            trouble = trouble or attempt(place, extra, installed=True)
        except RuntimeError as error:
            trouble = str(error)
        shutil.rmtree(place, ignore_errors=True)
        wrong += bool(trouble)
        took = time.monotonic() - began
        print(f"{python}  {extra:<12}{trouble or 'ok'}  {took:.1f} s", flush=True)
    return wrong


def main() -> int:
    """Try the wheel with each interpreter."""
    wheel = Path(sys.argv[1]).resolve()
    if wheel.is_dir():
        (wheel,) = wheel.glob("*.whl")
    pythons = sys.argv[2:] or [f"python{version}" for version in VERSIONS]
    usable = [name for name in pythons if run_version(name)]
    for name in sorted(set(pythons) - set(usable)):
        print(f"{name}  is not installed")
    wrong = 0
    for name in usable:
        with tempfile.TemporaryDirectory() as directory:
            wrong += try_python(name, wheel, Path(directory))
    print(f"{len(usable)} interpreters, {wrong} failures")
    return int(wrong > 0 or not usable)


def run_version(python: str) -> bool:
    """Tell whether an interpreter is there and runs."""
    path = shutil.which(python)
    return path is not None and run([path, "--version"], Path.cwd())[0] == 0


if __name__ == "__main__":
    sys.exit(main())
