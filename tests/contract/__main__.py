"""`make contract`: a server of its own, furnished and tried; ends with what schemathesis ends with."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.contract.attempt import attempt
from tests.contract.server import furnish, serving

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make contract ARGS=...", description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="of each operation, at most")
    parser.add_argument("--seed", type=int, default=None, help="to see the same requests again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder) as server:
            tried = attempt(server, furnish(server), folder, examples=given.examples, seed=given.seed)
        sys.stdout.write(tried.said)
        faults = [record for record in server.records() if record.get("level") == "error"]
        sys.stdout.writelines(f"{record}\n" for record in faults)
    sys.exit(tried.code or bool(faults))
