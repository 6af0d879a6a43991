"""Conditions and keys written in CEL: compiling, evaluating, and the equality terms an index of pauses can use."""
