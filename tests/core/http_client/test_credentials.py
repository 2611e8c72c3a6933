"""Secrets come from where they are kept, are read anew, and have no printed form."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector.http_client import HttpTarget
from trireme_collector.http_client._credentials import Credentials
from trireme_collector.option_secrets import Secret, SecretError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

URL = "https://collector.example/"
VALUE = b"s3cr3t-value"


def options(**given: object) -> HttpTarget:
    return msgspec.convert({"url": URL, **given}, HttpTarget)


@pytest.fixture(params=["file", "env", "credential"])
def keep(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, bytes], dict[str, object]]:
    """Keep a secret in one of the places, and give the option that names it."""

    def write(name: str, value: bytes) -> dict[str, object]:
        (tmp_path / "kept").write_bytes(value)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        monkeypatch.setenv("KEPT", os.fsdecode(value))
        place = {"file": str(tmp_path / "kept"), "env": "KEPT", "credential": "kept"}
        return {f"{name}_{request.param}": place[request.param]}

    return write


def test_a_token_is_sent_as_bearer(keep: Callable[[str, bytes], dict[str, object]]) -> None:
    found = Credentials(options(**keep("token", VALUE + b"\r\n"))).headers()
    assert found == {"Authorization": b"Bearer " + VALUE}


def test_a_user_is_sent_as_basic(keep: Callable[[str, bytes], dict[str, object]]) -> None:
    password = "pä ss:wörd".encode()
    found = Credentials(options(user="ü", **keep("password", password + b"\n"))).headers()
    assert found["Authorization"].startswith(b"Basic ")
    assert base64.b64decode(found["Authorization"][6:]) == "ü:".encode() + password


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (VALUE + b"\n" + VALUE, "several lines"),
        (VALUE + b"\rX-Evil: 1", "not printable ASCII"),
        ("s3cr3t-väl".encode(), "not printable ASCII"),
        (b" " + VALUE, "not printable ASCII"),
    ],
)
def test_tokens_that_could_break_a_header_are_refused(
    keep: Callable[[str, bytes], dict[str, object]], text: bytes, reason: str
) -> None:
    with pytest.raises(SecretError, match=reason) as caught:
        Credentials(options(**keep("token", text))).headers()
    assert "s3cr3t" not in str(caught.value)


def test_headers_come_from_files(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(VALUE + b"\n")
    credentials = Credentials(options(header_files={"X-Api-Key": str(path)}))
    assert credentials.headers() == {"X-Api-Key": VALUE}
    path.write_bytes(b"changed")
    assert credentials.headers() == {"X-Api-Key": b"changed"}


def test_missing_secrets_are_told_by_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("NONE_SUCH", raising=False)
    for given, said in (
        ({"token_file": str(tmp_path / "none")}, "no such file"),
        ({"token_file": str(tmp_path)}, "not a regular file|is a directory"),
        ({"token_env": "NONE_SUCH"}, "NONE_SUCH.*it is not set"),
        ({"token_credential": "none"}, "LoadCredential="),
    ):
        with pytest.raises(SecretError, match=said):
            Credentials(options_unchecked(**given)).headers()


def test_odd_files_do_not_block_and_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SecretError, match="not a regular file"):
        Secret.of_file("the token", str(pipe)).value()
    large = tmp_path / "large"
    large.write_bytes(b"x" * 70_000)
    with pytest.raises(SecretError, match="larger than 65536 bytes"):
        Secret.of_file("the token", str(large)).value()


def options_unchecked(**given: str) -> HttpTarget:
    return HttpTarget(url=URL, **given)  # type: ignore[arg-type]  # only texts are given


def test_a_secret_does_not_show_itself(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(VALUE)
    secret = Secret.of_file("the token", str(path))
    assert secret.value() == VALUE
    assert repr(secret) == "<Secret: the token>"
    assert VALUE.decode() not in repr(vars(secret))
