"""Ties a user's own Python code to us: functions of its process, its Celery application."""
