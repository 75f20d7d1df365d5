"""From a detector's raw tensor to final boxes: omma beside torchvision and numpy + OpenCV, on one core, on the same
numbers, in turn in one process.

    heads.py --build BUILD [--rounds 15] [--json FILE]

Run it with an interpreter that has numpy, cv2, torch and torchvision (scripts/bench-peers makes one, .deps/venv-peers);
peers that are not there are left out. Times are medians over the rounds of CPU time in microseconds, and the best round
beside, since other work on the machine takes from the shared cache; "read" is what it takes to read the tensor and compare
each number once. The boxes of all are compared.
"""
import argparse
import ctypes
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np  # noqa: E402

try:
    import cv2
    cv2.setNumThreads(1)
except ImportError:
    cv2 = None
try:
    import torch
    import torchvision
    torch.set_num_threads(1)
except ImportError:
    torch = None

CONF, IOU, MOST = 0.25, 0.7, 300


class Case(ctypes.Structure):
    _fields_ = [("family", ctypes.c_char_p), ("data", ctypes.c_void_p), ("rows", ctypes.c_long), ("columns", ctypes.c_long),
                ("f16", ctypes.c_int), ("max_boxes", ctypes.c_int), ("conf", ctypes.c_float), ("iou", ctypes.c_float)]


def load_heads(build):
    lib = ctypes.CDLL(str(Path(build) / "bench" / "libbench_heads.so"))
    lib.heads_open.restype = ctypes.c_void_p
    lib.heads_decode.restype = ctypes.c_long
    lib.heads_table.restype = lib.heads_error.restype = ctypes.c_char_p
    lib.heads_decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    lib.heads_time.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    lib.heads_time_read.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_void_p]
    lib.heads_close.argtypes = [ctypes.c_void_p]
    return lib


def yolov8_matrix(rng, over, anchors=8400, classes=80):
    """Objects of several overlapping anchors each; `over` of the anchors score above the threshold, in all classes."""
    m = np.empty((4 + classes, anchors), np.float32)
    m[0:2] = rng.uniform(20, 620, (2, anchors))
    m[2:4] = rng.uniform(10, 120, (2, anchors))
    m[4:] = rng.uniform(0, 0.05, (classes, anchors)).astype(np.float32)
    chosen = rng.permutation(anchors)[:over]
    objects = max(1, over // 6)
    centres = rng.uniform(40, 600, (objects, 4))
    which = rng.integers(0, objects, over)
    m[0:2, chosen] = centres[which, 0:2].T + rng.normal(0, 4, (2, over))
    m[2:4, chosen] = 20 + centres[which, 2:4].T / 6 + rng.normal(0, 2, (2, over))
    m[4 + which % classes, chosen] = rng.uniform(0.3, 0.95, over)
    return m


def yolov5_matrix(rng, over):
    m = yolov8_matrix(rng, over, 25200).T
    objectness = np.where(m[:, 4:].max(1) > 0.25, rng.uniform(0.85, 1, 25200), rng.uniform(0, 0.1, 25200))
    return np.ascontiguousarray(np.hstack([m[:, :4], objectness[:, None], m[:, 4:]]).astype(np.float32))


class Torchvision:
    name = "torchvision"

    def __init__(self, family, m):
        self.family, self.m = family, torch.from_numpy(m)

    def __call__(self):
        m = self.m
        if self.family == "yolov8":
            m = m[:, (m[4:].amax(0) > CONF).nonzero().squeeze(1)]
            score, cls = m[4:].max(0)
            box = m[:4].T
        else:
            m = m[m[:, 4] > CONF]
            score, cls = (m[:, 5:] * m[:, 4:5]).max(1)
            chosen = score > CONF
            box, score, cls = m[chosen, :4], score[chosen], cls[chosen]
        half = box[:, 2:4] / 2
        corners = torch.cat([box[:, :2] - half, box[:, :2] + half], 1)
        keep = torchvision.ops.batched_nms(corners, score, cls, IOU)[:MOST]
        return torch.cat([corners[keep], score[keep, None], cls[keep, None].float()], 1).numpy()


class NumpyCv2:
    name = "numpy+cv2"

    def __init__(self, family, m):
        self.family, self.m = family, m

    def __call__(self):
        m = self.m
        if self.family == "yolov8":
            score = m[4:].max(0)
            chosen = np.flatnonzero(score > CONF)
            box, score, cls = m[:4, chosen].T, score[chosen], m[4:, chosen].argmax(0)
        else:
            m = m[m[:, 4] > CONF]
            product = m[:, 5:] * m[:, 4:5]
            cls = product.argmax(1)
            score = product[np.arange(len(m)), cls]
            chosen = score > CONF
            box, score, cls = m[chosen, :4], score[chosen], cls[chosen]
        rects = box.copy()
        rects[:, :2] -= box[:, 2:4] / 2
        keep = np.asarray(cv2.dnn.NMSBoxesBatched(rects, score, cls, CONF, IOU), int).reshape(-1)[:MOST]
        rects[:, 2:4] += rects[:, :2]
        return np.hstack([rects[keep], score[keep, None], cls[keep, None].astype(np.float32)])


class Omma:
    name = "omma"

    def __init__(self, lib, family, m):
        self.lib = lib
        case = Case(family.encode(), m.ctypes.data, *m.shape, m.dtype == np.float16, MOST, CONF, IOU)
        self.handle, self.keep = lib.heads_open(ctypes.byref(case)), (case, m)
        if not self.handle:
            sys.exit(lib.heads_error().decode())

    def boxes(self):
        out = np.empty((MOST, 6), np.float32)
        return out[:self.lib.heads_decode(self.handle, out.ctypes.data)]

    def time(self, n):
        ns = np.empty(n)
        self.lib.heads_time(self.handle, n, ns.ctypes.data)
        return float(np.median(ns)) / 1e3


def time_python(call, n):
    taken = []
    for _ in range(n):
        start = time.thread_time_ns()
        call()
        taken.append(time.thread_time_ns() - start)
    return statistics.median(taken) / 1e3


def in_picture(boxes):
    """What omma does last: boxes cut at the picture's edges, empty ones left out."""
    boxes = boxes.copy()
    boxes[:, :4] = boxes[:, :4].clip(0, 640)
    return boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]


def same(a, b):
    """Whether two sets of boxes are equal but for rounding."""
    if a.shape != b.shape:
        return False
    order = [np.lexsort(x[:, [0, 5, 4]].T) for x in (a, b)]
    return bool(np.allclose(a[order[0]], b[order[1]], atol=1e-3))


def measure(lib, name, family, m, half, rounds):
    tensor = m.astype(np.float16) if half == "f16" else np.ascontiguousarray(m.T) if half == "turned" else m
    ours = Omma(lib, family, tensor)
    peers = [kind(family, m) for kind, there in ((Torchvision, torch), (NumpyCv2, cv2)) if there] if not half else []
    want, taken = ours.boxes(), {p.name: [] for p in [ours, *peers]}
    taken["read"] = []
    row = {"case": name, "boxes": len(want)}
    flat, ns = tensor.reshape(-1), np.empty(9)
    for p in peers:
        row[f"same_as_{p.name}"] = same(in_picture(p()), want)
    for _ in range(rounds):
        taken[ours.name].append(ours.time(25))
        lib.heads_time_read(flat.ctypes.data, flat.nbytes // 4, 9, ns.ctypes.data)
        taken["read"].append(float(np.median(ns)) / 1e3)
        for p in peers:
            taken[p.name].append(time_python(p, 5))
    row["us"] = {k: round(statistics.median(v), 1) for k, v in taken.items()}
    row["us_best_round"] = {k: round(min(v), 1) for k, v in taken.items()}
    row["megabytes"] = round(tensor.nbytes / 1e6, 2)
    return row


def machine():
    text = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {k.strip(): v.strip() for k, v in fields.items() if k.strip() in ("model name", "cpu family", "model", "cache size")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    lib, rng = load_heads(args.build), np.random.default_rng(1)
    v8 = {over: yolov8_matrix(rng, over) for over in (0, 30, 300, 8400)}
    v5 = {over: yolov5_matrix(rng, over) for over in (30, 300)}
    cases = [(f"yolov8 84x8400, {over} over the threshold", "yolov8", m, "") for over, m in v8.items()]
    cases += [("yolov8 84x8400 f16, 300 over", "yolov8", v8[300], "f16"), ("yolov8 8400x84, 300 over", "yolov8", v8[300], "turned")]
    cases += [(f"yolov5 25200x85, {over} over", "yolov5", m, "") for over, m in v5.items()]
    rows = [measure(lib, name, family, m, half, args.rounds) for name, family, m, half in cases]
    for row in rows:
        print(f"{row['case']:42} {row['boxes']:4} boxes  " + "  ".join(f"{k} {v:8.1f}" for k, v in row["us"].items()),
              *(k for k, v in row.items() if v is False))
    if args.json:
        versions = {"kernels": lib.heads_table().decode(), "numpy": np.__version__}
        if cv2:
            versions["opencv"] = cv2.__version__
        if torch:
            versions |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
        record = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "load_before": round(load, 1),
                  "unit": "microseconds of CPU time on one core, median", "rounds": args.rounds, "versions": versions,
                  "threshold": CONF, "iou": IOU, "max_boxes": MOST, "cases": rows}
        args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
