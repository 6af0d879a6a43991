"""Ordinary Celery tasks, as a shop has them for years; they know nothing of what is durable."""

from __future__ import annotations

from shop.celery import app


@app.task(autoretry_for=(TimeoutError,), max_retries=3, default_retry_delay=1)  # type: ignore[untyped-decorator]
def resize(urls: list[str], width: int = 400) -> list[str]:
    """Pretend to make thumbnails."""
    return [f"{url}?width={width}" for url in urls]
