"""`trireme-collector schema`: what a record in JSON may contain."""

from __future__ import annotations

import click

from trireme_collector.cli.output import json_option, print_json

__all__ = ["schema"]


@click.command()
@click.argument("kind", required=False)
@click.option("--kinds", is_flag=True, help="List the kinds of records instead.")
@json_option
def schema(kind: str | None, *, kinds: bool, as_json: bool) -> None:
    """Print the JSON Schema of the records, or of one KIND.

    The schema is JSON by nature; with --json it stands on one line.
    """
    import msgspec

    from trireme_collector.cli.output import table
    from trireme_collector.records import RECORD_TYPES, json_schema

    if kinds:
        rows = [(name, _first_line(record.__doc__)) for name, record in RECORD_TYPES.items()]
        if as_json:
            print_json({"kinds": [{"kind": name, "summary": text} for name, text in rows]})
        else:
            click.echo(table(("KIND", "SUMMARY"), rows))
        return
    if kind is None:
        document = json_schema()
    elif kind in RECORD_TYPES:
        document = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"trireme-collector {kind} record",
            **msgspec.json.schema(RECORD_TYPES[kind]),
        }
    else:
        msg = f"There is no kind {kind!r}; the kinds are {', '.join(RECORD_TYPES)}."
        raise click.BadParameter(msg, param_hint="KIND")
    encoded = msgspec.json.encode(document)
    click.echo((encoded if as_json else msgspec.json.format(encoded)).decode())


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
