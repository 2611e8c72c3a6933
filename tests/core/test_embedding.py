"""What a process may rely on that embeds the library: forks, signals, logging and threads.

Each script runs in a process of its own, which nobody else has configured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

RUN_EVERYTHING = """
import os
import threading

import trireme_collector
from trireme_collector import FlowRecord, PermanentDeliveryError, Pipeline, Registry, UserRecord
from trireme_collector import build_pipeline
from trireme_datapath.backends.fake import FakeBackend
from trireme_datapath.datapath import Datapath
from trireme_datapath.policy import parse_policy


class Failing:
    def deliver(self, batch):
        raise PermanentDeliveryError("the receiver refuses; this is what is wanted")


def run_everything():
    # What it logs goes elsewhere: without a configuration, structlog prints.
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with build_pipeline({"file": {"path": "flows.jsonl"}}, Registry()) as pipeline:
        pipeline.collect_flow_event(FlowRecord(count=1))
    with Pipeline([Failing()]) as pipeline:
        pipeline.collect_flow_event(None)
        pipeline.collect_user_event(UserRecord(id="one"))
        pipeline.flush()
    policy = parse_policy('version = 1\\nunit = [{ id = "a", select.address = "192.0.2.1" }]')
    with Datapath(policy, lambda engine: FakeBackend(engine, [b"no packet"])) as datapath:
        judging = threading.Thread(target=datapath.run, args=(pipeline,))
        judging.start()
        datapath.stop()
        judging.join()
    os.dup2(out, 1)
"""


def run(tmp_path: Path, script: str) -> str:
    code = RUN_EVERYTHING + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "spool"])
def test_a_child_takes_nothing_from_its_parent(tmp_path: Path, durable: bool) -> None:
    """Forked under load, it neither hangs nor delivers; the parent misses and doubles nothing."""
    script = f"""
        import json
        import sys

        CHILDREN, THREADS, EACH = 8, 2, 1500
        delivery = {{"state_directory": os.path.abspath("state")}} if {durable} else {{}}
        tables = {{"file": {{"path": "users.jsonl", "delivery": delivery}}}}

        def hammer(number):
            for index in range(EACH):
                pipeline.collect_user_event(UserRecord(id=f"{{number}}-{{index}}"))

        with build_pipeline(tables, Registry()) as pipeline:
            threads = [threading.Thread(target=hammer, args=(n,)) for n in range(THREADS)]
            for thread in threads:
                thread.start()
            endings = []
            for _ in range(CHILDREN):
                child = os.fork()
                if not child:
                    for index in range(100):
                        pipeline.collect_user_event(UserRecord(id=f"child-{{index}}"))
                        pipeline.collect_flow_event(FlowRecord(count=1))
                    assert pipeline.flush(5), "nothing is left to deliver"
                    pipeline.reopen()
                    pipeline.tick()
                    sys.exit(7)  # through the end of the block, which closes
                endings.append(os.waitpid(child, 0)[1])
            for thread in threads:
                thread.join()
        ids = [json.loads(line)["id"] for line in open("users.jsonl")]
        expected = {{f"{{n}}-{{i}}" for n in range(THREADS) for i in range(EACH)}}
        print(json.dumps({{
            "endings": sorted(map(os.waitstatus_to_exitcode, endings)),
            "missing": len(expected - set(ids)),
            "foreign": len(set(ids) - expected),
            "doubled": len(ids) - len(set(ids)),
            "complete": pipeline.close().complete,
        }}))
    """
    assert json.loads(run(tmp_path, script)) == {
        "endings": [7] * 8,
        "missing": 0,
        "foreign": 0,
        "doubled": 0,
        "complete": True,
    }


def test_a_pipeline_that_is_built_in_the_child_works_there(tmp_path: Path) -> None:
    script = """
        with Pipeline([Failing()]):
            child = os.fork()
            if not child:
                with build_pipeline({"file": {"path": "child.jsonl"}}, Registry()) as pipeline:
                    pipeline.collect_user_event(UserRecord(id="child"))
                os._exit(0 if pipeline.close().complete else 1)
            print(os.waitpid(child, 0)[1])
    """
    assert run(tmp_path, script) == "0\n"
    assert '"child"' in (tmp_path / "child.jsonl").read_text(encoding="utf-8")


def test_threads_are_daemons_and_descriptors_are_not_for_other_programs(tmp_path: Path) -> None:
    script = """
        import fcntl

        def descriptors():
            found = set()
            for name in os.listdir("/proc/self/fd"):
                try:
                    fcntl.fcntl(int(name), fcntl.F_GETFD)
                except OSError:
                    continue  # the one of the listing
                found.add(int(name))
            return found

        before, threads = descriptors(), set(threading.enumerate())
        policy = parse_policy("version = 1")
        delivery = {"state_directory": os.path.abspath("state")}
        tables = {
            "file": {"path": "flows.jsonl", "delivery": delivery},
            "syslog": {"transport": "udp", "host": "127.0.0.1"},
        }
        with (
            Datapath(policy, lambda engine: FakeBackend(engine, [])) as datapath,
            build_pipeline(tables, Registry()) as pipeline,
        ):
            pipeline.collect_user_event(UserRecord(id="one"))
            pipeline.flush()
            opened = descriptors() - before
            started = set(threading.enumerate()) - threads
            print(len(opened) > 3, [n for n in opened if os.get_inheritable(n)])
            print(len(started) > 3, [x.name for x in started if not x.daemon])
    """
    assert run(tmp_path, script) == "True []\nTrue []\n"


def test_no_signal_handler_is_installed(tmp_path: Path) -> None:
    script = """
        import faulthandler
        import signal
        import sys

        def state():
            handlers = [signal.getsignal(number) for number in signal.valid_signals()]
            woken = signal.set_wakeup_fd(-1)
            hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
            masked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            return handlers, woken, hooks, masked, faulthandler.is_enabled()

        before = state()
        run_everything()
        print(state() == before)
    """
    assert run(tmp_path, script) == "True\n"


def test_a_signal_handler_may_stop_a_datapath(tmp_path: Path) -> None:
    script = """
        import signal

        policy = parse_policy("version = 1")
        with Datapath(policy, lambda engine: FakeBackend(engine, [])) as datapath:
            signal.signal(signal.SIGALRM, lambda *_: datapath.stop())
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            datapath.run(Failing())
        print("ended")
    """
    assert run(tmp_path, script) == "ended\n"


def test_logging_is_never_configured(tmp_path: Path) -> None:
    """Neither by importing every module nor by running, with failures to log."""
    script = """
        import importlib
        import logging
        import pkgutil
        import warnings

        import structlog
        import trireme_datapath

        def state():
            root = logging.getLogger()
            known = [x for x in logging.Logger.manager.loggerDict.values()
                     if isinstance(x, logging.Logger)]
            touched = [x.name for x in known
                       if x.handlers or x.filters or x.level or x.disabled or not x.propagate]
            ours = [x for x in touched if x.startswith("trireme")]
            return (root.level, list(root.handlers), list(root.filters), root.disabled, ours,
                    logging.root.manager.disable, logging.getLevelName(5), logging.raiseExceptions,
                    logging.getLoggerClass(), logging.lastResort.level,
                    structlog.is_configured(), repr(structlog.get_config()), list(warnings.filters))

        before = state()
        for package in (trireme_collector, trireme_datapath):
            for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
                if "._" not in module.name and not module.name.endswith(NEEDS_EXTRAS):
                    importlib.import_module(module.name)
        run_everything()
        after = state()
        print([x for x in zip(before, after) if x[0] != x[1]])
    """
    # What is for tests needs pytest or hypothesis, and those filter warnings.
    needs_extras = "NEEDS_EXTRAS = ('.testing', '.strategies', '.testing.script')\n"
    assert run(tmp_path, needs_extras + textwrap.dedent(script)) == "[]\n"


def test_what_is_logged_goes_where_the_process_wants_it(tmp_path: Path) -> None:
    script = """
        import logging

        import structlog

        logging.basicConfig(filename="log", format="%(name)s %(message)s")
        structlog.configure(
            logger_factory=structlog.stdlib.LoggerFactory(),
            processors=[structlog.stdlib.render_to_log_kwargs],
        )
        run_everything()
        print(sorted({line.split()[0] for line in open("log")}))
    """
    assert run(tmp_path, script) == "['trireme_collector.delivery']\n"
