#!/bin/sh
# What the decoders of a GPU give, and what the pipeline makes of it, H.264 and HEVC 1080p in one run.
#   bench/gpu_pipeline.sh BUILD CLIPS MODEL [DEVICE] [STREAMS]
# A line a measurement, JSON; the last lines say the share of the decoders' ceiling. DEVICE: cuda:0
build=${1:?usage: bench/gpu_pipeline.sh BUILD CLIPS MODEL [DEVICE] [STREAMS]}
clips=${2:?no folder of clips} model=${3:?no model} device=${4:-cuda:0} streams=${5:-64}
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
measure() { # what, codec, options...
    what=$1 codec=$2
    shift 2
    inputs=''
    for _ in $(seq "$streams"); do inputs="$inputs -i $clips/hd_$codec.mp4"; done
    "$build/omma" run -m "$model" -d "$device" $inputs --loop --quiet --report "$out/$what-$codec.json" "$@" >"$out/log" 2>&1 ||
        { tail -n 3 "$out/log"; return 1; }
    python3 - "$what" "$codec" "$out" "$streams" <<'PY'
import json, sys
what, codec, out, streams = sys.argv[1:]
r = json.load(open(f"{out}/{what}-{codec}.json"))
t = r["totals"]
frames = sum(s["decoded"] for s in r["streams"])
# The ceiling's frames are counted from the first decoder's opening to the last frame's end, like the pipeline's.
line = {"what": what, "codec": codec, "streams": int(streams), "decoded": frames, "seconds": t["seconds"],
        "decoded_fps": round(frames / t["seconds"], 1), "inferred_fps": t["fps"], "latency_ms_p50": t["latency_ms"]["p50"],
        "latency_ms_p99": t["latency_ms"]["p99"], "cpu_percent": t["cpu_percent"], "gpu_percent": t["gpu_percent"],
        "nvdec_percent": t["nvdec_percent"], "gpu_memory_mb": t["gpu_memory_mb"], "gpu_power_w": t["gpu_power_w"],
        "decoders": sorted({s["decoder"] or "" for s in r["streams"]}),
        "mean_batch": [b["mean_batch"] for b in r["model"]["rectangles"]],
        "dropped": {k: v for k, v in t["dropped"].items() if v}, "engine": r["model"]["engine"]}
print(json.dumps(line), flush=True)
json.dump(line, open(f"{out}/{what}-{codec}.line", "w"))
PY
}
for codec in h264 hevc; do
    [ -r "$clips/hd_$codec.mp4" ] || { echo "left out: no $clips/hd_$codec.mp4"; continue; }
    measure decode $codec --duration 20s --decode cuda --every 1000000 &&
        measure run $codec --duration 20s --decode cuda &&
        measure host $codec --duration 5s --decode cuda-host &&
        python3 - "$out" "$codec" <<'PY'
import json, sys
out, codec = sys.argv[1:]
ceiling, run, host = (json.load(open(f"{out}/{what}-{codec}.line")) for what in ("decode", "run", "host"))
print(f"{codec}: {run['decoded_fps']:.0f} frames/s, {100 * run['decoded_fps'] / ceiling['decoded_fps']:.1f}% of the decoders' "
      f"{ceiling['decoded_fps']:.0f}; through host memory {host['decoded_fps']:.0f}")
PY
done
