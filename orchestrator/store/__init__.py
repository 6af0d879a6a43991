"""All SQL, and SQL nowhere else.

Order in which rows are locked, everywhere: runs (by id), jobs (by id), steps, pauses, slots, pools (by key); and keys
in their order.
Who holds many jobs and is in no hurry (heartbeat, sweep) leaves out what others have locked.
"""
