"""How a peer is timed, and how it tells compare.py."""

import json
import statistics
import time


def median_seconds(work, seconds=4.0, least=10):
    """The median of one call of `work`, over so many seconds and calls, after three that do not count."""
    for _ in range(3):
        work()
    times = []
    while sum(times) < seconds or len(times) < least:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def report(peer, seconds, **work):
    """Prints what was measured and of what work, as the last line of the process."""
    print(json.dumps({"name": peer, "value": seconds, "work": work}))
