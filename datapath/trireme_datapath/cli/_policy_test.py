"""`trireme-collector policy test`: run the tests that stand beside a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json, printable

if TYPE_CHECKING:
    from trireme_datapath.testing import PolicyTestCase, PolicyTestReport, PolicyTestResult

__all__ = ["test"]


@click.command(short_help="Test which flows a policy accepts and rejects.")
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option(
    "-p", "--policy", "policy", metavar="FILE", help="Test this policy instead of those named."
)
@click.option(
    "-k", "--select", default="", metavar="TEXT", help="Run only tests with this in their name."
)
@click.option("--junit", metavar="FILE", help="Write the results as JUnit XML, too.")
@json_option
@click.pass_context
def test(
    ctx: click.Context,
    files: tuple[str, ...],
    policy: str | None,
    select: str,
    junit: str | None,
    *,
    as_json: bool,
) -> None:
    """Run the tests in FILE...: which flows a policy accepts and rejects.

    Exits with 1 when a test fails, with 3 when a file has mistakes.
    """
    from trireme_collector.exit_codes import ExitCode

    reports = _run(files, policy, select)
    tests = [result for report in reports for result in report.tests]
    if not tests:
        raise click.UsageError(f"no test has {select!r} in its name.")
    failed = sum(not result.passed for result in tests)
    if junit is not None:
        _write_junit(junit, reports)
    if as_json:
        import msgspec

        print_json(
            {
                "passed": not failed,
                "tests": len(tests),
                "failed": failed,
                "files": msgspec.to_builtins(reports),
            }
        )
    else:
        for report in reports:
            click.echo("\n".join(_lines(report)))
        click.echo(_summary(tests, failed))
    if failed:
        ctx.exit(ExitCode.FAILURE)


def _run(files: tuple[str, ...], policy: str | None, select: str) -> list[PolicyTestReport]:
    """Run every file; the mistakes of all of them are told at once."""
    from trireme_collector.errors import ConfigError
    from trireme_datapath.testing import run_policy_tests

    reports = []
    errors: list[ConfigError] = []
    for file in files:
        try:
            reports.append(run_policy_tests(file, policy=policy, select=select))
        except ConfigError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError(
            "\n".join(map(str, errors)),
            problems=[line for error in errors for line in error.problems or (str(error),)],
        )
    return reports


def _lines(report: PolicyTestReport) -> list[str]:
    lines = [f"{printable(report.file)}: {printable(report.policy)}, revision {report.revision}"]
    for result in report.tests:
        word = click.style("ok  ", fg="green") if result.passed else _failed("FAIL")
        lines.append(f"  {word}  {printable(result.name)}")
        for case in result.cases:
            if not case.passed:
                lines.extend(f"        {line}" for line in _case_lines(report, case))
    return lines


def _case_lines(report: PolicyTestReport, case: PolicyTestCase) -> list[str]:
    head = f"{printable(report.file)}:{case.line}:{case.column}:"
    said = [printable(line) for line in case.message.splitlines()]
    if case.flow:
        said[0] = f"{printable(case.flow)}: {said[0]}"
    return [f"{head} {said[0]}", *said[1:], *(f"  {printable(line)}" for line in case.details)]


def _summary(tests: list[PolicyTestResult], failed: int) -> str:
    cases = sum(len(result.cases) for result in tests)
    said = f"{_count(len(tests), 'test')} of {_count(cases, 'case')}"
    if not failed:
        return click.style(f"{said}, all passed", fg="green", bold=True)
    return _failed(f"{said}, {failed} failed")


def _failed(text: str) -> str:
    return click.style(text, fg="red", bold=True)


def _count(number: int, singular: str) -> str:
    return f"1 {singular}" if number == 1 else f"{number} {singular}s"


def _write_junit(path: str, reports: list[PolicyTestReport]) -> None:
    """Write what continuous integration reads: a suite for each file, a case for each test.

    Raises:
        OutputError: The file cannot be written.
    """
    from xml.etree import ElementTree

    from trireme_collector.cli._output_file import lines_written_to

    root = ElementTree.Element("testsuites", name="trireme-collector policy test")
    for report in reports:
        failed = sum(not result.passed for result in report.tests)
        counts = {"tests": str(len(report.tests)), "failures": str(failed), "errors": "0"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(report.file), **counts})
        for result in report.tests:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                name=_xml(result.name),
                classname=_xml(report.file),
                file=_xml(report.file),
                line=str(result.line),
            )
            wrong = [one for one in result.cases if not one.passed]
            if wrong:
                message = _xml(wrong[0].message.splitlines()[0])
                failure = ElementTree.SubElement(case, "failure", message=message)
                lines = [line for one in wrong for line in _case_lines(report, one)]
                failure.text = _xml("\n".join(lines))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    with lines_written_to(path) as write:
        write([text + b"\n"])


def _xml(text: str) -> str:
    """Leave out what XML cannot carry."""
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
