"""What `make bench-peers` measures: omma beside what people use today, on the same files with the same weights.

Every row runs once a round, in the same order, so that the machine's drift touches all alike; a row's figure is the
median of its rounds, its ratio the median of the rounds' ratios. Each finished run is kept at once: called again after
an interruption, it goes on with the next. Prints a table, writes bench/records/peers.json.
"""
import argparse
import collections
import csv
import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
import bench

WORK = bench.DATA / "peers"
RUNS_FILE = WORK / "runs.jsonl"
WIDE, SQUARE = "640x384", "640x640"
RUN_LIMIT_S = 300

# what: venv, script and its options (omma: none and its own options), and the size it is compared at
Row = collections.namedtuple("Row", "name title venv script options size")
ROWS = [
    Row("omma", "omma, as it comes", None, None, [], WIDE),
    Row("omma-square", "omma, --input-size 640x640", None, None, ["--input-size", SQUARE], SQUARE),
    Row("hand", "Python by hand", "venv-peers", "handwritten.py", ["--size", WIDE], WIDE),
    Row("hand-square", "Python by hand", "venv-peers", "handwritten.py", ["--size", SQUARE], SQUARE),
    Row("ultralytics-dynamic", "ultralytics, OpenVINO dynamic", "venv-peers", "ultra.py",
        ["--engine", "openvino-dynamic"], WIDE),
    Row("ultralytics-static", "ultralytics, OpenVINO static", "venv-peers", "ultra.py",
        ["--engine", "openvino-static"], SQUARE),
    Row("ultralytics-torch", "ultralytics, PyTorch", "venv-peers", "ultra.py", ["--engine", "torch"], WIDE),
    Row("roboflow", "roboflow inference", "venv-peers-inference", "roboflow.py", [], SQUARE),
]


class Failed(Exception):
    pass


def execute(cmd):
    """Runs it in a process group of its own, which ends with it; raises Failed with the last thing it said."""
    env = os.environ | dict(YOLO_CONFIG_DIR=str(WORK), MPLCONFIGDIR=str(WORK), OMP_NUM_THREADS=str(os.cpu_count()),
                            OPENVINO_TELEMETRY_OPT_OUT="1", HF_HUB_OFFLINE="1")
    with open(WORK / "output.txt", "w+") as output:
        p = subprocess.Popen([str(c) for c in cmd], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env,
                             start_new_session=True)
        try:
            p.wait(RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {RUN_LIMIT_S} s")
        finally:
            try:
                os.killpg(p.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            p.wait()
        output.seek(0)
        said = [line.strip() for line in output if line.strip()]
    if p.returncode:
        raise Failed(said[-1] if said else f"exit status {p.returncode}")


def run_omma(a, row, table):
    report = WORK / "report.json"
    cmd = [a.omma, "run", "--quiet", "-m", a.model, "--conf", 0.25, "--iou", 0.45, "-o", f"csv:{table}", "--report", report]
    for clip in a.clips:
        cmd += ["-i", clip]
    execute(cmd + row.options)
    r = json.loads(report.read_text())
    with open(table, newline="") as f:
        boxes = sum(1 for _ in csv.DictReader(f))
    shapes = {f"{s['width']}x{s['height']}" for s in r["model"]["rectangles"]}
    return dict(fps=r["totals"]["fps"], frames=[s["inferred"] for s in r["streams"]],
                boxes_a_frame=boxes / max(r["totals"]["inferred"], 1), input=", ".join(sorted(shapes)),
                precision=omma_precision(r), versions={"omma": bench.run([a.omma, "--version"]).strip()})


def omma_precision(report):
    named = re.search(r"\b(f32|fp32|bf16|f16|fp16|int8|i8)\b", report.get("model", {}).get("engine", ""))
    return named.group(1) if named else "auto"


def run_peer(a, row, table):
    result = WORK / "result.json"
    result.unlink(missing_ok=True)
    execute([bench.DEPS / row.venv / "bin/python", "-W", "ignore", HERE / row.script, "--model", a.model, "--work", WORK,
             "--result", result, "--csv", table, "--threads", os.cpu_count(), *row.options, *a.clips])
    return json.loads(result.read_text())


def run_row(a, row):
    table = WORK / f"{row.name}.csv"
    r = (run_omma if row.venv is None else run_peer)(a, row, table)
    if r["frames"] != [a.frames] * len(a.clips):
        raise Failed(f"{a.frames} frames of each file were expected, not {r['frames']}")
    return r


def fingerprint(a):
    """What a kept run stands for: another engine, model, script or machine starts anew."""
    h = hashlib.sha256(json.dumps(bench.machine(), sort_keys=True).encode())
    built = sorted(f for f in a.omma.parent.rglob("*") if f.suffix == ".so" or ".so." in f.name)
    for f in [a.omma, *built, a.model, *a.clips, *sorted(HERE.glob("*.py")), *sorted(HERE.glob("*.txt"))]:
        if f.is_file():
            h.update(hashlib.sha256(f.read_bytes()).digest())
    return h.hexdigest()


def kept_runs(key):
    if RUNS_FILE.exists():
        lines = RUNS_FILE.read_text().splitlines()
        if lines and json.loads(lines[0]).get("key") == key:
            runs = [json.loads(line) for line in lines[1:] if line.endswith("}")]
            if runs:
                print(f"bench-peers: going on after {len(runs)} finished runs", file=sys.stderr)
            return runs
    RUNS_FILE.write_text(json.dumps({"key": key}) + "\n")
    return []


def measure(a, rows):
    """All rounds; returns the runs and, by row, why one is missing."""
    key = fingerprint(a)
    runs, missing = kept_runs(key), {}
    began = time.monotonic()
    for n in range(1, a.rounds_most + 1):
        start = time.monotonic()
        for row in rows:
            if row.name in missing or any(r["round"] == n and r["row"] == row.name for r in runs):
                continue
            load = os.getloadavg()[0]
            try:
                r = run_row(a, row) | dict(row=row.name, round=n, load_before=round(load, 2))
            except Failed as e:
                missing[row.name] = str(e)
                print(f"  {row.title} ({row.size}): left out: {e}", file=sys.stderr)
                continue
            runs.append(r)
            with open(RUNS_FILE, "a") as f:
                f.write(json.dumps(r) + "\n")
            print(f"  round {n}: {row.title} ({r['input']}): {r['fps']:.1f} frames/s", file=sys.stderr)
        now = time.monotonic()
        if n >= a.rounds and now - began + (now - start) > a.minutes * 60:
            break
    return [r for r in runs if r["row"] not in missing], missing


def ratios(runs, name, other):
    """omma's frames/s over the other's, round by round."""
    fps = {(r["row"], r["round"]): r["fps"] for r in runs}
    both = [fps[name, n] / fps[other, n] for row, n in fps if row == other and (name, n) in fps]
    return statistics.median(both) if both else None


def summary(rows, runs):
    out = []
    for row in rows:
        mine = [r for r in runs if r["row"] == row.name]
        if not mine:
            continue
        same = "omma" if row.size == WIDE else "omma-square"
        out.append(dict(
            row=row.name, title=row.title, fps=statistics.median(r["fps"] for r in mine), runs=[r["fps"] for r in mine],
            boxes_a_frame=mine[-1]["boxes_a_frame"], input=mine[-1]["input"], precision=mine[-1]["precision"],
            versions=mine[-1]["versions"], load_before=[r["load_before"] for r in mine],
            omma_ratio=ratios(runs, "omma", row.name), omma_ratio_same_size=ratios(runs, same, row.name)))
    return out


def print_table(table, missing):
    def ratio(x):
        return f"{x:.2f}" if x else "-"
    print(f"{'':31}{'input':>9}{'numbers':>9}{'boxes':>7}{'frames/s':>10}{'omma/it':>9}{'same size':>11}")
    for r in table:
        print(f"{r['title']:31}{r['input']:>9}{r['precision']:>9}{r['boxes_a_frame']:7.1f}{r['fps']:10.1f}"
              f"{ratio(r['omma_ratio']):>9}{ratio(r['omma_ratio_same_size']):>11}")
    for name, why in missing.items():
        print(f"{name}: not measured: {why}")
    print("boxes: a frame, after suppression; omma/it: omma as it comes; same size: omma at that row's input size")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    p.add_argument("--model", type=pathlib.Path, help="a YOLOv8n with dynamic batch and size; default: one is made")
    p.add_argument("--rounds", type=int, default=3, help="at least")
    p.add_argument("--rounds-most", type=int, default=5, help="while the time lasts")
    p.add_argument("--minutes", type=float, default=10, help="no round beyond --rounds that would end later")
    p.add_argument("--only", action="append", metavar="ROW", choices=[r.name for r in ROWS], help="and no other row")
    p.add_argument("--frames", type=int, default=bench.CLIP_FRAMES, help="of each file; fewer: a trial, without a record")
    a = p.parse_args()
    a.omma = a.build / "omma"
    if not a.omma.exists():
        p.error(f"--build {a.build}: no omma in it")
    WORK.mkdir(parents=True, exist_ok=True)
    a.clips = bench.make_clips()
    a.model = a.model.resolve() if a.model else bench.make_model(a.omma)
    trial = a.frames != bench.CLIP_FRAMES or a.only
    if a.frames != bench.CLIP_FRAMES:
        a.clips = shortened(a.clips, a.frames)
    # What ultralytics exported from another model is made again.
    mark, of = WORK / "model.sha256", hashlib.sha256(a.model.read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text() != of:
        for folder in WORK.glob("*_openvino_model"):
            shutil.rmtree(folder)
        mark.write_text(of)

    rows, absent = [], {}
    for row in ROWS:
        if a.only and row.name not in a.only:
            continue
        if row.venv and not (bench.DEPS / "stamp" / row.venv).exists():
            absent[row.name] = f"its packages are not to be had ({row.venv})"
            continue
        rows.append(row)
    try:
        runs, missing = measure(a, rows)
    except KeyboardInterrupt:
        sys.exit("\nbench-peers: stopped; the next call goes on from here")
    table = summary(rows, runs)
    print_table(table, missing | absent)
    if "omma" in missing or "omma-square" in missing:
        sys.exit("bench-peers: omma itself failed, so there is no record")
    RUNS_FILE.unlink()
    if trial:
        return
    record = ROOT / "bench/records/peers.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps(dict(date=datetime.date.today().isoformat(), machine=bench.machine(), rows=table,
                                      not_measured=missing | absent), indent=1) + "\n")
    print(f"record: {record.relative_to(ROOT)}")


def shortened(clips, frames):
    out = []
    for clip in clips:
        short = WORK / clip.name
        bench.run(["ffmpeg", "-v", "error", "-y", "-i", clip, "-frames:v", frames, "-c", "copy", short])
        out.append(short)
    return out


if __name__ == "__main__":
    main()
