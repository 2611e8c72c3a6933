"""Signing keys are read from where they are kept, and refused in another form."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from trireme_collector.option_secrets import Secret, SecretError
from trireme_collector_http._signature import read_keys

if TYPE_CHECKING:
    from pathlib import Path

VALUE = b"s3cr3t-value"


def keep(tmp_path: Path, text: bytes) -> Secret:
    path = tmp_path / "kept"
    path.write_bytes(text)
    return Secret.of_file("the signing secret", str(path))


def test_signing_keys_are_decoded(tmp_path: Path) -> None:
    one, two = b"a" * 24, b"b" * 32
    text = b"whsec_" + base64.b64encode(one) + b"\nwhsec_" + base64.b64encode(two) + b"\n"
    assert read_keys(keep(tmp_path, text)) == [one, two]
    assert read_keys(None) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (VALUE, "does not begin with 'whsec_'"),
        (b"whsec_###", "not base64"),
        (b"whsec_" + base64.b64encode(b"short"), "fewer than 16 bytes"),
        (b"\n\n", "it is empty"),
    ],
)
def test_signing_keys_of_another_form_are_refused(tmp_path: Path, text: bytes, reason: str) -> None:
    with pytest.raises(SecretError, match=reason) as caught:
        read_keys(keep(tmp_path, text))
    assert VALUE.decode() not in str(caught.value)
    assert caught.value.__cause__ is None
