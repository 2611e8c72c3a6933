"""What an operator may write; what is refused is refused with its place and never repeated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.operators_file import SECRET, problems_of
from trireme_collector import Registry
from trireme_collector.config import Configuration, load_config
from trireme_collector_http import HttpOptions

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

URL = 'url = "https://collector.example/records"'


def problems(tmp_path: Path, *lines: str, url: str = URL) -> list[str]:
    return problems_of(tmp_path, "http", url, *lines)


def test_it_enters_by_the_plugin_door() -> None:
    assert Registry().collector_spec("http").config_type is HttpOptions


def test_an_url_is_enough(tmp_path: Path) -> None:
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "https://[2001:db8::1]:8443/a/b?tenant=7",
        "https://collector.example./x?a=%20b",
        "https://xn--bcher-kva.example/",
    ],
)
def test_urls_that_will_do(tmp_path: Path, url: str) -> None:
    assert problems(tmp_path, url=f'url = "{url}"') == []


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (f"https://user:{SECRET}@collector.example/", "a URL with credentials"),
        ("https://user@collector.example/", "a URL with credentials"),
        ("https://@collector.example/", "a URL with credentials"),
        (f"https://collector.example/?access_token={SECRET}", 'the parameter "access_token"'),
        (f"https://collector.example/?a=1&API-KEY={SECRET}", 'the parameter "API-KEY"'),
        ("ftp://collector.example/", "neither https:// nor http://"),
        ("collector.example/records", "neither https:// nor http://"),
        ("https:///records", "without a usable host"),
        ("https://collector.example:0/", "without a usable host and port"),
        ("https://collector.example:99999/", "an impossible host or port"),
        ("https://[::1/", "an impossible host or port"),
        ("https://collector.example/a b", "a blank"),
        ("https://collector.example/\\r\\nHost: x", "a character that URLs do not have"),
        ("https://collector.example\\\\@evil.example/", "a character that URLs do not have"),
        ("https://bücher.example/", "a character that URLs do not have"),
        ("https://collector.example/#part", "a fragment"),
        ("", "a character that URLs do not have"),
    ],
)
def test_urls_that_will_not_do(tmp_path: Path, url: str, found: str) -> None:
    (problem,) = problems(tmp_path, url=f'url = "{url}"')
    assert problem.startswith("2:7: collectors.http.url: found ")
    assert found in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('X-Site = "a\\r\\nX-Evil: b"', "found a value with a line end"),
        ('X-Site = "a\\nb"', "found a value with a line end"),
        ('X-Site = "a\\u0000b"', "printable ASCII"),
        ('X-Site = " a"', "none of them a blank at either end"),
        ('X-Site = "é"', "printable ASCII"),
        ('X-Site = ""', "found an empty value"),
        ('"X Site" = "a"', "a header name of letters"),
        ('"X-Site\\r\\nX-Evil" = "a"', "a header name of letters"),
        ('"" = "a"', "a header name of letters"),
        (f'Authorization = "Bearer {SECRET}"', "set token_file, or name a file in header_files"),
        (f'X-Api-Key = "{SECRET}"', "set token_file, or name a file in header_files"),
        (f'cookie = "{SECRET}"', "set token_file, or name a file in header_files"),
        ('content-length = "7"', "it is worked out"),
        ('Transfer-Encoding = "chunked"', "it is worked out"),
        ('Host = "other.example"', "set url"),
        ('Idempotency-Key = "1"', "it is worked out"),
        ('webhook-signature = "v1,x"', "set signing_secret_file"),
    ],
)
def test_headers_that_will_not_do(tmp_path: Path, line: str, said: str) -> None:
    (problem,) = problems(tmp_path, "[collectors.http.headers]", line)
    assert problem.startswith("4:")
    assert said in problem
    assert problem.isprintable()


def test_secrets_are_not_written_into_the_file(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, f'token = "{SECRET}"')
    assert 'found unknown key "token"' in problem
    assert "did you mean token_" in problem


@pytest.mark.parametrize(
    "name", ["token_file", "ca_file", "client_certificate_file", "signing_secret_file"]
)
def test_files_are_there_when_the_configuration_is_read(
    tmp_path: Path, mocker: MockerFixture, name: str
) -> None:
    missing = problems(tmp_path, f'{name} = "{tmp_path}/none"')
    assert len(missing) == 1
    assert missing[0].startswith("3:")
    assert "expected a file that can be read; check the path" in missing[0]
    assert "expected a file" in problems(tmp_path, f'{name} = "{tmp_path}"')[0]
    there = tmp_path / "there"
    there.write_text(SECRET, encoding="utf-8")
    mocker.patch("os.access", return_value=False)
    assert "give the agent's user the right to" in problems(tmp_path, f'{name} = "{there}"')[0]


def test_authorities_are_certificates(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "utf-8")
    (problem,) = problems(tmp_path, f'ca_file = "{path}"')
    assert problem.startswith("3:11: collectors.http.ca_file: found a file without a usable")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['token_env = "A"', 'token_credential = "b"'], "one of token_file, token_env"),
        (['user = "u"'], "password_file, password_env or password_credential beside user"),
        (['password_env = "A"'], "user beside the password"),
        (['token_env = "A"', 'user = "u"', 'password_env = "B"'], "one way to authenticate"),
        (['client_key_password_env = "A"'], "client_certificate_file beside the password"),
        (['proxy = "http://p:1"', "proxy_from_environment = true"], "not both"),
        (["retry_statuses = [404, 413]"], "retry_statuses without 413"),
        (["retry_statuses = [302]"], "an integer from 400 to 499"),
        (['proxy = "http://u:p@p.example:1"'], "a URL with credentials"),
        (['proxy = "http://p.example/path"'], "a URL with a path"),
        (['headers = { X-A = "1", x-a = "2" }'], "each header once"),
        (['user = "a:b"', 'password_env = "B"'], "a user name without ':'"),
        ([f'token_env = "{SECRET}"'], "the name of an environment variable"),
        (['token_credential = "../x"'], "the name of a credential"),
        (["timeout_seconds = 0"], "above 0"),
        (["max_body_bytes = 1"], "from 1024"),
        (['tls_minimum = "1.1"'], 'one of "1.2", "1.3"'),
        (['verify = "no"'], "true or false"),
        (["verfiy = false"], "did you mean verify?"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, lines: list[str], said: str) -> None:
    found = problems(tmp_path, *lines)
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize("line", ["http2 = true", 'server_name = "a.example"'])
def test_what_needs_tls_is_refused_without(tmp_path: Path, line: str) -> None:
    (problem,) = problems(tmp_path, line, url='url = "http://collector.example/"')
    assert "expected an https:// URL" in problem


def test_a_shown_configuration_holds_no_secret(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET, encoding="utf-8")
    path = tmp_path / "agent.toml"
    path.write_text(f'[collectors.http]\n{URL}\ntoken_file = "{token}"\n', encoding="utf-8")
    path.chmod(0o600)
    loaded = load_config(path, Configuration)
    assert SECRET not in repr(loaded) + str(loaded.redacted())


def test_defaults_pass_their_own_checks() -> None:
    options = HttpOptions(url="https://collector.example/")
    fields = msgspec.structs.asdict(options)
    given = {name: value for name, value in fields.items() if value != ""}
    assert msgspec.convert(given, HttpOptions) == options
    assert os.environ.get("CREDENTIALS_DIRECTORY") is None or options.token_credential == ""


@pytest.mark.parametrize(
    "given",
    [
        {"url": f"https://user:{SECRET}@collector.example/"},
        {"url": "https://collector.example/", "headers": {"X-Site": "a\r\nX-Evil: b"}},
        {"url": "https://collector.example/", "headers": {"Authorization": SECRET}},
    ],
)
def test_options_that_are_built_in_code_are_checked_too(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|without|one line|no secret") as caught:
        HttpOptions(**given)  # type: ignore[arg-type]  # only the types of these are known
    assert SECRET not in str(caught.value)
