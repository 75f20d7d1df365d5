"""Cameras that no real server imitates: they refuse for ever, send one elsewhere, announce absurd things, or send packets that
are none. Each is one stream's trouble, said in a line, and the others lose nothing."""
import json
import re

import pytest
from conftest import SANITIZED
from fake_camera import SDP, VIDEO, FakeCamera
from live import RUN, h264, streams_of
from test_media import read
from test_run import books
from test_sinks import complaints

SECRET = "geheim"


def long(value):
    return pytest.param(value, marks=pytest.mark.long)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return h264(tmp_path_factory.mktemp("fake") / "small.h264", "160x120")


@pytest.fixture
def fake(clip):
    running = []

    def start(**wish):
        running.append(FakeCamera(clip, **wish))
        return running[-1]
    yield start
    for camera in running:
        camera.close()


def run_beside_a_good_one(omma, tmp_path, url, *args, seconds):
    report = tmp_path / "report.json"
    r = omma(*RUN, "-i", url, "-i", "pattern:160x120@25:frames=20", "--open-timeout", "700ms", "--read-timeout", "600ms",
             "--duration", f"{seconds}s", "-o", "null:", "--report", report, *args)
    assert r.seconds < seconds + 14 * (4 if SANITIZED else 1) and SECRET not in r.out + r.err, r
    assert not complaints(r.err), r
    streams = streams_of(report)
    for s in streams.values():
        books(s)
    assert streams["pattern"]["inferred"] == 20
    return streams["cam"], r


def beside_a_good_one(omma, tmp_path, url, *args, enough=lambda row: row["inferred"] or row.get("last_error"), seconds=(1, 5, 20)):
    """The camera's row of the report and what was said; the good stream beside it lost nothing. A run is as short as a machine at leisure
    allows; where the camera was not done with by then, a longer one follows."""
    for s in seconds:
        row, r = run_beside_a_good_one(omma, tmp_path, url, *args, seconds=s)
        if enough(row):
            break
    return row, r


def pictures_of(omma, tmp_path, camera, *args):
    row, r = beside_a_good_one(omma, tmp_path, camera.url, *args, enough=lambda row: row["inferred"] > 10)
    assert row["inferred"] > 10 and not row["dropped"]["corrupt"], (row, r)
    return row


def test_the_imitation_is_a_camera(omma, fake, tmp_path):
    row = pictures_of(omma, tmp_path, fake())
    assert row["reconnects"] == 0 and not row.get("error")


@pytest.mark.sanitize
@pytest.mark.parametrize("scheme", [
    "Digest realm=\"x\", nonce=\"n\", stale=true", long("Basic realm=\"x\""), long("Nonsense")])
def test_a_camera_that_refuses_for_ever(omma, fake, tmp_path, scheme):
    """401 to whatever is answered: asked again after pauses, not in a loop."""
    camera = fake(answer=lambda method, n: ("401 Unauthorized", [f"WWW-Authenticate: {scheme}"], ""))
    row, r = beside_a_good_one(omma, tmp_path, camera.url.replace("//", f"//user:{SECRET}@"), "--log-level", "debug")
    assert row["received"] == 0 and "401" in row.get("last_error", "")
    assert camera.connections <= 2 / 0.05 and camera.requests <= 6 * camera.connections


@pytest.mark.sanitize
def test_a_camera_that_sends_one_to_another(omma, fake, tmp_path):
    there = fake()
    camera = fake(answer=lambda method, n: ("302 Moved", [f"Location: {there.url}"], ""))
    row = pictures_of(omma, tmp_path, camera)
    assert there.connections == camera.connections and row["reconnects"] == 0


@pytest.mark.sanitize
@pytest.mark.parametrize("to", [
    f"rtsp://user:{SECRET}@127.0.0.1:1/x", long("itself"), long("file:///etc/passwd"), long(""), long("rtsp://"), long("x" * 5000)])
def test_a_camera_that_sends_one_astray(omma, fake, tmp_path, to):
    """Round in circles, into files, to nobody: it ends with the time-out, and shows no password."""
    camera = fake(answer=lambda method, n: ("302 Moved", [f"Location: {camera.url if to == 'itself' else to}"], ""))
    row, r = beside_a_good_one(omma, tmp_path, camera.url, "--log-level", "debug")
    assert row["received"] == 0 and row.get("last_error"), row
    assert camera.connections < 4000


@pytest.mark.sanitize
@pytest.mark.parametrize("answer", [
    long(("200 OK", ["Content-Type: application/sdp"], SDP + "a=x:" + "y" * 8_000_000 + "\r\n")),
    long(("200 OK", ["Content-Type: application/sdp"], SDP + VIDEO * 3000)),
    ("200 OK", ["Content-Type: application/sdp", "Content-Length: 2147483647"], SDP),
    long(("200 OK", ["Content-Type: application/sdp", "Content-Length: -5"], SDP)),
    long(("200 OK", ["Content-Type: application/sdp"], "\0" * 1000)),
    long(("200 OK", ["Content-Type: application/sdp"], SDP + "m=audio 0 RTP/AVP 0\r\na=control:track0\r\n")),
    long(("200 OK", ["Content-Type: application/sdp"], SDP + VIDEO.replace("H264/90000", "H264/0"))),
    long(("200 OK", ["Content-Type: text/html"], "<html>hello</html>")),
    long(("200 OK", [f"X-{i}: y" for i in range(50000)], SDP + VIDEO)),
    long(("999", [], "")),
], ids=["long", "many", "endless", "negative", "zeros", "sound", "norate", "html", "headers", "nostatus"])
def test_descriptions_that_are_absurd(omma, fake, tmp_path, answer):
    camera = fake(answer=lambda method, n: answer if method == "DESCRIBE" else None)
    row, r = beside_a_good_one(omma, tmp_path, camera.url)
    assert row["inferred"] > 0 or row.get("last_error"), row
    memory = json.loads((tmp_path / "report.json").read_text())["totals"]["memory_peak_mb"]
    assert SANITIZED or memory < 300, memory


@pytest.mark.sanitize
@pytest.mark.parametrize("rate", [long("0"), long("-5"), long("1e300"), long("nan"), long("0.00001")])
def test_a_rate_that_is_none(omma, fake, tmp_path, rate):
    pictures_of(omma, tmp_path, fake(sdp=SDP + VIDEO + f"a=framerate:{rate}\r\n"))


@pytest.mark.long
@pytest.mark.sanitize
def test_packets_of_another_type_than_announced(omma, fake, tmp_path):
    """No picture comes of them: connected to again after the read time-out, as if it were silent."""
    camera = fake(packets=lambda i, units: list(camera.rtp(units, i, payload=97)))
    row, r = beside_a_good_one(omma, tmp_path, camera.url, seconds=(3, 20))
    assert row["received"] == 0 and re.search("no (data|answer)|no video", row.get("last_error", "")), row
    assert 2 <= camera.connections < 60


@pytest.mark.sanitize
@pytest.mark.parametrize("junk", [
    b"", long(b"\x80\x60\0\1" + bytes(8) + b"\x78\0\0\0\0\xff\xff"), long(b"\x80\x60" + bytes(10)), long(bytes(12)),
    long(b"\xbf\xe0" + b"\xff" * 70), long(b"\x80\x60\0\1" + bytes(8) + b"\x7c")])
def test_packets_that_are_none(omma, fake, tmp_path, junk):
    """Nothing, a head alone, one with extensions that are not there, aggregates without units, between good ones."""
    camera = fake(packets=lambda i, units: [junk, *camera.rtp(units, i), junk])
    row, r = beside_a_good_one(omma, tmp_path, camera.url, enough=lambda row: row["inferred"] + sum(row["dropped"].values()) > 10)
    assert row["received"] > 10 and row["inferred"] + sum(row["dropped"].values()) > 10, (row, r)


@pytest.mark.long
@pytest.mark.sanitize
def test_packets_that_break_the_framing(omma, fake, tmp_path):
    """Too short for RTP: FFmpeg loses its place in the connection; said, and connected to again."""
    camera = fake(packets=lambda i, units: [b"\x80", *camera.rtp(units, i)])
    row, r = beside_a_good_one(omma, tmp_path, camera.url, seconds=(3, 20))
    assert row["inferred"] > 10 or ("no data" in row.get("last_error", "") and camera.connections > 1), (row, r)


@pytest.mark.parametrize("time_of", [
    lambda i: 0, long(lambda i: 2**32 - 20000 + i * 3600), long(lambda i: -i * 3600), long(lambda i: (i % 7) * 2**29),
    long(lambda i: 2**31 - 18000 + i * 3600)], ids=["stands", "wraps", "backwards", "leaps", "sign"])
def test_clocks_of_rtp(fake, time_of):
    camera = fake(packets=lambda i, units: list(camera.rtp(units, i, time_of)))
    out = read("--frames", "--reconnect", 10, 50, "--max", 80, camera.url)  # the first ones come at once, after the probing
    frames = out["frames"]
    assert len(frames) == 80
    assert all(a["pts"] < b["pts"] for a, b in zip(frames, frames[1:])), [f["pts"] for f in frames]
    assert 0.5 < frames[-1]["pts"] - frames[0]["pts"] < 12, [f["pts"] for f in frames]
