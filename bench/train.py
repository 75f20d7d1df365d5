#!/usr/bin/python3
"""omma's trained heads beside PyTorch's arithmetic and scikit-learn's solver, on the same features.

    bench/train.py [--build DIR] [--record FILE]

- An epoch from the same first numbers and in the same order: how far omma's numbers end from PyTorch's (asked: 1e-4). Needs
  torch, which `scripts/bench-peers` puts into .deps/venv-peers; without it that part is not measured.
- scikit-learn's digits drawn as pictures of 64x64, the features of YOLOv3-tiny's middle layer: omma's head and
  LogisticRegression on what is held out (asked: within a point).
- Which of three packaged clips a frame is from, each clip's last third held out.

scikit-learn comes into .deps/venv-train, pinned by scripts/lock/py-train.txt; models and clips with `scripts/setup test`.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".deps/venv-train"
TORCH = ROOT / ".deps/venv-peers/bin/python"
LOCK = ROOT / "scripts/lock/py-train.txt"
CUT = "convolutional_8_act"
CLIPS = ("bikes.mp4", "carphone_pristine.mp4", "vtest.avi")
BATCH, DECAY, HIDDEN = 32, 0.01, 64
LR = {"sgd": 0.01, "adamw": 0.001}


def enter_venv():
    """This script again, by the interpreter that has the pinned packages."""
    stamp = VENV / "stamp"
    if Path(sys.prefix) == VENV:
        return
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        print("downloading .deps/venv-train (65 MB)", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([VENV / "bin/python", "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--no-deps",
                        "--require-hashes", "-r", LOCK], check=True)
        stamp.write_text(LOCK.read_text())
    os.execv(VENV / "bin/python", [str(VENV / "bin/python"), "-P", __file__, *sys.argv[1:]])


def torch_epoch(folder, optimizer, hidden):
    """Runs in the interpreter that has torch: one epoch from params_first in the order of omma's."""
    import numpy as np
    import torch
    torch.manual_seed(0)
    load = lambda name: np.load(folder / f"{name}.npy")
    x, y, order = torch.from_numpy(load("train_x")), torch.from_numpy(load("train_y")).long(), load("order")[0].astype(np.int64)
    classes = int(y.max()) + 1
    widths = [x.shape[1], hidden, classes] if hidden else [x.shape[1], classes]
    parts = [torch.nn.Linear(i, o) for i, o in zip(widths, widths[1:])]
    model = torch.nn.Sequential(*[m for p in parts for m in (p, torch.nn.ReLU())][:-1])
    torch.nn.utils.vector_to_parameters(torch.from_numpy(load("params_first")), model.parameters())
    kind = torch.optim.SGD(model.parameters(), LR[optimizer], momentum=0.9, weight_decay=DECAY) if optimizer == "sgd" else \
        torch.optim.AdamW(model.parameters(), LR[optimizer], weight_decay=DECAY)
    steps = -(-len(order) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(kind, lambda t: 0.5 * (1 + np.cos(np.pi * t / steps)))
    for t in range(steps):
        rows = torch.from_numpy(order[t * BATCH:(t + 1) * BATCH])
        kind.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        kind.step()
        schedule.step()
    theirs = torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    ours = load("params_last")
    print(json.dumps({"apart": float(np.abs(ours - theirs).max()), "moved": float(np.abs(theirs - load("params_first")).max()),
                      "torch": torch.__version__}))


def draw_digits(folder):
    """1797 pictures, a folder a digit."""
    import numpy as np
    from sklearn.datasets import load_digits
    digits = load_digits()
    for i, (image, label) in enumerate(zip(digits.images, digits.target)):
        gray = np.kron((image * 15.9).astype(np.uint8), np.ones((8, 8), np.uint8))
        path = folder / str(label) / f"digit_{i:04}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"P6 64 64 255\n" + np.repeat(gray[:, :, None], 3, 2).tobytes())


def train(build, data, folder, *args):
    """omma's report."""
    report = folder / "report.json"
    subprocess.run([build / "omma", "train", data, "-m", folder / "yolov3-tiny.onnx", "--cut", CUT, "-o", folder / "new.onnx", "-q",
                    "--report", report, *map(str, args)], check=True, timeout=600)
    return json.loads(report.read_text())


def beside_sklearn(build, folder):
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    draw_digits(folder / "digits")
    report = train(build, folder / "digits", folder, "--input-size", "96x96", "--cache", folder / "cache", "--dump", folder / "dump", "--epochs",
                   60, "--patience", 0, "--extract-batch", 16)
    x, y, held_x, held_y = (np.load(folder / f"dump/{n}.npy") for n in ("train_x", "train_y", "val_x", "val_y"))
    begin = time.perf_counter()
    theirs = LogisticRegression(max_iter=3000).fit(x, y)
    seconds = time.perf_counter() - begin
    return {"pictures": report["train"] + report["val"], "held_out": report["val"], "features": report["features"],
            "omma": report["top1"], "sklearn": round(theirs.score(held_x, held_y), 6), "omma_train_s": report["train_s"],
            "sklearn_train_s": round(seconds, 3)}


def beside_torch(build, folder):
    """On the digits' features, which are in the cache by now."""
    if not TORCH.exists():
        return "not measured: no .deps/venv-peers (scripts/bench-peers)"
    table = {}
    for optimizer in ("sgd", "adamw"):
        for hidden in (0, HIDDEN):
            dump = folder / f"dump-{optimizer}-{hidden}"
            train(build, folder / "digits", folder, "--input-size", "96x96", "--cache", folder / "cache", "--dump", dump, "--epochs", 1, "--batch-size",
                  BATCH, "--optimizer", optimizer, "--lr", LR[optimizer], "--weight-decay", DECAY, "--hidden", hidden)
            out = subprocess.run([TORCH, "-P", __file__, "--torch", dump, optimizer, str(hidden)], check=True, capture_output=True, text=True,
                                 timeout=600).stdout
            table[f"{optimizer}, hidden {hidden}"] = json.loads(out.splitlines()[-1])
    return table


def on_clips(build, folder):
    for name in CLIPS:
        subprocess.run([build / "omma", "frames", "-i", ROOT / ".deps/media" / name, "-o", folder / "frames" / Path(name).stem, "--fps", "4", "-q"],
                       check=True, timeout=600)
    report = train(build, folder / "frames", folder, "--input-size", "160x160", "--split", "last", "--val", 1 / 3)
    return {"frames": report["train"] + report["val"], "held_out": report["val"], "top1": report["top1"], "confusion": report["confusion"]}


def main():
    if sys.argv[1:2] == ["--torch"]:
        return torch_epoch(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    enter_venv()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--record", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, models = Path(name), ROOT / ".deps/models"
        subprocess.run([args.build / "omma", "model", "import", models / "yolov3-tiny.cfg", models / "yolov3-tiny.weights", "-o",
                        folder / "yolov3-tiny.onnx"], check=True, stdout=subprocess.DEVNULL)
        record = {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "digits": beside_sklearn(args.build, folder),
                  "epoch_beside_torch": beside_torch(args.build, folder), "clips": on_clips(args.build, folder)}
    digits, epoch = record["digits"], record["epoch_beside_torch"]
    print(f"digits: omma {100 * digits['omma']:.2f}%, scikit-learn {100 * digits['sklearn']:.2f}% of {digits['held_out']} held out")
    for k, v in epoch.items() if isinstance(epoch, dict) else [("an epoch", {"apart": float("nan"), "moved": float("nan")})]:
        print(f"{k}: {v['apart']:.2e} from PyTorch's, after moving {v['moved']:.3f}")
    print(f"clips: {100 * record['clips']['top1']:.2f}% of {record['clips']['held_out']} frames of the last thirds")
    good = digits["omma"] >= digits["sklearn"] - 0.01 and (not isinstance(epoch, dict) or all(v["apart"] <= 1e-4 for v in epoch.values()))
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
