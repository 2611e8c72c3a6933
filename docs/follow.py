"""Follow a page: ``TRIREME=... python docs/follow.py PAGE``.

Runs every ``$`` line of its console blocks in one shell, in an empty directory, writes files that
have a caption, compares what is printed (``...`` stands for anything) and says how long each
command took. Ends with 1 at the first difference. ``TRIREME`` is what the page clones; this tree
if it is not set.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(.+?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
END = "--end-of-the-command--"


def steps(text: str) -> list[tuple[str, str | None]]:
    """List what the page does: commands, and what they print, or None if that is not compared."""
    found: list[tuple[str, str | None]] = []
    for head, body in FENCE.findall(text):
        name = re.match(r":caption: (.+)\n\n", body)
        if name:
            content = body[name.end() :]
            found.append((f"printf %s {shlex.quote(content)} > {shlex.quote(name[1])}", None))
        elif head == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                found.append((command, printed))
    return found


def say(shell: subprocess.Popen[str], command: str) -> tuple[str, int]:
    """Run a command in the shell, and return what it printed and its exit code."""
    written, read = pipe(shell.stdin), pipe(shell.stdout)
    written.write(f"{command}\necho {END} $?\n")
    written.flush()
    printed = ""
    for line in read:
        before, found, code = line.partition(END)
        printed += before
        if found:
            return printed, int(code)
    return printed, -1


def pipe(stream: IO[str] | None) -> IO[str]:
    """Give a pipe that is there."""
    assert stream is not None
    return stream


def main() -> int:
    """Follow the page."""
    page = Path(sys.argv[1]).read_text("utf-8")
    checker = doctest.OutputChecker()
    environment = {"TRIREME": str(ROOT), **os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
    with tempfile.TemporaryDirectory() as directory:
        shell = subprocess.Popen(
            ["/bin/bash", "--norc"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with shell:
            for command, expected in steps(page):
                began = time.monotonic()
                printed, code = say(shell, command)
                if expected is not None:
                    print(f"{time.monotonic() - began:6.1f} s  {command}", flush=True)
                same = not expected or checker.check_output(expected, printed, FLAGS)
                if code or not same:
                    print(f"ended with {code}; expected:\n{expected}\nprinted:\n{printed}")
                    shell.kill()
                    return 1
            pipe(shell.stdin).close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
