"""Server-sent events: what all replies that send them have in common."""

EVENT_STREAM = "text/event-stream"
NOT_CACHED = {"cache-control": "no-cache", "x-accel-buffering": "no"}
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b": still here\n\n"  # a comment, which keeps proxies from giving up
