"""`trireme-collector dead-letters`: what was not delivered, and what to do about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trireme_collector.cli._letter_places import (
    find_letters,
    letter_options,
    load_whole,
    read_file,
    summarize,
    unusable,
)
from trireme_collector.cli.output import json_option, print_json, printable, table
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from trireme_collector.cli._letter_places import LetterFile
    from trireme_collector.config import CollectorConfig, Configuration, LoadedConfiguration
    from trireme_collector.delivery import DeadLetter, ReplayReport

__all__ = ["dead_letters"]

_NONE = "There are no dead letters."


@click.group(name="dead-letters")
def dead_letters() -> None:
    """List, show, send again or remove records that were not delivered."""


@dead_letters.command(name="list")
@letter_options
@json_option
def list_letters(
    config_path: str | None, state_directory: str | None, only: str | None, *, as_json: bool
) -> None:
    """Count the dead letters of each collector by reason."""
    summaries = [summarize(file) for file in find_letters(config_path, state_directory, only)]
    if as_json:
        print_json({"collectors": summaries})
        return
    rows: list[tuple[str, str, str]] = []
    for summary in summaries:
        name = printable(summary.collector)
        rows += [(name, str(r.letters), printable(r.reason)) for r in summary.reasons]
        if summary.damaged:
            rows.append((name, str(summary.damaged), "(damaged lines)"))
    click.echo(table(("COLLECTOR", "LETTERS", "REASON"), rows) if rows else _NONE)


@dead_letters.command(name="show", short_help="Print dead letters: when, why and the record.")
@letter_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show the first N only.")
@json_option
def show_letters(
    config_path: str | None,
    state_directory: str | None,
    only: str | None,
    *,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print the dead letters: when, why and the record; with --json one object per line."""
    shown = 0
    for file in find_letters(config_path, state_directory, only):
        for stored in read_file(file):
            if shown == limit:
                return
            shown += 1
            if not as_json:
                click.echo(_describe(file, stored.letter))
            elif stored.letter is not None:
                letter = stored.letter
                fields: dict[str, object] = {
                    name: getattr(letter, name) for name in letter.__struct_fields__
                }
                print_json(fields, indent=False)
    if not shown and not as_json:
        click.echo(_NONE)


@dead_letters.command(name="replay", short_help="Send dead letters again through their collectors.")
@click.option(
    "-c",
    "--config",
    "config_path",
    required=True,
    metavar="FILE",
    help="The configuration file with the collectors.",
)
@click.option("--collector", "only", metavar="NAME", help="Only the letters of this collector.")
@json_option
@click.pass_context
def replay(ctx: click.Context, config_path: str, only: str | None, *, as_json: bool) -> None:
    """Send the dead letters again through their collectors, and remove what was delivered.

    What is refused again stays. The first failure that may pass ends it for that collector;
    nothing waits. A crash sends one batch twice at most.
    """
    _quiet_log()
    loaded = load_whole(config_path)
    collectors = {collector.name: collector for collector in loaded.collectors}
    reports = [
        _replay(file, collectors.get(file.collector), loaded)
        for file in find_letters(config_path, None, only)
    ]
    if as_json:
        print_json({"collectors": reports})
    elif not reports:
        click.echo(_NONE)
    else:
        head = ("COLLECTOR", "DELIVERED", "REFUSED", "DAMAGED", "LEFT", "LAST ERROR")
        click.echo(table(head, [_row(report) for report in reports]))
    stays = any(report.left or report.refused or report.damaged for report in reports)
    ctx.exit(ExitCode.OUTPUT if stays else ExitCode.OK)


@dead_letters.command(name="purge")
@letter_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(
    config_path: str | None,
    state_directory: str | None,
    only: str | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove dead letters for good."""
    from trireme_collector.delivery import DeadLetterEditor

    files = find_letters(config_path, state_directory, only)
    summaries = [summarize(file) for file in files]
    count = sum(summary.letters + summary.damaged for summary in summaries)
    if files and not yes:
        if as_json:
            msg = "With --json nobody is asked: give --yes, too."
            raise click.UsageError(msg)
        names = ", ".join(printable(file.collector) for file in files)
        click.confirm(f"Remove {count} dead letters of {names} for good?", abort=True)
    for file in files:
        try:
            with DeadLetterEditor(file.path) as editor:
                editor.clear()
        except FileNotFoundError:
            continue  # another command was quicker
        except OSError as error:
            raise unusable(error) from error
    if as_json:
        print_json({"removed": count})
    else:
        click.echo(f"{count} dead letters were removed." if files else _NONE)


def _describe(file: LetterFile, letter: DeadLetter | None) -> str:
    import msgspec

    from trireme_collector.formats import format_rfc3339, render_text
    from trireme_collector.records import decode_json

    name = click.style(printable(file.collector), bold=True)
    if letter is None:
        return f"{name}  (a damaged line)"
    try:
        record = render_text(decode_json(bytes(letter.record)))
    except msgspec.DecodeError:
        record = printable(bytes(letter.record).decode(errors="replace"))
    attempts = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    head = f"{format_rfc3339(letter.time_ns)}  {name}  {attempts}  {printable(letter.reason)}"
    return f"{head}\n    {record}"


def _quiet_log() -> None:
    """Keep the log off standard output; what it would say is in the result."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _replay(
    file: LetterFile,
    collector: CollectorConfig | None,
    loaded: LoadedConfiguration[Configuration],
) -> ReplayReport:
    from trireme_collector.delivery import ReplayReport, adapt, replay_letters
    from trireme_collector.errors import ConfigError, PluginError, TriremeError
    from trireme_collector.hookspecs import CollectorContext

    if collector is None:
        return _untouched(file, "the configuration has no such collector")
    enrichment = loaded.enrichment()
    context = CollectorContext(
        name=collector.name,
        instance=loaded.settings.instance,
        find_format=loaded.registry.format_spec,
        enrich=None if enrichment is None else enrichment.enrich,
    )
    try:
        if enrichment is not None:
            enrichment.open()
        built = collector.spec.factory(collector.options, context)
    except TriremeError:
        raise
    except Exception as error:
        msg = (
            f"collector {collector.name!r}: the factory of plugin {collector.spec.name!r} failed:"
            f" {type(error).__name__}: {error}; this is a mistake in the plugin"
        )
        raise PluginError(msg) from error
    try:
        return replay_letters(
            file.path,
            adapt(built, name=collector.name),
            collector=collector.name,
            config=collector.delivery,
        )
    except ConfigError as error:
        return _untouched(file, str(error))  # those of other collectors go on
    except FileNotFoundError:
        return ReplayReport(collector=file.collector)  # another command was quicker
    except OSError as error:
        raise unusable(error) from error
    finally:
        if enrichment is not None:
            enrichment.close()


def _untouched(file: LetterFile, error: str) -> ReplayReport:
    from trireme_collector.delivery import ReplayReport

    left = summarize(file)
    return ReplayReport(
        collector=file.collector, left=left.letters, damaged=left.damaged, error=error
    )


def _row(report: ReplayReport) -> tuple[str, ...]:
    numbers = (report.delivered, report.refused, report.damaged, report.left)
    return (printable(report.collector), *map(str, numbers), printable(report.error))
