"""GraphQL: the same server, asked by the queries that tools of the SDKs use.  Loaded when the first query comes."""
