#!/usr/bin/env python3
"""Plants causes and counts how often omma names them: prints the confusion matrix.

    .deps/venv/bin/python bench/planted.py [--runs 200] [--seed 1] [--only KIND,...] [--share 0.95] [--minutes M]
                                       [--record bench/records/planted.json]

Models are made to spend their time in one way; runs get a slow source, a slow decoder, a sink that nobody empties, huge
pictures for a small model, one core of several, a heavy model, batches that too few streams fill, or nothing at all. A pair plants two causes, in one model or in
a model and a run that are looked at together, and counts when both are named. The seed draws what is planted (each once before
one comes again), how much of it, and which two make a pair. Exit status 1 below --share, 77 where most runs were left out.

A run while other programs took more than a tenth of the machine is repeated, and left out where that goes on: that cause
was not planted.
OMMA_BUILD names the build folder (build).
"""
import argparse
import collections
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
import plants  # noqa: E402

OMMA = Path(os.environ.get("OMMA_BUILD", ROOT / "build")).resolve() / "omma"
SHAPES = ROOT / "tests/data/shapes.onnx"


def omma(*args, env=None, cpus=None):
    """Runs the command; on `cpus` of the cores where given."""
    begin = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
    done = subprocess.run([OMMA, *map(str, args)], capture_output=True, text=True, timeout=300, preexec_fn=begin,
                          env={**os.environ, **(env or {})})
    if done.returncode:
        raise RuntimeError(f"{done.args}: {done.stderr.strip()[-300:]}")


def machine_seconds():
    """Processor time that all programs have used."""
    fields = [int(v) for v in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def disturbed(work):
    """What `work` returns, and the part of the machine that others took meanwhile."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    begin, used = time.monotonic(), machine_seconds()
    found = work()
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = now.ru_utime + now.ru_stime - own[0].ru_utime - own[0].ru_stime + time.process_time() - own[1]
    return found, (machine_seconds() - used - ours) / (time.monotonic() - begin) / os.cpu_count()


def causes(path):
    return [f["cause"] for f in json.loads(path.read_text())["findings"]]


def model(kind):
    def plant(rng, folder):
        omma("profile", plants.MODELS[kind][0](folder / "m.onnx", rng), "--iterations", 3, "-q", "--json", folder / "p.json")
        return causes(folder / "p.json")
    return plant


def run(folder, *args, **how):
    omma("run", *args, "-q", "--profile", folder / "p.json", **how)
    return causes(folder / "p.json")


def pattern(rng, frames, sizes=((320, 240), (640, 480))):
    width, height = sizes[int(rng.integers(len(sizes)))]
    return f"pattern:{width}x{height}@25:frames={frames}:seed={int(rng.integers(1, 99))}"


def slow_source(rng, folder):
    delay = int(rng.integers(15, 60))
    return run(folder, "-m", SHAPES, "--device", "null", "-i", pattern(rng, 60), "-o", "null:", env={"OMMA_TEST_DELAY": f"source:{delay}"})


def slow_decoder(rng, folder):
    delay = int(rng.integers(8, 40))
    return run(folder, "-m", SHAPES, "--device", "null", "-i", pattern(rng, 80), "-o", "null:", env={"OMMA_TEST_DELAY": f"decode:{delay}"})


def slow_sink(rng, folder):
    """A pipe whose reader takes its time."""
    pipe, rate = folder / "pipe", int(rng.integers(4, 12)) * 1000
    os.mkfifo(pipe)
    stop = threading.Event()

    def read():
        with open(pipe, "rb", buffering=0) as source:
            while not stop.is_set() and source.read(rate // 20):
                time.sleep(.05)
            while source.read(1 << 16):
                pass
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    threading.Timer(6, stop.set).start()
    # More lines than the pipe and the sink's queue hold.
    return run(folder, "-m", SHAPES, "--device", "null", "-i", pattern(rng, 1500), "-o", f"jsonl:{pipe}", "--sink-queue", 2)


def huge_pictures(rng, folder):
    """Preparing the input is the work: the pattern is painted once and looped, nothing is inferred."""
    return run(folder, "-m", SHAPES, "--device", "null", "-i", pattern(rng, 60), "-o", "null:", "--input-size",
               f"{int(rng.integers(5, 9)) * 256}x{int(rng.integers(5, 9)) * 256}", env={"OMMA_TEST_DELAY": "gather:" + str(int(rng.integers(10, 40)))})


def heavy_model(rng, folder):
    size = int(rng.integers(5, 9)) * 64
    return run(folder, "-m", SHAPES, "--input-size", f"{size}x{size}", "-i", pattern(rng, 60), "-i", pattern(rng, 60), "-o", "null:")


def one_core(rng, folder):
    size = int(rng.integers(5, 9)) * 64
    return run(folder, "-m", SHAPES, "--input-size", f"{size}x{size}", "-i", pattern(rng, 40), "-i", pattern(rng, 40), "-o", "null:", cpus={0})


def small_batches(rng, folder):
    """An engine that takes as long for a few pictures as for a full batch, and too few streams to fill one."""
    us, size = int(rng.integers(3, 9)) * 10000, int(rng.integers(3)) * 8 + 16
    return run(folder, "-m", SHAPES, "--device", f"null:{us}", "--batch-size", size, "-i", pattern(rng, 60), "-i", pattern(rng, 60), "-o", "null:")


def nothing(rng, folder):
    fps = int(rng.integers(5, 15))
    return run(folder, "-m", SHAPES, "-i", f"pattern:320x240@{fps}:frames={3 * fps}", "--live", "-o", "null:")


def both(found, *right):
    return ["both"] if all(causes & set(found) for causes in right) else found


def pair_in_model(rng, folder):
    """Depthwise convolutions and a copying tail in one model."""
    omma("profile", plants.depthwise_and_copies(folder / "m.onnx", rng), "--iterations", 3, "-q", "--json", folder / "p.json")
    return both(causes(folder / "p.json"), {"memory-bound"}, {"copy-bound"})


def pair_with_run(rng, folder):
    """A model's cause and a run's, which the report of both is to name."""
    make, of_model = plants.MODELS[list(plants.MODELS)[int(rng.integers(len(plants.MODELS)))]]
    plant, of_run = RUNS[list(RUNS)[int(rng.integers(len(RUNS)))]]
    omma("profile", make(folder / "m.onnx", rng), "--iterations", 3, "-q", "--json", folder / "m.json")
    plant(rng, folder)
    omma("profile", "--from", folder / "m.json", "--run", folder / "p.json", "-q", "--json", folder / "both.json")
    return both(causes(folder / "both.json"), of_model, of_run)


RUNS = {
    "slow source": (slow_source, {"source-bound"}),
    "slow decoder": (slow_decoder, {"decode-bound"}),
    "slow sink": (slow_sink, {"sink-bound"}),
    "huge pictures": (huge_pictures, {"pre/post-bound"}),
    "heavy model": (heavy_model, {"inference-bound"}),
    "small batches": (small_batches, {"batching-bound"}),
    "one core": (one_core, {"cpu-contended"}),
}

KINDS = {
    **{kind: (model(kind), right) for kind, (_, right) in plants.MODELS.items()},
    **RUNS,
    "nothing": (nothing, {"nothing wrong"}),
    "pair in model": (pair_in_model, {"both"}),
    "pair with run": (pair_with_run, {"both"}),
}


def drawn(kinds, seed, runs):
    """What is planted, run by run."""
    rng, deck = np.random.default_rng(seed), []
    for _ in range(runs):
        if not deck:
            deck = [kinds[i] for i in rng.permutation(len(kinds))]
        yield deck.pop()


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--runs", type=int, default=200)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--only", default=",".join(KINDS))
    ask.add_argument("--share", type=float, default=.95)
    ask.add_argument("--minutes", type=float, default=1e9, help="stop counting after so many")
    ask.add_argument("--record", type=Path, help="write the counts and the matrix there")
    args = ask.parse_args()
    kinds = args.only.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        ask.error(f"--only: '{unknown[0]}' is none of {', '.join(KINDS)}")
    matrix, right, left_out = collections.defaultdict(collections.Counter), 0, 0
    begin, runs = time.monotonic(), 0
    end = begin + 60 * args.minutes
    for i, kind in enumerate(drawn(kinds, args.seed, args.runs)):
        if time.monotonic() > end:
            break
        runs += 1
        for _ in range(4):
            with tempfile.TemporaryDirectory() as folder:
                found, others = disturbed(lambda: KINDS[kind][0](np.random.default_rng(args.seed * 100003 + i), Path(folder)))
            if others < .1:
                break
        else:
            left_out += 1
            continue
        matrix[kind][found[0]] += 1
        right += found[0] in KINDS[kind][1]
        if found[0] not in KINDS[kind][1]:
            print(f"run {i}: {kind}: {', '.join(found)}", file=sys.stderr)
    named = sorted({cause for row in matrix.values() for cause in row})
    print(f"{'planted':16}" + "".join(f"{cause:>18}" for cause in named))
    for kind in kinds:
        print(f"{kind:16}" + "".join(f"{matrix[kind][c] or '':>18}" for c in named))
    counted = runs - left_out
    print(f"{right} of {counted} named rightly: {100 * right / max(1, counted):.1f}%; {left_out} left out: other programs were at work")
    if args.record:
        args.record.write_text(json.dumps(
            {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "seed": args.seed, "runs": runs, "left_out": left_out,
             "named_rightly": right, "seconds": round(time.monotonic() - begin), "matrix": {kind: matrix[kind] for kind in kinds}}, indent=1) + "\n")
    return 77 if counted < runs / 2 else right < args.share * counted


if __name__ == "__main__":
    sys.exit(main())
