#!/usr/bin/env python3
"""`omma worker` on an NVIDIA GPU beside the same loop in PyTorch: read a batch, resize and normalise on the GPU, infer, take the best.

    bench/gpu_worker.py [--build DIR] [--models NAME,...] [--sides omma,torch] [--batch N] [--steps N] [--rounds N] [--phase-s N]
                        [--clip FILE] [--record FILE]

Ours: --prep-on-gpu --infer-on-gpu --enable-compile --use-amp. Theirs: torch.compile (reduce-overhead) under autocast to f16,
channels last, with the preparation compiled too and one pinned upload a batch. Both read the same uncompressed frames (an AVI of
yuv420p that is made here) from the page cache, so that no decoder hides what is compared; --clip takes a video instead, which
PyTorch's side reads with OpenCV. Our engine times its kernels first, while nobody disturbs it, and remembers its choice; then all
models of PyTorch's side compile at the same time; then a round of each in turn, medians of frames a second. What is measured is
printed at once, and no phase of a side lasts longer than --phase-s: the others go on. Asked: not below PyTorch. The structures
are torchvision's with random weights on both sides (gpu_models.py has them where torchvision is missing).
"""
import argparse
import json
import os
import queue
import statistics
import struct
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("--prep-on-gpu", "--infer-on-gpu", "--enable-compile", "--use-amp")
WIDTH, HEIGHT, FRAMES, WARM = 640, 360, 96, 6
BEGIN = time.monotonic()


def say(text):
    print(f"{time.monotonic() - BEGIN:6.1f} s  {text}", flush=True)


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def write_frames(path):
    """An AVI of I420 pictures: noise on a moving gradient. Returns where each one's bytes begin."""
    import numpy as np
    rng, size = np.random.default_rng(1), WIDTH * HEIGHT * 3 // 2
    noise = rng.integers(0, 64, size, dtype=np.uint8)
    header = struct.pack("<14I", 40000, 0, 0, 0x10, FRAMES, 0, 1, size, WIDTH, HEIGHT, 0, 0, 0, 0)
    stream = b"vidsI420" + struct.pack("<10I4H", 0, 0, 0, 1, 25, 0, FRAMES, size, 0, 0, 0, 0, WIDTH, HEIGHT)
    form = struct.pack("<IiiHH4sIIIII", 40, WIDTH, HEIGHT, 1, 12, b"I420", size, 0, 0, 0, 0)
    lists = chunk(b"LIST", b"hdrl" + chunk(b"avih", header) + chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", form)))
    movi = 4 + FRAMES * (8 + size)
    index = b"".join(b"00db" + struct.pack("<III", 0x10, 4 + i * (8 + size), size) for i in range(FRAMES))
    offsets = []
    with open(path, "wb") as out:
        out.write(b"RIFF" + struct.pack("<I", 4 + len(lists) + 8 + movi + 8 + len(index)) + b"AVI " + lists)
        out.write(b"LIST" + struct.pack("<I", movi) + b"movi")
        for i in range(FRAMES):
            out.write(b"00db" + struct.pack("<I", size))
            offsets.append(out.tell())
            out.write((noise + np.uint8(i)).tobytes())
        out.write(chunk(b"idx1", index))
    return offsets


class Reader:
    """Batches as one pinned tensor."""

    def __init__(self, video, offsets, batch):
        import torch
        self.raw, self.batch, self.at = bool(offsets), batch, 0
        if self.raw:
            self.file, self.offsets = open(video, "rb", buffering=0), offsets
            self.size = (WIDTH, HEIGHT)
            self.pinned = torch.empty((batch, HEIGHT * 3 // 2, WIDTH), dtype=torch.uint8, pin_memory=True)
            self.rows = [memoryview(p.numpy()).cast("B") for p in self.pinned]
        else:
            import cv2
            self.video = cv2.VideoCapture(str(video))
            self.size = tuple(int(self.video.get(k)) for k in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            self.pinned = torch.empty((batch, self.size[1], self.size[0], 3), dtype=torch.uint8, pin_memory=True)
            self.rows = [p.numpy() for p in self.pinned]

    def read(self):
        for row in self.rows:
            if self.raw:
                self.file.seek(self.offsets[self.at])
                self.file.readinto(row)
                self.at = (self.at + 1) % len(self.offsets)
            elif not self.video.read(row)[0]:
                self.video.set(1, 0)  # CAP_PROP_POS_FRAMES
                self.video.read(row)
        return self.pinned


def torch_server(model_name, video, offsets, batch):
    """A model that is ready, and a round of the loop for each line that comes in: frames a second, milliseconds of reading, of the rest."""
    import torch
    import torch.nn.functional as F
    from gpu_models import classifier
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    model = classifier(model_name).cuda().to(memory_format=torch.channels_last)
    reader = Reader(video, offsets, batch)
    (width, height), side = reader.size, min(reader.size)
    x0, y0 = (width - side) // 2, (height - side) // 2
    mean = torch.tensor([0.485, 0.456, 0.406], device="cuda").view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], device="cuda").view(1, 3, 1, 1)

    def prepare(data):
        if reader.raw:  # BT.601, limited range
            y = data[:, :height].float()
            quarter = data[:, height:].reshape(-1, 2, height // 2, width // 2).float()
            y = (y.unsqueeze(1) - 16) * (255 / 219)
            uv = F.interpolate(quarter, scale_factor=2, mode="nearest") - 128
            u, v = uv[:, :1] * (255 / 224), uv[:, 1:] * (255 / 224)
            rgb = torch.cat((y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u), 1).clamp(0, 255)
        else:
            rgb = data.flip(3).permute(0, 3, 1, 2).float()
        rgb = F.interpolate(rgb[:, :, y0:y0 + side, x0:x0 + side], (224, 224), mode="bilinear", align_corners=False)
        return ((rgb / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def forward(data):
        with torch.autocast("cuda", dtype=torch.float16):
            return model(prepare(data)).softmax(1).max(1).indices

    run = torch.compile(forward, mode="reduce-overhead")

    spent = [0.0, 0.0]

    def step():
        begin = time.perf_counter()
        frames = reader.read()
        ready = time.perf_counter()
        found = run(frames.cuda(non_blocking=True)).tolist()
        spent[0] += ready - begin
        spent[1] += time.perf_counter() - ready
        return found

    with torch.inference_mode():
        begin = time.perf_counter()
        for _ in range(WARM):
            step()
        print("ready", torch.__version__, torch.cuda.get_device_name(0).replace(" ", "_"), round(time.perf_counter() - begin, 1), flush=True)
        for line in sys.stdin:
            steps, spent[:], begin = int(line), (0.0, 0.0), time.perf_counter()
            for _ in range(steps):
                step()
            took = time.perf_counter() - begin
            print(steps * batch / took, *(1e3 * s / steps for s in spent), flush=True)


class Server:
    """PyTorch's side of a model, in a process of its own. Answers of None: it ended, or took longer than it may."""

    def __init__(self, *args):
        self.process = subprocess.Popen([sys.executable, "-u", __file__, "--serve", json.dumps(args)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line.split())
        self.lines.put(None)

    def answer(self, seconds):
        try:
            return self.lines.get(timeout=max(seconds, 0.1))
        except queue.Empty:
            return None

    def ready(self, seconds):
        said = self.answer(seconds)
        if not said or said[0] != "ready":
            return False
        self.version, self.gpu, self.compile_s = said[1], said[2].replace("_", " "), float(said[3])
        return True

    def round(self, steps, seconds):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        said = self.answer(seconds)
        return said and [float(v) for v in said]

    def close(self):
        self.process.kill()
        self.process.wait(timeout=60)


def omma_round(args, model, video, folder):
    """Frames a second, and the middle milliseconds of a step's parts; None: it failed, which is told."""
    command = [args.build / "omma", "worker", "-m", model, "-i", video, "-b", str(args.batch), "--max-steps", str(args.steps),
               "--warmup", str(WARM), "-o", folder, *FLAGS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.phase_s)
    except subprocess.TimeoutExpired:
        say(f"{model}: omma took longer than {args.phase_s} s")
        return None
    if done.returncode:
        say(f"{model}: omma worker: {done.stderr.strip()[-2000:]}")
        return None
    table = max(Path(folder).glob("*_metrics.csv"), key=lambda p: p.stat().st_mtime).read_text().splitlines()
    columns = list(zip(*([float(v) for v in row.split(",")[1:5]] for row in table[1:])))
    return float(re.match(r"([0-9.]+) fps", done.stdout).group(1)), [round(statistics.median(c), 3) for c in columns]


def middle(values):
    return round(statistics.median(values), 1) if values else None


def measure(args, model, video, folder, server, row):
    """Rounds of each side in turn."""
    if server and not server.ready(args.phase_s):
        say(f"{model}: torch was not ready within {args.phase_s} s more, or ended")
        server = None
    if server:
        row["torch_compile_s"] = server.compile_s
        say(f"{model}: torch {server.version} compiled in {server.compile_s} s, on {server.gpu}")
    ours, theirs, times = [], [], []
    for _ in range(args.rounds):
        other = server and server.round(args.steps, args.phase_s)
        if other:
            theirs.append(other[0])
            row["torch_read_rest_ms"] = [round(v, 3) for v in other[1:]]
            say(f"{model}: torch {other[0]:.1f} frames a second; read, rest {row['torch_read_rest_ms']} ms")
        own = "omma" in args.sides and omma_round(args, model, video, folder)
        if own:
            ours.append(own[0])
            row["omma_read_prep_exec_total_ms"] = own[1]
            say(f"{model}: omma {own[0]:.1f} frames a second; read, prep, exec, total {own[1]} ms")
        if own and other:
            times.append(own[0] / other[0])
    row |= {"omma_fps": middle(ours), "torch_fps": middle(theirs), "omma_all": [round(v, 1) for v in ours],
            "torch_all": [round(v, 1) for v in theirs], "times_torch": round(statistics.median(times), 3) if times else None}
    say(f"{model} batch {args.batch}: {json.dumps(row)}")


def compare(args, folder, record):
    video, offsets = (args.clip.resolve(), None) if args.clip else (Path(folder) / "frames.avi", None)
    if not args.clip:
        offsets = write_frames(video)
    rows = {model: {} for model in args.models.split(",")}
    for model in rows if "omma" in args.sides else ():
        begin = time.monotonic()
        first = omma_round(args, model, video, folder)
        rows[model]["omma_first_s"] = round(time.monotonic() - begin, 1)
        if first:
            say(f"{model}: omma tuned and run once: {first[0]:.1f} frames a second; read, prep, exec, total {first[1]} ms")
    servers = {model: Server(model, str(video), offsets, args.batch) for model in rows} if "torch" in args.sides else {}
    try:
        for model, row in rows.items():
            measure(args, model, video, folder, servers.get(model), row)
            if row.get("torch_fps"):
                record["torch"], record["gpu"] = servers[model].version, servers[model].gpu
            record["models"][model] = row
            if args.record:
                args.record.write_text(json.dumps(record, indent=1) + "\n")
    finally:
        for server in servers.values():
            server.close()
    return all((row.get("times_torch") or 0) >= 1 for row in rows.values())


def main():
    if sys.argv[1:2] == ["--serve"]:
        return torch_server(*json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--models", default="resnet50,vit_b_16")
    parser.add_argument("--sides", default="omma,torch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--phase-s", type=float, default=300, help="seconds that one phase of a side may last")
    parser.add_argument("--clip", type=Path, help="a video instead of uncompressed frames")
    parser.add_argument("--record", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the peers end with this
    record = {"date": time.strftime("%Y-%m-%d"), "batch": args.batch, "steps": args.steps, "rounds": args.rounds,
              "input": args.clip.name if args.clip else f"{FRAMES} uncompressed frames of {WIDTH}x{HEIGHT}", "models": {}}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        return 0 if compare(args, folder, record) else 1


if __name__ == "__main__":
    sys.exit(main())
