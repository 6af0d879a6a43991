"""The API as pages for people: the OpenAPI document, written as HTML by this server, with nothing from elsewhere."""
