"""Write docs/routes.md anew, from the routes that the server serves."""

from __future__ import annotations

from pathlib import Path

from orchestrator.api.route_table import as_markdown, unserved_app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "routes.md"
HEAD = """\
# Every route, and the credential it asks for

Written by `make routes` from what the server serves; a test compares the two, and asks each route without a credential,
with wrong ones, with one that is too narrow, and with the right one. [Keys and tokens](security.md) tells what the
credentials are, [the API](api.md) how requests and answers look. `/api/v2` answers as `/v2` does.

The signing key's token opens every route that names it or a scope; where it is a scope, an API token with that scope
does, too. Routes that want a login are pages for people, and take no token; `POST /login` is how they get one, by name
and password. In `orchestrator dev` no route asks for anything.

"""


def page() -> str:
    """The page as it should be."""
    return HEAD + as_markdown(unserved_app())


if __name__ == "__main__":
    PAGE.write_text(page())
