"""gunicorn or celery in a process whose clock tests can move: `python -m tests.wire.shifted FILE celery -A ...`.

FILE holds the seconds that the clock is ahead.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

from orchestrator.clock import SystemClock

path, program = sys.argv[1], sys.argv[2]
seen: tuple[int, timedelta] = (0, timedelta())


def now(_: SystemClock) -> datetime:
    global seen
    written = os.stat(path).st_mtime_ns
    if written != seen[0]:
        with open(path) as file:
            seen = (written, timedelta(seconds=float(file.read() or 0)))
    return datetime.now(UTC) + seen[1]


SystemClock.now = now  # type: ignore[method-assign]
sys.argv[:] = sys.argv[2:]
if program == "celery":
    from celery.__main__ import main

    main()
else:
    from gunicorn.app.wsgiapp import run

    run()
