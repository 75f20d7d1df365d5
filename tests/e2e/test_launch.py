"""omma launch: jobs by YAML, pinned, restarted, stopped, summed up; nothing outlives it, however it ends."""
import csv
import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SANITIZED, wait_for
from test_worker import rows

SHAPES = ROOT / "tests/data/shapes.onnx"
CORES = sorted(os.sched_getaffinity(0))


def job(name, *, delay=2000, steps=15, **more):
    """A worker on the engine that computes nothing."""
    args = {"model-name": str(SHAPES), "input-path": "pattern:64x48:frames=0", "device": f"null:{delay}", "max-steps": steps, "warmup": 0,
            "quiet": "yes", **more.pop("args", {})}
    return {"name": name, "args": args, **more}


def write(folder, jobs, **top):
    path = folder / "launch.yaml"
    path.write_text(yaml.safe_dump({"output": str(folder / "out"), "jobs": jobs, **top}))
    return path


def summary(folder, where="out"):
    report = json.loads((folder / where / "summary.json").read_text())
    return report, {(p["job"], p["copy"], p["alone"]): p for p in report["processes"]}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids(folder):
    """Of the workers that have begun to write rows."""
    return [int(p.name.rsplit("_P_", 1)[1].split("_")[0]) for p in folder.rglob("M_*_metrics.csv") if p.read_text().count("\n") > 2]


def words(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


@pytest.mark.sanitize
@pytest.mark.race
def test_four_workers(omma, tmp_path):
    """Each on its core, with rows that are whole and sum up; what the files hold is what the summary says."""
    jobs = [job(f"w{i}", delay=1000 * (i + 1), cores=str(CORES[i % len(CORES)])) for i in range(4)]
    out = omma("launch", write(tmp_path, jobs), "-q").out
    assert out == ""
    report, found = summary(tmp_path)
    assert report["failed"] == 0 and len(found) == 4
    for i in range(4):
        p, table = found[f"w{i}", 1, False], rows(tmp_path / f"out/w{i}")
        assert p["steps"] == len(table) == 15 and p["torn"] == 0 and p["status"] == "exit 0"
        assert p["sum_error"] <= 0.03 and p["exec_ms"]["p50"] >= i + 1
        total = sorted(float(r["total_step_latency_ms"]) for r in table)
        assert p["total_ms"]["p50"] == pytest.approx(total[7], abs=1e-3) and p["total_ms"]["max"] == pytest.approx(total[-1], abs=1e-3)
        (text,) = (tmp_path / f"out/w{i}").glob("M_*.log")
        assert f"cores: {CORES[i % len(CORES)]}\n" in text.read_text()
    table = list(csv.DictReader((tmp_path / "out/summary.csv").read_text().splitlines()))
    assert [r["job"] for r in table] == ["w0", "w1", "w2", "w3"] and all(int(r["steps"]) == 15 for r in table)
    page = (tmp_path / "out/summary.html").read_text()
    assert page.count("<polyline") == 4 and "http" not in page


def test_names_are_no_patterns_and_no_columns(omma, tmp_path):
    name = 'a, "b" [c]*'
    omma("launch", write(tmp_path, [job(name, steps=3)]), "-q")
    _, found = summary(tmp_path)
    assert found[name, 1, False]["steps"] == 3
    (row,) = csv.DictReader((tmp_path / "out/summary.csv").read_text().splitlines())
    assert row["job"] == name and row["status"] == "exit 0" and row["steps"] == "3" and None not in row


@pytest.mark.race
def test_alone_and_together(omma, tmp_path):
    jobs = [job("a", steps=8), job("b", steps=8, copies=2),
            {"name": "p", "command": "run", "args": ["-m", str(SHAPES), "pattern:64x48:frames=30", "-d", "null", "-o", "null:", "-q"]}]
    omma("launch", write(tmp_path, jobs), "--alone", "-o", tmp_path / "here")
    _, found = summary(tmp_path, "here")
    assert set(found) == {("a", 1, True), ("b", 1, True), ("p", 1, True), ("a", 1, False), ("b", 1, False), ("b", 2, False), ("p", 1, False)}
    assert found["b", 2, False]["slowdown"] > 0 and "slowdown" not in found["a", 1, True]
    assert found["p", 1, False]["frames"] == 30 and found["p", 1, False]["fps"] > 0 and found["p", 1, False]["slowdown"] > 0
    assert (tmp_path / "here/together/b.2/output.log").exists() and "Interference" in (tmp_path / "here/summary.html").read_text()


def test_the_file_in_the_documentation_runs(omma, tmp_path, media):
    """As it stands there, but for the number of steps: flags that are defaults of workers are not given to a run."""
    text = (ROOT / "docs/workers.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "l.yaml").write_text(text.replace("max-steps: 200", "max-steps: 3").replace("cores: 1", f"cores: {CORES[-1]}").replace("2s", "100ms"))
    for name in ("walk.mp4", "gate.mp4"):
        (tmp_path / name).symlink_to(media / "carphone_pristine.mp4")
    (tmp_path / "yolov8n.onnx").symlink_to(SHAPES)
    omma("launch", "l.yaml", "-q", cwd=tmp_path)
    _, found = summary(tmp_path, "results")
    assert {k[0]: (p["status"], p["steps"]) for k, p in found.items()} == {
        "resnet": ("exit 0", 3), "learner": ("exit 0", 3), "cameras": ("exit 0", 0)}
    assert found["cameras", 1, False]["frames"] > 0


def test_the_device_of_a_job(omma, tmp_path):
    """Also as a default, which a job's own takes the place of."""
    one = job("a", steps=3)
    del one["args"]["device"]
    omma("launch", write(tmp_path, [one, {**one, "name": "b", "device": "null:9000"}], defaults={"device": "null:4000"}), "-q")
    _, found = summary(tmp_path)
    assert 4 <= found["a", 1, False]["exec_ms"]["p50"] and 9 <= found["b", 1, False]["exec_ms"]["p50"]
    for name, device in (("a", "null:4000"), ("b", "null:9000")):
        (text,) = (tmp_path / "out" / name).glob("M_*.log")
        assert f"infers on {device}" in text.read_text()


def test_a_folder_is_used_again(omma, tmp_path):
    """What an earlier launch left there stays, and is not counted again; a run that fails does not show the one before."""
    path = write(tmp_path, [job("w", steps=5), {"name": "r", "command": "run", "args": ["-m", str(SHAPES), "-d", "null", "pattern:64x48:frames=9"]}])
    for _ in range(2):
        omma("launch", path, "-q")
        _, found = summary(tmp_path)
        assert found["w", 1, False]["steps"] == 5 and found["r", 1, False]["frames"] == 9
    assert len(list((tmp_path / "out/w").glob("*.csv"))) == 2
    write(tmp_path, [job("w", steps=5, args={"model-name": "none"}), {"name": "r", "command": "run", "args": ["-m", "none", "pattern:"]}])
    omma("launch", path, "-q", code=1)
    _, found = summary(tmp_path)
    assert found["w", 1, False]["steps"] == 0 and "frames" not in found["r", 1, False]


def test_two_launches_share_no_folder(omma, tmp_path):
    path = write(tmp_path, [job("a", steps=0)])
    process = omma.start("launch", path)
    try:
        wait_for(lambda: pids(tmp_path / "out"), process)
        done = omma("launch", path, code=1)
        assert "another launch is at work in this folder" in done.err and done.err.count("\n") == 1
        omma("launch", write(tmp_path, [job("a", steps=3)]), "-o", tmp_path / "other", "-q")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    omma("launch", path, "-q")
    assert summary(tmp_path)[1]["a", 1, False]["steps"] == 3


def test_the_summary_says_where_it_ran(omma, tmp_path):
    omma("launch", write(tmp_path, [job("a", steps=2)]), "-q")
    report, _ = summary(tmp_path)
    assert report["system"]["processor"] and report["system"]["FFmpeg"] and "launch" in report["system"]["command"]
    assert report["system"]["processor"] in (tmp_path / "out/summary.html").read_text()


def test_start_repeat_env_prefix(omma, tmp_path):
    script = f'echo "$WORD" >> {tmp_path}/said; date +%s.%N >> {tmp_path}/times; exec "$@"'
    path = tmp_path / "prefix"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    jobs = [job("first", steps=2), job("later", steps=2, start="700ms", repeat=3, env={"WORD": "of mine"}, prefix=f"{path}")]
    begin = time.time()
    omma("launch", write(tmp_path, jobs))
    assert (tmp_path / "said").read_text() == "of mine\n" * 3
    times = [float(t) for t in (tmp_path / "times").read_text().split()]
    assert times == sorted(times) and times[0] - begin >= 0.7
    _, found = summary(tmp_path)
    assert found["later", 1, False]["runs"] == 3 and found["later", 1, False]["steps"] == 6
    assert len(list((tmp_path / "out/later").glob("*.csv"))) == 3


def prefix(tmp_path, text, name="p.sh"):
    path = tmp_path / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_restarts_back_off_and_end(omma, tmp_path):
    """Twice it fails and is started again; another one is given up after its bound."""
    fails = prefix(tmp_path, f'n=$(cat {tmp_path}/n 2>/dev/null || echo 0); echo $((n + 1)) > {tmp_path}/n; [ $n -ge 2 ] || exit 7; exec "$@"\n')
    jobs = [job("good", steps=2, prefix=fails, restart="on-failure", backoff="100ms"),
            job("bad", prefix="false", restart="on-failure", restarts=2, backoff="50ms"),
            job("once", prefix="false"),
            job("realtime", prefix=prefix(tmp_path, "kill -40 $$\n", "q.sh")),
            job("again", steps=2, restart="always", restarts=2, backoff="10ms")]
    result = omma("launch", write(tmp_path, jobs), code=1)
    _, found = summary(tmp_path)
    assert {k[0]: (p["runs"], p["restarts"], p["failed"]) for k, p in found.items()} == {
        "good": (3, 2, False), "bad": (3, 2, True), "once": (1, 0, True), "realtime": (1, 0, True), "again": (3, 2, False)}
    assert found["once", 1, False]["status"] == "exit 1" and found["realtime", 1, False]["status"] == "killed by signal 40"
    assert "exit 7 after" in result.err and "again in 0.1 s" in result.err and "again in 0.2 s" in result.err
    assert "3 of 5 processes failed" in result.err


def test_a_wrong_command_line_is_not_tried_again(omma, tmp_path):
    omma("launch", write(tmp_path, [job("x", args={"batch-size": 0}, restart="always")]), code=1)
    _, found = summary(tmp_path)
    assert found["x", 1, False]["runs"] == 1 and found["x", 1, False]["status"] == "exit 2"
    assert "not from 1 to 128" in (tmp_path / "out/x/output.log").read_text()


@pytest.mark.race
def test_a_killed_worker_is_told_and_restarted(omma, tmp_path):
    path = write(tmp_path, [job("k", steps=300, restart="on-failure", backoff="50ms")])
    process = omma.start("launch", path)
    first = wait_for(lambda: pids(tmp_path / "out"))[0]
    os.kill(first, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "killed by SIGKILL" in err, err
    _, found = summary(tmp_path)
    p = found["k", 1, False]
    assert p["runs"] == 2 and p["torn"] == 0 and p["steps"] > 300 and not p["failed"]


def test_timeout(omma, tmp_path):
    omma("launch", write(tmp_path, [job("t", steps=100000, timeout="1s")]), code=1)
    _, found = summary(tmp_path)
    assert "after its timeout" in found["t", 1, False]["status"] and found["t", 1, False]["steps"] > 0


@pytest.mark.race
def test_interrupt_stops_all_cleanly(omma, tmp_path):
    """Workers write their summaries; one that does not listen is killed after its grace."""
    deaf = prefix(tmp_path, "trap '' INT\nsleep 600 &\nwhile :; do sleep 0.2; done\n")
    jobs = [job("a", steps=0), job("b", steps=0, start="1h"), job("deaf", prefix=deaf)]
    process = omma.start("launch", write(tmp_path, jobs), "--grace", "10s" if SANITIZED else "500ms")
    workers = wait_for(lambda: pids(tmp_path / "out"))
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and time.monotonic() - begin < (45 if SANITIZED else 15), err
    assert not any(alive(p) for p in workers)
    report, found = summary(tmp_path)
    assert report["stopped"] and found["a", 1, False]["stopped"] and found["a", 1, False]["status"] == "exit 0"
    assert found["b", 1, False]["runs"] == 0 and "SIGKILL" in found["deaf", 1, False]["status"]
    (text,) = (tmp_path / "out/a").glob("M_*.log")
    assert "summary:" in text.read_text()


def descendants(pid):
    """All processes below one, by the kernel's own list."""
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        for task in Path(f"/proc/{at}/task").glob("*/children"):
            children = [int(c) for c in task.read_text().split()]
            found += children
            todo += children
    return found


def test_killed_launch_leaves_nothing(omma, tmp_path):
    """Also what a prefix command started in the background goes."""
    path = prefix(tmp_path, 'sleep 600 &\n"$@"\nsleep 600\n')
    process = omma.start("launch", write(tmp_path, [job("a", steps=0), job("b", steps=0, prefix=path)]))
    wait_for(lambda: len(pids(tmp_path / "out")) == 2)
    family = descendants(process.pid)
    assert len(family) >= 5  # two workers, a shell, its sleep, the watchdog
    process.kill()
    process.communicate(timeout=30)
    wait_for(lambda: not any(alive(p) for p in family))
    for folder in ("a", "b"):
        table = rows(tmp_path / "out" / folder)
        assert all(None not in r.values() and None not in r for r in table)


@pytest.mark.parametrize("text, says", [
    ("", "expected a map with output: and jobs:"),
    ("jobs: []\n", "jobs: is empty"),
    ("output: x\n", "no jobs: nothing to launch"),
    ("job: []\n", ":1: unknown key 'job'; did you mean 'jobs'?"),
    ("jobs:\n  - {name: a, core: 1}\n", ":2: unknown option 'core'; did you mean 'cores'?"),
    ("jobs:\n  - {name: a}\n  - {name: a}\n", ":3: a second job is called 'a'"),
    ("jobs:\n  - {cores: 0-9999}\n", ":2: core list '0-9999': there is no core"),
    ("jobs:\n  - {name: a/b}\n", ":2: name: expected a folder's name"),
    ("jobs:\n  - {name: summary.json}\n", ":2: name: expected a folder's name"),
    ("jobs:\n  - {name: a, copies: 3}\n  - {name: a.3}\n", ":3: name: 'a.3' is also the folder of a copy of 'a'"),
    ("jobs:\n  - {restart: often}\n", ":2: option 'restart'"),
    ("jobs:\n  - {args: 5}\n", ":2: args: expected a map of flags, or a list of words"),
    ("jobs:\n  - {env: [A]}\n", ":2: env: expected a map"),
    ("jobs:\n  - {copies: 2000}\n", ":2: option 'copies'"),
    ("jobs: {a\n", "launch.yaml:2: "),
    ("jobs:\n  - {args: {input-path: &a [*a]}}\n", ":2: input-path must be a single value"),
    ("jobs: 3\n", ":1: jobs: must be a list"),
    ("output: a\noutput: [b]\n", ":2: output must be a single value"),
    ("jobs: [{command: ''}]\n", ":1: command: expected worker, run"),
    ("jobs: [" + "{}, " * 1001 + "]\n", ":1: jobs: 1001 items; at most 1000"),
    ("jobs: [{args: [" + "a, " * 10001 + "]}]\n", ":1: args: too many words"),
])
def test_bad_files(omma, tmp_path, text, says):
    (tmp_path / "launch.yaml").write_text(text)
    result = omma("launch", tmp_path / "launch.yaml", code=2, cwd=tmp_path)
    assert says in result.err and result.err.count("\n") == 1, result
    assert [p.name for p in tmp_path.iterdir()] == ["launch.yaml"]


def test_what_cannot_start(omma, tmp_path):
    result = omma("launch", write(tmp_path, [job("a", steps=0), job("b", prefix="/no/such/program")]), code=1)
    assert "job b: /no/such/program: No such file or directory" in result.err
    result = omma("launch", tmp_path / "none.yaml", code=2)
    assert "none.yaml" in result.err
    out = omma("launch", write(tmp_path, [job("a", copies=3, cores=str(CORES[0]))]), "--check").out
    assert "worker" in out and "--max-steps=15" in out.replace("\n", "")


@pytest.mark.long
def test_four_models_on_two_cores(omma, media, tmp_path):
    """Real engines: four models, one of them learning; every row there and summing up."""
    video = str(media / "bikes.mp4")
    one = lambda name, core, **args: {"name": name, "cores": str(core), "args": {"model-name": name, "input-path": video, "max-steps": 25, **args}}
    jobs = [one("resnet50", CORES[0]), one("mobilenet_v2", CORES[-1], mode="retrain"), one("efficientnet-lite0", CORES[0], **{"batch-size": 4}),
            one("yolov8n", CORES[-1])]
    omma("launch", write(tmp_path, jobs), timeout=300)
    report, found = summary(tmp_path)
    for p in found.values():
        assert p["steps"] == 25 and p["torn"] == 0 and p["sum_error"] <= 0.03 and p["status"] == "exit 0"
    assert found["mobilenet_v2", 1, False]["loss"] > 0
