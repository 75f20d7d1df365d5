"""What every peer's script shares: its command line, the CSV it writes, and how it is timed.

The clock is omma's: from the first frame's result to the last one's, so loading and compiling are outside.
"""
import argparse
import importlib.metadata
import json
import pathlib
import threading
import time

CONF, IOU, MAX_BOXES = 0.25, 0.45, 300


def arguments(*more):
    p = argparse.ArgumentParser()
    p.add_argument("--model", type=pathlib.Path, required=True, help="the ONNX model all rows run")
    p.add_argument("--work", type=pathlib.Path, required=True, help="folder for what a peer makes of it")
    p.add_argument("--result", type=pathlib.Path, required=True, help="JSON file to write")
    p.add_argument("--csv", type=pathlib.Path, required=True)
    p.add_argument("--threads", type=int, required=True)
    for option in more:
        p.add_argument(option)
    p.add_argument("clips", nargs="+")
    return p.parse_args()


class Meter:
    """Counts frames, writes their boxes. Thread-safety: add() from any thread."""

    def __init__(self, csv):
        self.lock = threading.Lock()
        self.csv = open(csv, "w")
        self.csv.write("stream,frame,x1,y1,x2,y2,score,class\n")
        self.frames = {}
        self.boxes = 0
        self.first = self.last = 0.0

    def add(self, stream, frame, rows):
        """One frame's rows x1, y1, x2, y2, score, class in source pixels."""
        with self.lock:
            self.frames[stream] = self.frames.get(stream, 0) + 1
            self.csv.write("".join("%d,%d,%.2f,%.2f,%.2f,%.2f,%.4f,%d\n" % (stream, frame, *r) for r in rows))
            self.boxes += len(rows)
            self.last = time.perf_counter()
            self.first = self.first or self.last

    def finish(self, path, shape, precision, packages):
        self.csv.close()
        frames = sum(self.frames.values())
        path.write_text(json.dumps(dict(
            fps=(frames - 1) / (self.last - self.first), frames=list(self.frames.values()),
            boxes_a_frame=self.boxes / frames, input=shape, precision=precision,
            versions={p: importlib.metadata.version(p) for p in packages})))
