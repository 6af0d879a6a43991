"""How pages are declared: a path, and the role that whoever asks must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint, Request, Response

from orchestrator.api.access import Way, needs
from orchestrator.core.role import Role

View = TypeVar("View", bound=Callable[..., Response])


class Pages:
    """All routes of the dashboard; a route that is not declared here is not served."""

    def __init__(self) -> None:
        self.blueprint = Blueprint("dashboard", __name__)
        #: The role that each endpoint needs; None: it is open to everybody.
        self.needs: dict[str, Role | None] = {}
        #: The paths that can be looked at.
        self.rules: set[str] = set()

    def page(self, rule: str, role: Role = Role.VIEWER) -> Callable[[View], View]:
        """Declare something to look at."""
        return self._declare(rule, role, "GET")

    def action(self, rule: str, role: Role = Role.OPERATOR) -> Callable[[View], View]:
        """Declare something to do: a form that is posted, with the token of the session."""
        return self._declare(rule, role, "POST")

    def open(self, rule: str, method: str = "GET") -> Callable[[View], View]:
        """Declare what everybody may ask for, signed in or not."""
        return self._declare(rule, None, method)

    def _declare(self, rule: str, role: Role | None, method: str) -> Callable[[View], View]:
        def declare(view: View) -> View:
            if method == "GET":
                self.rules.add(rule)
            self.needs[f"{self.blueprint.name}.{view.__name__}"] = role
            guarded = needs(Way.OPEN if role is None and method == "GET" else Way.LOGIN)(view)
            self.blueprint.add_url_rule(rule, view.__name__, guarded, methods=[method])
            return view

        return declare


routes = Pages()


def is_page(asked: Request) -> bool:
    """Whether a request is for the dashboard, which asks by itself who comes, and answers no page of another site."""
    return asked.blueprint == routes.blueprint.name
