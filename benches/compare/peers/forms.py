"""The forms of a GPU peer: each is measured in a process of its own, and the fastest counts.

A peer prints one line of JSON, of its fastest form: `name`, `work`, `batch`, `precision`, `card`, `form`, the `seconds`
of a step (the median over `repetitions` blocks of `steps` steps), their `min` and `max`, the `peak_bytes` of PyTorch's
tensors, and in `forms` the same of every form, or its `error`. Without a form that worked, `seconds` is missing. What
each form gave is on the standard error as soon as it is known.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import sys
import time
import traceback

import torch


def arguments(usage, works):
    parser = argparse.ArgumentParser(description=usage)
    parser.add_argument("work", choices=works)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu is for trying this file out")
    parser.add_argument("--forms", default="", metavar="TEXT", help="forms whose name contains this")
    parser.add_argument("--seconds", type=float, default=240, help="at most, of a form with its compilation [240]")
    parser.add_argument("--total", type=float, default=1200, help="at most, of all forms in seconds [1200]")
    parser.add_argument("--blocks", type=int, default=25, help="timed [25]")
    return parser.parse_args()


def print_fastest(peer, forms, options):
    """Measures the forms, functions of the options by name."""
    tried, end = [], time.perf_counter() + options.total
    for name, measure in forms.items():
        if options.forms in name:
            seconds = max(0, min(options.seconds, end - time.perf_counter()))
            tried.append({"form": name, **apart(measure, options, seconds)})
            print(json.dumps(tried[-1]), file=sys.stderr, flush=True)
    fastest = min((form for form in tried if "seconds" in form), key=lambda form: form["seconds"], default={})
    work = {"work": options.work, "batch": options.batch, "precision": options.precision}
    print(json.dumps({"name": peer, **work, **fastest, "forms": tried}))


def apart(measure, options, seconds):
    """What the form gives, or its error: one that hangs or leaves the card unusable does not stop the others."""
    # A fork has PyTorch already. This process never touches the card, so the child may.
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=answer, args=(measure, options, send))
    child.start()
    send.close()
    try:
        return receive.recv() if receive.poll(seconds) else {"error": f"not done in {seconds:.0f} s"}
    except EOFError:
        child.join()
        return {"error": f"the process ended with {child.exitcode}"}
    finally:
        child.kill()
        child.join()


def answer(measure, options, send):
    try:
        send.send(measure(options))
    except Exception as error:
        traceback.print_exc()
        send.send({"error": f"{type(error).__name__}: {error}"[:500]})


def timed(step, batches, options):
    """The seconds of `step` on one batch after the other, after half a second and ten steps that do not count."""
    turns = itertools.cycle(batches)
    start, count = time.perf_counter(), 0
    while count < 10 or time.perf_counter() - start < 0.5:
        step(*next(turns))
        wait(options.device)
        count += 1
    # A block is 20 steps, or what half a second has room for.
    steps = max(1, min(20, int(0.5 * count / (time.perf_counter() - start))))
    # The card's queue never runs dry between blocks.
    moments = [moment(options.device)]
    for _ in range(options.blocks):
        for _ in range(steps):
            step(*next(turns))
        moments.append(moment(options.device))
    wait(options.device)
    each = [seconds_between(*pair) / steps for pair in itertools.pairwise(moments)]
    spread = {"seconds": statistics.median(each), "min": min(each), "max": max(each)}
    on_card = options.device == "cuda"
    card = torch.cuda.get_device_name() if on_card else "CPU"
    peak = torch.cuda.max_memory_allocated() if on_card else None
    return {**spread, "repetitions": len(each), "steps": steps, "card": card, "peak_bytes": peak}


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def moment(device):
    """A point in the time of the device."""
    if device == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(start, end):
    return end - start if isinstance(start, float) else start.elapsed_time(end) / 1e3
