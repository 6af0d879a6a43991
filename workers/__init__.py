"""Processes that work: thin, they take hints and call the engine."""
