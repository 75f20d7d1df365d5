"""Cameras for tests: a real RTSP server told what to do, and clips for it to send."""
import json
import subprocess
from pathlib import Path

from conftest import DEPS, ffmpeg

SERVER = Path(__file__).with_name("rtsp_server.py")
SHAPES = Path(__file__).resolve().parents[1] / "data/shapes.onnx"
RUN = ["run", "-m", SHAPES, "-d", "null", "--reconnect-min", "50ms", "--reconnect-max", "200ms"]
GOOD = "pattern:160x120:frames=25"
ENDS = ("decoded", "no_output", "corrupt", "unread", "no_key", "economy")


class Cameras:
    """rtsp_server.py --live. The port stays the same over kills."""

    def __init__(self, clips, **wish):
        self.process = subprocess.Popen([str(DEPS / "venv-gi/bin/python"), str(SERVER), "--live",
                                         json.dumps({"clips": [str(c) for c in clips], **wish})],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = self.listening()

    def listening(self):
        line = self.process.stdout.readline()
        assert line.strip().isdigit(), "the RTSP server did not start"
        return int(line)

    def tell(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def restart(self):
        self.tell("restart")
        assert self.listening() == self.port

    def count(self):
        """Frames sent to each client, by camera."""
        self.tell("count")
        return json.loads(self.process.stdout.readline())

    def url(self, camera=0, port=None):
        return f"rtsp://127.0.0.1:{port or self.port}/{camera}"

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def h264(path, size, frames=50, fps=25, gop=10, *more):
    """A clip whose every access unit has a delimiter, as Annex B."""
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps}", "-frames:v", frames, "-c:v", "libx264", "-preset", "veryfast",
           "-pix_fmt", "yuv420p", "-bf", "0", "-g", gop, "-keyint_min", gop, "-sc_threshold", "0", *more, "-bsf:v",
           "h264_metadata=aud=insert", "-f", "h264", path)
    return path


def streams_of(report):
    return {s["name"]: s for s in json.loads(report.read_text())["streams"]}


def rising(rows):
    for a, b in zip(rows, rows[1:]):
        assert a["seq"] < b["seq"] and a["pts"] < b["pts"], (a, b)
