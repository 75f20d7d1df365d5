"""Streams that come and go while a run goes on: the control socket, lists that are read again, many at a time."""
import functools
import http.server
import json
import os
import re
import resource
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, SANITIZED, ffmpeg, records, wait_for

SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"
NULL = ("-m", SHAPES, "-d", "null")
ENDLESS = "pattern:64x48@25:frames=0"
HANGS = ["run", *NULL[:2], "-d", "null:1500000", "--in-flight", "1", "--live", "--warn-stall", "300ms", "-o", "null:"]


class Run:
    """A run with a control socket."""

    def __init__(self, omma, tmp_path, *args, **popen):
        self.omma, self.path = omma, tmp_path / "control"
        self.report_file = tmp_path / "report.json"
        self.process = omma.start("run", *NULL, "--control", self.path, "--report", self.report_file, *args, **popen)
        wait_for(lambda: self.listens() or self.process.poll() is not None)

    def listens(self):
        try:
            self.connect().close()
            return True
        except OSError:
            return False

    def ctl(self, *args, **options):
        return self.omma("ctl", *args, "--control", self.path, **options)

    def ask(self, **request):
        """One request as another program would send it."""
        with self.connect() as sock:
            sock.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(sock.makefile().readline())

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        sock.settimeout(PATIENCE)
        return sock

    def rows(self):
        return {row["name"]: row for row in self.ask(cmd="list")["streams"]}

    def wait_inferred(self, name, n):
        wait_for(lambda: self.rows().get(name, {}).get("inferred", 0) >= n)

    def end(self, code=0):
        """Stops it; its report, whose books add up, and what it said."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == code, (out, err)
        assert "Sanitizer" not in (err or ""), err
        assert not self.path.exists()
        report = json.loads(self.report_file.read_text())
        for figures in [*report["streams"], report["totals"]]:
            assert figures["in_flight"] == 0
            assert figures["received"] == (figures["inferred"] + sum(figures["skipped"].values())
                                           + sum(figures["dropped"].values())), figures
        return report, out, err


@pytest.fixture
def running(omma, tmp_path):
    runs = []

    def start(*args, **popen):
        runs.append(Run(omma, tmp_path, *args, **popen))
        return runs[-1]
    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


@pytest.mark.sanitize
@pytest.mark.race
def test_ctl_adds_changes_and_removes(running, tmp_path):
    out = tmp_path / "r.jsonl"
    run = running("-o", f"jsonl:{out}", "-i", ENDLESS)
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o600
    assert run.ctl("add", ENDLESS, "--name", "gate", "--live", "yes", "--priority", "2").out == "gate\n"
    run.wait_inferred("gate", 3)
    run.ctl("set", "gate", "--fps", "5", "--weight", "2")
    row = run.rows()["gate"]
    assert (row["priority"], row["weight"], row["sample_fps"]) == (2, 2, 5)
    run.ctl("pause", "gate")
    assert run.rows()["gate"]["state"] == "paused"
    run.ctl("resume", "gate")
    text = run.ctl("list").out
    assert "gate" in text and "pattern" in text and "running" in text
    assert json.loads(run.ctl("list", "gate", "--json").out)["streams"][0]["name"] == "gate"
    assert "streams   2" in run.ctl("stats").out
    run.ctl("remove", "gate")
    wait_for(lambda: list(run.rows()) == ["pattern"])
    report, _, _ = run.end()
    assert {s["name"]: s["state"] for s in report["streams"]} == {"pattern": "ended", "gate": "removed"}
    names = {r["stream"] for r in records(out)}
    assert names == {"pattern", "gate"}


def test_ctl_mistakes_are_one_clear_line(running, omma, tmp_path):
    run = running("-i", ENDLESS)
    run.ctl("add", ENDLESS, "--name", "gate", "--live", "yes")
    for args, code, says in [
            (["add", ENDLESS, "--name", "gate"], 1, "two streams are named 'gate'"),
            (["add", ENDLESS, "--priority", "12"], 2, "priority"),
            (["add"], 2, "expected a URI"),
            (["remove", "gaet"], 1, "no stream 'gaet'; did you mean 'gate'"),
            (["remove", "gate", "--fps", "3"], 2, "takes no --fps"),
            (["set", "gate"], 1, "nothing to set"),
            (["set", "gate", "--loop", "yes"], 1, "cannot be changed"),
            (["lsit"], 2, "did you mean 'list'"),
            ([], 2, "do what")]:
        result = run.ctl(*args, code=code)
        assert result.out == "" and len(result.err.splitlines()) == 1 and says in result.err, result
    assert "no run listens" in omma("ctl", "list", "--control", tmp_path / "nobody", code=1).err
    assert "which run" in omma("ctl", "list", code=2).err
    assert "another run listens" in omma("run", *NULL, "--control", run.path, code=2).err
    run.end()


def test_a_stale_socket_is_replaced_and_a_file_is_not(running, omma, tmp_path):
    (tmp_path / "file").write_text("precious")
    assert "no socket" in omma("run", *NULL, "--control", tmp_path / "file", code=2).err
    assert (tmp_path / "file").read_text() == "precious"
    run = running()
    run.process.kill()
    run.process.communicate()
    assert run.path.exists()
    again = running("-i", ENDLESS)
    assert again.ask(cmd="stats")["ok"]
    again.end()


@pytest.mark.sanitize
def test_settings_are_taken_all_or_none(running):
    run = running("-i", ENDLESS)
    run.wait_inferred("pattern", 1)
    assert run.ask(cmd="set", name="pattern", priority=2, weight=3)["ok"]
    for wrong in ({"fps": "fast"}, {"fps": -2}, {"loop": True}, {"wieght": 1}, {"every": None}, {"every": [1]}):
        answer = run.ask(cmd="set", name="pattern", priority=1, weight=2, **wrong)
        assert answer["ok"] is False and next(iter(wrong)) in answer["error"]
        row = run.rows()["pattern"]
        assert (row["priority"], row["weight"], row.get("sample_fps", 0)) == (2, 3, 0), wrong
    run.end()


@pytest.mark.sanitize
def test_hostile_clients_hurt_nobody(running):
    """Garbage, half lines, floods, clients that send and never read, or never send: the run answers others."""
    run = running("-i", ENDLESS)
    for bad in [b"\n", b"garbage\n", b"[]\n", b"{}\n", b'{"cmd":7}\n', b'{"cmd":"add"}\n', b"\xff\xfe\x00\n", b"\0" * 99 + b"\n",
                b'{"cmd":"add","uri":{}}\n', b'{"cmd":"set","name":"pattern","fps":"nan"}\n', b"[" * 5000 + b"\n",
                b'{"cmd":"remove","name":"\\u0000"}\n', b'{"cmd":"' + b"a" * 60000 + b'"}\n']:
        with run.connect() as sock:
            sock.sendall(bad + b'{"cmd":"stats"}\n')
            lines = sock.makefile()
            if bad.strip(b"\n"):
                answer = json.loads(lines.readline())
                assert answer["ok"] is False and answer["error"], bad[:40]
            assert json.loads(lines.readline())["ok"] is True
    with run.connect() as sock:
        sock.sendall(b"x" * 70000)
        assert "65536" in json.loads(sock.makefile().readline())["error"]
        assert sock.recv(1) == b""
    silent = [run.connect() for _ in range(40)]
    half = [run.connect() for _ in range(40)]
    for sock in half:
        try:
            sock.sendall(b'{"cmd":"li')
        except OSError:
            pass  # it had to make room already
    glutton = run.connect()
    glutton.setblocking(False)
    try:
        while True:
            glutton.send(b'{"cmd":"report"}\n' * 100)
    except BlockingIOError:
        pass
    begin = time.monotonic()
    assert run.ask(cmd="stats")["ok"]
    assert time.monotonic() - begin < PATIENCE / 3
    before = run.rows()["pattern"]["inferred"]
    run.wait_inferred("pattern", before + 5)
    for sock in [*silent, *half, glutton]:
        sock.close()
    run.end()


@pytest.mark.sanitize
def test_lists_and_reload(running, tmp_path):
    streams = tmp_path / "streams.txt"
    streams.write_text(f"# cameras\n\n{ENDLESS} name=a live=yes\n"
                       f'"{ENDLESS}" name=b live=yes fps=5   # slow\n{ENDLESS} name=c live=yes\n')
    out = tmp_path / "out"
    out.mkdir()
    run = running("--config-file", streams, "-o", f"jsonl:{out}/%s.jsonl")
    for name in "abc":
        run.wait_inferred(name, 2)
    before = run.rows()
    assert before["b"]["sample_fps"] == 5

    streams.write_text(f"{ENDLESS} name=a live=yes\n{ENDLESS} name=b live=yes fps=2\npattern:96x64@25:frames=0 name=c live=yes\n"
                       f"{ENDLESS} name=d live=yes\n")
    run.process.send_signal(signal.SIGHUP)
    wait_for(lambda: set(run.rows()) == set("abcd") and run.rows()["c"].get("width") == 96)
    after = run.rows()
    assert after["a"]["index"] == before["a"]["index"] and after["b"]["index"] == before["b"]["index"]
    assert after["b"]["sample_fps"] == 2 and after["c"]["index"] != before["c"]["index"]
    assert after["a"]["inferred"] >= before["a"]["inferred"]
    run.wait_inferred("c", 2)

    streams.write_text(f"{ENDLESS} name=z live=yes\n{ENDLESS} name=y priroity=3\n")
    run.process.send_signal(signal.SIGHUP)
    time.sleep(0.6)  # nothing can be waited for: nothing may happen
    assert set(run.rows()) == set("abcd")
    _, _, err = run.end()
    assert "reload: 2 streams added, 1 removed, 1 changed" in err
    assert f"{streams}:2" in err and "did you mean 'priority'" in err and "goes on as it was" in err
    # The second c did not write over the first one's file.
    assert {r["width"] for r in records(out / "c.jsonl")} == {64}
    assert {r["width"] for r in records(out / "c-2.jsonl")} == {96}


def test_lists_as_people_leave_them(running, tmp_path):
    """A mark of the encoding, lines of Windows, a list that is gone, a folder, a pipe: read, or said, and the run goes on."""
    streams = tmp_path / "streams.txt"
    streams.write_bytes(b"\xef\xbb\xbf" + f"{ENDLESS} name=a live=yes\r\n{ENDLESS} name=b live=yes\r\n".encode())
    run = running("--config-file", streams)
    run.wait_inferred("a", 1)
    said = []
    for change, words in ((streams.unlink, "cannot open"), (streams.mkdir, "a directory"), (lambda: (streams.rmdir(), os.mkfifo(streams)), "a pipe")):
        change()
        run.process.send_signal(signal.SIGHUP)
        said.append(run.process.stderr.readline())
        assert words in said[-1] and "goes on as it was" in said[-1], said
        assert set(run.rows()) == set("ab")
    _, _, err = run.end()
    assert not err, err


def test_a_reload_says_what_takes_a_restart(running, tmp_path):
    """Secondary models, sinks and the run's own keys are named where they differ; the streams are reloaded all the same."""
    config, err = tmp_path / "run.yaml", tmp_path / "err.txt"
    text = f"""
conf: 0.3
streams:
  - {{uri: "{ENDLESS}", name: a, live: yes}}
secondary:
  - {{model: {SHAPES}, device: "null", name: plate, min-score: 0.4}}
  - {{model: {SHAPES}, device: "null", name: face}}
"""
    config.write_text(text)
    with open(err, "w") as stderr:
        run = running(config, "-o", "null:", stderr=stderr)
        run.wait_inferred("a", 2)
        run.process.send_signal(signal.SIGHUP)
        wait_for(lambda: err.read_text().count("reload:") == 1)
        config.write_text(text.replace("0.3", "0.31").replace("min-score: 0.4", "min-score: 0.5").replace("name: face", "name: faces")
                          .replace("name: a, live: yes", "name: a, live: yes, fps: 5")
                          .replace("streams:", f"sinks: ['jsonl:{tmp_path}/r']\nstreams:"))
        run.process.send_signal(signal.SIGHUP)
        wait_for(lambda: err.read_text().count("reload:") == 3)
        assert run.rows()["a"]["sample_fps"] == 5
        run.end()
    said = [line.split("reload: ")[1] for line in err.read_text().splitlines() if "reload: " in line]
    assert said == ["0 streams added, 0 removed, 0 changed",
                    "conf, secondary 'plate', secondary 'face', secondary 'faces', sinks: what has changed there takes a restart",
                    "0 streams added, 0 removed, 1 changed"]
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("line, says", [
    ("pattern: name=a\npattern: name=a", r"streams.txt:2.*two streams are named 'a'"),
    ("pattern: nmae=a", r"streams.txt:1.*did you mean 'name'"),
    ("pattern: 5", r"streams.txt:1.*key=value"),
    ('"pattern: name=a', r"streams.txt:1.*quote"),
    ("\0\0", r"streams.txt:1.*not text"),
])
def test_a_bad_list_is_told_of_by_its_line(omma, tmp_path, line, says):
    (tmp_path / "streams.txt").write_text(line + "\n")
    result = omma("run", *NULL, "--config-file", tmp_path / "streams.txt", code=2)
    assert len(result.err.splitlines()) == 1
    assert re.search(says, result.err), result


def test_test_streams_are_paced_copies(omma, media, tmp_path):
    report = tmp_path / "r.json"
    result = omma("run", *NULL, "-i", media / "carphone_pristine.mp4", "--test-streams", "5", "--duration", "1s", "-o", "null:",
                  "--report", report)
    streams = json.loads(report.read_text())["streams"]
    assert len(streams) == 5 and len({s["name"] for s in streams}) == 5
    assert all(15 <= s["received"] <= 40 for s in streams), streams
    assert result.seconds < 20
    assert "of which video" in omma("run", *NULL, "--test-streams", "5", code=2).err


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_paused_network_stream_is_numbered_on(running, tmp_path):
    """Disconnected by the pause, opened anew after it: numbers and times rise on, and no packet is lost from the books."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=60", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25",
           "-f", "mpegts", tmp_path / "long.ts")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    out = tmp_path / "r.jsonl"
    run = running("-o", f"jsonl:{out}")
    run.ctl("add", f"http://127.0.0.1:{server.server_port}/long.ts", "--name", "web", "--live", "yes")
    run.wait_inferred("web", 10)
    run.ctl("pause", "web")
    before = run.rows()["web"]
    run.ctl("resume", "web")
    run.wait_inferred("web", before["inferred"] + 15)
    run.end()
    server.shutdown()
    rows = records(out)
    for earlier, later in zip(rows, rows[1:]):
        assert earlier["seq"] < later["seq"] and earlier["pts"] < later["pts"]


def test_stop_while_streams_are_added(running):
    run = running("-o", "null:")
    stop = threading.Event()

    def add():
        while not stop.is_set():
            try:
                run.ask(cmd="add", uri=ENDLESS, live=True)
            except (OSError, ValueError):
                return
    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(run.rows()) > 5)
    begin = time.monotonic()
    try:
        report, _, _ = run.end()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert time.monotonic() - begin < (20 if SANITIZED else 4)
    assert len(report["streams"]) > 5


def test_files_limit_is_raised_and_memory_is_told_of(omma, tmp_path):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    result = omma("run", *NULL, "-i", "pattern:64x48:frames=3", "--test-streams", "100", "--duration", "200ms", "-o", "null:",
                  "--log-level", "info", "--quiet", "--no-quiet", preexec_fn=few)
    assert "files: 100 streams" in result.err and "memory: 100 streams" in result.err


def test_core_bind(omma):
    core = min(os.sched_getaffinity(0))
    result = omma("run", *NULL, "-i", "pattern:64x48:frames=3", "--core-bind", core, "-o", "null:")
    assert "of 1 cores" in result.out
    assert "there is no core 4000" in omma("run", *NULL, "-i", "pattern:", "--core-bind", "4000", code=2).err


def latencies(metrics):
    """Frames, those within 100 ms, and the sum of all latencies in seconds, of all streams so far."""
    figures = [0.0, 0.0, 0.0]
    if metrics.exists():
        for line in metrics.read_text().splitlines():
            for i, what in enumerate((r"_count{", r'_bucket{.*le="0\.1"}', r"_sum{")):
                if re.match("omma_latency_seconds" + what, line):
                    figures[i] += float(line.split()[-1])
    return figures


def test_a_detector_that_hangs_is_told_of(omma):
    """Pictures come, the model gives none back: said once, and when it goes on."""
    r = omma(*HANGS, "-i", "pattern:64x48@25:frames=60")
    said = [line for line in r.err.splitlines() if "stream 'pattern'" in line]
    assert "has given no frame for" in said[0] and "goes on" in said[1], r


@pytest.mark.long
def test_a_stream_that_has_ended_does_not_go_on(omma):
    r = omma(*HANGS, "-i", "pattern:64x48@25:frames=20", "-i", "pattern:64x48@2:frames=6")
    assert "has given no frame for" in r.err and r.err.count("goes on") < r.err.count("has given no"), r


@pytest.mark.long
def test_latency_stays_flat_at_one_and_a_half_times_the_load(running, tmp_path):
    """Five minutes of 150% load in windows of half a minute. The engine sleeps 25 ms a frame, so the machine's speed has no
    part in it: six streams of ten frames a second make 60 for 40. Budget: 320 s."""
    metrics = tmp_path / "m.prom"
    run = running("-d", "null:25000", "--in-flight", "1", "--latency-bound-ms", "100", "-i", "pattern:64x48@10:frames=0", "--fps", "10",
                  "--test-streams", "6", "-o", "null:", "--metrics-file", metrics, "--stats", "1")
    run.wait_inferred("pattern", 1)
    begin, seen, windows = time.monotonic(), [latencies(metrics)], []
    for i in range(1, 11):
        while time.monotonic() < begin + 30 * i:
            time.sleep(0.2)
            assert run.process.poll() is None
        seen.append(latencies(metrics))
        frames, within, seconds = (b - a for a, b in zip(seen[-2], seen[-1]))
        windows.append((1 - within / frames, 1e3 * seconds / frames, frames / 30))
    report, _, _ = run.end()
    policy, totals = report["policy"], report["totals"]
    assert policy["down"] >= 3 and policy["degraded_s"] > 150, policy
    # The bound holds in each window but the first, in which the ladder finds its place ...
    assert all(over < 0.15 and mean < 100 for over, mean, _ in windows[1:]), windows
    # ... the last minutes are no worse than the second ...
    assert sum(w[1] for w in windows[-4:]) / 4 < 1.25 * sum(w[1] for w in windows[1:3]) / 2 + 10, windows
    # ... and that is not because nothing is done any more: the ladder's last rung asks for 7.5 frames a second.
    assert all(fps > 5 for _, _, fps in windows) and sum(w[2] for w in windows) / 10 > 10, windows
    # What is left out is left out on purpose.
    assert totals["dropped"]["superseded"] < 0.1 * totals["received"], totals


@pytest.mark.long
def test_five_hundred_idle_streams_cost_little(omma, tmp_path):
    """Half a thousand streams that give a picture every five seconds: under a tenth of a core a hundred."""
    report = tmp_path / "r.json"
    omma("run", *NULL, "-i", "pattern:320x240@0.2:frames=0", "--test-streams", "500", "--duration", "30s", "-o", "null:", "--report",
         report, timeout=120)
    totals = json.loads(report.read_text())["totals"]
    assert totals["cpu_seconds"] / totals["seconds"] / 5 < 0.10, totals
