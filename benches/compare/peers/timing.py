"""How a peer is timed, and how it tells compare.py."""

import json
import statistics
import sys
import time


def median_seconds(work, seconds=4.0, least=10, before=3):
    """The median of one call of `work`, over so many seconds and calls, after those before, which do not count."""
    for _ in range(before):
        work()
    times = []
    while sum(times) < seconds or len(times) < least:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def fastest(forms):
    """Of functions by name, each of which gives the work in one form, the name of the form that takes the least time, by
    the median of three calls, and the median of one call as above. What each took is on the standard error."""
    least = {}
    for name, form in forms.items():
        least[name] = median_seconds(form(), 0, 3, before=2)
        print(f"{name}: {least[name]:.3f} s", file=sys.stderr, flush=True)
    name = min(least, key=least.get)
    return name, median_seconds(forms[name]())


def report(peer, seconds, **work):
    """Prints what was measured and of what work, as the last line of the process."""
    print(json.dumps({"name": peer, "value": seconds, "work": work}))
