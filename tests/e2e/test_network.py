"""Streams over the network, all on the loopback address: real servers, silent ones, none at all."""
import contextlib
import http.server
import json
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import free_port, packets, records, stops_at_once, wait_for
from test_run import books
from test_sinks import complaints

SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"
GOOD = "pattern:160x120:frames=25"
RUN = ["run", "-m", SHAPES, "-d", "null", "--no-reconnect"]


@pytest.fixture(scope="module")
def web(media):
    """Serves the folder of videos."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(media))

        def log_message(self, *args):
            pass

        def do_GET(self):
            """Parts of files, too, which players of MP4 need; not below /plain/."""
            file = media / self.path.lstrip("/")
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not part or not file.is_file():
                self.path = self.path.removeprefix("/plain")
                return super().do_GET()
            size = file.stat().st_size
            first, last = int(part[1]), int(part[2] or size - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(file.read_bytes()[first:last + 1])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def rtsp(gi_python, media):
    """A real RTSP server of one camera; the function starts it and gives (port, process)."""
    running = []

    def start(*login):
        p = subprocess.Popen([str(gi_python), str(Path(__file__).with_name("rtsp_server.py")), str(media / "carphone_pristine.mp4"),
                              *login], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        running.append(p)
        line = p.stdout.readline()
        assert line.strip().isdigit(), "the RTSP server did not start"
        return int(line), p

    yield start
    for p in running:
        p.kill()
        p.communicate()


class Silent:
    """Accepts and never answers. `after`: what it says first."""

    def __init__(self, after=b""):
        self.after, self.accepted, self.kept = after, threading.Event(), []
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(16)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            if self.after:
                client.recv(4096)
                client.sendall(self.after)
            self.kept.append(client)
            self.accepted.set()

    def close(self):
        self.sock.close()
        for client in self.kept:
            client.close()


@pytest.fixture
def silent():
    server = Silent()
    yield server
    server.close()


@pytest.mark.sanitize
def test_http_file(omma, web, media, tmp_path):
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    omma(*RUN, "-i", f"{web}/carphone_pristine.mp4", "-i", f"{web}/bikes.mp4", "-o", f"jsonl:{out}", "--report", report)
    r = json.loads(report.read_text())
    for stream, file in zip(r["streams"], ("carphone_pristine.mp4", "bikes.mp4"), strict=True):
        assert stream["received"] == packets(media / file)
        assert stream["inferred"] == sum(x["stream"] == stream["name"] for x in records(out)) > 0
        books(stream)


@pytest.mark.sanitize
def test_http_server_that_cannot_seek(omma, web, media, tmp_path):
    """A stream of packets needs no seeking; an MP4 with its index at the end does."""
    out = tmp_path / "r.jsonl"
    r = omma(*RUN, "-i", f"{web}/plain/vtest.avi", "--max-frames", 50, "-o", f"jsonl:{out}")
    assert len(records(out)) == 50, r
    r = omma(*RUN, "-i", f"{web}/plain/carphone_pristine.mp4", "-i", GOOD, "-o", f"jsonl:{out}", code=1)
    assert len(complaints(r.err)) == 1 and "carphone_pristine.mp4" in r.err, r
    assert len(records(out)) == 25


@pytest.mark.sanitize
def test_http_wrong_path(omma, web, tmp_path):
    out = tmp_path / "r.jsonl"
    r = omma(*RUN, "-i", f"{web}/none.mp4", "-i", GOOD, "-o", f"jsonl:{out}", code=1)
    assert len(complaints(r.err)) == 1 and "404" in r.err and "none.mp4" in r.err, r
    assert len(records(out)) == 25


@pytest.mark.sanitize
def test_http_no_video(omma, web, tmp_path):
    r = omma(*RUN, "-i", f"{web}/", "-i", GOOD, "-o", "null:", code=1)
    assert len(complaints(r.err)) == 1 and "not a video" in r.err, r


@pytest.mark.sanitize
def test_rtsp_camera(omma, rtsp, media, tmp_path):
    """Its 120 frames arrive at their own pace, beside a file that is not held up by it."""
    port, _ = rtsp()
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    r = omma(*RUN, "-i", f"rtsp://127.0.0.1:{port}/cam", "-i", media / "bikes.mp4", "-o", f"jsonl:{out}", "--report", report)
    assert r.seconds > 3
    camera, file = json.loads(report.read_text())["streams"]
    books(camera)
    books(file)
    assert (camera["name"], camera["codec"], camera["width"], camera["height"]) == ("cam", "h264", 176, 144)
    assert 100 <= camera["received"] <= 120
    assert camera["inferred"] > 60
    assert file["inferred"] == packets(media / "bikes.mp4")
    seqs = [x["seq"] for x in records(out) if x["stream"] == "cam"]
    assert seqs == sorted(set(seqs)) and len(seqs) == camera["inferred"]


@pytest.mark.sanitize
def test_rtsp_login(omma, rtsp, tmp_path):
    port, _ = rtsp("olga", "geheim")
    report = tmp_path / "report.json"
    common = ["--max-frames", 5, "-o", "null:", "--log-level", "debug", "--report", report]
    r = omma(*RUN, "-i", f"rtsp://olga:geheim@127.0.0.1:{port}/cam", *common)
    assert "geheim" not in r.out + r.err + report.read_text()
    assert json.loads(report.read_text())["totals"]["inferred"] == 5
    r = omma(*RUN, "-i", f"rtsp://olga:falsch@127.0.0.1:{port}/cam", *common, code=1)
    assert len(complaints(r.err)) == 1 and "401" in r.err and "falsch" not in r.out + r.err + report.read_text(), r


@pytest.mark.sanitize
def test_rtsp_wrong_path(omma, rtsp):
    port, _ = rtsp()
    r = omma(*RUN, "-i", f"rtsp://127.0.0.1:{port}/nocam", "-i", GOOD, "-o", "null:", code=1)
    assert len(complaints(r.err)) == 1 and "404" in r.err and "nocam" in r.err, r


@pytest.mark.sanitize
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_rtsp_camera_that_vanishes(omma, rtsp, media, tmp_path, how):
    """Killed or frozen in the middle: what came is kept, the file beside is complete, the end is bounded."""
    port, server = rtsp()
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    p = omma.start(*RUN, "-i", f"rtsp://127.0.0.1:{port}/cam", "-i", media / "bikes.mp4", "-o", f"jsonl:{out}", "--report", report,
                   "--read-timeout", "1s")
    try:
        wait_for(lambda: out.exists() and '"cam"' in out.read_text(), p)
        server.send_signal(how)
        _, err = p.communicate(timeout=30)
    finally:
        p.kill()
    assert len(complaints(err)) == p.returncode == (1 if how == signal.SIGSTOP else p.returncode), err
    if how == signal.SIGSTOP:
        assert "1.0 s" in err, err
    camera, file = json.loads(report.read_text())["streams"]
    books(camera)
    books(file)
    assert 0 < camera["inferred"] == sum(x["stream"] == "cam" for x in records(out)) < 120
    assert file["inferred"] == packets(media / "bikes.mp4")


@pytest.mark.sanitize
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_nobody_listens(omma, tmp_path, scheme):
    out = tmp_path / "r.jsonl"
    r = omma(*RUN, "-i", f"{scheme}://127.0.0.1:{free_port()}/cam", "-i", GOOD, "-o", f"jsonl:{out}", code=1)
    assert len(complaints(r.err)) == 1 and "refused" in r.err.lower(), r
    assert r.seconds < 10 and len(records(out)) == 25


@pytest.mark.sanitize
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_server_that_never_answers(omma, silent, tmp_path, scheme):
    out = tmp_path / "r.jsonl"
    r = omma(*RUN, "-i", f"{scheme}://127.0.0.1:{silent.port}/cam", "-i", GOOD, "-o", f"jsonl:{out}", "--open-timeout", "1s", code=1)
    assert len(complaints(r.err)) == 1 and "no answer within 1.0 s" in r.err, r
    assert 1 <= r.seconds < 10 and len(records(out)) == 25


@pytest.mark.sanitize
def test_server_that_stops_talking(omma, tmp_path):
    server = Silent(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 1000000\r\n\r\n\0\0\0")
    try:
        r = omma(*RUN, "-i", f"http://127.0.0.1:{server.port}/a.mp4", "-o", "null:", "--open-timeout", "1s", code=1)
        assert len(complaints(r.err)) == 1 and r.seconds < 10, r
    finally:
        server.close()


@pytest.mark.sanitize
@pytest.mark.parametrize("answer", [b"\xff" * 3000, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n",
                                    b"HTTP/1.1 500 Internal Server Error\r\n\r\n", b"RTSP/1.0 " + b"9" * 5000])
def test_server_that_talks_nonsense(omma, tmp_path, answer):
    server = Silent(answer)
    try:
        for scheme in ("rtsp", "http"):
            r = omma(*RUN, "-i", f"{scheme}://127.0.0.1:{server.port}/a", "-i", GOOD, "-o", "null:", "--open-timeout", "1s", code=1)
            assert len(complaints(r.err)) == 1 and r.seconds < 12, r
    finally:
        server.close()


@pytest.mark.sanitize
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_stop_does_not_wait_for_a_silent_server(omma, silent, tmp_path, scheme):
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    args = [a for _ in range(6) for a in ("-i", f"{scheme}://127.0.0.1:{silent.port}/cam")]
    p = omma.start(*RUN, *args, "-i", "pattern:64x48@25:frames=0", "--live", "-o", f"jsonl:{out}", "--open-timeout", "60s",
                   "--report", report)
    try:
        wait_for(lambda: silent.accepted.is_set() and out.exists() and out.stat().st_size, p)
        err = stops_at_once(p)
    finally:
        p.kill()
    assert p.returncode == 0 and not complaints(err), err
    r = json.loads(report.read_text())
    books(r["totals"])
    assert r["totals"]["inferred"] == len(records(out)) > 0


@pytest.mark.sanitize
def test_stop_does_not_wait_for_a_frozen_camera(omma, rtsp, tmp_path):
    """It does not even answer the goodbye."""
    port, server = rtsp()
    out = tmp_path / "r.jsonl"
    p = omma.start(*RUN, "-i", f"rtsp://127.0.0.1:{port}/cam", "-o", f"jsonl:{out}", "--read-timeout", "60s")
    try:
        wait_for(lambda: out.exists() and out.stat().st_size, p)
        server.send_signal(signal.SIGSTOP)
        err = stops_at_once(p)
    finally:
        p.kill()
    assert p.returncode == 0 and not complaints(err) and "left behind" not in err, err
    assert records(out)


@pytest.mark.sanitize
def test_files_do_not_reach_into_the_network(omma, silent, tmp_path):
    """A playlist on disk must not make omma call anybody."""
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{silent.port}/secret.ts\n#EXT-X-ENDLIST\n")
    r = omma(*RUN, "-i", playlist, "-o", "null:", code=1, timeout=30)
    assert len(complaints(r.err)) == 1, r
    assert not silent.accepted.is_set()
