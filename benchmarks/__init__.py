"""What the series costs, measured on the base and on the patched tree in turn."""

# The environment variable that tells a worker to measure code on an event loop,
# and with which DATABASE_CONNECTION_SCOPE.
SCOPE = "BENCHMARK_SCOPE"
