#!/usr/bin/env python3
"""What tracing costs a run: processor time with and without --trace, interleaved, and the cost of one span.

    .deps/venv/bin/python bench/trace_cost.py [--pairs 7] [--model MODEL] [--video VIDEO]

Prints the median ratio of processor times, and what it should be by the cost of a span and the spans of a frame. The
processor time counts, not the clock: other programs disturb it less. OMMA_BUILD names the build folder (build).
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("OMMA_BUILD", ROOT / "build")).resolve()


def seconds(*args):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([BUILD / "omma", "run", "-q", *map(str, args)], check=True, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--pairs", type=int, default=7)
    ask.add_argument("--model", default=ROOT / "tests/data/shapes.onnx")
    ask.add_argument("--video", default="pattern:640x480@25:frames=400")
    args = ask.parse_args()
    span = json.loads(subprocess.run([BUILD / "bench/bench_trace"], check=True, capture_output=True, text=True).stdout)
    print(f"a span costs {span['off_ns']:.2f} ns while tracing is off, {span['on_ns']:.0f} ns while it is on")
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        what = ("-m", args.model, "-i", args.video, "-o", "null:")
        off, on = [], []
        for i in range(args.pairs):
            for traced in (i % 2 == 0, i % 2 == 1):
                (on if traced else off).append(seconds(*what, *(["--trace", trace] if traced else [])))
        events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] in "XstfbeC"]
        frames = sum(e["ph"] == "f" for e in events)
    a, b = statistics.median(off), statistics.median(on)
    print(f"a run of {frames} frames: {a:.3f} s of processor time off, {b:.3f} s on: {100 * (b / a - 1):+.2f}% (the file's writing counted)")
    print(f"by the spans, {len(events) / frames:.0f} events a frame: {100 * len(events) / 2 * span['on_ns'] / 1e9 / a:+.3f}% on, "
          f"{100 * len(events) / 2 * span['off_ns'] / 1e9 / a:+.5f}% off")


if __name__ == "__main__":
    main()
