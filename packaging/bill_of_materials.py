"""Write the software bill of materials: ``python packaging/bill_of_materials.py DIRECTORY``.

The wheel in the directory is installed with every extra into a clean environment, and CycloneDX
lists what that brought, as JSON beside the wheel. The same versions give the same file.
"""

from __future__ import annotations

import configparser
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = ("--output-reproducible", "--output-file")
ROOT = Path(__file__).parents[1]


def run(words: Sequence[str | Path]) -> None:
    """Run a command that must succeed."""
    subprocess.run(words, check=True)  # noqa: S603  the commands of this file


def extras() -> str:
    """Read the names of the extras, as pip wants them."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return ",".join(parser["options.extras_require"])


def main() -> None:
    """Install, and list."""
    (wheel,) = Path(sys.argv[1]).glob("*.whl")
    target = wheel.with_suffix(".cdx.json")
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = Path(directory, "bin/python")
        pip: list[str | Path] = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run([*pip, "install", f"{wheel}[{extras()}]"])
        # Once more by its name, so that the bill does not speak of a file of this machine.
        again: list[str | Path] = ["--no-index", "--no-deps", "--force-reinstall"]
        name = f"trireme-collector=={wheel.name.split('-')[1]}"
        run([*pip, "install", *again, "--find-links", wheel.parent.resolve(), name])
        run([*pip, "uninstall", "--yes", "pip", "setuptools"])
        run([sys.executable, "-m", "cyclonedx_py", "environment", *OPTIONS, target, python])
    print(target)


if __name__ == "__main__":
    main()
