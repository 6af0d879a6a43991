"""The way a command ends when it cannot do what it was asked: one sentence with the way out, and an exit code."""

from __future__ import annotations

import click

from orchestrator.cli.exits import Exit


class Problem(click.ClickException):
    """Ends the command; click prints the sentence on standard error."""

    def __init__(self, sentence: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = int(code)  # type: ignore[misc]  # click reads it from the instance.
