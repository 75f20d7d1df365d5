#!/usr/bin/env python3
"""The CUDA engine and torch.compile on one card in one run, within a budget of time: f16, input and outputs on the GPU.

    bench/gpu_peers.py [--build DIR] [--pairs resnet50:64,...] [--seconds N] [--budget N] [--rounds N] [--sides omma,torch] [--record FILE]

A pair (model:batch) after the other: ours is compiled and measured by gpu_engine, then PyTorch's by gpu_torch.py, whose processes load
while ours is at work but touch the GPU only when asked; then both once more, in turn (--rounds). Every figure is printed when it is
there. A pair is left out when the budget's seconds are over; a measurement is cut off at its end. $TORCHINDUCTOR_CACHE_DIR saves
most of PyTorch's compiling where it was there before. Asked: resnet50 1.15 times torch.compile, vit_b_16 1.0 times, the others as fast. Models of 224x224, the detectors of 640x640.
"""
import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN = time.monotonic()
ASKED = {"resnet50": 1.15, "vit_b_16": 1.0}


def say(text):
    print(f"{time.monotonic() - BEGIN:6.1f} s  {text}", flush=True)


class Peer:
    """PyTorch with one model."""

    def __init__(self, name, seconds):
        self.process = subprocess.Popen([sys.executable, "-u", HERE / "gpu_torch.py", name, "-", str(seconds)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def answer(self, left):
        try:
            return self.lines.get(timeout=max(left, 0.1))
        except queue.Empty:
            return None

    def measure(self, batch, left):
        """None: it ended, or had no answer in time."""
        try:
            self.process.stdin.write(f"{batch}\n")
            self.process.stdin.flush()
        except OSError:
            return None
        line = self.answer(left)
        if line == "ready":  # said once, when it was loaded
            line = self.answer(left)
        return json.loads(line) if line else None

    def close(self):
        self.process.kill()
        self.process.wait(timeout=30)


def ours(args, model, batch, cache, left):
    try:
        size = "640x640" if model.name.startswith("yolo") else "224x224"
        done = subprocess.run([args.build / "bench/gpu_engine", model, size, str(batch), str(args.seconds), f"cache={cache}"],
                              capture_output=True, text=True, timeout=max(left, 0.1))
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        say(f"gpu_engine {model.name} {batch}: {(done.stdout + done.stderr).strip()[-600:]}")
        return None
    return json.loads(lines[-1])


def compare(args, folder):
    left = lambda: args.budget - (time.monotonic() - BEGIN)  # noqa: E731
    pairs = [(p.split(":")[0], int(p.split(":")[1])) for p in args.pairs.split(",")]
    names = list(dict.fromkeys(name for name, _ in pairs))
    peers = {name: Peer(name, args.seconds) for name in names} if "torch" in args.sides else {}
    models = {name: folder / f"{name}.onnx" for name in names}
    rows = []
    try:
        for name in names if "omma" in args.sides else ():
            subprocess.run([args.build / "omma", "model", "synth", name, "--dynamic", "-o", models[name]], check=True, stdout=subprocess.DEVNULL)
        for name, batch in pairs:
            best, alone = {}, {}
            for i in range(args.rounds):
                for side in args.sides.split(","):
                    got = left() > 0 and (ours(args, models[name], batch, folder / "cache", left()) if side == "omma"
                                          else peers[name].measure(batch, left()))
                    if got:
                        best.setdefault(side, []).append(got["img_s"])
                        alone = {**alone, "batch_ms_min": got["batch_ms_min"], "batch_ms_p50": got["batch_ms_p50"], "note": got["note"]} if side == "omma" else alone
                        say(f"{name} batch {batch}: {side} {got['img_s']:.0f} pictures a second, compiled in {got['compile_s']} s; {json.dumps(got)}")
            row = {"model": name, "batch": batch, **{side: sorted(v)[len(v) // 2] for side, v in best.items()}, **alone}
            if len(best) == 2 and row["torch"]:
                row["times_torch"] = round(row["omma"] / row["torch"], 3)
            if not best:
                say(f"{name} batch {batch}: left out, {args.budget} s are over")
                continue
            rows.append(row)
            say(json.dumps(row))
            if args.record:
                args.record.write_text("".join(json.dumps(r) + "\n" for r in rows))
    finally:
        for peer in peers.values():
            peer.close()
    return all(row.get("times_torch", 0) >= ASKED.get(row["model"], 1) for row in rows) and len(rows) == len(pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=HERE.parent / "build")
    parser.add_argument("--pairs", default="resnet50:64,vit_b_16:64,resnet50:256,vit_b_16:128")
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--budget", type=float, default=600)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sides", default="omma,torch")
    parser.add_argument("--record", type=Path, help="write a JSON line a pair here")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the peers end with this
    args.build = args.build.resolve()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        (Path(folder) / "cache").mkdir()
        return 0 if compare(args, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
