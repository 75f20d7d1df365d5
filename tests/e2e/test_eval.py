"""`omma eval --mot` against py-motmetrics' figures and HOTA written out in NumPy."""
import json

import numpy as np
import pytest
from conftest import DEPS

SEQUENCES = ["TUD-Campus", "TUD-Stadtmitte"]

# py-motmetrics 1.4.0 (numpy 1.26.4) on its own files: loadtxt(gt.txt, "mot15-2D", min_confidence=1), loadtxt(test.txt, "mot15-2D"),
# compare_to_groundtruth(gt, test, "iou", distth=0.5).
MOTMETRICS = {
    "TUD-Campus": dict(
        frames=71, objects=359, predictions=222, truth_ids=8, matches=202, switches=7, false_positives=13, misses=150,
        fragmentations=7, mostly_tracked=1, partially_tracked=6, mostly_lost=1, idtp=162, idfp=60, idfn=197,
        mota=0.5264623955431755, motp=0.2772010846394618, precision=0.9414414414414415, recall=0.5821727019498607,
        idf1=0.5576592082616179, idp=0.7297297297297297, idr=0.45125348189415043),
    "TUD-Stadtmitte": dict(
        frames=179, objects=1156, predictions=749, truth_ids=10, matches=697, switches=7, false_positives=45, misses=452,
        fragmentations=6, mostly_tracked=5, partially_tracked=4, mostly_lost=1, idtp=614, idfp=135, idfn=542,
        mota=0.5640138408304498, motp=0.34590429554400914, precision=0.9399198931909212, recall=0.6089965397923875,
        idf1=0.6446194225721785, idp=0.8197596795727636, idr=0.5311418685121108),
}


def read(path):
    rows = {}
    for line in path.read_text().splitlines():
        v = [float(t) for t in line.split(",")[:6]]
        rows.setdefault(int(v[0]), []).append((int(v[1]), np.array(v[2:])))
    return rows


def overlaps(a, b):
    """IoU of all pairs of x, y, w, h."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), 2)
    return inter / (np.prod(a[:, 2:], 1)[:, None] + np.prod(b[:, 2:], 1)[None] - inter)


def assign(cost):
    """Hungarian method, rows <= columns or turned; (row, column) pairs."""
    if cost.shape[0] > cost.shape[1]:
        return [(r, c) for c, r in assign(cost.T)]
    n, m = cost.shape
    u, v, row_of, way = np.zeros(n + 1), np.zeros(m + 1), np.zeros(m + 1, int), np.zeros(m + 1, int)
    for i in range(1, n + 1):
        row_of[0], at, least, used = i, 0, np.full(m + 1, np.inf), np.zeros(m + 1, bool)
        while True:
            used[at] = True
            r, best, to = row_of[at], np.inf, 0
            for j in range(1, m + 1):
                if used[j]:
                    continue
                d = cost[r - 1, j - 1] - u[r] - v[j]
                if d < least[j]:
                    least[j], way[j] = d, at
                if least[j] < best:
                    best, to = least[j], j
            for j in range(m + 1):
                if used[j]:
                    u[row_of[j]] += best
                    v[j] -= best
                else:
                    least[j] -= best
            at = to
            if row_of[at] == 0:
                break
        while at:
            row_of[at], at = row_of[way[at]], way[at]
    return [(row_of[j] - 1, j - 1) for j in range(1, m + 1) if row_of[j]]


def hota(truth, result):
    """Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking" (2021), as published."""
    eps = np.finfo(float).eps
    frames = sorted(set(truth) | set(result))
    ids = [{t: n for n, t in enumerate(sorted({t for f in side.values() for t, _ in f}))} for side in (truth, result)]
    count = [np.zeros(len(i)) for i in ids]
    potential = np.zeros((len(ids[0]), len(ids[1])))
    prepared = []
    for f in frames:
        index = [np.array([ids[s][t] for t, _ in side.get(f, [])], int) for s, side in enumerate((truth, result))]
        for s in range(2):
            count[s][index[s]] += 1
        if not len(index[0]) or not len(index[1]):
            continue
        sim = overlaps(np.array([b for _, b in truth[f]]), np.array([b for _, b in result[f]]))
        denominator = sim.sum(0)[None] + sim.sum(1)[:, None] - sim
        potential[np.ix_(*index)] += np.divide(sim, denominator, out=np.zeros_like(sim), where=denominator > eps)
        prepared.append((index, sim))
    alignment = potential / (count[0][:, None] + count[1][None] - potential)
    pairs = [(index[0][i], index[1][k], sim[i, k]) for index, sim in prepared
             for i, k in assign(-alignment[np.ix_(*index)] * sim)]
    figures = []
    for alpha in np.arange(0.05, 0.99, 0.05):
        good = [(i, k, s) for i, k, s in pairs if s >= alpha - eps]
        both = np.zeros_like(potential)
        for i, k, _ in good:
            both[i, k] += 1
        tp = len(good)
        deta = tp / (count[0].sum() + count[1].sum() - tp)
        assa = (both * both / (count[0][:, None] + count[1][None] - both)).sum() / max(1, tp)
        figures.append((np.sqrt(deta * assa), deta, assa, sum(s for *_, s in good) / tp if tp else 1))
    return dict(zip(("hota", "deta", "assa", "loca"), np.mean(figures, 0)))


def scores(omma, tmp_path, *args):
    omma("eval", *args, "--json", tmp_path / "scores.json")
    return json.loads((tmp_path / "scores.json").read_text())


@pytest.mark.sanitize
@pytest.mark.parametrize("name", SEQUENCES)
def test_figures_are_those_of_motmetrics(omma, tmp_path, name):
    got = scores(omma, tmp_path, "--mot", DEPS / "mot" / name / "gt.txt", DEPS / "mot" / name / "test.txt")
    for key, want in MOTMETRICS[name].items():
        assert got[key] == pytest.approx(want, abs=1e-6), key


@pytest.mark.parametrize("name", SEQUENCES)
def test_hota_is_the_published_one(omma, tmp_path, name):
    gt, test = DEPS / "mot" / name / "gt.txt", DEPS / "mot" / name / "test.txt"
    got = scores(omma, tmp_path, "--mot", gt, test)
    for key, want in hota(read(gt), read(test)).items():
        assert got[key] == pytest.approx(want, abs=1e-6), key


@pytest.mark.sanitize
def test_empty_tracks_are_told(omma, tmp_path):
    """As empty boxes are: a wrong path looks like a bad tracker else."""
    gt, empty = DEPS / "mot/TUD-Campus/gt.txt", tmp_path / "empty.txt"
    empty.write_text("\n")
    for truth, result in ((gt, empty), (empty, gt)):
        assert omma("eval", "--mot", truth, result).err == f"omma: warning: {empty}: there is no box in it\n"


def test_truth_is_perfect_and_nothing_is_nothing(omma, tmp_path):
    gt, empty = DEPS / "mot/TUD-Campus/gt.txt", tmp_path / "empty.txt"
    empty.write_text("")
    got = scores(omma, tmp_path, "--mot", gt, gt)
    assert [got[k] for k in ("hota", "mota", "idf1", "deta", "assa", "motp")] == [1, 1, 1, 1, 1, 0]
    got = scores(omma, tmp_path, "--mot", gt, empty)
    assert (got["misses"], got["mota"], got["idf1"], got["hota"], got["motp"]) == (359, 0, 0, 0, None)
    got = scores(omma, tmp_path, "--mot", empty, gt)
    assert (got["false_positives"], got["idfp"], got["hota"], got["recall"]) == (359, 359, 0, None)


def test_results_of_a_run(omma, tmp_path):
    """JSONL counts as the same tracks in MOTChallenge's rows; `seq` 0 is frame 1; streams are told apart."""
    gt, test = DEPS / "mot/TUD-Campus/gt.txt", DEPS / "mot/TUD-Campus/test.txt"
    lines = {}
    for name in ("a", "b"):
        lines[name] = [json.dumps({"stream": name, "seq": f - 1, "objects": [
            {"track": t, "class_id": 0, "score": 0.5, "box": list(b + (100 if name == "b" else 0))} for t, b in boxes]
            + [{"class_id": 0, "score": 0.9, "box": [0, 0, 9, 9]}]}) for f, boxes in read(test).items()]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text("\n".join(lines["a"]))
    two.write_text("\n".join(lines["a"] + lines["b"]) + "\n")
    want = scores(omma, tmp_path, "--mot", gt, test)
    assert scores(omma, tmp_path, "--mot", gt, one) == want
    assert scores(omma, tmp_path, "--mot", gt, two, "--stream", "a") == want
    assert scores(omma, tmp_path, "--mot", gt, two, "--stream", "b") != want
    assert "'a', 'b'" in omma("eval", "--mot", gt, two, code=2).err
    assert "no stream 'c'" in omma("eval", "--mot", gt, two, "--stream", "c", code=2).err


def test_table_and_standard_output(omma):
    files = ["--mot", DEPS / "mot/TUD-Campus/gt.txt", DEPS / "mot/TUD-Campus/test.txt"]
    table = dict(line.rsplit(None, 1) for line in omma("eval", *files).out.splitlines())
    assert table["MOTA"] == "0.5265" and table["switches"] == "7"
    assert json.loads(omma("eval", *files, "--json", "-").out)["mota"] == pytest.approx(0.526462, abs=1e-6)


@pytest.mark.sanitize
@pytest.mark.parametrize("text,words", [
    ("1,2,3\n", ["bad.txt:1", "frame,id,x,y,w,h"]),
    ("1,1,0,0,5,5\nframe,id\n", ["bad.txt:2", "'frame,id'"]),
    ("1,1,nan,0,5,5\n", ["bad.txt:1", "not finite"]),
    ("1.5,1,0,0,5,5\n", ["whole numbers"]),
    ("1,1e30,0,0,5,5\n", ["whole numbers"]),
    ("1,7,0,0,5,5\n1,7,9,0,5,5\n", ["frame 1 has two boxes of track 7"]),
    ('{"seq":0}\n', ["bad.txt:1", "'objects'"]),
    ('{"seq":0,"objects":[{"track":1,"box":[1,2,3]}]}\n', ["bad.txt:1", "four numbers"]),
    ('{"seq":0,"objects":[]\n', ["bad.txt:1"]),
])
def test_mistakes(omma, tmp_path, text, words):
    bad = tmp_path / "bad.txt"
    bad.write_text(text)
    for args in ([DEPS / "mot/TUD-Campus/gt.txt", bad], [bad, DEPS / "mot/TUD-Campus/test.txt"]):
        r = omma("eval", "--mot", *args, code=1)
        assert len(r.err.splitlines()) == 1 and all(w in r.err for w in words), r.err


def test_odd_boxes(omma, tmp_path):
    """No size, negative sizes, ids below zero, frames far apart: figures, no crash."""
    odd = tmp_path / "odd.txt"
    odd.write_text("0,-1,0,0,0,0\n5,3,10,10,-4,-4\n2000000000,9,1,1,2,2,0.5\n")
    got = scores(omma, tmp_path, "--mot", odd, odd)
    assert got["frames"] == 3 and got["matches"] == 1


def test_usage(omma):
    assert "--mot GT.txt RESULT" in omma("eval", code=2).err
    assert "one RESULT" in omma("eval", "--mot", "gt.txt", code=2).err
    assert "no-such.txt" in omma("eval", "--mot", "no-such.txt", "x", code=1).err
