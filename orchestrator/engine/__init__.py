"""The use cases, one verb a file: load, decide, save, announce."""
