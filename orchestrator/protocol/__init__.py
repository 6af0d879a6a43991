"""The wire of the SDKs, pure: bytes and headers in, values of the core out, and back."""
