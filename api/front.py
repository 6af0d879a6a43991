"""The whole HTTP side of a server as one WSGI callable, guarded as its mode wants."""

from __future__ import annotations

from orchestrator import bootstrap
from orchestrator.api.app import create_app
from orchestrator.api.auth import EventKeys, bearer_authorizer
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.api.ingest import IngestApp
from orchestrator.api.outputs import OutputApp, OutputTokens
from orchestrator.api.ready import Readiness, Vital
from orchestrator.config import Config, require_secrets
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.keyring import Keyring
from orchestrator.engine.parts import Parts


def front(config: Config, parts: Parts, ingest: Ingest) -> Vital:
    """Put liveness and readiness, and then the event API, in front of everything else.

    In `dev` everybody is trusted; otherwise keys are asked for, and `ConfigError` is raised when there are none.
    """
    require_secrets(config)
    kind = bootstrap.kind(config)
    trusting = config.mode == "dev"
    readiness = Readiness(parts)
    keyring = Keyring(parts)
    event_keys = EventKeys(config.event_keys, keyring)
    outputs = OutputTokens(() if trusting else bootstrap.signing_keys(config))
    app = create_app(
        parts,
        server_kind=kind,
        authorize=None if trusting else bearer_authorizer(bootstrap.signing_keys(config), keyring),
        max_request_bytes=config.max_request_bytes,
        readiness=readiness,
        doors=Doors(not trusting, config.session_span) if config.dashboard else None,
        keyring=keyring,
        accept=ingest.accept,
        event_limits=bootstrap.event_limits(config),
        outputs=outputs,
    )
    taking = IngestApp(
        app,
        ingest.accept,
        _trust if trusting else event_keys,
        accept_soon=ingest.accept_soon,
        pass_at_once=None if trusting else event_keys.pass_at_once,
        clock=parts.clock,
        limits=bootstrap.event_limits(config),
        server_kind=kind,
    )
    return Vital(OutputApp(taking, parts.database, outputs, kind), readiness, kind)


def _trust(_key: str) -> None:
    """Take any event key."""
