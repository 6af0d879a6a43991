"""`make bench`: the same workloads against each way to run the server, with the CPU time that they cost."""
