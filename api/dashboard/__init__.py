"""The dashboard: pages for people, rendered on the server from what the store has; see docs/dashboard.md.

`pages` declares routes with the role they need, `visitor` knows who asks, `templating` turns templates into answers,
and each page has a file of its own.  Pages call the engine and the store, as the REST routes do.
"""
