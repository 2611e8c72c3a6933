"""Clients trust whom they are told to, and see when a file is another one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from trireme_collector import client_tls
from trireme_collector.client_tls import (
    check_client_key,
    client_context,
    identify_files,
    tls_reason,
    trust_system,
)

if TYPE_CHECKING:
    from pathlib import Path


def know_only(monkeypatch: pytest.MonkeyPatch, file: str, directory: str = "/nowhere") -> None:
    paths = ssl.DefaultVerifyPaths("", "", "SSL_CERT_FILE", file, "SSL_CERT_DIR", directory)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(client_tls, "_BUNDLES", ())


def test_a_key_belongs_to_a_certificate() -> None:
    check_client_key("", "")
    check_client_key("certificate.pem", "")
    check_client_key("certificate.pem", "key.pem", has_password=True)
    with pytest.raises(ValueError, match="client_certificate_file beside client_key_file"):
        check_client_key("", "key.pem")
    with pytest.raises(ValueError, match="client_certificate_file beside the password of its key"):
        check_client_key("", "", has_password=True)


@pytest.mark.parametrize(
    ("minimum", "version"), [("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)]
)
def test_a_server_is_checked_unless_that_is_turned_off(
    minimum: str, version: ssl.TLSVersion
) -> None:
    checked, unchecked = (client_context(minimum, verify=verify) for verify in (True, False))
    assert checked.minimum_version is unchecked.minimum_version is version
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)
    assert checked.cert_store_stats()["x509"] == 0


def test_session_keys_are_not_written_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert client_context("1.2", verify=True).keylog_filename is None


def test_the_authorities_of_the_system_are_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = client_context("1.2", verify=True)
    know_only(monkeypatch, str(tmp_path / "none"))
    assert not trust_system(context)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "own.pem"))
    know_only(monkeypatch, str(tmp_path / "own.pem"))
    assert trust_system(context)
    assert context.cert_store_stats()["x509_ca"] == 1


def test_an_empty_bundle_leaves_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    know_only(monkeypatch, str(tmp_path / "empty.pem"), str(tmp_path))
    assert trust_system(client_context("1.2", verify=True))


def test_the_environment_chooses_no_authorities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = ssl.get_default_verify_paths()
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "foreign.pem"))
    know_only(monkeypatch, str(tmp_path / "none"), known.openssl_capath)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "foreign.pem"))
    context = client_context("1.2", verify=True)
    trust_system(context)
    assert context.cert_store_stats()["x509"] == 0


def test_another_file_is_another_identity(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1", encoding="utf-8")
    before = identify_files(str(one), "", str(two))
    assert identify_files(str(one), str(two)) == before
    assert len(before) == 2
    two.write_text("2", encoding="utf-8")
    with_both = identify_files(str(one), str(two))
    assert with_both != before
    two.replace(one)
    assert identify_files(str(one), str(two)) not in (before, with_both)


@pytest.mark.parametrize("path", ["/nowhere/at all", "a\0b", "x" * 5000])
def test_what_is_no_file_has_an_identity_too(path: str) -> None:
    assert identify_files(path) == ((),)


def test_reasons_are_those_of_the_library(tmp_path: Path) -> None:
    context = client_context("1.2", verify=True)
    (tmp_path / "text").write_text("no certificate", encoding="utf-8")
    with pytest.raises(ssl.SSLError) as unusable:
        context.load_verify_locations(cafile=str(tmp_path / "text"))
    assert tls_reason(unusable.value) == "no certificate or crl found"
    assert tls_reason(FileNotFoundError(2, "No such file")) == "no such file"
    assert tls_reason(ssl.SSLError()) == "not in pem form"
    assert tls_reason(ValueError("embedded null byte")) == "embedded null byte"
