#!/usr/bin/python3
"""Stands for Nsight Systems where it is not to be had: takes the options that its user guide names, runs the program, and
answers `nsys stats` out of an SQLite export with the guide's tables.

    nsys profile [--trace=cuda,nvtx] [--sample=none] ... --output FILE.nsys-rep PROGRAM ARGS...
    nsys stats --report nvtx_gpu_proj_trace --format csv FILE.nsys-rep

What the program did on a GPU is read from $STANDIN_KERNELS: a JSON list of inferences, each a list of steps
[range, [kernel_us, ...]]. `stats` writes FILE.sqlite beside the report, as the tool does, and projects each range onto the
kernels whose launches lie in it. What the guide does not know is refused as the tool does it.
"""
import argparse
import csv
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

PUSH_POP, DOMAIN_CREATE = 59, 75
TID = 0x01000000_00000000 | 4242 << 24 | 4242


def export(steps, path):
    """The tables of an export, with one thread that launches into one stream."""
    db = sqlite3.connect(path)
    db.executescript("""
        CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, rangeId INTEGER,
            category INTEGER, color INTEGER, text TEXT, globalTid INTEGER, endGlobalTid INTEGER, textId INTEGER,
            domainId INTEGER, uint64Value INTEGER, int64Value INTEGER, doubleValue REAL, uint32Value INTEGER,
            int32Value INTEGER, floatValue REAL, jsonTextId INTEGER, jsonText TEXT);
        CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER NOT NULL, end INTEGER NOT NULL, eventClass INTEGER NOT NULL,
            globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL, callchainId INTEGER);
        CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,
            contextId INTEGER NOT NULL, streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER,
            demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL);
    """)
    strings = {}

    def string(text):
        return strings.setdefault(text, len(strings) + 1)

    nvtx = "INSERT INTO NVTX_EVENTS (start, end, eventType, text, textId, globalTid, domainId) VALUES (?, ?, ?, ?, ?, ?, 1)"
    db.execute(nvtx, (0, None, DOMAIN_CREATE, "omma", None, TID))
    host, device, call = 1000, 5000, 0
    for inference in steps:
        begin = host
        for name, kernels in inference:
            host, start = host + 100, host
            for us in kernels:
                call += 1
                db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, 0, ?, ?, ?, 0, NULL)",
                           (host, host + 900, TID, call, string("cudaLaunchKernel")))
                db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, 0, 1, 7, ?, ?, ?, ?)",
                           (device, device + round(us * 1000), call, TID >> 24 << 24, string("k<int>()"), string("k")))
                host, device = host + 1000, device + round(us * 1000)
            # Names come as texts or as numbers of texts, by how the program registered them.
            own = call % 2
            db.execute(nvtx, (start, host, PUSH_POP, name if own else None, None if own else string(name), TID))
        db.execute(nvtx, (begin, host, PUSH_POP, None, string("counted_inference"), TID))
        device = max(device, host) + 5000
    db.executemany("INSERT INTO StringIds VALUES (?, ?)", [(i, text) for text, i in strings.items()])
    db.commit()
    return db


PROJECTION = """
    SELECT d.text || ':' || COALESCE(n.text, s.value), MIN(k.start), MAX(k.end) - MIN(k.start), n.start, n.end - n.start,
        'PushPop', n.globalTid >> 24 & 0xffffff, n.globalTid & 0xffffff, COUNT(*),
        (SELECT COUNT(*) FROM NVTX_EVENTS o WHERE o.eventType = 59 AND o.start <= n.start AND o.end >= n.end AND o.rowid != n.rowid),
        0, n.rowid, NULL, ':' || n.rowid
    FROM NVTX_EVENTS n JOIN NVTX_EVENTS d ON d.eventType = 75 AND d.domainId = n.domainId
    LEFT JOIN StringIds s ON s.id = n.textId
    JOIN CUPTI_ACTIVITY_KIND_RUNTIME r ON r.globalTid = n.globalTid AND r.start >= n.start AND r.end <= n.end
    JOIN CUPTI_ACTIVITY_KIND_KERNEL k ON k.correlationId = r.correlationId
    WHERE n.eventType = 59 GROUP BY n.rowid ORDER BY 2"""
COLUMNS = ["Name", "Projected Start (ns)", "Projected Duration (ns)", "Orig Start (ns)", "Orig Duration (ns)", "Style", "PID", "TID",
           "NumGPUOps", "Lvl", "NumChild", "RangeId", "ParentId", "RangeStack"]


def options(name):
    return argparse.ArgumentParser(prog=f"nsys {name}", allow_abbrev=False)


def profile(words):
    ask = options("profile")
    for flag, known in (("--trace", None), ("--sample", ["none", "cpu", "process-tree"]), ("--cpuctxsw", ["none", "process-tree"]),
                        ("--force-overwrite", ["true", "false"]), ("--output", None)):
        ask.add_argument(flag, choices=known, required=flag == "--output")
    ask.add_argument("program", nargs=argparse.REMAINDER)
    args = ask.parse_args(words)
    code = subprocess.run(args.program).returncode
    name = args.output if args.output.endswith(".nsys-rep") else args.output + ".nsys-rep"
    Path(name).write_bytes(b"report " + os.environ.get("STANDIN_KERNELS", "[]").encode())
    print(f"Generating '/tmp/nsys-report-1a2b.qdstrm'\n[1/1] [========================100%] {Path(name).name}\nGenerated:\n    {name}")
    return code


def stats(words):
    ask = options("stats")
    ask.add_argument("--report", choices=["nvtx_gpu_proj_trace", "nvtx_sum", "cuda_gpu_trace"], required=True)
    ask.add_argument("--format", choices=["csv", "column", "json"])
    ask.add_argument("file")
    args = ask.parse_args(words)
    database = Path(args.file).with_suffix(".sqlite")
    print(f"Generating SQLite file {database} from {args.file}")
    db = export(json.loads(Path(args.file).read_bytes().removeprefix(b"report ")), database)
    print(f"Processing [{database}] with [/opt/nvidia/nsight-systems/host-linux-x64/reports/{args.report}.py]... \n")
    rows = db.execute(PROJECTION).fetchall()
    if not rows:
        print(f"SKIPPED: {database} does not contain NVTX event data.")
        return 0
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(COLUMNS)
    out.writerows(rows)
    return 0


if __name__ == "__main__":
    commands = {"profile": profile, "stats": stats}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(f"nsys: unrecognised command '{' '.join(sys.argv[1:2])}'")
    sys.exit(commands[sys.argv[1]](sys.argv[2:]))
