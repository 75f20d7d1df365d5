#!/usr/bin/env python3
"""What secondary models cost, each figure a ratio within one run, runs taken in turns:

  batched   frames a second with 5 crops a frame, beside 1 / (1/primary + crops/secondary), where `primary` is the same pipeline
            without the secondary and `secondary` the crops a second it does when the primary costs nothing
  memory    questions asked for each frame over questions asked for each track, and how many tracks end with the same answer
  latency   the primary's p99 with a secondary ten times too slow over that without (live streams)

    bench/second.py [--omma BINARY] [--rounds 5] [--only batched] [--json FILE]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests/data"
CROPS = 5


def run(omma, folder, *args):
    report = folder / "report.json"
    subprocess.run([omma, "run", "-q", "--report", report, *map(str, args)], check=True, timeout=300)
    return json.loads(report.read_text())


def batched(omma, folder, rounds):
    primary, second = folder / "primary.onnx", folder / "second.onnx"
    subprocess.run([omma, "model", "synth", "yolov3-tiny", "-o", primary, "--boxes", "40", "--dynamic"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([omma, "model", "synth", "mobilenet_v2", "-o", second, "--size", "96x96"], check=True, stdout=subprocess.DEVNULL)
    common = ["-m", primary, "--conf", "0.01", "--max-boxes", CROPS, "--input-size", "224x224", "-o", "null:"]
    crops = ["--secondary", f"model={second},budget={CROPS}"]
    free = ["-m", primary, "-d", "null", "--conf", "0.2", "--max-boxes", CROPS, "-o", "null:", "--secondary",
            f"model={second},device=cpu"]
    source = ["-i", "pattern:640x480:frames=120", "-i", "pattern:640x480:frames=120:seed=2"]
    alone, only, both, ratios = [], [], [], []
    for _ in range(rounds):
        alone.append(run(omma, folder, *common, *source)["totals"]["fps"])
        r = run(omma, folder, *free, *source)
        only.append(r["totals"]["fps"] * r["secondary"][0]["asked"] / r["totals"]["inferred"])
        r = run(omma, folder, *common, *source, *crops)
        each = r["secondary"][0]["answered"] / r["totals"]["inferred"]  # some pictures have fewer than 5 boxes
        assert each > 0.9 * CROPS, r["secondary"]
        both.append(r["totals"]["fps"])
        ratios.append(both[-1] * (1 / alone[-1] + each / only[-1]))
    return {"primary_fps": statistics.median(alone), "secondary_crops_s": statistics.median(only),
            "pipeline_fps": statistics.median(both), "ratio": statistics.median(ratios), "ratios": ratios}


def memory(omma, folder, _):
    asked, final = {}, {}
    for each in ("frame", "track"):
        out = folder / f"{each}.jsonl"
        r = run(omma, folder, "-m", DATA / "boxes.onnx", "-i", "pattern:640x480@25:frames=200:seed=6", "--track", "bytetrack", "-o",
                f"jsonl:{out}", "--secondary", f"model={DATA / 'classify.onnx'},each={each}")
        asked[each] = r["secondary"][0]["asked"]
        votes = {}
        for line in out.read_text().splitlines():
            for o in json.loads(line)["objects"]:
                for a in o.get("second", []):
                    if "class" in a and "track" in o:
                        votes.setdefault(o["track"], []).append(a["class"])
        final[each] = {t: statistics.mode(v) if each == "frame" else v[-1] for t, v in votes.items()}
    same = sum(final["frame"].get(t) == c for t, c in final["track"].items())
    return {"asked_by_frame": asked["frame"], "asked_by_track": asked["track"], "ratio": asked["frame"] / asked["track"],
            "tracks": len(final["track"]), "tracks_with_the_same_answer": same}


def latency(omma, folder, rounds):
    """The primary sleeps 8 ms a batch and the secondary 400 ms for each crop: what is measured is the engine around them, not who
    gets a core."""
    primary = folder / "grid.onnx"
    subprocess.run([omma, "model", "synth", "yolov3-tiny", "-o", primary, "--classes", "2", "--dynamic"], check=True, stdout=subprocess.DEVNULL)
    common = ["-m", primary, "-d", "null:8000", "--conf", "0.2", "--max-boxes", CROPS, "--input-size", "96x96", "--live", "--track",
              "iou", "-o", "null:"] + [a for i in range(4) for a in ("-i", f"pattern:320x240@25:frames=100:seed={i}")]
    second = ["--secondary", f"model={DATA / 'classify.onnx'},device=null:400000,confident=1"]
    without, beside, ratios = [], [], []
    for _ in range(rounds):
        a = run(omma, folder, *common)["totals"]["latency_ms"]["p99"]
        r = run(omma, folder, *common, *second)
        b = r["totals"]["latency_ms"]["p99"]
        without.append(a)
        beside.append(b)
        ratios.append(b / a)
    return {"p99_without_ms": statistics.median(without), "p99_with_ms": statistics.median(beside),
            "ratio": statistics.median(ratios), "ratios": ratios}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omma", default=ROOT / "build/omma")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["batched", "memory", "latency"])
    parser.add_argument("--json", help="append the record to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        record = {"bench": "second", "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "rounds": args.rounds}
        for figure in (batched, memory, latency):
            if args.only in (None, figure.__name__):
                record[figure.__name__] = figure(args.omma, folder, args.rounds)
    text = json.dumps(record)
    if args.json:
        with open(args.json, "a") as f:
            f.write(text + "\n")
    print(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
