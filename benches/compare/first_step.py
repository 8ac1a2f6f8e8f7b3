"""Seconds from the start of a training program to the end of its first step, twice: with nothing kept from before, and with it.

    python first_step.py OUT COMMAND...

COMMAND trains until it is interrupted, and announces the first epoch on its standard error when a step of it is done. Adds two
lines of JSON to OUT, of the works `first_start` and `start`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def first_step(command, caches):
    """Seconds until the first step is done, and the device by the program's own words."""
    with tempfile.NamedTemporaryFile("w+") as errors:
        # What the driver compiles is kept too.
        kept = {"FER_CACHE_DIR": caches, "CUDA_CACHE_PATH": f"{caches}/driver"}
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **kept})
        while "Epoch 1/" not in (said := Path(errors.name).read_text()):
            if child.poll() is not None:
                raise SystemExit(f"error: {' '.join(command)} ended with {child.returncode} before a step\n{said[-2000:]}")
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        child.send_signal(signal.SIGINT)
        child.wait()
        device = next(line.removeprefix("device: ") for line in said.splitlines() if line.startswith("device: "))
    return seconds, device.partition("(")[2].rstrip(")") or device


if __name__ == "__main__":
    out, command = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as caches:
        for work in ["first_start", "start"]:
            seconds, card = first_step(command, caches)
            print(f"{work}: {seconds:.2f} s", flush=True)
            with out.open("a") as lines:
                print(json.dumps({"work": work, "seconds": seconds, "card": card}), file=lines)
