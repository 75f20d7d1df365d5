"""omma frames: names, pictures and choice of frames, with ffmpeg, ffprobe and OpenCV as witnesses."""
import json
import re
import signal
import statistics
import subprocess
import time

import cv2
import numpy as np
import pytest
from conftest import ffmpeg, wait_for

NAME = re.compile(r"(.+)_(\d{6,})_(\d+\.\d{6})\.(jpg|png|webp)")


def names(folder):
    found = sorted(p.name for p in folder.iterdir())
    assert all(NAME.fullmatch(n) for n in found), found
    return found


def seconds(folder):
    return [float(NAME.fullmatch(n)[3]) for n in names(folder)]


def times(video):
    """Timestamps of the decoded frames as ffprobe prints them, the first one's being 0."""
    out = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                          "frame=best_effort_timestamp_time", "-of", "json", str(video)],
                         check=True, capture_output=True, text=True, timeout=60)
    found = [float(f["best_effort_timestamp_time"]) for f in json.loads(out.stdout)["frames"]]
    return [t - found[0] for t in found]


def psnr(a, b):
    return 10 * np.log10(255 ** 2 / max(np.mean((a.astype(float) - b.astype(float)) ** 2), 1e-9))


def witness(video, out, frames=1):
    """Frames as RGB by ffmpeg's exact conversion."""
    ffmpeg("-i", video, "-frames:v", frames, "-vf", "scale=flags=accurate_rnd+full_chroma_int+bicubic", "-pix_fmt",
           "rgb24", out / "w%d.png")
    return [cv2.imread(str(out / f"w{i + 1}.png")) for i in range(frames)]


def exact(video, size, pixels, matrix):
    """The first frame of 8-bit planes as BGR by the formulas; chroma as JPEG's decoders
    take it. (ffmpeg's scaler stretches that of odd sides.)"""
    out = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(video), "-frames:v", "1", "-f", "rawvideo",
                          "-pix_fmt", pixels, "-"], check=True, capture_output=True, timeout=60).stdout
    width, height = map(int, size.split("x"))
    dx, dy = {"yuv420p": (2, 2), "yuv422p": (2, 1), "yuv444p": (1, 1)}[pixels]
    shape = (-(-height // dy), -(-width // dx))
    data, planes = np.frombuffer(out, np.uint8).astype(float), []
    for rows, columns in ((height, width), shape, shape):
        plane, data = data[:rows * columns].reshape(rows, columns), data[rows * columns:]
        if planes:
            plane = cv2.resize(plane, None, fx=dx, fy=dy, interpolation=cv2.INTER_LINEAR)[:height, :width]
        planes.append(plane)
    y, u, v = (planes[0] - 16) / 219, (planes[1] - 128) / 224, (planes[2] - 128) / 224
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    r, b = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.stack([b, g, r], 2) * 255, 0, 255)


@pytest.fixture(scope="module")
def cuts(media, session_dir):
    """Four scenes of three clips, cut at 2.0, 4.0 and 5.0 s, without audio."""
    out = session_dir / "cuts"
    out.mkdir()
    parts = [("carphone_pristine.mp4", 0), ("vtest.avi", 0), ("bikes.mp4", 0), ("vtest.avi", 40)]
    for i, (clip, start) in enumerate(parts):
        ffmpeg("-ss", start, "-i", media / clip, "-t", 1 if i == 2 else 2, "-an", "-vf", "scale=320:240,fps=25",
               "-pix_fmt", "yuv420p", "-preset", "veryfast", out / f"{i}.mp4")
    (out / "list").write_text("".join(f"file {i}.mp4\n" for i in range(4)))
    ffmpeg("-f", "concat", "-i", out / "list", "-c:v", "libx264", "-preset", "veryfast", out / "cuts.mp4")
    return out / "cuts.mp4"


def test_every_frame_with_its_exact_time(omma, media, tmp_path):
    video = media / "carphone_pristine.mp4"
    out = omma("frames", "-i", video, "-o", tmp_path / "deep/er").out
    folder = tmp_path / "deep/er"
    expected = [f"carphone_pristine_{i:06d}_{t:.6f}.jpg" for i, t in enumerate(times(video))]
    assert names(folder) == expected
    assert f"{len(expected)} pictures" in out


@pytest.mark.parametrize("fmt,least", [("jpg", 42), ("png", 50), ("webp", 40)])
def test_pictures_are_the_video_s(omma, media, tmp_path, fmt, least):
    video = media / "bikes.mp4"
    omma("frames", video, "-o", tmp_path / "f", "--format", fmt, "--max-frames", 2, "-q")
    for name, expected in zip(names(tmp_path / "f"), witness(video, tmp_path, 2)):
        assert psnr(cv2.imread(str(tmp_path / "f" / name)), expected) > least


@pytest.mark.parametrize("pixels,size,matrix", [("yuv420p", "161x91", "bt601"), ("yuv444p", "161x91", "bt709"),
                                                ("yuv422p", "160x91", "bt601"), ("yuv420p10le", "162x90", "bt709"),
                                                ("gray", "161x91", "bt601"), ("bgr0", "161x91", "bt709")])
def test_jpeg_of_each_kind_of_picture(omma, tmp_path, pixels, size, matrix):
    """Odd sides, other samplings, ten bits, another matrix: JFIF has one matrix and full range."""
    colour = {"bt601": "smpte170m"}.get(matrix, matrix)
    tag = [] if pixels in ("gray", "bgr0") else ["-colorspace", colour, "-color_range", "tv"]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=5", "-vf",
           f"scale={size.replace('x', ':')},format=yuv444p,gblur=sigma=3,scale=out_color_matrix={matrix}:flags=accurate_rnd",
           "-frames:v", 2, "-pix_fmt", pixels, *tag, "-c:v", "ffv1", tmp_path / "v.mkv")
    omma("frames", tmp_path / "v.mkv", "-o", tmp_path / "f", "--quality", 98, "-q")
    picture = cv2.imread(str(tmp_path / "f" / names(tmp_path / "f")[0]))
    planar = pixels in ("yuv420p", "yuv422p", "yuv444p")
    expected = exact(tmp_path / "v.mkv", size, pixels, matrix) if planar else witness(tmp_path / "v.mkv", tmp_path)[0]
    width, height = map(int, size.split("x"))
    assert picture.shape == expected.shape == (height, width, 3)
    assert psnr(picture, expected) > (35 if pixels == "bgr0" else 38)
    assert abs(picture.mean() - expected.mean()) < 0.6


def test_rate_and_range(omma, media, tmp_path):
    video = media / "carphone_pristine.mp4"
    omma("frames", video, "-o", tmp_path / "f", "--fps", 7, "--start", "500ms", "--end", 3, "--prefix", "x", "-q")
    expected, last = [], -1
    for t in times(video):
        tick = int((round(t, 6) - 0.5) * 7 + 1e-6)
        if 0.5 <= round(t, 6) < 3 and tick > last:
            expected.append(round(t, 6))
            last = tick
    assert seconds(tmp_path / "f") == pytest.approx(expected, abs=1e-9)
    assert all(n.startswith("x_") for n in names(tmp_path / "f"))


@pytest.mark.sanitize
def test_range_ends_before_its_end(omma, tmp_path):
    omma("frames", "pattern:64x48@10:frames=30", "-o", tmp_path / "f", "--start", 1, "--end", 2, "-q")
    assert seconds(tmp_path / "f") == [t / 10 for t in range(10, 20)]


def test_scenes_are_ffmpeg_s(omma, cuts, tmp_path):
    omma("frames", cuts, "-o", tmp_path / "f", "--scene", "-q")
    out = subprocess.run(["ffmpeg", "-nostdin", "-i", str(cuts), "-vf", "select='gt(scene,0.3)',showinfo", "-f", "null",
                          "-"], capture_output=True, text=True, timeout=60).stderr
    expected = [0] + [float(t) for t in re.findall(r"pts_time:([0-9.]+)", out)]
    assert len(expected) == 4
    assert seconds(tmp_path / "f") == pytest.approx(expected)


def test_inputs_of_one_name(omma, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=0.4", tmp_path / folder / "v.mp4")
    omma("frames", tmp_path / "a/v.mp4", "-i", tmp_path / "b/v.mp4", "-o", tmp_path / "f", "-q")
    assert sorted(NAME.fullmatch(n)[1] for n in names(tmp_path / "f")) == ["v", "v", "v-2", "v-2"]


def test_one_bad_input_stops_no_other(omma, tmp_path):
    result = omma("frames", "missing.mp4", "pattern:64x48:frames=2", "-o", tmp_path / "f", code=1)
    assert "missing.mp4" in result.err
    assert len(names(tmp_path / "f")) == 2


@pytest.mark.parametrize("args,code,words", [
    ([], 2, "no input"),
    (["x.mp4"], 2, "no output"),
    (["x.mp4", "-o", "f", "--start", "3", "--end", "2"], 2, "--end 2 s is not after --start 3 s"),
    (["x.mp4", "-o", "f", "--format", "gif"], 2, "not one of jpg, png, webp"),
    (["x.mp4", "-o", "f", "--prefix", "a/b"], 2, "cannot hold '/'"),
    (["x.mp4", "-o", "f"], 1, "x.mp4: No such file"),
    (["pattern:", "-o", "file"], 1, "expected a folder"),
    (["pattern:frames=5", "-o", "f", "--start", "9"], 1, "no frame at or after"),
])
def test_bad_input(omma, tmp_path, args, code, words):
    (tmp_path / "file").write_text("")
    result = omma("frames", *args, code=code, cwd=tmp_path)
    assert words in result.err
    assert result.err.count("\n") == 1


def test_a_full_disk_is_told(omma, tmp_path):
    (tmp_path / "f").mkdir()
    for i in range(40):  # a folder where each picture should go cannot be renamed over
        (tmp_path / "f" / f"pattern_{i:06d}_{i / 25:.6f}.jpg").mkdir()
    result = omma("frames", "pattern:64x48:frames=40", "-o", tmp_path / "f", code=1)
    assert "cannot write" in result.err
    assert not list((tmp_path / "f").glob("*.tmp"))


def test_a_stop_leaves_whole_pictures(omma, tmp_path):
    process = omma.start("frames", "pattern:320x240:frames=0", "-o", tmp_path / "f")
    wait_for(lambda: len(list((tmp_path / "f").glob("*"))) >= 20, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    found = names(tmp_path / "f")
    assert f"{len(found)} pictures" in out
    assert all(cv2.imread(str(tmp_path / "f" / n)) is not None for n in found[-5:])


@pytest.mark.long
@pytest.mark.parametrize("fmt", ["jpg", "png"])
def test_speed_beside_ffmpeg(omma, media, tmp_path, fmt):
    """At least 0.9 of ffmpeg's own on the same job: the median of five pairs."""
    ratios = []
    quality = ["-q:v", "2"] if fmt == "jpg" else []
    (tmp_path / "f").mkdir()
    for _ in range(5):
        begin = time.monotonic()
        ffmpeg("-i", media / "bikes.mp4", *quality, tmp_path / "f" / f"%06d.{fmt}")
        middle = time.monotonic()
        omma("frames", media / "bikes.mp4", "-o", tmp_path / "o", "--format", fmt, "-q")
        ratios.append((middle - begin) / (time.monotonic() - middle))
    assert statistics.median(ratios) >= 0.9, ratios
