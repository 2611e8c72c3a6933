"""Pages can be followed: ``follow.py`` runs what they say, and sees what is otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLLOW = Path(__file__).parent / "follow.py"
PAGE = """# Page

```{{code-block}} toml
:caption: a file.toml

key = 'value'
```

```console
$ mkdir here
$ cat "a file.toml"
{printed}
$ cd here
$ pwd
.../here
```
"""


def _follow(path: Path, page: str) -> subprocess.CompletedProcess[str]:
    path.write_text(page, encoding="utf-8")
    return subprocess.run(
        [sys.executable, FOLLOW, path], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_page_is_followed_in_one_shell(tmp_path: Path) -> None:
    done = _follow(tmp_path / "page.md", PAGE.format(printed="key = 'value'"))
    assert done.returncode == 0, done.stdout
    times = [line.split(" s  ")[1] for line in done.stdout.splitlines()]
    assert times == ["mkdir here", 'cat "a file.toml"', "cd here", "pwd"]


@pytest.mark.parametrize(
    "page",
    [PAGE.format(printed="key = 'other'"), "```console\n$ false\n```\n"],
    ids=["output", "exit code"],
)
def test_what_is_otherwise_ends_it(tmp_path: Path, page: str) -> None:
    done = _follow(tmp_path / "page.md", page)
    assert done.returncode == 1
    assert "expected:" in done.stdout
