"""The page of the command line has every command with every option, every exit code, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.main import COMMANDS, cli

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
#: What commands have in common, told once.
COMMON = {"--server", "--json", "--help"}
#: Commands whose options are settings, which have a page of their own.
SETTINGS = {"dev", "start", "config show"}


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """The commands that do something, below this one; one that lists what is below it does, too."""
    below = command.commands if isinstance(command, click.Group) else {}
    for name, it in below.items():
        yield from commands(it, f"{path} {name}")
    if not below or (isinstance(command, click.Group) and command.invoke_without_command):
        yield path, command


def shown(path: str, command: click.Command) -> str:
    """A command as the page has it, with its arguments."""
    context = click.Context(command)
    arguments = [it.make_metavar(context) for it in command.params if isinstance(it, click.Argument)]
    return " ".join([path, *arguments])


def options(path: str, command: click.Command) -> set[str]:
    if path in SETTINGS:
        return set()
    return {
        name for it in command.params if isinstance(it, click.Option) for name in it.opts if name[:2] == "--"
    } - COMMON


def test_every_command_is_on_the_page_with_its_arguments_and_options_and_no_other_is() -> None:
    told = {
        re.findall("`([^`]+)`", cell)[0].replace("\\|", "|"): set(re.findall("`([^`]+)`", its))
        for cell, its, _ in rows()
    }
    context = click.Context(cli)

    tree = [it for name in COMMANDS if (top := cli.get_command(context, name)) for it in commands(top, name)]

    assert {shown(*it): options(*it) for it in tree} == told


def test_every_exit_code_is_on_the_page_with_its_sentence() -> None:
    told = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE))

    assert {str(code.value): code.sentence for code in Exit} == told


def test_every_command_has_worked_examples_at_itself_or_at_its_group() -> None:
    context = click.Context(cli)
    lacking = set()
    for name in COMMANDS:
        top = cli.get_command(context, name)
        assert top is not None
        for path, command in commands(top, name):
            if f"orchestrator {path}" not in f"{command.epilog} {top.epilog}":
                lacking.add(path)

    assert {"version"} >= lacking
