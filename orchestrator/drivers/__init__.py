"""Ways to reach functions: a call in, a reply out."""
