"""The commands, each in a file of its own."""

from __future__ import annotations

import typer

from atomlens.cli.baselines import baselines
from atomlens.cli.convert import convert
from atomlens.cli.data import app as data
from atomlens.cli.evaluate import evaluate
from atomlens.cli.explain import explain
from atomlens.cli.info import info
from atomlens.cli.predict import predict
from atomlens.cli.simulate import app as simulate
from atomlens.cli.study import study
from atomlens.cli.train import train

app = typer.Typer(
    name="atomlens",
    help="Neural networks of atoms that are fast, trustworthy and explain themselves.\n\n"
    "Start with `atomlens study ethanol --out demo`: it makes reference data, trains SchNet on them, tests it and "
    "explains it on one page.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"atomlens {version('atomlens')}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Options of every command."""


for command in (study, train, evaluate, baselines, predict, explain, convert, info):
    app.command()(command)
app.add_typer(simulate, name="simulate")
app.add_typer(data, name="data")
