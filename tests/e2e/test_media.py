"""Sources against outside witnesses: ffprobe's packet counts, ffmpeg's pixels, real RTSP and HTTP servers.

tool_source reads one source to its end and prints counts and pictures as JSON.
"""
import functools
import http.server
import json
import os
import random
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import BUILD, SANITIZED, ffmpeg, packets

TOOL = BUILD / "tests/unit/tool_source"
SLOW = 10 if SANITIZED else 1


def read(*args, timeout=60):
    """What tool_source says; the account of packets must be exact whatever happened."""
    run = subprocess.run([str(TOOL), *map(str, args)], capture_output=True, text=True, timeout=timeout * SLOW)
    assert run.returncode == 0, run.stderr[-4000:]
    out = json.loads(run.stdout)
    ends = ("decoded", "no_output", "corrupt", "unread", "no_key", "economy")
    assert out["received"] == sum(out[e] for e in ends), out
    return out


def md5s(path, *args):
    """ffmpeg's MD5 of each picture's planes."""
    out = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-vsync", "passthrough",
                          *args, "-f", "framemd5", "-"], check=True, capture_output=True, text=True, timeout=120)
    return [line.split(",")[-1].strip() for line in out.stdout.splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def clips(media, tmp_path_factory):
    """The same two seconds in many codecs and containers."""
    folder = tmp_path_factory.mktemp("clips")
    make = functools.partial(ffmpeg, "-t", "2", "-i", media / "bikes.mp4")
    make("-c:v", "libx264", "-bf", "3", "-x264-params", "b-pyramid=normal", folder / "b.mp4")
    make("-c:v", "libx264", "-bf", "3", "-movflags", "+faststart", folder / "faststart.mp4")
    make("-c:v", "libx264", "-flags", "+ilme+ildct", folder / "interlaced.ts")
    make("-c:v", "libx265", "-x265-params", "log-level=error:bframes=4", folder / "hevc.mp4")
    make("-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le", folder / "hevc10.mkv")
    make("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "1", "-lag-in-frames", "10",
         folder / "alt-ref.webm")
    make("-c:v", "mpeg4", "-bf", "2", folder / "mpeg4.avi")
    make("-c:v", "libxvid", "-bf", "2", folder / "xvid.avi")
    make("-c:v", "mpeg2video", "-bf", "2", folder / "mpeg2.ts")
    make("-c:v", "mjpeg", folder / "mjpeg.avi")
    make("-c:v", "ffv1", "-pix_fmt", "yuv422p", folder / "lossless.mkv")
    make("-c:v", "libx264", folder / "raw.h264")
    ffmpeg("-i", folder / "b.mp4", "-f", "lavfi", "-i", "sine=d=2", "-c:v", "copy", folder / "sound.mp4")
    ffmpeg("-i", folder / "b.mp4", "-frames:v", "1", folder / "one.jpg")
    return folder


CLIPS = ["b.mp4", "faststart.mp4", "interlaced.ts", "hevc.mp4", "hevc10.mkv", "alt-ref.webm", "mpeg4.avi", "xvid.avi",
         "mpeg2.ts", "mjpeg.avi", "lossless.mkv", "raw.h264", "sound.mp4"]


def check_whole(path):
    out = read("--frames", path)
    assert out["error"] == ""
    assert out["received"] == packets(path)
    assert [f["md5"] for f in out["frames"]] == md5s(path)
    assert [f["seq"] for f in out["frames"]] == list(range(out["decoded"]))
    pts = [f["pts"] for f in out["frames"]]
    assert pts[0] == 0 and all(a < b for a, b in zip(pts, pts[1:]))
    assert out["frames"][0]["key"]
    return out


@pytest.mark.parametrize("name", ["vtest.avi", "bikes.mp4", "carphone_pristine.mp4"])
def test_real_videos(media, name):
    out = check_whole(media / name)
    assert out["decoded"] == out["received"]
    # Each picture stands for a packet of its own.
    assert len({f["packet"] for f in out["frames"]}) == out["decoded"]


@pytest.mark.parametrize("name", CLIPS)
def test_codecs(clips, name):
    check_whole(clips / name)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_nothing(clips, threads):
    out = read("--frames", "--threads", threads, clips / "b.mp4")
    assert [f["md5"] for f in out["frames"]] == md5s(clips / "b.mp4")
    assert out["received"] == out["decoded"]


@pytest.mark.parametrize("codec,fmt,suffix,want,name", [
    ("rawvideo", "yuv411p", "avi", "yuv420p", "i420"),
    ("gif", "pal8", "gif", "rgb24", "rgb24"),
    ("qtrle", "argb", "mov", "rgb24", "rgb24"),
    ("png", "rgba64be", "mov", "rgb24", "rgb24"),
])
def test_odd_pixel_formats(media, tmp_path, codec, fmt, suffix, want, name):
    clip = tmp_path / f"odd.{suffix}"
    ffmpeg("-t", "0.4", "-i", media / "bikes.mp4", "-c:v", codec, *(() if codec == "gif" else ("-pix_fmt", fmt)), clip)
    out = read("--frames", clip)
    assert out["frames"][0]["format"] == name
    if want == "rgb24" and codec != "png":
        assert [f["md5"] for f in out["frames"]] == md5s(clip, "-pix_fmt", want)
    assert out["received"] == out["decoded"] == packets(clip)


def test_size_changes_in_mid_stream(media, tmp_path):
    parts = []
    for size in ("320:240", "176:144"):
        parts.append(tmp_path / f"{size[:3]}.h264")
        ffmpeg("-t", "1", "-i", media / "bikes.mp4", "-vf", f"scale={size}", "-c:v", "libx264", parts[-1])
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(p.read_bytes() for p in parts))
    out = read("--frames", joined)
    assert [f["size"] for f in out["frames"]] == [[320, 240]] * 25 + [[176, 144]] * 25
    assert [f["md5"] for f in out["frames"]] == md5s(parts[0]) + md5s(parts[1])


def test_start_in_mid_stream_gives_nothing_broken(clips, tmp_path):
    """A stream joined between two key pictures: what cannot be decoded whole is counted and not returned."""
    data = (clips / "mpeg2.ts").read_bytes()
    late = tmp_path / "late.ts"
    late.write_bytes(data[188 * (len(data) // 188 // 10):])
    out = read("--frames", late)
    assert 0 < out["decoded"] < out["received"] == packets(late)
    assert {f["md5"] for f in out["frames"]} <= set(md5s(clips / "mpeg2.ts"))


@pytest.mark.parametrize("name", ["b.mp4", "faststart.mp4", "hevc.mp4", "alt-ref.webm", "mpeg4.avi", "xvid.avi", "mpeg2.ts",
                                  "interlaced.ts", "mjpeg.avi", "raw.h264"])
@pytest.mark.sanitize
def test_damaged_files(clips, tmp_path, name):
    data = (clips / name).read_bytes()
    for seed in range(6):
        rand = random.Random(seed)
        bad = bytearray(data[:int(len(data) * rand.uniform(0.1, 0.95))] if seed < 3 else data)
        for _ in range(0 if seed < 3 else 10 ** (seed - 2) // 3):
            bad[rand.randrange(1000, len(bad))] = rand.randrange(256)
        path = tmp_path / f"{seed}-{name}"
        path.write_bytes(bad)
        out = read("--threads", 1 + seed % 3, path)
        if out["error"]:
            assert str(path) in out["error"] and "\n" not in out["error"]
        try:
            count = packets(path)
        except (subprocess.CalledProcessError, KeyError, IndexError, ValueError):
            continue  # ffprobe gives up on it too
        assert out["received"] == count


@pytest.mark.sanitize
@pytest.mark.parametrize("name,words", [
    ("missing.mp4", "No such file"), ("zero.mp4", "empty file"), ("text.mp4", "not a video"), ("note.txt", "not a video"),
    ("sound.wav", "has no video stream (audio only)"), ("folder", "no pictures in this folder"),
    ("pipe", "is not a regular file"), ("random.mkv", "not a video"), ("cut.mp4", "not a video"),
])
def test_bad_inputs(clips, tmp_path, name, words):
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.mp4").write_text("These are words.\n" * 50)
    (tmp_path / "note.txt").write_text("These are words.\n" * 50)
    (tmp_path / "random.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + random.Random(1).randbytes(5000))
    (tmp_path / "cut.mp4").write_bytes((clips / "b.mp4").read_bytes()[:20000])
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "sound.wav")
    out = read(tmp_path / name, timeout=10)
    assert words in out["error"] and str(tmp_path / name) in out["error"] and "\n" not in out["error"]
    assert out["received"] == 0


def test_song_with_a_cover_is_no_video(media, tmp_path):
    ffmpeg("-i", media / "bikes.mp4", "-frames:v", "1", tmp_path / "cover.png")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c:v", "copy",
           "-disposition:v", "attached_pic", tmp_path / "song.mp3")
    assert "audio only" in read(tmp_path / "song.mp3")["error"]


def test_playlist_must_not_leave_the_disk(tmp_path):
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")
    out = read(tmp_path / "list.m3u8")
    assert out["error"] and out["received"] == 0


def test_live_keeps_the_schedule(clips):
    out = read("--live", "--max", "25", "--frames", clips / "b.mp4")
    frames = out["frames"]
    assert out["live"]
    gaps = [b["due_ns"] - a["due_ns"] for a, b in zip(frames, frames[1:])]
    assert all(abs(gap - 40e6) < 1e6 for gap in gaps)
    assert all(f["out_ns"] >= f["due_ns"] for f in frames)
    assert frames[10]["wall_us"] - frames[0]["wall_us"] == 400000
    assert abs(frames[0]["wall_us"] / 1e6 - time.time()) < 60


def test_loop(clips):
    out = read("--loop", "--max", "120", "--frames", clips / "b.mp4")
    one = md5s(clips / "b.mp4")
    assert [f["md5"] for f in out["frames"]] == (one * 3)[:120]
    pts = [f["pts"] for f in out["frames"]]
    assert all(abs(b - a - 0.04) < 1e-4 for a, b in zip(pts, pts[1:]))
    assert sorted(f["packet"] for f in out["frames"])[:100] == list(range(100))


# ---- network


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        try:
            if self.path == "/camera":
                self.camera()
            elif self.path == "/stalled.mp4":
                self.stalled()
            else:
                super().do_GET()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader had enough

    def camera(self):
        """Motion JPEG as network cameras send it, for ever."""
        picture = (Path(self.directory) / "one.jpg").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        while True:
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture))
            self.wfile.write(picture + b"\r\n")

    def stalled(self):
        """Half a file, then nothing more."""
        data = (Path(self.directory) / "faststart.mp4").read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:len(data) // 2])
        self.rfile.read(1)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def web(clips):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(clips)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_http(web, clips):
    out = read("--frames", f"{web}/faststart.mp4")
    assert out["kind"] == "http" and not out["live"]
    assert out["received"] == packets(clips / "faststart.mp4")
    assert [f["md5"] for f in out["frames"]] == md5s(clips / "faststart.mp4")


def test_http_camera(web):
    out = read("--max", "30", "--frames", f"{web}/camera")
    assert out["live"] and out["codec"] == "mjpeg" and out["decoded"] == 30
    assert len({f["md5"] for f in out["frames"]}) == 1


def test_http_stalls(web):
    out = read("--timeout", "800", f"{web}/stalled.mp4")
    assert out["rc"] == -9 and "no data within 0.8 s" in out["error"]
    assert out["decoded"] > 0


def test_http_not_found(web):
    out = read(web.replace("http://", "http://user:secret@") + "/none.mp4")
    assert "404" in out["error"] and "none.mp4" in out["error"] and "secret" not in out["error"]


@pytest.fixture
def rtsp(gi_python, media):
    """Starts RTSP servers; each call returns an address."""
    running = []

    def start(*credentials):
        server = subprocess.Popen([str(gi_python), str(Path(__file__).parent / "rtsp_server.py"),
                                   str(media / "carphone_pristine.mp4"), *credentials], stdout=subprocess.PIPE, text=True)
        running.append(server)
        port = server.stdout.readline().strip()
        assert port, "the RTSP server did not start"
        return f"127.0.0.1:{port}/cam"

    yield start
    for server in running:
        server.kill()
        server.wait()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp(rtsp, media, transport):
    out = read("--frames", *(["--udp"] if transport == "udp" else []), "rtsp://" + rtsp(), timeout=30)
    assert out["kind"] == "rtsp" and out["codec"] == "h264" and out["live"]
    whole = md5s(media / "carphone_pristine.mp4")
    got = [f["md5"] for f in out["frames"]]
    assert out["error"] == "" and set(got) <= set(whole)
    if transport == "tcp":
        assert out["received"] == len(whole) and got == whole
    else:
        assert len(got) > 60
    walls = [f["wall_us"] for f in out["frames"]]
    assert abs(walls[0] / 1e6 - time.time()) < 60


def test_rtsp_password_stays_secret(rtsp):
    where = rtsp("viewer", "sesame")
    assert read("--max", "5", f"rtsp://viewer:sesame@{where}")["decoded"] == 5
    out = read(f"rtsp://viewer:wrong@{where}")
    assert "401" in out["error"] and where in out["error"] and "wrong" not in out["error"]


def test_rtsp_cancelled_while_playing(rtsp):
    out = read("--cancel", "1500", "rtsp://" + rtsp())
    assert out["rc"] == -10 and out["decoded"] > 0
    assert out["ms"] < 1500 + 250 * SLOW


@pytest.fixture
def silent():
    """A server that takes connections and never says a word."""
    sock = socket.create_server(("127.0.0.1", 0))
    yield f"127.0.0.1:{sock.getsockname()[1]}"
    sock.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_silent_server_times_out(silent, scheme):
    out = read("--timeout", "600", f"{scheme}://u:secret@{silent}/x")
    assert out["rc"] == -9 and "within 0.6 s" in out["error"] and "secret" not in out["error"]
    assert 550 < out["ms"] < 600 + 250 * SLOW


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_silent_server_is_cancelled(silent, scheme):
    out = read("--cancel", "300", f"{scheme}://{silent}/x")
    assert out["rc"] == -10
    assert out["ms"] < 300 + 200 * SLOW


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    out = read(f"rtsp://127.0.0.1:{port}/x")
    assert "Connection refused" in out["error"]


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_connecting_is_cancelled(scheme):
    """A full backlog: the connection is neither taken nor refused."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        port = sock.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]
        for s in fill:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
        out = read("--cancel", "300", f"{scheme}://127.0.0.1:{port}/x")
        for s in fill:
            s.close()
    assert out["rc"] == -10
    assert out["ms"] < 300 + 200 * SLOW
