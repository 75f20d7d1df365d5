#!/usr/bin/python3
"""omma's trackers beside roboflow's `trackers` on the same boxes: how right, and how fast.

    bench/trackers.py [--build DIR] [--rounds N] [--record FILE]

Right: the ground truth of TUD-Campus and TUD-Stadtmitte, degraded: 20 % of the boxes dropped, as many as 10 % of them added at
random places with the size of some true box, every edge off by a normal error of 5 px, all scores 0.9; seeds 1 to 10, means.
Both are measured by `omma eval`, and IDF1 and HOTA again by the measures of `trackers`. Speed: updates a second with 50 and 500
boxes a frame that move and bounce; one thread, a round of each in turn, medians. The assignment solver is compared with SciPy's.

What it needs beside a build (`ninja -C DIR omma tests/unit/tool_track`) goes into .deps/venv-trackers, pinned by
scripts/lock/py-trackers.txt; the ground truth comes with `scripts/setup test`.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".deps/venv-trackers"
LOCK = ROOT / "scripts/lock/py-trackers.txt"
SEQUENCES = ["TUD-Campus", "TUD-Stadtmitte"]
THEIRS = {"bytetrack": "ByteTrackTracker", "ocsort": "OCSORTTracker"}
SPEED = {50: 300, 500: 30}  # boxes: frames a round of theirs
FRAMES = 300


def enter_venv():
    """This script again, by the interpreter that has the pinned packages; -P: it is not the package of its own name."""
    stamp = VENV / "stamp"
    if Path(sys.prefix) == VENV:
        return
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        print("downloading .deps/venv-trackers (190 MB)", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([VENV / "bin/python", "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--no-deps",
                        "--require-hashes", "-r", LOCK], check=True)
        stamp.write_text(LOCK.read_text())
    os.execv(VENV / "bin/python", [str(VENV / "bin/python"), "-P", __file__, *sys.argv[1:]])


def read(path):
    """Rows of MOTChallenge by frame: (id, x, y, w, h)."""
    rows = {}
    for line in path.read_text().splitlines():
        v = [float(t) for t in line.split(",")[:6]]
        rows.setdefault(int(v[0]), []).append((int(v[1]), *v[2:]))
    return rows


def degrade(truth, seed):
    import numpy as np
    rng = np.random.default_rng(seed)
    boxes = [b[1:] for frame in truth.values() for b in frame]
    width, height = max(b[0] + b[2] for b in boxes), max(b[1] + b[3] for b in boxes)
    out = {}
    for f in sorted(truth):
        rows = []
        for _, x, y, w, h in truth[f]:
            if rng.random() >= 0.2:
                rows.append((*(np.array([x, y, x + w, y + h]) + rng.normal(0, 5, 4)), 0.9))
        for _ in truth[f]:
            if rng.random() < 0.1:
                w, h = boxes[rng.integers(len(boxes))][2:]
                x, y = rng.uniform(0, max(1, width - w)), rng.uniform(0, max(1, height - h))
                rows.append((x, y, x + w, y + h, 0.9))
        out[f] = [rows[i] for i in rng.permutation(len(rows))]
    return out


def moving(n):
    """n boxes that move straight and bounce, with a little noise."""
    import numpy as np
    rng = np.random.default_rng(n)
    room = np.array([1800, 980])
    place, step = rng.uniform(0, room, (n, 2)), rng.normal(0, 3, (n, 2))
    size = rng.uniform(40, 110, (n, 2)) / (2 if n > 100 else 1)
    out = {}
    for f in range(1, FRAMES + 1):
        place += step
        step = np.where((place < 0) | (place > room), -step, step)
        place = np.clip(place, 0, room)
        at = place + rng.normal(0, 1, (n, 2))
        out[f] = [(*a, *(a + s), score) for a, s, score in zip(at, size, rng.uniform(0.5, 0.95, n))]
    return out


def write_boxes(path, frames):
    with open(path, "w") as out:
        for f, rows in sorted(frames.items()):
            for x0, y0, x1, y1, score in rows:
                print(f"{f},-1,{x0:.3f},{y0:.3f},{x1 - x0:.3f},{y1 - y0:.3f},{score:.4f}", file=out)


def detections(rows):
    import numpy as np
    import supervision
    a = np.array(rows, np.float32).reshape(-1, 5)
    return supervision.Detections(xyxy=a[:, :4], confidence=a[:, 4], class_id=np.zeros(len(a), int))


def run_theirs(name, frames, path):
    import trackers
    tracker = getattr(trackers, THEIRS[name])()
    with open(path, "w") as out:
        for f, rows in sorted(frames.items()):
            got = tracker.update(detections(rows))
            for (x0, y0, x1, y1), track in zip(got.xyxy, got.tracker_id):
                if track >= 0:
                    print(f"{f},{track},{x0},{y0},{x1 - x0},{y1 - y0},1", file=out)


def run_ours(build, name, boxes, path):
    with open(path, "w") as out:
        subprocess.run([build / "tests/unit/tool_track", name, boxes], stdout=out, check=True)


def score(build, truth, result):
    text = subprocess.run([build / "omma", "eval", "--mot", truth, result, "--json", "-"], check=True, capture_output=True,
                          text=True).stdout
    return {k: json.loads(text)[k] for k in ("idf1", "hota", "mota", "switches")}


def witness(truth_path, result_path):
    """IDF1 and HOTA by the other side's own measures."""
    import numpy as np
    from trackers.eval.box import box_iou
    from trackers.eval.hota import compute_hota_metrics
    from trackers.eval.identity import compute_identity_metrics
    truth, result = read(truth_path), read(result_path)
    ids, similarity = ([], []), []
    for f in sorted(set(truth) | set(result)):
        sides = [side.get(f, []) for side in (truth, result)]
        for k in range(2):
            ids[k].append(np.array([b[0] for b in sides[k]], int))
        similarity.append(box_iou(*(np.array([b[1:] for b in side], float).reshape(-1, 4) for side in sides), "xywh"))
    for k in range(2):
        known = {v: n for n, v in enumerate(sorted({int(v) for x in ids[k] for v in x}))}
        ids[k][:] = [np.array([known[int(v)] for v in x], int) for x in ids[k]]
    return {"idf1": compute_identity_metrics(*ids, similarity)["IDF1"], "hota": compute_hota_metrics(*ids, similarity)["HOTA"]}


def accuracy(build, folder):
    table = {}
    for sequence in SEQUENCES:
        truth_path = ROOT / ".deps/mot" / sequence / "gt.txt"
        truth = read(truth_path)
        runs = {}
        for seed in range(1, 11):
            frames = degrade(truth, seed)
            boxes, result = folder / "boxes.txt", folder / "result.txt"
            write_boxes(boxes, frames)
            for side, name in [("trackers", n) for n in THEIRS] + [("omma", n) for n in ("iou", "bytetrack", "ocsort")]:
                if side == "omma":
                    run_ours(build, name, boxes, result)
                else:
                    run_theirs(name, frames, result)
                got, other = score(build, truth_path, result), witness(truth_path, result)
                assert all(abs(got[k] - other[k]) < 1e-5 for k in other), (got, other)
                runs.setdefault(f"{side} {name}", []).append(got)
        table[sequence] = {k: {m: round(statistics.mean(r[m] for r in v), 4) for m in v[0]} for k, v in runs.items()}
    return table


def speed(build, folder, rounds):
    import trackers
    table = {}
    for n, few in SPEED.items():
        frames, boxes, figures = moving(n), folder / "boxes.txt", {}
        write_boxes(boxes, frames)
        prepared = [detections(frames[f]) for f in range(1, few + 1)]
        for _ in range(rounds):
            for name in THEIRS:
                tracker = getattr(trackers, THEIRS[name])()
                begin = time.perf_counter()
                for d in prepared:
                    tracker.update(d)
                figures.setdefault(f"trackers {name}", []).append(few / (time.perf_counter() - begin))
                out = subprocess.run([build / "tests/unit/tool_track", name, boxes, f"repeat={max(2, 5000 // n)}"], check=True,
                                     capture_output=True, text=True).stdout
                figures.setdefault(f"omma {name}", []).append(float(out))
        table[str(n)] = {k: round(statistics.median(v), 1) for k, v in figures.items()}
        for name in THEIRS:
            ratios = [a / b for a, b in zip(figures[f"omma {name}"], figures[f"trackers {name}"])]
            table[str(n)][f"ratio {name}"] = round(statistics.median(ratios), 1)
    return table


def check_assignment(build):
    """Random problems against SciPy: the same least sums."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment
    rng, problems = np.random.default_rng(1), []
    for n in range(120):
        rows, cols = rng.integers(1, 150, 2)
        cost = rng.random((rows, cols)).astype(np.float32) if n % 2 else rng.integers(0, 9, (rows, cols)).astype(np.float32)
        problems.append((cost, np.inf if n % 4 < 2 else np.float32(rng.uniform(0.05, 0.6) * cost.max())))
    text = "\n".join(f"{c.shape[0]} {c.shape[1]} {g}\n" + " ".join(f"{v:.9g}" for v in c.ravel()) for c, g in problems)
    out = subprocess.run([build / "tests/unit/tool_track", "assign"], input=text, check=True, capture_output=True, text=True).stdout
    for (cost, gate), line in zip(problems, out.splitlines(), strict=True):
        mine = np.array(line.split(), int)
        reduced = np.minimum(cost.astype(float) - gate, 0) if np.isfinite(gate) else cost.astype(float)
        rows = np.flatnonzero(mine >= 0)
        assert len(set(mine[rows])) == len(rows)
        got, best = reduced[rows, mine[rows]].sum(), reduced[linear_sum_assignment(reduced)].sum()
        assert abs(got - best) < 1e-4 * max(1, abs(best)), (cost.shape, gate, got, best)
    return len(problems)


def main():
    enter_venv()
    warnings.filterwarnings("ignore")
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        record = {"date": time.strftime("%Y-%m-%d"), "load_before": round(os.getloadavg()[0], 1),
                  "cpu": next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), ""),
                  "python": platform.python_version(), "trackers": "2.6.1", "rounds": args.rounds,
                  "assignments_equal_to_scipy": check_assignment(args.build),
                  "accuracy": accuracy(args.build, Path(name)), "updates_a_second": speed(args.build, Path(name), args.rounds)}
    for sequence, rows in record["accuracy"].items():
        print(f"\n{sequence:24}{'IDF1':>8}{'HOTA':>8}{'MOTA':>8}{'switches':>10}")
        for k, v in rows.items():
            print(f"  {k:22}{v['idf1']:8.4f}{v['hota']:8.4f}{v['mota']:8.4f}{v['switches']:10.1f}")
    for n, rows in record["updates_a_second"].items():
        print(f"\n{n + ' boxes a frame':24}{'updates/s':>12}")
        for k, v in rows.items():
            print(f"  {k:22}{v:12.1f}")
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
