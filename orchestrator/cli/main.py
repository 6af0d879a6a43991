"""The tree of commands; a command's module is imported when that command runs, so `--help` and `send` stay quick."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from orchestrator import __version__
from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.errors import ConfigError, OrchestratorError


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is, and what the list of commands says of it."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, Lazy] = {
    "dev": Lazy("orchestrator.cli.serve", "dev", "Run everything in one process, for development."),
    "start": Lazy("orchestrator.cli.start", "start", "Run everything in one process, for production."),
    "keys": Lazy("orchestrator.cli.keys", "keys", "Make the keys that production needs."),
    "tokens": Lazy("orchestrator.cli.tokens", "tokens", "Make, list and revoke tokens for tools and senders."),
    "send": Lazy("orchestrator.cli.send", "send", "Send an event."),
    "invoke": Lazy("orchestrator.cli.invoke", "invoke", "Start a function, whatever its triggers."),
    "events": Lazy("orchestrator.cli.events", "events", "List the latest events."),
    "event": Lazy("orchestrator.cli.events", "event", "Show an event and the runs it started."),
    "runs": Lazy("orchestrator.cli.runs", "runs", "List runs, by status, function, app, time and a condition."),
    "run": Lazy("orchestrator.cli.run", "run", "Show a run: its status, its steps, and what came out."),
    "cancel": Lazy("orchestrator.cli.cancel", "cancel", "Cancel a run."),
    "rerun": Lazy("orchestrator.cli.rerun", "rerun", "Run a run again, from its beginning or from a step."),
    "bulk": Lazy("orchestrator.cli.bulk", "bulk", "Cancel many runs, or run them again."),
    "requeue": Lazy("orchestrator.cli.cancel", "requeue", "Let a run go on whose workers were lost too often."),
    "queue": Lazy("orchestrator.cli.queue", "queue", "Say what is to be done, why it waits, and who works."),
    "jobs": Lazy("orchestrator.cli.jobs", "jobs", "Look at jobs that were given up, requeue or delete them."),
    "functions": Lazy("orchestrator.cli.functions", "functions", "List functions; set what SDKs cannot say of one."),
    "apps": Lazy("orchestrator.cli.apps", "apps", "List the apps, and why one could not be synced."),
    "sync": Lazy("orchestrator.cli.apps", "sync", "Ask an app for its functions."),
    "limit": Lazy("orchestrator.cli.limit", "limit", "Set how many calls a function makes at once."),
    "why": Lazy("orchestrator.cli.why", "why", "Say why a run does not go on."),
    "pause": Lazy("orchestrator.cli.functions", "pause", "Let a function start no runs."),
    "resume": Lazy("orchestrator.cli.functions", "resume", "Let a paused function start runs again."),
    "config": Lazy("orchestrator.cli.config_show", "config", "Look at the settings."),
    "users": Lazy("orchestrator.cli.users", "users", "Say who may use the dashboard."),
    "retention": Lazy("orchestrator.cli.retention", "retention", "Look at what is kept for how long, or tidy now."),
    "db": Lazy("orchestrator.cli.db", "db", "Make, upgrade and check the database's schema."),
    "doctor": Lazy("orchestrator.cli.doctor", "doctor", "Check keys, database, broker, workers and apps."),
    "version": Lazy("orchestrator.cli.version", "version", "Print the version."),
}

EPILOG = "\b\nExamples:\n" + "\n".join(
    (
        "  orchestrator dev -u http://localhost:5000/api/inngest",
        "  orchestrator send shop/product.imported '{\"productId\": 7}'",
        "  orchestrator COMMAND --help",
        "",
        "\b",
        "Exit codes:",
        *(f"  {code.value:>3}  {code.sentence}" for code in Exit),
    )
)


class LazyGroup(click.Group):
    """A group over `COMMANDS` that turns our errors into a sentence and an exit code."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Import the command."""
        lazy = COMMANDS.get(name)
        if lazy is None:
            return None
        command = getattr(import_module(lazy.module), lazy.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the one that was perhaps meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"There is no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise Problem(error.message, Exit.CONFIG) from error
        except OrchestratorError as error:
            raise Problem(error.message, Exit.FAILED) from error
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="orchestrator", message="%(prog)s %(version)s")
def cli() -> None:
    """Durable execution for Python teams: events in, functions driven step by step to their end."""


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="orchestrator")


if __name__ == "__main__":
    main()
