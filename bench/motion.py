#!/usr/bin/python3
"""What motion gating is worth on a mostly still scene: how much more is carried, and which tracks it costs.

    bench/motion.py [--build DIR] [--rounds N] [--record FILE]

The scene: a still picture of 1920x1080 at 5 frames a second for 150 s; in 30 of these, in two pieces,
the pedestrians of vtest.avi are inset. Every frame goes through yolov3-tiny (COCO weights) and ByteTrack once as it is and once
with --sample motion, in turn. Carried: frames of the scene that one second of the machine's cores carries (CPU time, so that
other work on the machine matters little), decoding included; not what is done once, before the first frame (the model's
compilation). Missed: reference tracks of at least five frames of which less than
half the frames have a box of any one track of the gated run on them (IoU 0.5).
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEPS = ROOT / ".deps"
STILL_S, PLAY_S, PIECES, FPS = 60, 15, 2, 5


def scene(path):
    """A still, a piece of vtest inset in it, the still again, another piece."""
    parts, inputs = [], []
    for i in range(PIECES):
        inputs += ["-ss", str(20 * i + 5), "-t", str(PLAY_S), "-i", str(DEPS / "media/vtest.avi")]
    graph = f"[0:v]scale=1920:1080,gblur=sigma=40,fps={FPS},split={2 * PIECES}" + "".join(f"[s{i}]" for i in range(2 * PIECES)) + ";"
    for i in range(PIECES):
        graph += f"[s{2 * i}]trim=duration={STILL_S},setpts=PTS-STARTPTS[a{i}];"
        graph += f"[s{2 * i + 1}]trim=duration={PLAY_S},setpts=PTS-STARTPTS[b{i}];"
        graph += f"[{i + 1}:v]fps={FPS},scale=1280:960,setpts=PTS-STARTPTS[v{i}];"
        graph += f"[b{i}][v{i}]overlay=320:60:shortest=1[c{i}];"
        parts += [f"[a{i}]", f"[c{i}]"]
    graph += "".join(parts) + f"concat=n={2 * PIECES}:v=1[out]"
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-loop", "1", "-framerate", str(FPS), "-i",
                    str(ROOT / "docs/demo.jpg"), *inputs, "-filter_complex", graph, "-map", "[out]", "-r", str(FPS), "-c:v",
                    "libx264", "-preset", "veryfast", "-crf", "20", "-g", str(2 * FPS), "-pix_fmt", "yuv420p", str(path)], check=True)


def run(omma, model, video, folder, name, *more):
    rows, report = folder / f"{name}.jsonl", folder / f"{name}.json"
    subprocess.run([omma, "run", "-m", model, "-i", video, "-o", f"jsonl:{rows}", "--report", report, "--classes", "person",
                    "--track", "bytetrack", "--quiet", *more], check=True)
    return [json.loads(line) for line in rows.read_text().splitlines()], json.loads(report.read_text())


def tracks(rows):
    """{track: {seq: box}}"""
    found = {}
    for r in rows:
        for o in r["objects"]:
            if "track" in o:
                found.setdefault(o["track"], {})[r["seq"]] = o["box"]
    return found


def iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def missed(reference, gated):
    """Of the reference's tracks of five frames and more: how many there are, and how many the gated run has not."""
    judged = {t: boxes for t, boxes in reference.items() if len(boxes) >= 5}
    lost = 0
    for boxes in judged.values():
        best = max((sum(seq in other and iou(box, other[seq]) >= 0.5 for seq, box in boxes.items()) for other in gated.values()),
                   default=0)
        lost += best < len(boxes) / 2
    return len(judged), lost


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--build", type=Path, default=ROOT / "build")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--record", type=Path)
    args = ask.parse_args()
    omma = args.build / "omma"
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        model, video = folder / "yolov3-tiny.onnx", folder / "scene.mp4"
        subprocess.run([omma, "model", "import", DEPS / "models/yolov3-tiny.cfg", DEPS / "models/yolov3-tiny.weights", "-o", model,
                        "--labels", DEPS / "models/yolov3-tiny.names"], check=True, stdout=subprocess.DEVNULL)
        scene(video)
        rounds = []
        for _ in range(args.rounds):
            whole, a = run(omma, model, video, folder, "whole")
            gated, b = run(omma, model, video, folder, "gated", "--sample", "motion")
            rounds.append({k: {"cpu_s": round(r["totals"]["cpu_seconds"] - r["totals"]["begin_cpu_s"], 3),
                               "begin_cpu_s": r["totals"]["begin_cpu_s"], "seconds": r["totals"]["seconds"],
                               "received": r["totals"]["received"], "inferred": r["totals"]["inferred"],
                               "still": r["totals"]["skipped"]["still"]} for k, r in (("whole", a), ("gated", b))})
        judged, lost = missed(tracks(whole), tracks(gated))
    gains = [r["whole"]["cpu_s"] / r["gated"]["cpu_s"] for r in rounds]
    record = {"date": str(date.today()), "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
              "scene": {"width": 1920, "height": 1080, "fps": FPS, "seconds": PIECES * (STILL_S + PLAY_S), "moving_s": PIECES * PLAY_S},
              "gain": round(statistics.median(gains), 2), "gains": [round(g, 2) for g in gains],
              "tracks": judged, "tracks_missed": lost, "rounds": rounds}
    print(f"gain {record['gain']} ({min(gains):.2f} to {max(gains):.2f}), tracks {judged}, missed {lost}, "
          f"inferred {rounds[-1]['whole']['inferred']} and {rounds[-1]['gated']['inferred']}")
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(record["gain"] < 3 or lost > 0.02 * judged)


if __name__ == "__main__":
    main()
