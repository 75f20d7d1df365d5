#!/usr/bin/env python3
"""What `make bench` measures: ratios of one run, medians of RUNS (5). Prints a table, writes bench/records/NAME.json.

  efficiency   frames/s of `omma run` over four 1080p H.264 files / (1 / (1/decode + 1/infer))
               decode: ffmpeg, the same four files at once, one thread each
               infer:  the larger of the backend alone (bench_engine) and OpenVINO's benchmark_app
  latency      one picture through an idle pipeline, `--mode latency`: from its packet's due time to the sinks (p50) /
               (ffmpeg's time for a picture on one thread + benchmark_app's median for one inference, tuned alike)
  memory       peak resident memory of further 1080p streams, each
  start        from the command to the end of a run of one frame
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPS = ROOT / ".deps"
DATA = DEPS / "bench"
CLIP_FRAMES = 150


def run(cmd, **kw):
    return subprocess.run([str(c) for c in cmd], check=True, text=True, capture_output=True, **kw).stdout


def make_clips():
    """Four files of real footage, enlarged: 25 frames/s, 4 Mbit/s, each frame of the original shown once."""
    DATA.mkdir(parents=True, exist_ok=True)
    clips = []
    for i in range(4):
        out = DATA / f"vtest1080_{i}.mp4"
        clips.append(out)
        if out.exists():
            continue
        part = out.with_suffix(".part.mp4")
        run(["ffmpeg", "-v", "error", "-y", "-ss", i * 15, "-i", DEPS / "media/vtest.avi", "-frames:v", CLIP_FRAMES,
             "-vf", "setpts=N/25/TB,scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "4M", "-g", 50,
             "-pix_fmt", "yuv420p", "-r", 25, part])
        part.rename(out)
    return clips


def make_model(omma):
    out = DATA / "yolov8n.onnx"
    if not out.exists():
        run([omma, "model", "synth", "yolov8n", "--boxes", 30, "--dynamic", "-o", out])
    return out


def decode_fps(clips):
    start = time.perf_counter()
    procs = [subprocess.Popen(["ffmpeg", "-v", "error", "-threads", "1", "-i", str(c), "-f", "null", "-"]) for c in clips]
    if any(p.wait() for p in procs):
        sys.exit("ffmpeg failed")
    return CLIP_FRAMES * len(clips) / (time.perf_counter() - start)


def engine_fps(build, model, size, seconds, precision):
    return float(run([build / "bench/bench_engine", model, size, seconds, precision]))


def app_fps(model, size, seconds, precision):
    app = DEPS / "venv-bench/bin/benchmark_app"
    if not app.exists():
        return 0.0
    w, h = size.split("x")
    cmd = [app, "-m", model, "-d", "CPU", "-hint", "throughput", "-t", seconds, "-shape", f"[1,3,{h},{w}]"]
    if precision != "auto":
        cmd += ["-infer_precision", precision]
    return float(re.search(r"Throughput:\s+([\d.]+)", run(cmd)).group(1))


def omma_report(omma, args):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        run([omma, "run", "--quiet", "--report", f.name, *args])
        return json.load(open(f.name))


def pipeline_args(model, clips, extra):
    args = ["-m", model, "-o", "null:", *extra]
    for c in clips:
        args += ["-i", c]
    return args


def efficiency(a, clips, model, size, extra):
    """Each round measures the parts before and after the whole, so that the machine's drift touches all alike."""
    args = pipeline_args(model, clips, ["--precision", a.precision, "--max-frames", a.frames, *extra])
    rows = []
    for _ in range(a.runs):
        app = app_fps(model, size, a.seconds, a.precision)
        parts = [(decode_fps(clips), engine_fps(a.build, model, size, a.seconds, a.precision))]
        fps = omma_report(a.omma, args)["totals"]["fps"]
        parts.append((decode_fps(clips), engine_fps(a.build, model, size, a.seconds, a.precision)))
        decode, engine = (statistics.mean(p) for p in zip(*parts))
        ideal = 1 / (1 / decode + 1 / max(engine, app))
        rows.append(dict(decode=decode, engine=engine, benchmark_app=app, omma=fps, ideal=ideal, ratio=fps / ideal))
        print(f"  {size}: decode {decode:.0f}, engine {engine:.1f}, benchmark_app {app:.1f}, ideal {ideal:.1f}, "
              f"omma {fps:.1f} frames/s: {rows[-1]['ratio']:.3f}", file=sys.stderr)
    return {k: statistics.median(r[k] for r in rows) for k in rows[0]} | {"runs": rows}


def app_latency_ms(model, size, seconds, precision):
    w, h = size.split("x")
    cmd = [DEPS / "venv-bench/bin/benchmark_app", "-m", model, "-d", "CPU", "-hint", "latency", "-api", "sync", "-t", seconds,
           "-shape", f"[1,3,{h},{w}]"]
    if precision != "auto":
        cmd += ["-infer_precision", precision]
    return float(re.search(r"Median:\s+([\d.]+)", run(cmd)).group(1))


def latency(a, clips, model):
    """A camera of 4 pictures a second, so that each finds the pipeline idle and no decoder beside it."""
    slow = DATA / "vtest1080_slow.mp4"
    if not slow.exists():
        run(["ffmpeg", "-v", "error", "-y", "-i", clips[0], "-c", "copy", "-bsf:v", "setts=pts=PTS*25/4:dts=DTS*25/4", slow])
    args = pipeline_args(model, [slow], ["--mode", "latency", "--precision", a.precision, "--live", "--max-frames", "40"])
    rows = []
    for _ in range(a.runs):
        parts = [(1e3 / decode_fps(clips[:1]), app_latency_ms(model, "640x384", a.seconds, a.precision))]
        whole = omma_report(a.omma, args)["totals"]["latency_ms"]["p50"]
        parts.append((1e3 / decode_fps(clips[:1]), app_latency_ms(model, "640x384", a.seconds, a.precision)))
        decode, infer = (statistics.mean(p) for p in zip(*parts))
        rows.append(dict(decode_ms=decode, infer_ms=infer, omma_ms=whole, ratio=whole / (decode + infer)))
        print(f"  latency: decode {decode:.1f}, infer {infer:.1f}, omma {whole:.1f} ms: {rows[-1]['ratio']:.3f}", file=sys.stderr)
    return {k: statistics.median(r[k] for r in rows) for k in rows[0]} | {"runs": rows}


def memory(a, clips, model):
    def peak(n):
        return omma_report(a.omma, pipeline_args(model, clips[:1] * n, ["--max-frames", "60"]))["totals"]["memory_peak_mb"]
    return statistics.median((peak(9) - peak(1)) / 8 for _ in range(a.runs))


def start_time(a, clips, model):
    times = []
    for _ in range(a.runs):
        t = time.perf_counter()
        omma_report(a.omma, pipeline_args(model, clips[:1], ["--max-frames", "1"]))
        times.append(time.perf_counter() - t)
    return statistics.median(times)


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    return dict(cpu=cpu, cores=os.cpu_count(), kernel=platform.release(), python=platform.python_version())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--seconds", type=int, default=5, help="of each engine-alone measurement")
    p.add_argument("--frames", type=int, default=CLIP_FRAMES, help="of each file that omma runs (slow machines: fewer)")
    p.add_argument("--precision", default="auto")
    p.add_argument("--only", choices=["efficiency", "latency"], help="measure this alone and print it; no record")
    p.add_argument("--record", default="cpu", help="name of the record in bench/records")
    a = p.parse_args()
    a.omma = a.build / "omma"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    clips, model = make_clips(), make_model(a.omma)
    result = dict(date=datetime.date.today().isoformat(), machine=machine(), precision=a.precision,
                  frames_a_file=a.frames, seconds_alone=a.seconds,
                  versions=dict(omma=run([a.omma, "--version"]).strip(),
                                ffmpeg=run(["ffmpeg", "-version"]).split("\n")[0]))
    if a.only:
        efficiency(a, clips, model, "640x384", []) if a.only == "efficiency" else latency(a, clips, model)
        return
    result["square"] = efficiency(a, clips, model, "640x640", ["--input-size", "640x640"])
    result["rectangles"] = efficiency(a, clips, model, "640x384", [])
    result["latency"] = latency(a, clips, model)
    result["memory_mb_a_stream"] = memory(a, clips, model)
    result["start_s"] = start_time(a, clips, model)
    out = ROOT / "bench/records" / f"{a.record}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'':26}{'frames/s':>10}{'ideal':>10}{'ratio':>8}  asked")
    for key, name in (("square", "640x640"), ("rectangles", "rectangles (640x384)")):
        r = result[key]
        print(f"{name:26}{r['omma']:10.1f}{r['ideal']:10.1f}{r['ratio']:8.3f}  0.90")
    r = result["latency"]
    print(f"{'one picture, ms':26}{r['omma_ms']:10.1f}{r['decode_ms'] + r['infer_ms']:10.1f}{r['ratio']:8.3f}  1.15")
    print(f"{'memory, MB a stream':26}{result['memory_mb_a_stream']:28.1f}  40")
    print(f"{'start, s':26}{result['start_s']:28.2f}  1.5")
    print(f"record: {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
