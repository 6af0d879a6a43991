"""All SQL, and SQL nowhere else.

Order in which rows are locked, everywhere: keys and then gates, each in their order, runs (by id), jobs (by id), steps,
pauses, slots, pools (by key).
Who holds many jobs and is in no hurry (heartbeat, sweep) leaves out what others have locked.
"""
