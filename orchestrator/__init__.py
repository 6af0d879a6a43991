"""Self-hosted, broker-agnostic, event-driven durable execution.

Nothing is imported here: `import orchestrator` must stay free, and no `app` or `celery` may appear in this namespace,
because `celery -A orchestrator` would take it for the application (it has to find `orchestrator.celery`).
"""

__version__ = "0.1.0"
