"""What cameras send: measured, for each and in total, and compared with what the link carries."""
import contextlib
import json
import queue
import select
import subprocess
import threading
import time

import pytest
from fault_proxy import FaultProxy
from live import SHAPES, Cameras, h264
from test_sinks import complaints

RUN = ["run", "-m", SHAPES, "-d", "null", "-o", "null:"]


def packet_bits(clip, seconds):
    """Of the video packets whose time is before that, as ffprobe has them."""
    rows = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time,size", "-of", "csv=p=0",
                           str(clip)], check=True, capture_output=True, text=True).stdout.split()
    return sum(8 * int(size) for time, size in (row.split(",")[:2] for row in rows) if float(time) < seconds)


def test_a_live_file_stands_for_a_camera(omma, media, tmp_path):
    """Its rate is that of its packets at their own pace; a file read as fast as it goes has none, nor has a pattern."""
    clip, report, metrics = media / "carphone_pristine.mp4", tmp_path / "r.json", tmp_path / "m.prom"
    omma(*RUN, "-i", clip, "-i", "pattern:64x48@25:frames=0", "--live", "--duration", "3s", "--report", report, "--metrics-file", metrics)
    run = json.loads(report.read_text())
    streams = {s["name"]: s for s in run["streams"]}
    expected = packet_bits(clip, 3) / 3e6
    assert streams["carphone_pristine"]["network_mbit_s"] == pytest.approx(expected, rel=0.15)
    assert streams["pattern"]["network_mbit_s"] is None
    assert run["totals"]["network_mbit_s"] == pytest.approx(expected, rel=0.15)
    counted = next(line for line in metrics.read_text().splitlines() if line.startswith('omma_network_bytes_total{stream="carphone'))
    assert int(counted.split()[-1]) == streams["carphone_pristine"]["bytes"]
    omma(*RUN, "-i", clip, "--report", report)
    assert json.loads(report.read_text())["totals"]["network_mbit_s"] is None


@pytest.fixture
def server(tmp_path):
    clip = h264(tmp_path / "clip.h264", "320x240")
    cameras = Cameras([clip], cameras=2)
    yield cameras, clip.stat().st_size * 8e-6 / 2  # fifty frames are two seconds
    cameras.close()


def test_cameras_that_send_more_than_the_link_carries(omma, server, tmp_path):
    """Said once, with what was measured, once it is; and not where the link is wide enough."""
    cameras, mbit = server
    report = tmp_path / "r.json"
    run = omma.start(*RUN, "-i", cameras.url(0), "-i", cameras.url(1), "--duration", "8s", "--link-mbit", 0.9 * mbit, "--report", report)
    wide = omma(*RUN, "-i", cameras.url(0), "-i", cameras.url(1), "--duration", "7s", "--link-mbit", 1000)
    _, err = run.communicate(timeout=60)
    said = [line for line in err.splitlines() if "more than the" in line and "network: 2 cameras send" in line]
    assert run.returncode == 0 and len(said) == 1, err
    assert float(said[0].split(" Mbit/s")[0].split()[-1]) == pytest.approx(2 * mbit, rel=0.3, abs=0.06), (said, mbit)
    assert "network:" not in wide.err and not complaints(wide.err), wide
    totals = json.loads(report.read_text())["totals"]
    assert totals["network_mbit_s"] == pytest.approx(2 * mbit, rel=0.3), (totals, mbit)
    for stream in json.loads(report.read_text())["streams"]:
        assert stream["network_mbit_s"] == pytest.approx(mbit, rel=0.3), (stream, mbit)


class Later(FaultProxy):
    """What comes from the server goes on `late` seconds later."""
    late = 0

    def pump(self, client, server):
        line = queue.Queue()

        def send():
            with contextlib.suppress(OSError):
                while item := line.get():
                    time.sleep(max(0, item[0] + self.late - time.monotonic()))
                    client.sendall(item[1])

        threading.Thread(target=send, daemon=True).start()
        with contextlib.suppress(OSError), client, server:
            while True:
                for sock in select.select([client, server], [], [], 1)[0]:
                    if not (data := sock.recv(65536)):
                        line.put(None)
                        return
                    if sock is client:
                        server.sendall(data)
                    else:
                        line.put((time.monotonic(), data))


@pytest.mark.long
def test_a_network_that_grows_slow_is_nobody_elses_trouble(omma, server, tmp_path):
    """A camera whose packets take 0.8 s longer from some moment on is late by itself: its decoder waits for them, and no
    stream is asked for less."""
    cameras, _ = server
    report, proxy = tmp_path / "r.json", Later(cameras.port)
    try:
        run = omma.start(*RUN, "-i", cameras.url(port=proxy.port), "-i", "pattern:64x48@25:frames=0", "--live", "--duration", "6s",
                         "--latency-bound-ms", 400, "--report", report)
        time.sleep(2)
        proxy.late = 0.8
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
        proxy.close()
    assert run.returncode == 0, err
    run = json.loads(report.read_text())
    assert {s["name"]: s["inferred"] > 50 for s in run["streams"]} == {"0": True, "pattern": True}, run["streams"]
    assert run["policy"]["worst_rung"] <= 1, run["policy"]


@pytest.mark.long
def test_a_decoder_that_cannot_keep_up_with_its_camera_is(omma, server, tmp_path, monkeypatch):
    """Packets that lie unread are the decoder's lag: 80 ms a picture, of 25 a second, on a network that is quick."""
    cameras, _ = server
    report = tmp_path / "r.json"
    monkeypatch.setenv("OMMA_TEST_DELAY", "source:80")
    omma(*RUN, "-i", cameras.url(), "--duration", "8s", "--latency-bound-ms", 400, "--report", report, "--metrics-file", tmp_path / "m.prom")
    run = json.loads(report.read_text())
    assert run["policy"]["down"] >= 2, run["policy"]
    assert run["streams"][0]["skipped"]["economy"] > 0, run["streams"]
