"""Every route of a server in production, tried by schemathesis against the OpenAPI document that it serves."""
