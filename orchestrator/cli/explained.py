"""What goes wrong with a database, told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.terminal import escape
from orchestrator.errors import OrchestratorError


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a database driver raises, whose classes differ by driver, into its first line and an exit code."""
    try:
        yield
    except (click.ClickException, click.Abort, OrchestratorError):
        raise
    except ModuleNotFoundError as error:
        raise Problem(f"the database's driver is not installed: {error.name}", Exit.CONFIG) from error
    except Exception as error:
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise Problem(f"the database does not do as asked: {escape(first)}", Exit.UNREACHABLE) from error
