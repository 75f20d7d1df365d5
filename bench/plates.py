#!/usr/bin/env python3
"""Vehicle, plate, text on the generated street: how many tracks carry their plate's exact text, and what remembering saves.

    .deps/venv/bin/python bench/plates.py [--build DIR] [--street FOLDER] [--texts 52] [--seconds 3] [--record FILE] [--least 0.98]
                                          [--alike 1] [--results PREFIX]

The street is made by bench/street.py where FOLDER has none. Two runs of the same chain (YOLOv3-tiny, plate detector, straightened
crop, reader with two LSTMs): once a question a frame and vehicle, and once per track. Of the first, every crop is cut again by NumPy
from the frames that ffmpeg decodes, and read by ONNX Runtime. Prints a table; exit status 1 where fewer than --least of the vehicles
have a track with their exact text, or fewer than --alike of the crops read as by ONNX Runtime.
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

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).parent))
import street  # noqa: E402

MODELS = ROOT / ".deps/models"
CORNERS = "2301"  # of the detector's four points those of the picture: left top, right top, right bottom, left bottom


def vehicles_model(omma, folder):
    """YOLOv3-tiny with its finer grid's anchors set right, as in scripts/demo."""
    out, cfg = folder / "yolov3-tiny.onnx", folder / "yolov3-tiny.cfg"
    cfg.write_text((MODELS / "yolov3-tiny.cfg").read_text().replace("mask = 0,1,2", "mask = 1,2,3"))
    subprocess.run([omma, "model", "import", cfg, MODELS / "yolov3-tiny.weights", "--labels", MODELS / "yolov3-tiny.names", "-o", out],
                   check=True, stdout=subprocess.DEVNULL)
    return out


def chain(model, videos, each):
    """The flags of `omma run`. Each stage's own thresholds, but for what is said."""
    width, height = street.INPUT
    plate = f"model={MODELS}/plate-det.onnx,name=plate,input-size=320x320,min-size=80x60,each={each}"
    text = f"model={MODELS}/plate-rec.onnx,name=text,parent=plate,crop=quad,corners={CORNERS},input-size={width}x{height},each={each}"
    if each == "track":  # views that lie a quarter of a second apart differ in more than noise
        plate += ",every=6"
        text += ",every=6,agree=3"
    flags = ["-m", str(model), "--conf", "0.2", "--classes", "car", "--classes", "bus", "--classes", "truck", "--agnostic",
             "--track", "bytetrack", "--track-agnostic", "--track-buffer", "3", "--secondary", plate, "--secondary", text]
    for v in videos:
        flags += ["-i", str(v)]
    return flags


def run(omma, flags, out, report, *more):
    begin = time.monotonic()
    subprocess.run([str(omma), "run", *flags, "-o", f"jsonl:{out}", "--report", str(report), "-q", *more], check=True, timeout=1700)
    with open(out, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return rows, json.loads(report.read_text()), time.monotonic() - begin


def overlap(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h) if w > 0 and h > 0 else 0


def judge(rows, truth):
    """Of each vehicle: its text, the track that was longest on it, and what that track said last."""
    out = []
    for s in truth["streams"]:
        by_seq = {r["seq"]: r["objects"] for r in rows if r["stream"] == s["name"]}
        for v in s["vehicles"]:
            frames, said = {}, {}
            for k, box in enumerate(v["boxes"]):
                for o in by_seq.get(v["first"] + k, []):
                    if "track" in o and overlap(o["box"], box) > 0.3:
                        frames[o["track"]] = frames.get(o["track"], 0) + 1
                        if "text" in o:
                            said[o["track"]] = o["text"]
            longest = max(frames, key=frames.get, default=None)
            out.append({"stream": s["name"], "text": v["text"], "frames": frames.get(longest, 0), "tracks": len(frames),
                        "said": said.get(longest)})
    return out


def answers(thing, model):
    """All answers of a model below an object or a record."""
    for a in thing.get("second", []):
        if a["model"] == model and "missing" not in a:
            yield a
        yield from answers(a, model)


def crops(rows):
    """Of each picture that was read: stream, frame, corners, what was read."""
    for r in rows:
        for o in r["objects"]:
            for p in answers(o, "plate"):
                for t in answers(p, "text"):
                    if "text" in t and t.get("seq", r["seq"]) == r["seq"]:
                        yield r["stream"], r["seq"], p["quad"], t["text"], t["text_score"]


def decoded(path, size):
    """The frames that ffmpeg decodes: blue, green, red of 0..255 from BT.709's limited range, chroma of the nearest sample."""
    w, h = size
    process = subprocess.Popen(["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"], stdout=subprocess.PIPE)
    while len(data := process.stdout.read(w * h * 3 // 2)) == w * h * 3 // 2:
        planes = np.frombuffer(data, np.uint8)
        yield planes[:w * h].reshape(h, w), planes[w * h:w * h * 5 // 4].reshape(h // 2, w // 2), planes[w * h * 5 // 4:].reshape(h // 2, w // 2)
    process.wait()


def colours(planes, x, y):
    """At whole pixels."""
    luma = (planes[0][y, x].astype(np.float64) - 16) * 255 / 219
    u, v = ((p[y // 2, x // 2].astype(np.float64) - 128) * 255 / 224 for p in planes[1:])
    return np.stack([luma + 1.8556 * u, luma - 0.187324 * u - 0.468124 * v, luma + 1.5748 * v], -1)


def straighten(planes, quad):
    """The crop, pixels' middles at a half, by exact bilinear weights (OpenCV's have five bits)."""
    q = np.float32(quad)[[int(c) for c in CORNERS]]
    width = int(max(np.linalg.norm(q[1] - q[0]), np.linalg.norm(q[2] - q[3])))
    height = int(max(np.linalg.norm(q[3] - q[0]), np.linalg.norm(q[2] - q[1])))
    view = cv2.getPerspectiveTransform(np.float32([[0, 0], [width, 0], [width, height], [0, height]]), q)
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y, z = view @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    x, y = x / z - 0.5, y / z - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    limit_x, limit_y = planes[0].shape[1] - 1, planes[0].shape[0] - 1
    at = [colours(planes, np.clip(x0 + i, 0, limit_x), np.clip(y0 + k, 0, limit_y)) for k in (0, 1) for i in (0, 1)]
    mixed = (at[0] * (1 - fx) + at[1] * fx) * (1 - fy) + (at[2] * (1 - fx) + at[3] * fx) * fy
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8).reshape(height, width, 3)


def alike(reader, planes, quad, text, rng):
    """A record's corners have two decimals: what reads differently is tried with corners that would be written the same."""
    theirs = reader.read(straighten(planes, quad), street.INPUT)[0]
    for _ in range(40):
        if theirs == text or reader.read(straighten(planes, np.add(quad, rng.uniform(-0.005, 0.005, (4, 2)))), street.INPUT)[0] == text:
            return None
    return theirs


def witness(rows, videos, size):
    """(crops, those that ONNX Runtime reads alike, the others as (where, omma's text, its text))."""
    reader, rng, wanted, other, n = street.Reader(), np.random.default_rng(1), {}, [], 0
    for stream, seq, *crop in crops(rows):
        wanted.setdefault((stream, seq), []).append(crop)
    for path in videos:
        for k, planes in enumerate(decoded(path, size)):
            for quad, text, score in wanted.get((path.stem, k), []):
                n += 1
                theirs = alike(reader, planes, quad, text, rng)
                if theirs is not None:
                    other.append((f"{path.stem}:{k}", text, theirs, score))
    return n, n - len(other), other


def asked(report, model):
    return next(s["asked"] for s in report["secondary"] if s["name"] == model)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=Path, default=Path(os.environ.get("OMMA_BUILD", ROOT / "build")))
    p.add_argument("--street", type=Path, default=ROOT / "build/demo/street")
    p.add_argument("--texts", type=int, default=52)
    p.add_argument("--seconds", type=float, default=3, help="how long a vehicle is seen")
    p.add_argument("--record", type=Path)
    p.add_argument("--results", type=Path, help="keep the second run's results: RESULTS.jsonl, RESULTS_STREAM.mp4")
    p.add_argument("--least", type=float, default=0.98)
    p.add_argument("--alike", type=float, default=1)
    a = p.parse_args()
    omma = a.build.resolve() / "omma"
    if not (a.street / "truth.json").exists():
        subprocess.run([sys.executable, Path(__file__).with_name("street.py"), a.street, "--texts", str(a.texts),
                        "--seconds", str(a.seconds)], check=True)
    truth = json.loads((a.street / "truth.json").read_text())
    videos = [a.street / f"{s['name']}.mp4" for s in truth["streams"]]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model = vehicles_model(omma, folder)
        rows, whole, whole_s = run(omma, chain(model, videos, "frame"), folder / "frame.jsonl", folder / "frame.json")
        n, equal, other = witness(rows, videos, truth["size"])
        out, drawn = folder / "track.jsonl", []
        if a.results:
            out, drawn = f"{a.results}.jsonl", ["-o", f"video:{a.results}_%s.mp4"]
        rows, track, track_s = run(omma, chain(model, videos, "track"), out, folder / "track.json", *drawn)
        vehicles = judge(rows, truth)
    exact = sum(v["said"] == v["text"] for v in vehicles)
    record = {
        "what": "vehicle, plate, text on the generated street", "date": time.strftime("%Y-%m-%d"), "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(), "seed": truth["seed"],
        "seconds_a_vehicle": len(truth["streams"][0]["vehicles"][0]["boxes"]) / truth["fps"], "vehicles": len(vehicles),
        "frames": sum(s["frames"] for s in truth["streams"]),
        "exact": exact, "exact_share": round(exact / len(vehicles), 4), "wrong": [v for v in vehicles if v["said"] != v["text"]],
        "crops": n, "crops_equal_to_onnxruntime": equal, "crops_other": other,
        "asked_per_frame": {m: asked(whole, m) for m in ("plate", "text")}, "asked_per_track": {m: asked(track, m) for m in ("plate", "text")},
        "seconds_per_frame": round(whole_s, 2), "seconds_per_track": round(track_s, 2)}
    print(f"vehicles with a track that says their exact text   {exact} of {len(vehicles)} ({100 * exact / len(vehicles):.1f} %)")
    for v in record["wrong"]:
        print(f"  {v['stream']}: {v['text']} was read as {v['said']} (track of {v['frames']} frames, {v['tracks']} tracks)")
    print(f"crops read as ONNX Runtime reads them              {equal} of {n}")
    for where, ours, theirs, score in other:
        print(f"  {where}: {ours} ({score}), by ONNX Runtime {theirs}")
    for m in ("plate", "text"):
        b, t = record["asked_per_frame"][m], record["asked_per_track"][m]
        print(f"{m + ': questions, each frame / each track':50s} {b} / {t} = {b / max(t, 1):.1f}")
    if a.record:
        a.record.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0 if exact >= a.least * len(vehicles) and n > 0 and equal >= a.alike * n else 1


if __name__ == "__main__":
    sys.exit(main())
