"""What both sides give: a number, of whom, and of what work."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

# Of the notebook's network and of the `vgg` chain with 8 classes, moving statistics included.
PARAMETERS = 2_395_075
VGG_PARAMETERS = 4_696_008
# Of the network that finds faces.
YUNET_PARAMETERS = 53_104

# The unit of ru_maxrss in bytes: KiB, on macOS bytes.
MAXRSS = 1 if sys.platform == "darwin" else 1024


@dataclass
class Measurement:
    """One number: seconds, or bytes where `unit` says so."""

    name: str
    value: float
    unit: str = "s"
    # What was done: images, parameters, threads, steps. Two sides that did the same agree in all that both know.
    work: dict = field(default_factory=dict)

    def __str__(self):
        return show(self.value, self.unit)


def show(value, unit):
    """A value with a unit that a person reads easily."""
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    for scale, name in [(1, "s"), (1e-3, "ms"), (1e-6, "µs")]:
        if value >= scale:
            break
    return f"{value / scale:.{2 if value / scale < 100 else 0}f} {name}"


def median(measurements):
    """The first measurement, with the median of all their values."""
    first = measurements[0]
    return Measurement(first.name, statistics.median(m.value for m in measurements), first.unit, first.work)


def check_same_work(measurements, parameters):
    """Ends the program when a measurement is not of the work that the others are of."""
    known = {"parameters": parameters, "threads": CORES}
    for measurement in measurements:
        for what, value in measurement.work.items():
            if known.setdefault(what, value) != value:
                raise SystemExit(f"error: {measurement.name}: {what} is {value}, not {known[what]}")


@dataclass
class Finished:
    """A process that has ended."""

    seconds: float
    # The most memory it held at a time (resident set), in bytes.
    peak: int
    # Seconds of all its threads on a processor.
    processor: float
    output: str
    errors: str


def run(command, *, ends_with=0, while_running=None, cwd=None, env=None):
    """Runs a command to its end; `while_running` is called with the child and the file of its standard error."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile("w+") as output, tempfile.NamedTemporaryFile("w+") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=errors, cwd=cwd, env=env)
        if while_running is not None:
            while_running(child, errors.name)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        processor = usage.ru_utime + usage.ru_stime
        finished = Finished(seconds, usage.ru_maxrss * MAXRSS, processor, output.read(), errors.read())
    if child.returncode != ends_with:
        raise SystemExit(f"error: {' '.join(command)} ended with {child.returncode}\n{finished.errors[-4000:]}")
    return finished
