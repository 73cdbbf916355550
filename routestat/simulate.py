"""python -m routestat.simulate TRACE: what policies of a cache and predictions cost and save."""
