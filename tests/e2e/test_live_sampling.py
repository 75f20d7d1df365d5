"""What of a stream is decoded and looked at: motion, key pictures, smaller pictures."""
import json
import subprocess

from conftest import ffmpeg, packets, records
from live import SHAPES, streams_of
from test_media import TOOL
from test_run import books


def test_motion_sampling_of_a_run(omma, tmp_path):
    """A still file gives a heartbeat, a moving one nearly everything; the rest is counted as still."""
    still, report = tmp_path / "still.mp4", tmp_path / "report.json"
    ffmpeg("-f", "lavfi", "-i", "smptebars=size=160x120:rate=25:duration=10", "-c:v", "libx264", "-preset", "ultrafast", still)
    omma("run", "-m", SHAPES, "-d", "null", "-i", still, "-i", "pattern:320x240@25:frames=250", "-o", "null:", "--report", report, "--sample",
         "motion", "--heartbeat", "1s")
    streams = streams_of(report)
    for s in streams.values():
        books(s)
    assert 50 < streams["still"]["inferred"] < 75 and streams["still"]["skipped"]["still"] > 170
    assert streams["pattern"]["inferred"] > 240


def test_keyframe_sampling_of_a_run(omma, media, tmp_path):
    """Nothing but key pictures is decoded, and each of them is; ffprobe counts them."""
    report = tmp_path / "report.json"
    file = media / "bikes.mp4"
    keys = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-skip_frame", "nokey", "-count_frames", "-show_entries",
                           "stream=nb_read_frames", "-of", "csv=p=0", str(file)], check=True, capture_output=True, text=True)
    omma("run", "-m", SHAPES, "-d", "null", "-i", file, "-o", "null:", "--report", report, "--sample", "keyframes")
    s = streams_of(report)["bikes"]
    books(s)
    assert s["inferred"] == int(keys.stdout) and s["received"] == packets(file) == s["inferred"] + s["skipped"]["economy"], s


def test_decode_size(omma, media, tmp_path):
    """Motion JPEG at a quarter, as ffmpeg does it; never below what was asked for; H.264 stays whole and says so."""
    video, out = tmp_path / "m.avi", tmp_path / "r.jsonl"
    ffmpeg("-i", media / "bikes.mp4", "-frames:v", 5, "-c:v", "mjpeg", video)
    r = omma("run", "-m", SHAPES, "-d", "null", "-i", video, "-o", f"jsonl:{out}", "--decode-size", "160x60")
    assert {(x["width"], x["height"]) for x in records(out)} == {(160, 68)} and "warning" not in r.err, r
    omma("run", "-m", SHAPES, "-d", "null", "-i", video, "-o", f"jsonl:{out}", "--decode-size", "161x60")
    assert {(x["width"], x["height"]) for x in records(out)} == {(320, 136)}
    r = omma("run", "-m", SHAPES, "-d", "null", "-i", media / "bikes.mp4", "-o", f"jsonl:{out}", "--decode-size", "160x60", "--max-frames", 3)
    assert {(x["width"], x["height"]) for x in records(out)} == {(640, 272)}
    assert len([line for line in r.err.splitlines() if "cannot go down to 160x60" in line]) == 1, r
    small = subprocess.run([str(TOOL), "--frames", "--decode-size", "160x60", str(video)], capture_output=True, text=True, check=True)
    assert [f["md5"] for f in json.loads(small.stdout)["frames"]] == md5s_small(video)


def md5s_small(path):
    out = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-lowres", "2", "-i", str(path), "-vsync", "passthrough", "-f", "framemd5", "-"],
                         check=True, capture_output=True, text=True)
    return [line.split(",")[-1].strip() for line in out.stdout.splitlines() if not line.startswith("#")]
