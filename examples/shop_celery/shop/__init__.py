"""A small shop on Celery whose background work is durable."""
