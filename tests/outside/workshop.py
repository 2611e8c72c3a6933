"""An environment of its own for a project that builds on this library, made without the network.

It has the wheel of this tree and whatever the test installs. Other packages come from the
environment that runs the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

_TIMEOUT_SECONDS = 300


def build_wheel(project: Path, where: Path) -> Path:
    """Build the wheel of a project with the setuptools that are installed here."""
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    run([sys.executable, "-W", "ignore", "-c", code, str(where)], cwd=project)
    (path,) = where.glob("*.whl")
    return path


def run(
    command: list[str | Path], *, cwd: Path, env: dict[str, str] | None = None, expect: int = 0
) -> str:
    """Run a command; give what it printed.

    Raises:
        AssertionError: It ended otherwise than expected; the message has all that it printed.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    shown = " ".join(map(str, command))
    assert done.returncode == expect, f"{shown} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


class Workshop:
    """A virtual environment, and a directory for projects.

    Args:
        base: An empty directory.
        wheel: The wheel of this tree.
    """

    def __init__(self, base: Path, wheel: Path) -> None:
        self.base = base
        self.environment = base / "environment"
        self.python = self.environment / "bin" / "python"
        self._built = 0
        run([sys.executable, "-m", "venv", "--without-pip", self.environment], cwd=base)
        packages = sysconfig.get_path("purelib")
        # After what is installed here; the others lie where the tests run.
        (self._site() / "packages_of_the_tests.pth").write_text(
            f"import site; site.addsitedir({packages!r})\n", encoding="utf-8"
        )
        self._add(wheel)

    def install(self, project: Path) -> None:
        """Build and install a project, as its users would."""
        self._built += 1
        copy = self.base / f"build-{self._built}"
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        self._add(build_wheel(copy, copy / "dist"))

    def remove(self, distribution: str) -> None:
        """Take a distribution away again, so that another may offer what it offers."""
        self._pip("uninstall", "--quiet", "--yes", distribution)

    def run(self, *command: str, cwd: Path | None = None, expect: int = 0) -> str:
        """Run a module or a program of the environment; give what it printed."""
        program: list[str | Path] = [self.environment / "bin" / command[0], *command[1:]]
        if not Path(program[0]).exists():
            program = [self.python, "-m", *command]
        return run(program, cwd=cwd or self.base, expect=expect)

    def tool(self, *command: str, cwd: Path) -> str:
        """Run a program that lies beside the interpreter of the tests."""
        program = Path(sys.executable).with_name(command[0])
        path = f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # What mypy learns of the library is the same for every project.
        env = {"PATH": path, "MYPY_CACHE_DIR": str(self.base / "mypy")}
        return run([program, *command[1:]], cwd=cwd, env=env)

    def check_types(self, project: Path) -> None:
        """Hold a project to mypy, as it configures that, and to pyright."""
        self.tool("mypy", "--python-executable", str(self.python), cwd=project)
        self.tool("pyright", "--pythonpath", str(self.python), cwd=project)

    def _add(self, wheel: Path) -> None:
        # The same version may lie where the tests run: that one is not touched.
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--ignore-installed"]
        self._pip("install", *options, str(wheel))

    def _pip(self, *words: str) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        run([*pip, "--python", str(self.python), *words], cwd=self.base)

    def _site(self) -> Path:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        return Path(run([self.python, "-c", code], cwd=self.base).strip())
