#!/usr/bin/env python3
"""What tracing costs a run, measured; what it costs while it is off.

    .deps/venv/bin/python bench/trace_cost.py [--seconds 60] [--record bench/records/trace.json]

Two runs of a video on one core: `decode` (an engine that computes nothing: what is left is decoding and omma's own work, the
worst case for tracing) and `yolov8n` (int8 where .deps/bench/yolov8n-int8.onnx is there). bench_trace runs the video again and again
within one process and draws for each block of frames whether it is traced. Traced blocks record each begin and each end twenty
times: what one records is that factor (by count of the events) below what is seen, and so is the noise. A block is paired
with the next one of the same place in the video that was not traced; told are the median of the pairs' ratios and its distribution-free 95%
interval (by the order of the ratios), divided by the factor, and the same for pairs of untraced blocks, undivided: the noise.
Writing the file (once, at the end) is timed apart and told as a share of the video's frames: a longer run writes no more than the last
65,536 events of a thread.

Two witnesses that no load disturbs: the instructions of a decoded frame as valgrind counts them, without a trace, with one that is
kept in memory and with one that is written; and the cost of a span alone times the spans of a frame. OMMA_BUILD names
the build folder (build).
"""
import argparse
import datetime
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("OMMA_BUILD", ROOT / "build")).resolve()
GOAL = 1.0  # percent
# The bound of latency lies where nothing is dumped for a slow frame.
OMMA = (BUILD / "omma", "run", "-q", "-o", "null:", "--warn-latency", "600")
KEPT = ("--trace-last", "5", "--trace")
FRAMES = 250  # of the video


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


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
    """Instructions of a frame, of 60 frames less those of 20: without a trace, with one that is kept, with one that is written."""
    flags = {"off": (), "again": (), "kept": (*KEPT, folder / "kept.json"), "written": ("--trace", folder / "trace.json")}
    each = {kind: (instructions(*case, "--max-frames", 60, *f) - instructions(*case, "--max-frames", 20, *f)) / 40 for kind, f in flags.items()}
    return {"off_a_frame": round(each["off"]), **{f"{kind}_percent": percent(each[kind] / each["off"]) for kind in ("again", "kept", "written")}}


def percent(ratio):
    return round(100 * (ratio - 1), 3)


def told(ratios, factor):
    middle, low, high = (percent(1 + (ratio - 1) / factor) for ratio in interval(ratios))
    return {"median_percent": middle, "low_percent": low, "high_percent": high}


def measure(video, model, device, block, seconds):
    """What bench_trace says: of its first run, and each place's blocks, untraced and traced, in order of time."""
    done = subprocess.run([BUILD / "bench/bench_trace", video, model, device, str(FRAMES), str(block), str(seconds)],
                          check=True, capture_output=True, text=True, timeout=900 + 2 * seconds)
    lines = done.stdout.splitlines()
    places = {}
    for line in lines[1:]:
        place, traced, ns = map(int, line.split())
        places.setdefault(place, ([], []))[traced].append(ns)
    return json.loads(lines[0]), places


def judge(first, places, block, span):
    # The first round of the video is not told: threads, memory and the decoder get ready.
    off = [ns for untraced, _ in places.values() for ns in untraced]
    frame_ns = statistics.median(off) / block
    factor = first["events_multiplied"] / first["events"]
    events = first["events"] / first["frames"]
    pairs = [on / alone for untraced, traced in places.values() for alone, on in zip(untraced, traced)]
    noise = [b / a for untraced, _ in places.values() for a, b in zip(untraced[::2], untraced[1::2])]
    kept, write = told(pairs, factor), 100 * first["write_ns"] / first["frames"] / frame_ns
    return {"cpu_us_a_frame": round(frame_ns / 1e3, 2), "events_a_frame": round(events, 2), "pairs": len(pairs), "multiplied": round(factor, 2),
            "noise": told(noise, 1), "multiplied_cost": told(pairs, 1), "recording": kept,
            "writing_ms": round(first["write_ns"] / 1e6, 3), "writing_frames": first["frames"], "writing_percent": round(write, 3),
            "spans_on_percent": round(100 * events / 2 * span["on_ns"] / frame_ns, 5),
            "spans_off_percent": round(100 * events / 2 * span["off_ns"] / frame_ns, 6),
            "goal_percent": GOAL, "recording_holds": kept["high_percent"] < GOAL, "with_writing_holds": kept["high_percent"] + write < GOAL}


def show(name, r):
    text = lambda c: f"{c['median_percent']:+.3f}% (95%: {c['low_percent']:+.3f} to {c['high_percent']:+.3f})"
    print(f"{name}: {r['cpu_us_a_frame']:.0f} us of processor time and {r['events_a_frame']:.0f} events a frame, {r['pairs']} pairs of blocks")
    print(f"  the same twice    {text(r['noise'])}\n  {r['multiplied']:4.1f} times traced {text(r['multiplied_cost'])}\n"
          f"  recording         {text(r['recording'])}\n  writing at end    {r['writing_percent']:+.3f}% of {r['writing_frames']} frames: {r['writing_ms']:.2f} ms")
    print(f"  spans alone       {r['spans_on_percent']:.4f}% on, {r['spans_off_percent']:.6f}% off", flush=True)


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seconds", type=float, default=60, help="of each of the two measurements")
    ask.add_argument("--record", type=Path)
    ask.add_argument("--video", default=ROOT / ".deps/media/bikes.mp4", help=f"of {FRAMES} frames or more")
    args = ask.parse_args()
    load = os.getloadavg()[0]
    span = json.loads(subprocess.run([BUILD / "bench/bench_trace"], check=True, capture_output=True, text=True).stdout)
    print(f"a span costs {span['off_ns']:.2f} ns while tracing is off, {span['on_ns']:.0f} ns while it is on")
    int8, null = ROOT / ".deps/bench/yolov8n-int8.onnx", ROOT / "tests/data/shapes.onnx"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = int8
        if not model.exists():
            model = folder / "yolov8n.onnx"
            subprocess.run([BUILD / "omma", "model", "synth", "yolov8n", "-o", model], check=True, capture_output=True)
        cases = {}
        for name, model, device, block in (("decode", null, "null", 25), ("yolov8n", model, "cpu", 1)):
            cases[name] = judge(*measure(args.video, model, device, block, args.seconds), block, span)
            cases[name]["model"] = model.name
            show(name, cases[name])
        counted = count(("-m", null, "-d", "null", "-i", args.video), folder) if shutil.which("valgrind") else None
    if counted:
        print(f"decode: {counted['off_a_frame']} instructions a frame, the same again {counted['again_percent']:+.3f}%, "
              f"kept in memory {counted['kept_percent']:+.3f}%, written {counted['written_percent']:+.3f}%")
    record = {"date": datetime.date.today().isoformat(), "machine": {"cpu": processor(), "cores": os.cpu_count()},
              "load": round(load, 1), "span": span, "instructions": counted, "cases": cases}
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
