"""The agent as a tree of processes: a supervisor, enforcers, and one for the collectors.

::

    supervisor   holds the queues and the control socket, replaces whoever dies or hangs
      enforcer   one for each queue, and one that stands by: backend and engine, nothing else
      collector  one: pipeline, plugins, metrics; without any capability

The kernel's queue belongs to its socket and the supervisor holds that, so an enforcer that dies
takes no packet with it. This module loads nothing of it; `trireme_datapath.processes.supervisor`
does.
"""

from __future__ import annotations

from trireme_datapath.processes.config import MAX_WORKERS, ProcessesConfig, ProcessLayout

__all__ = ["MAX_WORKERS", "ProcessLayout", "ProcessesConfig"]
