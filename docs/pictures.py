"""The directive ``{picture}``: drawings of boxes and arrows whose facts come from the code.

Names in a picture are looked up when it is drawn. Lists in it, such as that of the collectors, are
read from the code, too.
"""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from drawing import Arrow, Box, Frame, Picture, draw
from trireme_collector import COLLECT_METHODS
from trireme_datapath.agent.config import BackendName
from trireme_datapath.packets import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


def collectors() -> tuple[str, ...]:
    """List the collectors of this distribution, in lines of three."""
    own = importlib.metadata.distribution("trireme-collector").entry_points
    names = [
        entry.name
        for entry in own.select(group="trireme_collector")
        if entry.name not in {"host", "kubernetes", "kubernetes-file"}
    ]
    return tuple(", ".join(names[at : at + 3]) for at in range(0, len(names), 3))


def packet() -> Picture:
    """Draw the way of a packet."""
    verdicts = ", ".join(verdict.name for verdict in Verdict)
    backends = ", ".join(name.value for name in BackendName)
    return Picture(
        width=760,
        height=430,
        text="A packet comes from the network to a kernel rule. If its connection has no mark "
        "yet, it goes through NFQUEUE and a backend to the engine, which decides by the compiled "
        "policy. Verdict and mark go back to the kernel, records to a collector. Packets of "
        "accepted connections stay in the kernel, and what they carried is counted there.",
        frames=(
            Frame(10, 10, 250, 410, "kernel"),
            Frame(290, 10, 460, 410, "process"),
        ),
        boxes=(
            Box(
                30,
                45,
                210,
                "rule",
                "trireme_datapath.kernel.install.KernelRules",
                ("marked connections pass",),
                "kernel",
            ),
            Box(30, 160, 210, "NFQUEUE", "", ("packets that need a decision",), "kernel"),
            Box(
                30,
                320,
                210,
                "connection tracking",
                "trireme_datapath.kernel.conntrack.ConnectionTracker",
                ("packets, bytes, mark",),
                "kernel",
            ),
            Box(
                310,
                160,
                180,
                "backend",
                "trireme_datapath.backends.netlink.NetlinkBackend",
                (backends, verdicts.lower()),
            ),
            Box(
                560,
                45,
                170,
                "policy",
                "trireme_datapath.policy.CompiledPolicy",
                ("rules of each unit",),
            ),
            Box(
                560,
                160,
                170,
                "engine",
                "trireme_datapath.engine.Engine",
                ("receive, receive_batch", "flow table", "no I/O"),
            ),
            Box(
                310,
                320,
                180,
                "account",
                "trireme_datapath.accounting.ConnectionAccount",
            ),
            Box(
                560,
                320,
                170,
                "records",
                "trireme_collector.EventCollector",
                (f"{len(COLLECT_METHODS)} kinds",),
            ),
        ),
        arrows=(
            Arrow(((135, 113), (135, 160)), "new connection", (143, 141), "start"),
            Arrow(((240, 178), (310, 178)), "packet", (275, 171)),
            Arrow(((490, 178), (560, 178)), "packet", (525, 171)),
            Arrow(((560, 205), (490, 205)), "decision", (525, 221)),
            Arrow(((310, 205), (240, 205)), "verdict", (275, 221)),
            Arrow(((645, 113), (645, 160))),
            Arrow(((645, 262), (645, 320)), "what was decided", (637, 296), "end"),
            Arrow(((60, 211), (60, 320)), "mark", (68, 270), "start"),
            Arrow(((240, 350), (310, 350)), "ended", (275, 343)),
            Arrow(((490, 350), (560, 350)), "carried", (525, 343)),
        ),
    )


def record() -> Picture:
    """Draw the way of a record."""
    return Picture(
        width=760,
        height=420,
        text="A record is reported by calling a collect method. The pipeline joins equal "
        "flows and numbers records. For each collector there is a filter, a spool on disk or a "
        "queue in memory, and a worker that takes batches, delivers them and acknowledges what "
        "was taken. What is refused for good goes to the dead letters; what is left out is "
        "counted.",
        frames=(Frame(215, 130, 535, 280, "for each collector"),),
        boxes=(
            Box(
                10,
                20,
                200,
                "report",
                "trireme_collector.EventCollector",
                (f"{len(COLLECT_METHODS)} collect methods", "returns at once"),
            ),
            Box(
                280,
                20,
                200,
                "join equal flows",
                "trireme_collector.aggregation.FlowAggregator",
                ("one record, with a count",),
            ),
            Box(
                550, 20, 200, "number", "trireme_collector.Pipeline", ("instance, epoch, sequence",)
            ),
            Box(
                560,
                165,
                170,
                "filter and mask",
                "trireme_collector.filters.RecordFilter",
                ("before the disk",),
            ),
            Box(
                350,
                165,
                150,
                "spool",
                "trireme_collector.delivery.spool.Spool",
                ("accepted: written",),
            ),
            Box(
                350,
                285,
                150,
                "worker",
                "trireme_collector.delivery.DeliveryWorker",
                ("batch, retry, backoff",),
            ),
            Box(
                560,
                285,
                170,
                "collector",
                "trireme_collector.BatchCollector",
                collectors(),
            ),
            Box(
                10,
                285,
                175,
                "dead letters",
                "trireme_collector.delivery.DeadLetterFile",
                ("refused for good",),
            ),
            Box(
                10,
                165,
                175,
                "account",
                "trireme_collector.delivery.Balance",
                ("accepted = delivered", "+ dead-lettered", "+ dropped + queued"),
            ),
        ),
        arrows=(
            Arrow(((210, 50), (280, 50))),
            Arrow(((480, 50), (550, 50))),
            Arrow(((645, 88), (645, 165))),
            Arrow(((560, 200), (500, 200))),
            Arrow(((425, 233), (425, 285)), "batch", (417, 265), "end"),
            Arrow(((500, 310), (560, 310)), "deliver", (530, 303)),
            Arrow(((560, 335), (500, 335)), "taken", (530, 351)),
            Arrow(((350, 310), (185, 310)), "PermanentDeliveryError", (267, 303)),
            Arrow(((470, 285), (470, 233)), "acknowledge", (478, 265), "start"),
        ),
    )


def processes() -> Picture:
    """Draw the process tree."""
    return Picture(
        width=760,
        height=400,
        text="The supervisor holds the queues, the control socket and the kernel rules. It "
        "starts one enforcer for each queue, one in reserve, with several workers an "
        "accountant, and one process for the collectors. Enforcers send records to the "
        "collectors over a socket.",
        boxes=(
            Box(
                230,
                20,
                300,
                "supervisor",
                "trireme_datapath.processes.supervisor.Supervisor",
                (
                    "holds queues, control socket, rules",
                    "starts and replaces the others",
                    f"keeps {capabilities('supervisor')}",
                ),
            ),
            Box(
                10,
                170,
                170,
                "enforcer 0, 1, ...",
                "trireme_datapath.engine.Engine",
                ("backend and engine", f"keeps {capabilities('enforcer')}"),
            ),
            Box(
                200,
                170,
                170,
                "enforcer in reserve",
                "",
                ("everything is loaded", f"keeps {capabilities('enforcer')}"),
            ),
            Box(
                390,
                170,
                160,
                "accountant",
                "",
                ("several workers only", f"keeps {capabilities('enforcer')}"),
            ),
            Box(
                570,
                170,
                180,
                "collectors",
                "trireme_collector.Pipeline",
                ("plugins, metrics, observer", f"keeps {capabilities('collector')}"),
            ),
            Box(10, 320, 170, "kernel queues", "", ("one for each enforcer",), "kernel"),
            Box(570, 320, 180, "receivers", "", ("files, servers, brokers",), "outside"),
        ),
        arrows=(
            Arrow(((260, 121), (260, 142), (95, 142), (95, 170)), "starts, watches", (170, 135)),
            Arrow(((330, 121), (330, 170))),
            Arrow(((440, 121), (440, 170))),
            Arrow(((500, 121), (500, 142), (660, 142), (660, 170)), "starts, watches", (590, 135)),
            Arrow(((70, 320), (70, 255)), "packets", (62, 295), "end"),
            Arrow(((120, 255), (120, 320)), "verdicts", (128, 295), "start"),
            Arrow(
                ((150, 255), (150, 280), (610, 280), (610, 255)),
                "records, over a socket",
                (400, 273),
            ),
            Arrow(((690, 255), (690, 320)), "batches", (698, 295), "start"),
        ),
    )


KEEPS: dict[str, tuple[str, ...]] = {
    "supervisor": ("NET_ADMIN", "NET_RAW"),
    "enforcer": ("NET_ADMIN",),
    "collector": (),
}
"""The capabilities that each process keeps; a test compares this with what they do."""


def capabilities(role: str) -> str:
    """Name the capabilities that a process keeps."""
    return ", ".join(KEEPS[role]) or "no capability"


PICTURES: dict[str, Callable[[], Picture]] = {
    "packet": packet,
    "processes": processes,
    "record": record,
}


class PictureDirective(SphinxDirective):
    """Puts a picture into the page; its body is for readers without pictures."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        name = self.arguments[0]
        picture = PICTURES[name]()
        if self.env.app.builder.format != "html":
            body = "\n".join(self.content)
            return [nodes.literal_block(body, body)]
        return [nodes.raw("", draw(picture, name), format="html")]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make the directive known."""
    app.add_directive("picture", PictureDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
