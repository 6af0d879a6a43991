"""How much a function's configuration may ask for; every refusal names the limit it goes by."""

from __future__ import annotations

from datetime import timedelta

MAX_NAME = 255
MAX_URL = 2_048
MAX_CRON = 255
MAX_EXPRESSION = 4_096

MAX_FUNCTIONS = 1_000
MAX_TRIGGERS = 50
MAX_CANCELS = 20
MAX_CONCURRENCY = 8
MAX_RETRIES = 100
#: Of an endpoint whose SDK does not say, as the TypeScript SDK has it.
DEFAULT_ENDPOINT_RETRIES = 3
#: Any count: large enough for everybody, small enough for every database.
MAX_COUNT = 1_000_000_000

MIN_BATCH, MAX_BATCH = 2, 1_000
MIN_BATCH_TIMEOUT, MAX_BATCH_TIMEOUT = timedelta(seconds=1), timedelta(minutes=10)
DEFAULT_BATCH_TIMEOUT = timedelta(seconds=60)

MIN_DEBOUNCE, MAX_DEBOUNCE = timedelta(milliseconds=100), timedelta(days=30)
MIN_PERIOD, MAX_PERIOD = timedelta(seconds=1), timedelta(days=31)
MIN_JITTER, MAX_JITTER = timedelta(seconds=1), timedelta(minutes=5)
#: Of a run's time-outs and of cancelling events.
MIN_TIMEOUT, MAX_TIMEOUT = timedelta(milliseconds=1), timedelta(days=366)
