"""A file that an option names is looked at when the configuration is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest
import trustme

from trireme_collector import option_files
from trireme_collector.strict_toml import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_mock import MockerFixture

KINDS = ("AuthorityFile", "CertificateFile", "KeyFile", "ReadableFile")


def validator(name: str) -> Callable[[object], object]:
    annotated = getattr(option_files, name)
    (meta,) = get_args(annotated)[1:]
    assert isinstance(meta, msgspec.Meta)
    assert meta.extra is not None
    validate: Callable[[object], object] = meta.extra["validate"]
    return validate


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    authority = trustme.CA()
    names = {name: str(tmp_path / name) for name in ("ca.pem", "key.pem", "other", "empty")}
    authority.cert_pem.write_to_path(names["ca.pem"])
    authority.private_key_pem.write_to_path(names["key.pem"])
    (tmp_path / "other").write_text("-----BEGIN NOTHING-----\n")
    (tmp_path / "empty").touch()
    return names


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        ("AuthorityFile", {"ca.pem"}),
        ("CertificateFile", {"ca.pem"}),
        ("KeyFile", {"key.pem"}),
        ("ReadableFile", {"ca.pem", "key.pem", "other", "empty"}),
    ],
)
def test_a_file_is_what_it_should_be(kind: str, good: set[str], files: dict[str, str]) -> None:
    validate = validator(kind)
    for name, path in files.items():
        if name in good:
            validate(path)
        else:
            with pytest.raises(Unfit) as caught:
                validate(path)
            assert "PEM form" in caught.value.expected
            assert path not in f"{caught.value.found} {caught.value.expected}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path, mocker: MockerFixture) -> None:
    validate = validator(kind)
    for path, found in (
        (str(tmp_path / "none"), "does not exist"),
        (str(tmp_path), "the path of something else"),
        ("a\0b", "a path that cannot be used"),
        (f"{tmp_path}/{'x' * 300}", "a path that cannot be used"),
    ):
        with pytest.raises(Unfit) as caught:
            validate(path)
        assert found in caught.value.found
    (tmp_path / "secret").touch()
    mocker.patch.object(os, "access", return_value=False)
    with pytest.raises(Unfit) as caught:
        validate(str(tmp_path / "secret"))
    assert "may not read" in caught.value.found
    assert "give the agent's user the right" in caught.value.expected
