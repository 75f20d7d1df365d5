#!/usr/bin/python3
"""How near the f32 work of a model on the CPU comes to what its matrices allow: one thread each, arithmetic a second of CPU time.

    bench/worker_limit.py [--build DIR] [--model vit_b_16] [--rounds N] [--record FILE]

In turn, medians of the rounds: OpenBLAS (NumPy's) multiplying the model's own matrices alone, and large squares; `omma worker`, the
whole of a step (two runs of different length, so that start and warm-up fall out); PyTorch eager, the model alone. CPU seconds, not
those of the clock: other work on the machine takes the clock's. NumPy comes with .deps/venv, PyTorch with `scripts/bench-peers`.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NUMPY, TORCH = ROOT / ".deps/venv/bin/python", ROOT / ".deps/venv-peers/bin/python"
VIDEO = ROOT / ".deps/media/bikes.mp4"
BATCH, SHORT, LONG = 4, 2, 6
# Multiply-adds of a picture, and rows, depth, columns and times of the products of a batch.
MODELS = {"vit_b_16": (17.565e9, [(788, 768, 2304, 12), (788, 768, 768, 12), (788, 768, 3072, 12), (788, 3072, 768, 12)])}


def serve_numpy(shapes):
    import numpy as np
    rng = np.random.default_rng(1)
    pairs = [(rng.random((m, k), np.float32), rng.random((k, n), np.float32), times) for m, k, n, times in shapes]
    square = rng.random((1024, 1024), np.float32)
    for _ in sys.stdin:
        spent = work = 0
        for a, b, times in pairs:
            begin = time.thread_time()
            for _ in range(2):
                a @ b
            spent += (time.thread_time() - begin) * times / 2
            work += 2 * a.shape[0] * a.shape[1] * b.shape[1] * times
        begin = time.thread_time()
        for _ in range(8):
            square @ square
        print(work / spent / 1e9, 8 * 2 * 1024 ** 3 / (time.thread_time() - begin) / 1e9, flush=True)


def serve_torch(model, macs):
    import torch
    sys.path.insert(0, str(ROOT / "bench"))
    from gpu_models import classifier
    torch.set_num_threads(1)
    net, x = classifier(model), torch.rand(BATCH, 3, 224, 224)
    with torch.inference_mode():
        net(x)
        for _ in sys.stdin:
            begin = time.thread_time()
            net(x)
            print(2 * macs * BATCH / (time.thread_time() - begin) / 1e9, flush=True)


class Server:
    def __init__(self, python, *args):
        env = os.environ | {v: "1" for v in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen([python, __file__, "--serve", json.dumps(args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=env)

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [float(v) for v in self.process.stdout.readline().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def omma_seconds(build, model, steps, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([build / "omma", "worker", "-m", model, "-i", VIDEO, "-b", str(BATCH), "--threads", "1", "--core-bind", "0", "--warmup", "1",
                    "--max-steps", str(steps), "-d", "cpu", "-q", "-o", folder], check=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    if sys.argv[1:2] == ["--serve"]:
        what, *rest = json.loads(sys.argv[2])
        return {"numpy": serve_numpy, "torch": serve_torch}[what](*rest)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--model", default="vit_b_16", choices=sorted(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", type=Path, help="put the figures into this JSON, as 'limit'")
    args = parser.parse_args()
    macs, shapes = MODELS[args.model]
    numpy, torch = Server(NUMPY, "numpy", shapes), Server(TORCH, "torch", args.model, macs)
    rounds = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for _ in range(args.rounds):
            own, squares = numpy.round()
            steps = omma_seconds(args.build, args.model, LONG, folder) - omma_seconds(args.build, args.model, SHORT, folder)
            rounds.append((own, squares, 2 * macs * BATCH * (LONG - SHORT) / steps / 1e9, torch.round()[0]))
            print("OpenBLAS on the model's matrices {:.1f}, on squares {:.1f}; omma {:.1f}, PyTorch eager {:.1f} GFLOP a CPU second".format(
                *rounds[-1]), flush=True)
    numpy.close()
    torch.close()
    names = ("openblas_own_matrices", "openblas_squares", "omma", "torch_eager")
    row = {"model": args.model, "batch": BATCH, "unit": "GFLOP a CPU second, one thread", "rounds": args.rounds}
    row |= {name: round(statistics.median(column), 1) for name, column in zip(names, zip(*rounds))}
    row |= {"omma_times_openblas": round(statistics.median(r[2] / r[0] for r in rounds), 3),
            "omma_times_torch": round(statistics.median(r[2] / r[3] for r in rounds), 3)}
    print(json.dumps(row))
    if args.record:
        record = json.loads(args.record.read_text()) if args.record.exists() else {}
        args.record.write_text(json.dumps(record | {"limit": row}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
