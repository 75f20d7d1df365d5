#!/usr/bin/python3
"""`omma worker` beside the same loop in PyTorch on the CPU: read a batch of a video, resize and normalise, infer, take the best.

    bench/worker.py [--build DIR] [--models NAME,...] [--batch N] [--steps N] [--rounds N] [--record FILE]

Eager and torch.compile, f32, as many threads as cores; a round of each in turn, medians of frames a second. Asked: omma at least
1.3 times eager, and not below torch.compile. The structures are torchvision's with random weights on both sides. torch,
torchvision and OpenCV come with `scripts/bench-peers` (.deps/venv-peers).
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = ROOT / ".deps/venv-peers/bin/python"
VIDEO = ROOT / ".deps/media/bikes.mp4"
WARM = 3


def torch_server(model_name, mode, batch, threads):
    """In the interpreter that has torch: a model that is ready, and a round of the loop for each line that comes in."""
    import cv2
    import torch
    import torchvision
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    model = getattr(torchvision.models, model_name)(weights=None).eval()
    infer = torch.compile(model) if mode == "compile" else model
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    video = cv2.VideoCapture(str(VIDEO))

    def read():
        ok, frame = video.read()
        if not ok:
            video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            ok, frame = video.read()
        return frame

    def prepare(frame):
        h, w = frame.shape[:2]
        side = min(h, w)
        y, x = (h - side) // 2, (w - side) // 2
        return cv2.cvtColor(cv2.resize(frame[y:y + side, x:x + side], (224, 224)), cv2.COLOR_BGR2RGB)

    def step():
        frames = [prepare(read()) for _ in range(batch)]
        tensor = torch.stack([torch.from_numpy(f) for f in frames]).permute(0, 3, 1, 2).float().div_(255)
        return infer((tensor - mean) / std).softmax(1).max(1).indices.tolist()

    with torch.inference_mode():
        for _ in range(WARM):
            step()
        print("ready", torch.__version__, flush=True)
        for line in sys.stdin:
            steps = int(line)
            begin = time.perf_counter()
            for _ in range(steps):
                step()
            print(steps * batch / (time.perf_counter() - begin), flush=True)


class Server:
    def __init__(self, cache, *args):
        """`cache`: a folder for what torch.compile makes; one that another run left half-written would fail this one."""
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([TORCH, "-P", __file__, "--serve", *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, env={**os.environ, "OMP_NUM_THREADS": str(args[-1]),
                                                                            "TORCHINDUCTOR_CACHE_DIR": str(cache)})
        said = self.process.stdout.readline().split()
        if not said:
            self.errors.seek(0)
            sys.exit(f"PyTorch ({' '.join(map(str, args))}) failed:\n{self.errors.read()[-2000:]}")
        self.version = said[-1]

    def round(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def omma_round(build, model, batch, steps, folder, *flags):
    out = subprocess.run([build / "omma", "worker", "-m", model, "-i", VIDEO, "-b", str(batch), "--max-steps", str(steps), "--warmup", str(WARM), "-o",
                          folder, *flags], check=True, capture_output=True, text=True, timeout=600).stdout
    return float(re.match(r"([0-9.]+) fps", out).group(1))


def measure(args, model, threads, folder):
    servers = {mode: Server(Path(folder) / "inductor", model, mode, args.batch, threads) for mode in ("eager", "compile")}
    figures = {k: [] for k in ("omma", "omma --enable-compile", "eager", "compile")}
    for _ in range(args.rounds):
        figures["omma"].append(omma_round(args.build, model, args.batch, args.steps, folder))
        figures["omma --enable-compile"].append(omma_round(args.build, model, args.batch, args.steps, folder, "--enable-compile"))
        for mode, server in servers.items():
            figures[mode].append(server.round(args.steps))
    version = servers["eager"].version
    for server in servers.values():
        server.close()
    row = {k: round(statistics.median(v), 2) for k, v in figures.items()}
    best = [max(a, b) for a, b in zip(figures["omma"], figures["omma --enable-compile"])]
    row["times_eager"] = round(statistics.median(a / b for a, b in zip(best, figures["eager"])), 3)
    row["times_compile"] = round(statistics.median(a / b for a, b in zip(best, figures["compile"])), 3)
    return row, version


def main():
    if sys.argv[1:2] == ["--serve"]:
        return torch_server(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--models", default="resnet50,mobilenet_v2,vit_b_16")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    if not TORCH.exists():
        sys.exit("no .deps/venv-peers: scripts/bench-peers makes it")
    threads = len(os.sched_getaffinity(0))
    record = {"date": time.strftime("%Y-%m-%d"), "load_before": round(os.getloadavg()[0], 1), "cores": threads, "batch": args.batch,
              "steps": args.steps, "rounds": args.rounds, "cpu": next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                                                                     if line.startswith("model name")), ""), "models": {}}
    print(f"{'frames a second':18}{'omma':>9}{'+compile':>9}{'eager':>9}{'compile':>9}{'x eager':>9}{'x compile':>10}")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models.split(","):
            row, record["torch"] = measure(args, model, threads, folder)
            record["models"][model] = row
            good = good and row["times_eager"] >= 1.3 and row["times_compile"] >= 1
            print(f"{model:18}{row['omma']:9.1f}{row['omma --enable-compile']:9.1f}{row['eager']:9.1f}{row['compile']:9.1f}{row['times_eager']:9.2f}"
                  f"{row['times_compile']:10.2f}", flush=True)
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
