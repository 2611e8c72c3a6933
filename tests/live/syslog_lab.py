"""Real syslog servers in the foreground, on loopback and in a temporary directory.

The system's own configuration is not touched. rsyslog and openssl have to be installed. syslog-ng
cannot be beside rsyslog, so its packages are fetched and only unpacked.
"""

from __future__ import annotations

import abc
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, ClassVar

import pytest

from trireme_collector.formats import unescape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "Certificates",
    "Rsyslog",
    "Server",
    "SyslogNg",
    "fetch_syslog_ng",
    "free_port",
    "make_certificates",
    "sdata",
]

DEADLINE_SECONDS = 30.0
SERVER_NAME = "syslog.test"
CLIENT_NAME = "collector.test"
_PATH = "/usr/sbin:/usr/local/sbin:/sbin:/usr/bin:/bin"
_NG_PACKAGES = ("syslog-ng-core", "libivykis0", "libnet1", "libpcre3", "libwrap0")
_PARAMETER = re.compile(r' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"')


def free_port() -> int:
    """Find a port of loopback that nobody uses, for TCP and UDP."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
    assert isinstance(port, int)
    return port


def sdata(text: str) -> dict[str, str]:
    """Read the parameters of a structured-data element as the sender had them."""
    return {
        name: unescape_text(re.sub(r'\\(["\\\]])', r"\1", value))
        for name, value in _PARAMETER.findall(text)
    }


class Certificates:
    """A test authority, a server, clients, and those that must be refused."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def client(self, name: str = "client") -> dict[str, object]:
        """Give the options of a client that shows a certificate, and trusts the authority."""
        shown: dict[str, object] = {}
        if name:
            shown["client_certificate_file"] = self.path(f"{name}.pem")
            shown["client_key_file"] = self.path(f"{name}.key")
        return {"ca_file": self.path("ca.pem"), "server_name": SERVER_NAME, **shown}


def make_certificates(directory: Path) -> Certificates:
    """Make them with openssl."""
    program = shutil.which("openssl", path=_PATH)
    assert program, "openssl is not installed: apt-get install openssl"

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], cwd=directory, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = ("-x509", "-days", "30", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl(*new, *ca, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test-ca")
    openssl(*new, *ca, "-keyout", "other-ca.key", "-out", "other-ca.pem", "-subj", "/CN=other-ca")

    def issue(name: str, subject: str, names: str, usage: str, authority: str) -> None:
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        (directory / "ext").write_text(
            f"subjectAltName={names}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n"
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAcreateserial"),
            *("-CAkey", f"{authority}.key", "-days", "30", "-out", f"{name}.pem"),
            *("-extfile", "ext"),
        )

    issue("server", SERVER_NAME, f"DNS:{SERVER_NAME},IP:127.0.0.1", "serverAuth", "ca")
    issue("client", CLIENT_NAME, f"DNS:{CLIENT_NAME}", "clientAuth", "ca")
    issue("other", "other.test", "DNS:other.test", "clientAuth", "ca")
    issue("rogue", CLIENT_NAME, f"DNS:{CLIENT_NAME}", "clientAuth", "other-ca")
    return Certificates(directory)


def fetch_syslog_ng(directory: Path) -> Path:
    """Fetch the Debian packages of syslog-ng and unpack them; give the directory."""
    apt = shutil.which("apt-get", path=_PATH)
    dpkg = shutil.which("dpkg", path=_PATH)
    assert apt, "syslog-ng is fetched with apt-get, from Debian"
    assert dpkg

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [apt, "-qq", *arguments]
        return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)

    done = run("download", *_NG_PACKAGES)
    if done.returncode:
        run("update")  # the lists of packages may be old, or not there
        done = run("download", *_NG_PACKAGES)
    assert done.returncode == 0, f"syslog-ng cannot be fetched: {done.stderr}"
    root = directory / "root"
    for package in directory.glob("*.deb"):
        subprocess.run([dpkg, "-x", str(package), str(root)], check=True)
    return root


class Server(abc.ABC):
    """A running server that writes what it reads to a file."""

    output: ClassVar[str]
    configuration: ClassVar[str]

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        self.directory = directory
        self.certificates = certificates
        self.port, self.lf_port = free_port(), free_port()
        self.tls_port, self.relp_port, self.relp_tls_port = free_port(), free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (directory / "server.conf").write_text(
            self.configuration.format(
                directory=directory,
                tls=certificates.directory,
                client=CLIENT_NAME,
                port=self.port,
                lf_port=self.lf_port,
                tls_port=self.tls_port,
                relp_port=self.relp_port,
                relp_tls_port=self.relp_tls_port,
            )
        )

    @abc.abstractmethod
    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Give the command and its environment."""

    def start(self) -> None:
        """Start it, and wait until it listens everywhere."""
        for name in ("log", "stream", "local"):
            (self.directory / name).unlink(missing_ok=True)
        command, environment = self.command()
        with (self.directory / "err").open("ab") as err:
            self.process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=err, stderr=err
            )
        self.wait(self._listens, "does not listen")

    def stop(self) -> None:
        """Stop it in order."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(DEADLINE_SECONDS)
            self.process = None

    def kill(self) -> None:
        """Stop it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        self.process = None

    def freeze(self) -> None:
        """Let it read no more, as a stalled disk would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert self.process is None or self.process.poll() is None, self.errors()
            if time.monotonic() > end:
                pytest.fail(f"{what}: {self.errors()}")
            time.sleep(0.01)

    def errors(self) -> str:
        """Give what it complains about."""
        return (self.directory / "err").read_text(errors="replace")

    def mark(self) -> int:
        """Give the place in the output from which `lines` is to read."""
        path = self.directory / self.output
        return path.stat().st_size if path.exists() else 0

    def lines(self, mark: int) -> list[str]:
        """Give the complete lines since then."""
        path = self.directory / self.output
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(mark)
            # Not splitlines(): it would split at characters that servers have to leave alone.
            return file.read().decode("utf-8").split("\n")[:-1]

    def count(self, mark: int) -> int:
        """Count the lines since then."""
        path = self.directory / self.output
        if not path.exists():
            return 0
        with path.open("rb") as file:
            file.seek(mark)
            return file.read().count(b"\n")

    def settled(self, mark: int, count: int) -> list[str]:
        """Wait for so many lines, and a moment longer for those that should not come."""
        self.wait(lambda: self.count(mark) >= count, f"fewer than {count} messages")
        time.sleep(0.2)
        return self.lines(mark)

    @abc.abstractmethod
    def parameters(self, line: str) -> dict[str, str]:
        """Read the parameters in a line of the output."""

    def _listens(self) -> bool:
        for port in self.ports():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
        return all((self.directory / name).exists() for name in ("log", "stream", "local"))

    def ports(self) -> Sequence[int]:
        """Give the TCP ports that are read."""
        return (self.port, self.tls_port)


class Rsyslog(Server):
    """What most receivers are."""

    output = "parsed.log"
    configuration = """
global(workDirectory="{directory}" maxMessageSize="64k"
  defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{tls}/ca.pem"
  defaultNetstreamDriverCertFile="{tls}/server.pem"
  defaultNetstreamDriverKeyFile="{tls}/server.key")
module(load="imudp")
module(load="imptcp")
module(load="imrelp")
module(load="imuxsock" SysSock.Use="off")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1"
       StreamDriver.AuthMode="x509/name" PermittedPeer=["{client}"])
template(name="parsed" type="list") {{
  property(name="pri")             constant(value=" ")  property(name="protocol-version")
  constant(value=" ")              property(name="timereported" dateFormat="rfc3339")
  constant(value=" ")              property(name="hostname")
  constant(value=" ")              property(name="app-name")
  constant(value=" ")              property(name="procid")
  constant(value=" ")              property(name="msgid")
  constant(value=" ")              property(name="structured-data")
  constant(value=" ")              property(name="msg") constant(value="\\n") }}
ruleset(name="w" queue.type="Direct") {{
  action(type="omfile" file="{directory}/parsed.log" template="parsed") }}
input(type="imudp"  address="127.0.0.1" port="{port}" ruleset="w" rcvbufSize="8m")
input(type="imptcp" address="127.0.0.1" port="{port}" ruleset="w")
input(type="imptcp" path="{directory}/stream" ruleset="w")
input(type="imuxsock" Socket="{directory}/log" UsePIDFromSystem="off" UseSpecialParser="off"
      ParseHostname="on" UseSysTimeStamp="off" IgnoreTimestamp="off"
      RateLimit.Interval="0" ruleset="w")
input(type="imuxsock" Socket="{directory}/local" ruleset="w")
input(type="imtcp"  address="127.0.0.1" port="{tls_port}" ruleset="w")
input(type="imrelp" address="127.0.0.1" port="{relp_port}" ruleset="w" maxDataSize="64k")
input(type="imrelp" address="127.0.0.1" port="{relp_tls_port}" ruleset="w" maxDataSize="64k"
      tls="on" tls.caCert="{tls}/ca.pem" tls.myCert="{tls}/server.pem"
      tls.myPrivKey="{tls}/server.key" tls.authMode="name" tls.permittedPeer=["{client}"])
"""

    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        program = shutil.which("rsyslogd", path=_PATH)
        assert program, "rsyslogd is not installed: apt-get install rsyslog rsyslog-gnutls"
        directory = self.directory
        (directory / "pid").unlink(missing_ok=True)
        return [program, "-n", "-i", f"{directory}/pid", "-f", f"{directory}/server.conf"], {}

    def ports(self) -> Sequence[int]:
        return (self.port, self.tls_port, self.relp_port, self.relp_tls_port)

    def parameters(self, line: str) -> dict[str, str]:
        return sdata(line)


class SyslogNg(Server):
    """A strict reader: it reports malformed structured data, and gives values without escapes."""

    output = "json.log"
    configuration = """
@version: 3.38
options {{ keep-hostname(yes); chain-hostnames(no); use-dns(no); dns-cache(no);
           log-msg-size(65536); stats-freq(0); flush-lines(100); }};
source s_new {{
  syslog(transport("udp") ip("127.0.0.1") port({port}) so-rcvbuf(8388608));
  syslog(transport("tcp") ip("127.0.0.1") port({port}));
  network(transport("tcp") ip("127.0.0.1") port({lf_port}) flags(syslog-protocol));
  syslog(transport("tls") ip("127.0.0.1") port({tls_port})
    tls(key-file("{tls}/server.key") cert-file("{tls}/server.pem") ca-file("{tls}/ca.pem")
        peer-verify(required-trusted) trusted-dn("CN={client}")));
  unix-dgram("{directory}/log" flags(syslog-protocol));
  unix-stream("{directory}/stream" flags(syslog-protocol));
}};
source s_old {{ unix-dgram("{directory}/local"); }};
destination d_json {{
  file("{directory}/json.log" template("$(format-json --scope rfc5424 --scope sdata)\\n"));
}};
log {{ source(s_new); source(s_old); destination(d_json); }};
"""

    def __init__(self, directory: Path, certificates: Certificates, root: Path) -> None:
        super().__init__(directory, certificates)
        self.root = root

    def command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        root, directory = self.root, self.directory
        machine = f"{platform.machine()}-linux-gnu"
        libraries = (
            f"{root}/usr/lib/syslog-ng",
            f"{root}/usr/lib/{machine}",
            f"{root}/lib/{machine}",
        )
        program = f"{root}/usr/sbin/syslog-ng"
        modules = next((root / "usr/lib/syslog-ng").glob("[0-9]*"))
        command = [program, "-F", "--no-caps", f"--module-path={modules}"]
        command += ["-f", f"{directory}/server.conf", "-R", f"{directory}/persist"]
        command += ["-p", f"{directory}/pid", "-c", f"{directory}/ctl"]
        return command, {"LD_LIBRARY_PATH": ":".join(libraries)}

    def ports(self) -> Sequence[int]:
        return (self.port, self.lf_port, self.tls_port)

    def parameters(self, line: str) -> dict[str, str]:
        (element,) = json.loads(line)["_SDATA"].values()
        flat: dict[str, str] = {}
        for name, value in element.items():
            # A point in a name makes a group of it.
            inner = (
                {f"{name}.{key}": text for key, text in value.items()}
                if isinstance(value, dict)
                else {name: value}
            )
            flat.update(inner)
        return {name: unescape_text(text) for name, text in flat.items()}
