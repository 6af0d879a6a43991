"""The rules of durable execution, pure: no clock, no randomness, no log, no I/O."""
