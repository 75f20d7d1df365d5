#!/usr/bin/env python3
"""What tracing costs a run, measured and bounded; what it costs while it is off.

    .deps/venv/bin/python bench/trace_cost.py [--rounds 60] [--seconds 60] [--record bench/records/trace.json]

Two runs of a video: `decode` (an engine that computes nothing: what is left is decoding and omma's own work, the worst case for
tracing) and `yolov8n` (a real engine). A round runs each without a trace, with one that is kept in memory (--trace-last) and with one that
is written (--trace), in random order; processor time counts, not the clock, since other programs disturb it less. Reported are
the median of the rounds' ratios and its distribution-free 95% interval (by the order of the ratios), and the same for two
runs without a trace: what cannot be told apart on this machine. Many short runs, since load comes and goes. Where valgrind is
there, the instructions of a run on generated pictures, without an engine, are counted too: no load disturbs them. (Their
processor time is not compared: the pages of such pictures come and go, with malloc's trimming, more often than spans cost.)

Below that stands a bound that noise does not reach: the cost of a span (bench_trace, the least of five) times the spans of a
frame over a frame's processor time, on and off. OMMA_BUILD names the build folder (build).
"""
import argparse
import datetime
import json
import math
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("OMMA_BUILD", ROOT / "build")).resolve()
GOAL = 1.0  # percent
# The bound lies where nothing is dumped for a slow frame; in all runs, so that it is no difference.
OMMA = (BUILD / "omma", "run", "-q", "-o", "null:", "--warn-latency", "600")
KEPT = ("--trace-last", "5", "--trace")
KINDS = ("off", "again", "kept", "written")  # `again`: off once more, the measure of noise


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def cpu_seconds(*args):
    """Processor time of one run."""
    process = subprocess.Popen([*OMMA, *map(str, args)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"omma run {' '.join(map(str, args))}: exit code {process.returncode}")
    return used.ru_utime + used.ru_stime


def interval(values):
    """The median, and the two of the values between which the true one lies with 95%, whatever their distribution."""
    values = sorted(values)
    n, below = len(values), 0.0
    rank = 0
    while rank < n // 2:
        below += math.comb(n, rank) / 2**n
        if below > 0.025:
            break
        rank += 1
    low = max(rank - 1, 0)
    return statistics.median(values), values[low], values[n - 1 - low]


def instructions(*args):
    """Instructions of one run, as valgrind counts them: other programs do not disturb that."""
    done = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *OMMA, *map(str, args)],
                          capture_output=True, text=True, timeout=300)
    return int(re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)[1].replace(",", ""))


def count(case, folder):
    """Instructions of a frame without a trace and with one that is kept: of 60 frames less those of 20."""
    flags = {"off": (), "kept": (*KEPT, folder / "kept.json")}
    off, kept = ((instructions(*case(60), *f) - instructions(*case(20), *f)) / 40 for f in flags.values())
    return {"off_a_frame": round(off), "kept_a_frame": round(kept), "percent": percent(kept / off)}


def percent(ratio):
    return round(100 * (ratio - 1), 3)


def compare(times, kind):
    """Of the rounds' ratios to the run without a trace."""
    middle, low, high = interval([b / a for a, b in zip(times["off"], times[kind])])
    return {"median_percent": percent(middle), "low_percent": percent(low), "high_percent": percent(high)}


def measure(case, rounds, until, folder, draw):
    """Processor times of each kind beyond a run's start, a round at a time, while there is time left."""
    trace = folder / "trace.json"
    flags = {"off": [], "again": [], "kept": [*KEPT, folder / "kept.json"], "written": ["--trace", trace]}
    start = min(cpu_seconds(*case, "--max-frames", 1) for _ in range(5))
    times = {kind: [] for kind in KINDS}
    while len(times["off"]) < rounds and (time.monotonic() < until or len(times["off"]) < 6):
        for kind in draw.sample(KINDS, len(KINDS)):
            times[kind].append(cpu_seconds(*case, *flags[kind]) - start)
    return times, json.loads(trace.read_text())["traceEvents"]


def judge(times, events, span):
    kept = [e for e in events if e["ph"] in "XstfbeC"]
    frames = sum(e["ph"] == "f" for e in kept)
    # A span is two events: its begin and its end. The file has one line for both.
    recorded = sum(2 if e["ph"] == "X" else 1 for e in kept) / frames
    frame_ns = 1e9 * min(times["off"]) / frames
    bound = {on: round(100 * recorded / 2 * span[f"{on}_ns"] / frame_ns, 6) for on in ("on", "off")}
    found = {kind: compare(times, kind) for kind in KINDS[1:]}
    return {"frames": frames, "rounds": len(times["off"]), "cpu_us_a_frame": round(frame_ns / 1e3, 2),
            "events_a_frame": round(recorded, 2), "noise": found["again"], "kept": found["kept"], "written": found["written"],
            "bound_on_percent": bound["on"], "bound_off_percent": bound["off"], "goal_percent": GOAL,
            "bound_holds": bound["on"] < GOAL, "measured_holds": found["kept"]["high_percent"] < GOAL}


def show(name, r):
    text = lambda c: f"{c['median_percent']:+.2f}% (95%: {c['low_percent']:+.2f} to {c['high_percent']:+.2f})"
    print(f"{name}: {r['frames']} frames, {r['cpu_us_a_frame']:.0f} us of processor time and {r['events_a_frame']:.0f} events a frame, "
          f"{r['rounds']} rounds")
    print(f"  the same twice   {text(r['noise'])}\n  kept in memory   {text(r['kept'])}\n  written at end   {text(r['written'])}")
    print(f"  bound by spans   {r['bound_on_percent']:.4f}% on, {r['bound_off_percent']:.6f}% off")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=60)
    ask.add_argument("--seconds", type=float, default=60, help="no new round after that (six rounds at least)")
    ask.add_argument("--record", type=Path)
    ask.add_argument("--video", default=ROOT / ".deps/media/bikes.mp4")
    args = ask.parse_args()
    begin, draw, cases = time.monotonic(), random.Random(1), {}
    span = json.loads(subprocess.run([BUILD / "bench/bench_trace"], check=True, capture_output=True, text=True).stdout)
    print(f"a span costs {span['off_ns']:.2f} ns while tracing is off, {span['on_ns']:.0f} ns while it is on")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "yolov8n.onnx"
        subprocess.run([BUILD / "omma", "model", "synth", "yolov8n", "--boxes", "30", "-o", model], check=True, capture_output=True)
        null = ("-m", ROOT / "tests/data/shapes.onnx", "-d", "null", "-i")
        generated = lambda frames: (*null, f"pattern:640x480@25:frames={frames}")
        runs = {"decode": (*null, args.video, "--max-frames", "100"),
                "yolov8n": ("-m", model, "-i", args.video, "--max-frames", "20")}
        for at, (name, case) in enumerate(runs.items(), 1):
            times, events = measure(case, args.rounds, begin + args.seconds * at / len(runs), folder, draw)
            cases[name] = judge(times, events, span)
            show(name, cases[name])
        counted = count(generated, folder) if shutil.which("valgrind") else None
        if counted:
            print(f"generated: {counted['off_a_frame']} instructions a frame, kept in memory {counted['percent']:+.2f}%")
    record = {"date": datetime.date.today().isoformat(), "machine": {"cpu": processor(), "cores": os.cpu_count()},
              "load": round(os.getloadavg()[0], 1), "span": span, "instructions": counted, "cases": cases}
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
