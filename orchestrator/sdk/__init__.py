"""What a user's Python code imports: declarations, and the tools a running function has.  Light on purpose."""
