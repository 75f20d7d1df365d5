"""RTSP cameras that misbehave, each in its own way, on a real server: what comes is exact, what was lost is counted, and it
goes on."""
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import DEPS, SANITIZED, free_port, records, wait_for
from fault_proxy import FaultProxy
from live import ENDS, GOOD, RUN, SERVER, SHAPES, Cameras, h264, rising, streams_of
from test_media import TOOL, md5s, read
from test_run import books
from test_sinks import complaints



@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cameras")
    return {"small": h264(folder / "small.h264", "160x120"), "large": h264(folder / "large.h264", "320x240"),
            "rare": h264(folder / "rare.h264", "160x120", 60, 25, 60)}


@pytest.fixture
def cameras():
    """Starts servers, and ends them."""
    running = []

    def start(*args, **wish):
        running.append(Cameras(*args, **wish))
        return running[-1]

    yield start
    for c in running:
        c.close()


@pytest.fixture
def proxy():
    running = []

    def start(*args, **wish):
        running.append(FaultProxy(*args, **wish))
        return running[-1]

    yield start
    for p in running:
        p.close()


def lines(path):
    """How many records there are so far."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def finish(process, seconds=20):
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=seconds * (4 if SANITIZED else 1))
    assert process.returncode == 0, err
    return err


class Reconnecting:
    """tool_source on a camera, with a line for each connection."""
    def __init__(self, *args):
        self.process = subprocess.Popen([str(TOOL), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.held = []

    def connection(self):
        """Waits for the next one; what the process holds: (KB, handles, threads)."""
        line = self.process.stderr.readline()
        assert line, "it ended"
        words = [int(w) for w in line.split()]
        assert words[0] == len(self.held)
        self.held.append(tuple(words[1:]))
        return self.held[-1]

    def result(self):
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        out = json.loads(out)
        assert out["received"] == sum(out[e] for e in ENDS), out
        return out


def restarts(cameras, clips, times):
    """The server dies and comes back: same memory, handles and threads after the last connection as after the tenth (the
    fifth of few)."""
    server = cameras([clips["small"]], fork=True)
    tool = Reconnecting("--reconnect", 10, 40, "--timeout", 5000, "--epochs", times + 1, "--frames", server.url())
    for _ in range(times):
        tool.connection()
        server.restart()
    tool.connection()
    out = tool.result()
    assert out["reconnects"] == times and out["decoded"] > times
    frames = out["frames"]
    assert [f["seq"] for f in frames] == list(range(len(frames)))
    assert sorted({f["epoch"] for f in frames}) == list(range(times + 1))
    rising(frames)
    assert {f["md5"] for f in frames} <= set(md5s(clips["small"]))
    return tool.held


def test_server_killed_and_restarted(cameras, clips):
    held = restarts(cameras, clips, 5)
    assert held[5][1:] == held[2][1:]
    assert held[5][0] < held[2][0] + 2048 or SANITIZED


@pytest.mark.long
def test_server_killed_and_restarted_200_times(cameras, clips):
    """Budget: 150 s."""
    begin = time.monotonic()
    held = restarts(cameras, clips, 200)
    assert held[200][1:] == held[10][1:]
    assert abs(held[200][0] - held[10][0]) < max(2048, held[10][0] / 100), held[10:201:38]
    assert time.monotonic() - begin < 150


@pytest.mark.sanitize
def test_run_outlives_a_killed_server(omma, cameras, clips, tmp_path):
    """The books stay exact over it, tracks begin anew, the file beside is complete, and the report tells."""
    server = cameras([clips["small"]], fork=True)
    out, report, metrics = tmp_path / "r.jsonl", tmp_path / "report.json", tmp_path / "m.prom"
    p = omma.start(*RUN, "-i", server.url(), "-i", GOOD, "-o", f"jsonl:{out}", "--report", report, "--metrics-file", metrics)
    try:
        for _ in range(2):
            before = lines(out)
            wait_for(lambda: lines(out) > before + 30, p)
            server.restart()
        before = lines(out)
        wait_for(lambda: lines(out) > before + 10, p)
        err = finish(p)
    finally:
        p.kill()
    assert not complaints(err), err
    streams = streams_of(report)
    camera, file = streams["0"], streams["pattern"]
    books(camera)
    assert camera["reconnects"] == 2 and camera["state"] == "ended" and camera["last_error"]
    assert file["reconnects"] == 0 and file["inferred"] == 25
    rows = [r for r in records(out) if r["stream"] == "0"]
    rising(rows)
    assert len(rows) == camera["inferred"]
    assert 'omma_stream_reconnects_total{stream="0"} 2' in metrics.read_text()


@pytest.mark.sanitize
def test_camera_absent_at_start_hurts_nobody(omma, cameras, clips, tmp_path):
    """It is tried again until it is there; the others do not wait for it."""
    port, out, report = free_port(), tmp_path / "r.jsonl", tmp_path / "report.json"
    p = omma.start(*RUN, "-i", f"rtsp://127.0.0.1:{port}/0", "-i", "pattern:160x120@25:frames=0", "--live", "-o", f"jsonl:{out}",
                   "--report", report)
    try:
        wait_for(lambda: lines(out) > 20, p)
        cameras([clips["small"]], port=port)
        wait_for(lambda: '"stream":"0"' in out.read_text(), p)
        err = finish(p)
    finally:
        p.kill()
    assert not complaints(err) and "refused" in err and "is there" in err, err
    streams = streams_of(report)
    for s in streams.values():
        books(s)
    assert streams["0"]["inferred"] > 0 and streams["0"]["reconnects"] == 0
    assert streams["pattern"]["inferred"] > 20


def test_camera_that_never_comes_ends_with_its_duration(omma, tmp_path):
    report = tmp_path / "report.json"
    r = omma(*RUN, "-i", f"rtsp://u:geheim@127.0.0.1:{free_port()}/0", "-i", GOOD, "-o", "null:", "--duration", "1s", "--report", report)
    assert 0.9 < r.seconds < 6 and "geheim" not in r.out + r.err, r
    camera = streams_of(report)["0"]
    assert camera["received"] == 0 and "refused" in camera["last_error"]
    assert len(re.findall("refused", r.err)) <= 2, r  # said once for each cause


def test_silent_after_connect(omma, cameras, clips, tmp_path):
    """It says hello, sends pictures, and falls silent without a word: the watchdog connects anew."""
    server = cameras([clips["small"]])
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    p = omma.start(*RUN, "-i", server.url(), "-o", f"jsonl:{out}", "--report", report, "--read-timeout", "600ms",
                   "--open-timeout", "1500ms")
    try:
        wait_for(lambda: lines(out) > 10, p)
        server.tell("silent")
        said = p.stderr.readline()
        assert "no data within 0.6 s" in said, said
        server.tell("talk")
        before = lines(out)
        wait_for(lambda: lines(out) > before + 10, p)
        finish(p)
    finally:
        p.kill()
    camera = streams_of(report)["0"]
    books(camera)
    assert camera["reconnects"] >= 1


def test_a_network_that_loses_packets(cameras, clips, proxy):
    """Dropped, swapped and late packets: no picture that differs from the camera's own gets through, each packet is
    accounted for, and pictures go on coming."""
    server = cameras([clips["large"]], fps=50)
    spoiler = proxy(server.port, drop=0.02, swap=0.01, delay=0.02, delay_s=0.02)
    out = read("--frames", "--reconnect", 10, 50, "--until-key", "--timeout", 2000, "--max", 80, server.url(port=spoiler.port))
    whole = set(md5s(clips["large"]))
    wrong = [f for f in out["frames"] if f["md5"] not in whole]
    assert not wrong, (len(wrong), out["decoded"])
    assert spoiler.faults > 3 and out["decoded"] == 80 and out["corrupt"] > 3, out
    rising(out["frames"])


@pytest.mark.long
def test_garbage_in_packets_framing_and_dialogue(cameras, clips, proxy):
    """Flipped bits and packets cut short inside: what the decoder notices does not get through (no codec notices all); what is
    no RTSP any more ends the connection, not the stream."""
    server = cameras([clips["small"]], fps=50)
    spoiler = proxy(server.port, flip=0.02, cut=0.01, raw=0.02, dialogue=0.2, seed=3)
    out = read("--frames", "--reconnect", 10, 50, "--until-key", "--timeout", 700, "--max", 60, server.url(port=spoiler.port))
    whole = set(md5s(clips["small"]))
    right = sum(f["md5"] in whole for f in out["frames"])
    assert spoiler.faults > 3 and right > 0.7 * out["decoded"], (right, out["decoded"], spoiler.faults)
    rising(out["frames"])


@pytest.mark.long
def test_packets_without_a_picture(cameras, clips, proxy):
    """All of them are broken from the start: it connects anew, and then they are not."""
    server = cameras([clips["small"]])
    spoiler = proxy(server.port, flip=1)
    spoiler.flipped = lambda data: b"\xff" * len(data) if len(spoiler.pairs) < 2 else data
    out = read("--frames", "--reconnect", 10, 50, "--until-key", "--timeout", 1000, "--max", 10, server.url(port=spoiler.port))
    assert len(spoiler.pairs) >= 2 and out["decoded"] == 10
    assert {f["md5"] for f in out["frames"]} <= set(md5s(clips["small"]))


@pytest.mark.long
def test_wall_clock_is_the_cameras(cameras, clips, proxy):
    """From its first report on (RTCP), a picture's time is when it was taken, however late it comes. Budget: 15 s."""
    server = cameras([clips["small"]])
    spoiler = proxy(server.port)

    def freeze():
        time.sleep(7)
        spoiler.frozen.set()
        time.sleep(1)
        spoiler.frozen.clear()

    threading.Thread(target=freeze, daemon=True).start()
    frames = read("--frames", "--max", 250, server.url(port=spoiler.port))["frames"]
    late = [b["out_ns"] - a["out_ns"] for a, b in zip(frames, frames[1:])].index(max(
        b["out_ns"] - a["out_ns"] for a, b in zip(frames, frames[1:])))
    assert frames[late + 1]["out_ns"] - frames[late]["out_ns"] > 5e8
    gaps = [(b["wall_us"] - a["wall_us"]) / 1e6 for a, b in zip(frames[late - 5:late + 15], frames[late - 4:late + 16])]
    assert max(gaps) < 0.1 and min(gaps) > 0.01, gaps
    assert abs(frames[-1]["wall_us"] / 1e6 - time.time()) < 5


def test_resolution_switch(omma, cameras, clips, tmp_path):
    """Day and night pictures of another size, without a new connection."""
    server = cameras([clips["small"], clips["large"]], fps=50)
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    p = omma.start(*RUN, "-i", server.url(), "-o", f"jsonl:{out}", "--report", report, "--track", "iou")
    try:
        for clip, size in ((1, '"width":320'), (0, '"width":160')):
            wait_for(lambda: lines(out) > 5, p)
            server.tell(f"clip {clip}")
            wait_for(lambda: size in out.read_text().splitlines()[-1], p)
        finish(p)
    finally:
        p.kill()
    camera = streams_of(report)["0"]
    books(camera)
    assert camera["reconnects"] == 0 and camera["dropped"]["corrupt"] == 0
    sizes = [(r["width"], r["height"]) for r in records(out)]
    changes = [b for a, b in zip(sizes, sizes[1:]) if a != b]
    assert changes == [(320, 240), (160, 120)]


@pytest.mark.long
def test_sound_and_data_are_ignored(cameras, clips):
    server = cameras([clips["small"]], audio=True)
    out = read("--frames", "--max", 20, server.url())
    assert out["codec"] == "h264" and {f["md5"] for f in out["frames"]} <= set(md5s(clips["small"]))


@pytest.mark.long
def test_connecting_between_key_pictures(cameras, clips, proxy):
    """What comes before the first key picture is counted as that."""
    server = cameras([clips["rare"]], frames=200, fps=50)
    spoiler = proxy(server.port)
    real, skipped = spoiler.spoil, []

    def without_the_first_key(data):
        """Nothing of the first 40 pictures' packets goes on but the dialogue."""
        out, rest = real(data)
        if out[:1] == b"$" and len(skipped) < 12:
            skipped.append(out)
            return b"", rest
        return out, rest

    spoiler.spoil = without_the_first_key
    out = read("--frames", "--max", 70, "--until-key", "--timeout", 4000, server.url(port=spoiler.port))
    assert out["no_key"] > 10 and out["decoded"] == 70
    assert {f["md5"] for f in out["frames"]} <= set(md5s(clips["rare"]))


@pytest.mark.long
def test_economy_takes_and_gives_back(cameras, clips):
    """Key pictures alone, at once; then all again, from the next key picture on."""
    server = cameras([clips["small"]], fps=50)
    out = read("--frames", "--economy", 3, "--relax", 5, 0, "--max", 40, "--until-key", server.url())
    whole = md5s(clips["small"])
    at = [whole.index(f["md5"]) for f in out["frames"]]
    assert all(i % 10 == 0 for i in at[:5]) and out["economy"] >= 36 and out["no_output"] == 0
    assert [(b - a) % 50 for a, b in zip(at[6:], at[7:])] == [1] * (len(at) - 7)


def test_transport_auto(cameras, clips):
    """By TCP where the server does it, else by UDP."""
    either, udp = cameras([clips["small"]]), cameras([clips["small"]], udp=True)
    assert read("--auto", "--max", 5, either.url())["decoded"] == 5
    assert read("--auto", "--max", 5, udp.url())["decoded"] == 5
    assert "not supported" in read("--max", 5, udp.url())["error"]


@pytest.fixture
def rtsp_file(media):
    """The older kind of server: a file, whose SPS and PPS stand in the SDP alone."""
    server = subprocess.Popen([str(DEPS / "venv-gi/bin/python"), str(SERVER), str(media / "carphone_pristine.mp4")],
                              stdout=subprocess.PIPE, text=True)
    yield f"rtsp://127.0.0.1:{server.stdout.readline().strip()}/cam"
    server.kill()
    server.communicate()


def test_parameter_sets_in_the_sdp_alone(rtsp_file, media, proxy):
    """No packet carries them, and every picture comes."""
    port = int(re.search(r":(\d+)/", rtsp_file)[1])
    spoiler = proxy(port)
    real, seen = spoiler.spoil, []

    def look(data):
        out, rest = real(data)
        seen.append(out)
        return out, rest

    spoiler.spoil = look
    out = read("--frames", "--max", 40, f"rtsp://127.0.0.1:{spoiler.port}/cam")
    types = set()
    stream = b"".join(seen)
    while (at := stream.find(b"$\0")) >= 0:
        size = int.from_bytes(stream[at + 2:at + 4], "big")
        if size > 12 and stream[at + 4] >> 6 == 2:
            types.add(stream[at + 16] & 31)
        stream = stream[at + 4 + size:] if size > 12 else stream[at + 2:]
    assert types and not types & {7, 8}, types
    whole = md5s(media / "carphone_pristine.mp4")
    assert [f["md5"] for f in out["frames"]] == whole[:40]


def test_credentials_file(omma, cameras, clips, tmp_path):
    """The password is looked up by host, holds letters that addresses cannot, is changed while it runs, and is shown
    nowhere."""
    server = cameras([clips["small"]], user="olga", password="ge:h@im /1%", fork=True)
    login, report = tmp_path / "cameras.txt", tmp_path / "report.json"
    login.write_text(f"other.host x y\n127.0.0.1:{server.port} olga wrongword\n")
    p = omma.start(*RUN, "-i", server.url(), "-o", "null:", "--credentials", login, "--log-level", "debug", "--report", report,
                   "--max-frames", 5, stdout=subprocess.DEVNULL)
    try:
        said = ""
        while "401" not in said:
            said += p.stderr.readline()
            assert p.poll() is None, said
        login.write_text(f"127.0.0.1:{server.port} olga ge:h@im /1%\n")
        _, err = p.communicate(timeout=20)
    finally:
        p.kill()
    assert p.returncode == 0, err
    assert streams_of(report)["0"]["inferred"] == 5
    for secret in ("wrongword", "ge:h@im", "im%20%2F1%25", "%2F1"):
        assert secret not in said + err + report.read_text(), secret


@pytest.mark.sanitize
def test_stop_while_everything_hangs(omma, cameras, clips, proxy, tmp_path):
    """A camera frozen in mid-stream, one that takes the connection and is silent, one that is away, a sink that nobody
    reads: the stop takes less than two seconds."""
    server = cameras([clips["small"]])
    frozen = proxy(server.port)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    out = tmp_path / "r.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        p = omma.start(*RUN, "-i", server.url(port=frozen.port), "-i", f"rtsp://127.0.0.1:{mute.getsockname()[1]}/a",
                       "-i", f"rtsp://127.0.0.1:{free_port()}/b", "-i", "pattern:160x120@25:frames=0", "--live", "-o", f"jsonl:{fifo}",
                       "-o", f"jsonl:{out}", "--open-timeout", "60s", "--read-timeout", "60s", "--reconnect-max", "60s")
        try:
            wait_for(lambda: lines(out) > 30 and '"0"' in out.read_text(), p)
            frozen.frozen.set()
            begin = time.monotonic()
            finish(p, 10)
            assert time.monotonic() - begin < (8 if SANITIZED else 2)
        finally:
            p.kill()
            os.close(reader)


@pytest.mark.long
def test_slow_sink_drops_and_does_not_lag(omma, cameras, clips, tmp_path):
    """A reader of ten lines a second on a camera of fifty: what is superseded is counted, and nothing piles up."""
    server = cameras([clips["small"]], fps=50)
    fifo, report = tmp_path / "fifo", tmp_path / "report.json"
    os.mkfifo(fifo)
    p = omma.start(*RUN, "-i", server.url(), "-o", f"jsonl:{fifo}", "--sink-queue", 2, "--stream-credits", 2, "--report", report,
                   "--duration", "2s")
    said, begin = b"", time.monotonic()
    with open(fifo, "rb", buffering=0) as reader:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        while part := reader.read(100 if time.monotonic() < begin + 2 else 65536):
            said += part
            time.sleep(0.1 if time.monotonic() < begin + 2 else 0)
    rows = [json.loads(line) for line in said.splitlines()]
    _, err = p.communicate(timeout=20)
    assert p.returncode == 0, err
    camera = streams_of(report)["0"]
    books(camera)
    assert camera["inferred"] == len(rows) and camera["dropped"]["superseded"] > 10, camera
    rising(rows)


def test_camera_and_a_full_disk(omma, cameras, clips, tmp_path):
    """The sink fails and says so; the camera and the other sink go on."""
    server = cameras([clips["small"]], fps=50)
    out, report = tmp_path / "r.jsonl", tmp_path / "report.json"
    r = omma(*RUN, "-i", server.url(), "-o", "jsonl:/dev/full", "-o", f"jsonl:{out}", "--duration", "1s", "--report", report, code=1)
    assert len(complaints(r.err)) == 1 and "No space left" in r.err, r
    camera = streams_of(report)["0"]
    books(camera)
    assert camera["inferred"] == len(records(out)) > 10


def every_frame(omma, cameras, clip, tmp_path, n, seconds):
    """n cameras of five pictures a second: each one that the server sent is in the books."""
    frames = 5 * seconds
    server = cameras([clip], cameras=n, fps=5, frames=frames)
    report = tmp_path / "report.json"
    args = [a for i in range(n) for a in ("-i", server.url(i))]
    r = omma("run", "-m", SHAPES, "-d", "null", "--no-reconnect", *args, "-o", "null:", "--report", report,
             "--open-timeout", "60s", "--read-timeout", "60s",
             timeout=seconds + 60)
    assert not complaints(r.err), r
    sent = [sum(c) for c in server.count()]
    streams = streams_of(report)
    for i in range(n):
        s = streams[str(i)]
        books(s)
        assert s["received"] == sent[i] == frames, (i, s, sent[i])
        assert s["dropped"]["corrupt"] == 0 and s["skipped"]["no_output"] == 0, s
    return r


def held_by(pid):
    """Resident MB, handles, threads."""
    pages = int(open(f"/proc/{pid}/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.long)])
def test_streams_of_a_server_come_and_go(omma, cameras, clips, tmp_path, rounds):
    """A thousand of them, twenty at a time, each seen: handles and threads are as many after as before, memory stays."""
    server, path = cameras([clips["small"]]), tmp_path / "control"
    p = omma.start(*RUN, "--control", path, "-i", server.url(0), "-o", f"jsonl:{tmp_path}/r.jsonl")

    def ask(**request):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(sock.makefile().readline())
        assert answer["ok"], answer
        return answer

    def rows():
        return {s["name"]: s for s in ask(cmd="list")["streams"]}

    try:
        wait_for(lambda: path.exists() and rows()["0"]["inferred"], p)
        held = []
        for r in range(rounds):
            names = [f"r{r}s{i}" for i in range(20)]
            for name in names:
                ask(cmd="add", uri=server.url(), name=name)
            wait_for(lambda: all(rows()[n]["inferred"] for n in names), p)
            for name in names:
                ask(cmd="remove", name=name)
            wait_for(lambda: set(rows()) == {"0"} and held_by(p.pid)[1:] == (held or [held_by(p.pid)])[-1][1:], p)
            held.append(held_by(p.pid))
        finish(p)
    finally:
        p.kill()
    assert rounds < 10 or held[-1][0] < held[rounds // 5][0] + 4, held
    assert len({r["stream"] for r in records(tmp_path / "r.jsonl")}) == 1 + 20 * rounds


def test_8_streams_every_frame_accounted(omma, cameras, clips, tmp_path):
    every_frame(omma, cameras, clips["small"], tmp_path, 8, 2)


@pytest.mark.long
def test_64_streams_every_frame_accounted(omma, cameras, clips, tmp_path):
    """Sixty seconds. Budget: 90 s."""
    assert every_frame(omma, cameras, clips["small"], tmp_path, 64, 60).seconds < 90
