#!/bin/sh
# What the decoders of a GPU give, what the pipeline makes of it, and what cores add, H.264 and HEVC 1080p in one run.
#   bench/gpu_pipeline.sh BUILD CLIPS MODEL [DEVICE] [STREAMS] [SECONDS] [ROWS]
# A line a measurement, JSON; the last lines say the share of the decoders' ceiling. All rates count from the moment when the
# files were open and their first pictures decoded. DEVICE: cuda:0; cuda:0,cuda:1 is compared with the first alone. STREAMS:
# "64 128", numbers of files read as fast as they go. SECONDS: 10 each. ROWS: "decode run hybrid host paced ladder devices":
# those that are wanted. The rungs of paced streams: RUNGS_h264, RUNGS_hevc, of PACED_FPS (5) frames a second; CODECS: of these
# alone. WITH: what is done with the boxes besides, in all rows
# but "decode"; '{out}' is a folder that is removed: WITH='--track iou -o jsonl:{out}/boxes.jsonl'.
build=${1:?usage: bench/gpu_pipeline.sh BUILD CLIPS MODEL [DEVICE] [STREAMS] [SECONDS] [ROWS]}
clips=${2:?no folder of clips} model=${3:?no model} device=${4:-cuda:0} streams=${5:-64 128} seconds=${6:-10}
rows=${7:-decode run hybrid host paced ladder devices}
: "${RUNGS_h264:=500,700,850,950}" "${RUNGS_hevc:=900,1200,1500}" "${WITH:=}" "${PACED_FPS:=5}" "${CODECS:=h264 hevc}"
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
export WITH PACED_FPS
with=$(printf %s "$WITH" | sed "s|{out}|$out|g")
wanted() { case " $rows " in *" $1 "*) true ;; *) false ;; esac; }
# What, codec, device, streams, options: reads looping files until the time is over, then a signal ends the run with its report.
measure() {
    what=$1 codec=$2 on=$3 n=$4
    shift 4
    wanted "${what%%-*}" || return 0
    boxes=$with
    [ "$what" = decode ] && boxes=''
    inputs=''
    for _ in $(seq "$n"); do inputs="$inputs -i $clips/hd_$codec.mp4"; done
    rm -f "$out/report.json"
    # Opening takes its time too: the report tells how much.
    timeout -s TERM -k 20 $((seconds + n / 12 + 5)) "$build/omma" run -m "$model" -d "$on" $inputs --loop --quiet --cache-dir "$out/plans" \
        --report "$out/report.json" $boxes "$@" >"$out/log" 2>&1
    [ -s "$out/report.json" ] || { echo "$what $codec $n: no report"; tail -n 3 "$out/log"; return 1; }
    python3 - "$what" "$codec" "$out" "$n" <<'PY'
import collections, json, os, sys
what, codec, out, streams = sys.argv[1:]
r = json.load(open(f"{out}/report.json"))
t = r["totals"]
own = t["seconds"] - t["begin_s"]
cores = (t["cpu_seconds"] - t["begin_cpu_s"]) / own
line = {"what": what, "codec": codec, "streams": int(streams), "seconds": round(own, 2), "opening_s": t["begin_s"],
        "decoded_fps": round(t["decoded"] / own, 1), "inferred_fps": round(t["inferred"] / own, 1),
        "latency_ms_p50": t["latency_ms"]["p50"], "latency_ms_p99": t["latency_ms"]["p99"], "cores": round(cores, 2),
        "gpu_percent": t["gpu_percent"], "nvdec_percent": t["nvdec_percent"], "gpu_memory_mb": t["gpu_memory_mb"],
        "gpu_power_w": t["gpu_power_w"], "decoders": dict(collections.Counter(s["decoder"] or "" for s in r["streams"])),
        "decoder_changes": sum(s["decoder_changes"] for s in r["streams"]),
        "mean_batch": [b["mean_batch"] for b in r["model"]["rectangles"]],
        "devices": {d["device"]: {k: d[k] for k in ("streams", "inferred", "nvdec_percent", "gpu_percent", "gpu_memory_mb")}
                    for d in r["devices"]}, "machine_cores": os.cpu_count(), "with": os.environ.get("WITH", ""),
        "dropped": {k: v for k, v in t["dropped"].items() if v}, "engine": r["model"]["engine"]}
print(json.dumps(line), flush=True)
json.dump(line, open(f"{out}/{what}-{codec}-{streams}.line", "w"))
PY
}
# Streams of few frames a second, each of the camera's pictures inferred: the ladder of `omma bench`, and one run beyond the first
# start, whose drops are all of it.
paced() {
    codec=$1
    clip=$out/hd-paced_$codec.mp4
    rungs=$(eval echo "\$RUNGS_$codec")
    wanted ladder || wanted paced || return 0
    # The same packets, played at another pace than 25: the clock of the MP4 and of its track tick less or more often.
    python3 - "$clips/hd_$codec.mp4" "$clip" <<'PY'
import os, struct, sys
fps = int(os.environ["PACED_FPS"])
data = bytearray(open(sys.argv[1], "rb").read())
for name in (b"mvhd", b"mdhd"):
    at = data.find(name)
    while at >= 0:
        place = at + (16 if data[at + 4] == 0 else 24)
        (scale,) = struct.unpack_from(">I", data, place)
        assert scale * fps % 25 == 0, f"{name}: {scale} ticks"
        struct.pack_into(">I", data, place, scale * fps // 25)
        at = data.find(name, at + 4)
open(sys.argv[2], "wb").write(data)
PY
    if wanted paced; then
        n=${rungs%%,*}
        rm -f "$out/report.json"
        "$build/omma" run -m "$model" -d "${device%%,*}" -i "$clip" --test-streams "$n" --duration 20s --quiet \
            --cache-dir "$out/plans" --report "$out/report.json" >"$out/log" 2>&1
        python3 - "$codec" "$n" "$out" <<'PY' || tail -n 3 "$out/log"
import collections, json, os, sys
codec, n, out = sys.argv[1:]
r = json.load(open(f"{out}/report.json"))
t = r["totals"]
lost = sum(t["dropped"].values())
print(json.dumps({"what": "paced", "codec": codec, "streams": int(n), "fps": int(os.environ["PACED_FPS"]), "opening_s": t["begin_s"], "received": t["received"],
                  "inferred": t["inferred"], "dropped": {k: v for k, v in t["dropped"].items() if v},
                  "dropped_percent": round(100 * lost / max(1, t["received"]), 4), "latency_ms": t["latency_ms"],
                  "nvdec_percent": t["nvdec_percent"], "gpu_percent": t["gpu_percent"], "gpu_memory_mb": t["gpu_memory_mb"],
                  "cores": round((t["cpu_seconds"] - t["begin_cpu_s"]) / (t["seconds"] - t["begin_s"]), 2),
                  "decoders": dict(collections.Counter(s["decoder"] or "" for s in r["streams"]))}), flush=True)
PY
    fi
    wanted ladder || return 0
    "$build/omma" bench -m "$model" -d "${device%%,*}" -i "$clip" --ladder "$rungs" --no-bisect --duration 10s --warmup 4s \
        --cache-dir "$out/plans" --json "$out/bench-$codec.json" >"$out/log" 2>&1
    python3 - "$codec" "$out" <<'PY' || tail -n 3 "$out/log"
import json, sys
codec, out = sys.argv[1:]
for r in json.load(open(f"{out}/bench-{codec}.json"))["rungs"]:
    print(json.dumps({"what": "ladder", "codec": codec, **r}), flush=True)
PY
}
# Compiles the model for all runs that follow.
for codec in $CODECS; do
    [ ! -r "$clips/hd_$codec.mp4" ] ||
        "$build/omma" run -m "$model" -d "$device" -i "$clips/hd_$codec.mp4" --max-frames 2 --quiet --cache-dir "$out/plans" ||
        exit 1
done
for codec in $CODECS; do
    [ -r "$clips/hd_$codec.mp4" ] || { echo "left out: no $clips/hd_$codec.mp4"; continue; }
    for n in $streams; do
        measure decode $codec "${device%%,*}" "$n" --decode cuda --every 1000000
        measure run $codec "${device%%,*}" "$n" --decode cuda
        measure hybrid $codec "${device%%,*}" "$n" --decode hybrid
        measure host $codec "${device%%,*}" "$n" --decode cuda-host
        case $device in *,* | *:all) measure devices $codec "$device" $((2 * n)) --decode cuda ;; esac
    done
    paced $codec
    python3 - "$out" "$codec" "$streams" <<'PY'
import json, os, sys
out, codec, streams = sys.argv[1:]
for n in streams.split():
    def rate(what, n=n):
        path = f"{out}/{what}-{codec}-{n}.line"
        return json.load(open(path))["decoded_fps"] if os.path.exists(path) else None
    ceiling, run = rate("decode"), rate("run")
    if not run:
        continue
    parts = [f"{codec}, {n} files: {run:.0f} frames/s"]
    if ceiling:
        parts.append(f"{100 * run / ceiling:.1f}% of the decoders' {ceiling:.0f}")
    if rate("host"):
        parts.append(f"through host memory {rate('host'):.0f} ({run / rate('host'):.2f} times slower)")
    if rate("hybrid"):
        parts.append(f"with cores beside the decoders {rate('hybrid'):.0f} ({100 * (rate('hybrid') / run - 1):+.1f}%)")
    if rate("devices", 2 * int(n)):
        parts.append(f"on all devices {rate('devices', 2 * int(n)):.0f} ({rate('devices', 2 * int(n)) / run:.2f} times one)")
    print("; ".join(parts), flush=True)
PY
done
