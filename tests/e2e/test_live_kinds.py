"""Cameras that speak no RTSP: Motion JPEG over HTTP, and those of the machine."""
import http.server
import json
import os
import socket
import subprocess
import threading
import time

import pytest
from conftest import BUILD, SANITIZED, ffmpeg
from live import ENDS, GOOD, RUN, rising
from test_media import TOOL, md5s, read
from test_sinks import complaints


@pytest.fixture
def mjpeg(media, tmp_path):
    """A camera that speaks HTTP: JPEGs in parts, twenty a second; it may break off within a picture."""
    ffmpeg("-i", media / "carphone_pristine.mp4", "-frames:v", 3, tmp_path / "%02d.jpg")
    pictures = [p.read_bytes() for p in sorted(tmp_path.glob("*.jpg"))]
    state = {"connections": 0, "sent": 0, "after": 10**9}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            state["connections"] += 1
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            try:
                for i in range(10**6):
                    picture = pictures[i % len(pictures)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
                    if i == state["after"]:
                        self.wfile.write(head + picture[:len(picture) // 2])
                        return
                    self.wfile.write(head + picture + b"\r\n")
                    state["sent"] += 1
                    time.sleep(0.05)
            except OSError:
                pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state["url"] = f"http://127.0.0.1:{server.server_port}/video.cgi"
    state["pictures"] = sorted(tmp_path.glob("*.jpg"))
    yield state
    server.shutdown()
    server.server_close()


def test_http_mjpeg_camera(mjpeg):
    """Its pictures have no time of their own: the arrival is taken. A broken one does not get through."""
    mjpeg["after"] = 9
    out = read("--frames", "--reconnect", 10, 50, "--max", 22, mjpeg["url"])
    assert out["kind"] == "http" and out["codec"] == "mjpeg" and out["live"] and out["reconnects"] >= 2, out
    whole = {m for p in mjpeg["pictures"] for m in md5s(p)}
    assert {f["md5"] for f in out["frames"]} <= whole
    gaps = [b["pts"] - a["pts"] for a, b in zip(out["frames"], out["frames"][1:]) if a["epoch"] == b["epoch"]]
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(0.05, abs=0.02)
    rising(out["frames"])


def test_http_file_is_not_a_camera(omma, media, tmp_path):
    """What is there and is something else is said at once, camera or not."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        def answer():
            client, _ = sock.accept()
            client.recv(4096)
            client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            client.close()
        threading.Thread(target=answer, daemon=True).start()
        r = omma(*RUN, "-i", f"http://127.0.0.1:{sock.getsockname()[1]}/a.mp4", "-i", GOOD, "-o", "null:", code=1)
    assert len(complaints(r.err)) == 1 and "404" in r.err and r.seconds < 5, r


# Cameras of the machine, through a shim that answers for the driver; no test has seen a real device.


def v4l2(*args, query="", **shim):
    env = {**os.environ, "LD_PRELOAD": str(BUILD / "tests/unit/shim_v4l2.so"), **{f"SHIM_{k.upper()}": str(v) for k, v in shim.items()}}
    run = subprocess.run([str(TOOL), "--frames", *map(str, args), f"v4l2:///dev/video-omma-test{query}"], capture_output=True, text=True,
                         timeout=60, env=env)
    assert run.returncode == 0, run.stderr
    out = json.loads(run.stdout)
    assert out["received"] == sum(out[e] for e in ENDS), out
    return out


@pytest.mark.skipif(SANITIZED, reason="a library loaded first and a sanitizer do not get along")
class TestV4l2:
    def test_raw_pictures(self, tmp_path):
        log = tmp_path / "log"
        out = v4l2("--max", 12, formats="YUYV", size="160x120", log=log)
        assert (out["kind"], out["codec"], out["fps"], out["decoded"]) == ("v4l2", "yuyv", 20, 12) and out["live"]
        assert {tuple(f["size"]) for f in out["frames"]} == {(160, 120)} and len({f["md5"] for f in out["frames"]}) == 12
        gaps = [b["pts"] - a["pts"] for a, b in zip(out["frames"], out["frames"][1:])]
        assert sorted(gaps)[5] == pytest.approx(0.05, abs=0.02)
        assert log.read_text() == "osxc"

    def test_jpeg_is_preferred_and_damage_is_counted(self, media, tmp_path):
        picture = tmp_path / "p.jpg"
        ffmpeg("-i", media / "carphone_pristine.mp4", "-frames:v", 1, "-pix_fmt", "yuvj420p", picture)
        out = v4l2("--max", 10, formats="YUYV,MJPG", jpeg=picture, broken=4)
        assert out["codec"] == "mjpeg" and out["corrupt"] == 4 and out["decoded"] == 10
        assert {f["md5"] for f in out["frames"]} == set(md5s(picture))
        assert v4l2("--max", 2, formats="YUYV,MJPG", query="?format=yuyv&size=160x120&fps=20")["codec"] == "yuyv"

    def test_unplugged_and_silent(self, tmp_path):
        """Opened anew each time, and closed each time."""
        log = tmp_path / "log"
        out = v4l2("--reconnect", 10, 30, "--max", 13, formats="YUYV", frames=5, log=log)
        assert out["reconnects"] == 2 and log.read_text() == 3 * "osxc"
        out = v4l2("--timeout", 300, formats="YUYV", silent=3)
        assert out["decoded"] == 3 and "no data within 0.3 s" in out["error"]

    def test_what_does_not_fit_is_said(self, omma):
        assert "any format that omma reads" in v4l2(formats="ABCD")["error"]
        assert "does not give h264" in v4l2(formats="YUYV", query="?format=h264")["error"]
        assert "size=WIDTHxHEIGHT" in v4l2(formats="YUYV", query="?colour=red")["error"]
        r = omma(*RUN, "-i", "v4l2:///dev/null", "-o", "null:", "--no-reconnect", code=1)
        assert "is not a V4L2 device" in r.err, r
        r = omma(*RUN, "-i", "v4l2://video0", "-o", "null:", code=2)
        assert "v4l2:///dev/video0" in r.err, r
