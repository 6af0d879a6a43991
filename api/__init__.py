"""The HTTP side of the server: events, the SDKs' API, and REST for people and tools."""
