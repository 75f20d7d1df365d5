"""The kernels against OpenCV: colour conversion and resizing, the geometry of Ultralytics' LetterBox, suppression."""
import ctypes
import subprocess
import time

import cv2
import numpy as np
import pytest
from conftest import BUILD, SANITIZED

NV12, I420, GRAY8, RGB24, BGR24 = 1, 2, 9, 10, 11
LINEAR, NEAREST, AREA = 0, 1, 2
CV_FILTER = {LINEAR: cv2.INTER_LINEAR, NEAREST: cv2.INTER_NEAREST, AREA: cv2.INTER_AREA}
LIMITED, FULL = 0, 1

pytestmark = pytest.mark.skipif(SANITIZED, reason="an uninstrumented interpreter cannot load a sanitized library")


class Picture(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("fmt", "range", "matrix", "width", "height")]
    _fields_ += [("stride", ctypes.c_int * 3), ("plane", ctypes.c_void_p * 3)]


@pytest.fixture(scope="session")
def lib():
    path = BUILD / "tests" / "kernels" / "libkernel_witness.so"
    if not path.exists():
        pytest.fail(f"no {path}: build first (make)")
    lib = ctypes.CDLL(str(path))
    lib.witness_nms.restype = lib.witness_nms_work_size.restype = ctypes.c_long
    lib.witness_nms_work_size.argtypes = [ctypes.c_long]
    lib.witness_nms.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long, ctypes.c_float, ctypes.c_int, ctypes.c_int] + [ctypes.c_void_p] * 2
    return lib


@pytest.fixture(scope="session")
def yuv(media):
    """Real pictures as I420 bytes, by size."""
    made = {}

    def make(width, height):
        if (width, height) not in made:
            command = ["ffmpeg", "-v", "error", "-i", str(media / "vtest.avi"), "-frames:v", "1", "-vf", f"scale={width}:{height}",
                       "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
            raw = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
            made[width, height] = np.frombuffer(raw, np.uint8).reshape(height * 3 // 2, width)
        return made[width, height]

    return make


def ultralytics_geometry(width, height, dst_w, dst_h):
    """LetterBox.__call__ of ultralytics/data/augment.py with auto=False, scaleup=True, center=True."""
    r = min(dst_h / height, dst_w / width)
    inner = int(round(width * r)), int(round(height * r))
    dw, dh = (dst_w - inner[0]) / 2, (dst_h - inner[1]) / 2
    top, bottom = int(round(dh - 0.1)), int(round(dh + 0.1))
    left, right = int(round(dw - 0.1)), int(round(dw + 0.1))
    return inner, (left, top, right, bottom)


def letterbox_cv2(picture, dst_w, dst_h, cv_filter):
    height, width = picture.shape[:2]
    inner, (left, top, right, bottom) = ultralytics_geometry(width, height, dst_w, dst_h)
    resized = cv2.resize(picture, inner, interpolation=cv_filter)
    return cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))


def letterbox_omma(lib, fmt, planes, width, height, dst_w, dst_h, filter=LINEAR, range=LIMITED, channels=0, simd=1):
    pic = Picture(fmt=fmt, range=range, matrix=0, width=width, height=height)
    for i, plane in enumerate(planes):
        pic.plane[i] = plane.ctypes.data
        pic.stride[i] = plane.strides[0]
    out = np.full((1 if channels == 2 else 3, dst_h, dst_w), -1, np.float32)
    assert lib.witness_letterbox(ctypes.byref(pic), 0, dst_w, dst_h, channels, filter, simd, out.ctypes.data_as(ctypes.c_void_p)) == 0
    return out.transpose(1, 2, 0)


def i420_planes(raw, width, height):
    flat, luma, chroma = raw.reshape(-1), width * height, (width // 2) * (height // 2)
    u = flat[luma:luma + chroma].reshape(height // 2, width // 2)
    v = flat[luma + chroma:].reshape(height // 2, width // 2)
    return flat[:luma].reshape(height, width), u, v


def check_close(got, want, mean=0.5, worst=None):
    difference = np.abs(got - want.astype(np.float32))
    assert difference.mean() < mean, difference.mean()
    if worst is not None:
        assert difference.max() <= worst, difference.max()


SIZES = [(1920, 1080, 640, 640), (1280, 720, 640, 384), (768, 576, 640, 640), (176, 144, 640, 640), (642, 358, 416, 320)]


@pytest.mark.parametrize("simd", [0, 1])
@pytest.mark.parametrize("size", SIZES, ids=lambda s: "x".join(map(str, s)))
def test_yuv_linear_is_cv2(lib, yuv, size, simd):
    width, height, dst_w, dst_h = size
    raw = yuv(width, height)
    y, u, v = i420_planes(raw, width, height)
    uv = np.ascontiguousarray(np.dstack([u, v]).reshape(height // 2, width))
    want = letterbox_cv2(cv2.cvtColor(raw, cv2.COLOR_YUV2RGB_I420), dst_w, dst_h, cv2.INTER_LINEAR)
    planar = letterbox_omma(lib, I420, [y, u, v], width, height, dst_w, dst_h, simd=simd)
    paired = letterbox_omma(lib, NV12, [y, uv], width, height, dst_w, dst_h, simd=simd)
    check_close(planar, want)
    assert np.array_equal(planar, paired)
    swapped = letterbox_omma(lib, NV12, [y, uv], width, height, dst_w, dst_h, channels=1, simd=simd)
    assert np.array_equal(planar, swapped[..., ::-1])


@pytest.mark.parametrize("filter", [LINEAR, NEAREST, AREA], ids=["linear", "nearest", "area"])
@pytest.mark.parametrize("size", [(1920, 1080, 640, 640), (768, 576, 320, 320), (642, 358, 416, 320)], ids=lambda s: "x".join(map(str, s)))
def test_rgb_and_gray_are_cv2(lib, yuv, size, filter):
    width, height, dst_w, dst_h = size
    rgb = np.ascontiguousarray(cv2.cvtColor(yuv(width, height), cv2.COLOR_YUV2RGB_I420))
    want = letterbox_cv2(rgb, dst_w, dst_h, CV_FILTER[filter])
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    worst = 0 if filter == NEAREST else 1.5
    flat = lambda a: a.reshape(a.shape[0], -1)
    check_close(letterbox_omma(lib, RGB24, [flat(rgb)], width, height, dst_w, dst_h, filter), want, worst=worst)
    check_close(letterbox_omma(lib, BGR24, [flat(bgr)], width, height, dst_w, dst_h, filter), want, worst=worst)
    gray = np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    want = letterbox_cv2(gray, dst_w, dst_h, CV_FILTER[filter])[..., None]
    check_close(letterbox_omma(lib, GRAY8, [gray], width, height, dst_w, dst_h, filter, FULL, channels=2), want, worst=worst)
    check_close(letterbox_omma(lib, GRAY8, [gray], width, height, dst_w, dst_h, filter, FULL), np.repeat(want, 3, 2), worst=worst)


def test_upside_down_picture(lib, yuv):
    """A negative stride reads the rows from the last to the first."""
    rgb = np.ascontiguousarray(cv2.cvtColor(yuv(768, 576), cv2.COLOR_YUV2RGB_I420))
    turned = rgb.reshape(576, -1)[::-1]
    want = letterbox_cv2(rgb[::-1], 320, 320, cv2.INTER_LINEAR)
    check_close(letterbox_omma(lib, RGB24, [turned], 768, 576, 320, 320), want, worst=1.5)


def test_geometry_is_ultralytics(lib):
    rng = np.random.default_rng(5)
    for _ in range(20000):
        width, height = (int(v) for v in rng.integers(1, 4000, 2))
        dst_w, dst_h = (int(v) for v in rng.integers(1, 50, 2) * 32)
        inner, (left, top, right, bottom) = ultralytics_geometry(width, height, dst_w, dst_h)
        if 0 in inner:
            continue
        out = (ctypes.c_int * 10)()
        lib.witness_fit(0, (ctypes.c_int * 4)(width, height, dst_w, dst_h), out)
        assert list(out) == [0, 0, width, height, dst_w, dst_h, left, top, *inner]
        assert left + inner[0] + right == dst_w and top + inner[1] + bottom == dst_h


def picture(fmt, planes, width, height, range=LIMITED):
    pic = Picture(fmt=fmt, range=range, matrix=0, width=width, height=height)
    for i, plane in enumerate(planes):
        pic.plane[i], pic.stride[i] = plane.ctypes.data, plane.strides[0]
    return pic


def nv12_planes(raw, width, height):
    y, u, v = i420_planes(raw, width, height)
    return [y, np.ascontiguousarray(np.dstack([u, v]).reshape(height // 2, width))]


@pytest.mark.parametrize("simd", [0, 1])
def test_rois_are_cv2(lib, yuv, simd):
    """Crops of the converted picture, resized; chroma goes with the picture's grid, not with the crop's."""
    width, height, dst_w, dst_h = 1920, 1080, 160, 48
    raw = yuv(width, height)
    planes, rgb = nv12_planes(raw, width, height), cv2.cvtColor(raw, cv2.COLOR_YUV2RGB_I420)
    rng = np.random.default_rng(3)
    boxes = np.array([(rng.integers(0, 1700), rng.integers(0, 1000), rng.integers(20, 220), rng.integers(8, 80)) for _ in range(32)], np.float32)
    out = np.zeros((32, 3, dst_h, dst_w), np.float32)
    pic = picture(NV12, planes, width, height)
    assert lib.witness_rois(ctypes.byref(pic), ctypes.c_void_p(boxes.ctypes.data), 32, dst_w, dst_h, simd, ctypes.c_void_p(out.ctypes.data)) == 0
    want = np.array([cv2.resize(rgb[y:y + h, x:x + w], (dst_w, dst_h), interpolation=cv2.INTER_LINEAR) for x, y, w, h in boxes.astype(int)])
    check_close(out.transpose(0, 2, 3, 1), want)


@pytest.mark.parametrize("simd", [0, 1])
def test_warp_is_cv2(lib, yuv, simd):
    """getPerspectiveTransform and warpPerspective, whose coordinates count from the pixels' centres."""
    width, height, dst_w, dst_h = 768, 576, 160, 48
    rgb = np.ascontiguousarray(cv2.cvtColor(yuv(width, height), cv2.COLOR_YUV2RGB_I420))
    pic = picture(RGB24, [rgb.reshape(height, -1)], width, height)
    rng = np.random.default_rng(4)
    for _ in range(20):
        corner, size = rng.uniform((-20, -20), (600, 500)), rng.uniform((80, 30), (200, 90))
        quad = (corner + size * [(0, 0), (1, 0), (1, 1), (0, 1)] + rng.uniform(-8, 8, (4, 2))).astype(np.float32)
        flat = np.float32([(0, 0), (dst_w, 0), (dst_w, dst_h), (0, dst_h)])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        back = np.linalg.inv(half) @ cv2.getPerspectiveTransform(flat, quad) @ half
        want = cv2.warpPerspective(rgb, back, (dst_w, dst_h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
        got = np.zeros((3, dst_h, dst_w), np.float32)
        assert lib.witness_warp(ctypes.byref(pic), ctypes.c_void_p(quad.ctypes.data), dst_w, dst_h, simd, ctypes.c_void_p(got.ctypes.data)) == 0
        check_close(got.transpose(1, 2, 0), want)


def interleaved_medians(calls, rounds=31):
    """Milliseconds of CPU time of each, in turn, so that what else the machine does meets all alike."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            times[name].append((time.thread_time() - start) * 1e3)
    return {name: float(np.median(t)) for name, t in times.items()}


@pytest.mark.long
def test_faster_than_cv2(lib, yuv):
    """1080p NV12 to a model's input on one core; `pytest -s` shows the times."""
    width, height = 1920, 1080
    raw = yuv(width, height)
    y, uv = nv12_planes(raw, width, height)
    nv12 = np.ascontiguousarray(np.vstack([y, uv]))
    pic = picture(NV12, [y, uv], width, height)
    f32, u8 = np.zeros((3, 640, 640), np.float32), np.zeros((640, 640, 3), np.uint8)
    boxes = np.array([(i * 337 % 1790, i * 211 % 1030, 112 + i % 17, 36 + i % 9) for i in range(32)], np.float32)
    crops = np.zeros((32, 3, 48, 160), np.float32)
    letterbox = cv2.dnn.Image2BlobParams()
    letterbox.scalefactor, letterbox.size = (1 / 255,) * 4, (640, 640)
    letterbox.paddingmode, letterbox.borderValue = cv2.dnn.DNN_PMODE_LETTERBOX, (114,) * 4

    def cv2_crops():
        rgb = cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12)
        cut = [rgb[y:y + h, x:x + w] for x, y, w, h in boxes.astype(int)]
        return cv2.dnn.blobFromImages([cv2.resize(c, (160, 48)) for c in cut], 1 / 255)

    input_of = lambda layout, as_bytes, out: lib.witness_model_input(ctypes.byref(pic), 640, 640, layout, as_bytes, 1, ctypes.c_void_p(out.ctypes.data))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    ms = interleaved_medians({
        "omma f32 planar": lambda: input_of(0, 0, f32),
        "omma u8 planar": lambda: input_of(0, 1, u8),
        "omma u8 interleaved": lambda: input_of(1, 1, u8),
        "omma 32 rois f32": lambda: lib.witness_rois(ctypes.byref(pic), ctypes.c_void_p(boxes.ctypes.data), 32, 160, 48, 1, ctypes.c_void_p(crops.ctypes.data)),
        "cv2 cvtColor + blobFromImage": lambda: cv2.dnn.blobFromImage(cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12), 1 / 255, (640, 640)),
        "cv2 cvtColor + letterboxed blob": lambda: cv2.dnn.blobFromImageWithParams(cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12), letterbox),
        "cv2 cvtColor + resize + border (u8)": lambda: letterbox_cv2(cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12), 640, 640, cv2.INTER_LINEAR),
        "cv2 32 crops f32": cv2_crops,
    })
    cv2.setNumThreads(threads)
    for name, value in ms.items():
        print(f"{name:36} {value:.3f} ms")
    blob = min(ms["cv2 cvtColor + blobFromImage"], ms["cv2 cvtColor + letterboxed blob"])
    print(f"f32: {blob / ms['omma f32 planar']:.1f} times as fast as cv2; u8: "
          f"{ms['cv2 cvtColor + resize + border (u8)'] / ms['omma u8 interleaved']:.1f}; rois: {ms['cv2 32 crops f32'] / ms['omma 32 rois f32']:.1f}")
    assert blob / ms["omma f32 planar"] > 2.5
    assert ms["cv2 cvtColor + resize + border (u8)"] / ms["omma u8 interleaved"] > 2.5


def nms_omma(lib, boxes, scores, classes, iou, agnostic, simd):
    n = len(scores)
    keep = np.zeros(max(n, 1), np.uint32)
    work = np.zeros(lib.witness_nms_work_size(n) + 8, np.uint8)
    kept = lib.witness_nms(boxes.ctypes.data, scores.ctypes.data, classes.ctypes.data, n, iou, agnostic, simd, keep.ctypes.data,
                           work.ctypes.data)
    return keep[:kept].tolist()


@pytest.mark.parametrize("simd", [0, 1])
def test_nms_is_cv2(lib, simd):
    rng = np.random.default_rng(9)
    for _ in range(300):
        n = int(rng.integers(1, 250))
        corner, size = rng.integers(0, 300, (n, 2)), rng.integers(1, 120, (n, 2))
        boxes = np.hstack([corner, corner + size]).astype(np.float32)
        scores = (rng.permutation(n) + 1).astype(np.float32) / (n + 1)
        classes = rng.integers(0, 4, n).astype(np.int32)
        iou = float(np.float32(rng.uniform(0.2, 0.8)))
        rects = np.hstack([corner, size]).astype(float).tolist()
        want = cv2.dnn.NMSBoxes(rects, scores.tolist(), 0.0, iou)
        assert nms_omma(lib, boxes, scores, classes, iou, 1, simd) == list(want)
        want = cv2.dnn.NMSBoxesBatched(rects, scores.tolist(), classes.tolist(), 0.0, iou)
        assert nms_omma(lib, boxes, scores, classes, iou, 0, simd) == list(want)
