"""What a good programmer writes in Python: a decoder thread a file, OpenVINO's asynchronous queue, numpy and OpenCV behind it.

Colour, scale and layout are folded into the model, so Python hands over the letterboxed bytes as they are.
"""
import queue
import threading

import cv2
import numpy as np
import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from meter import CONF, IOU, MAX_BOXES, Meter, arguments

SOURCE_W, SOURCE_H = 1920, 1080


def compile_model(path, width, height):
    core = ov.Core()
    model = core.read_model(path)
    model.reshape([1, 3, height, width])
    p = PrePostProcessor(model)
    tensor = p.input().tensor()
    tensor.set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    p.input().model().set_layout(ov.Layout("NCHW"))
    p.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).scale(255.0)
    return core.compile_model(p.build(), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})


def pictures(clip, width, height):
    """Letterboxed frames, each in an array of its own: the engine reads it while the next is decoded."""
    scale = min(width / SOURCE_W, height / SOURCE_H)
    w, h = round(SOURCE_W * scale), round(SOURCE_H * scale)
    x, y = (width - w) // 2, (height - h) // 2
    capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while True:
        ok, frame = capture.read()
        if not ok:
            return
        picture = np.full((height, width, 3), 114, np.uint8)
        picture[y:y + h, x:x + w] = cv2.resize(frame, (w, h), interpolation=cv2.INTER_LINEAR)
        yield picture[None]


def detections(output, width, height):
    scores = output[4:]
    passed = np.flatnonzero(scores.max(0) > CONF)
    if not len(passed):
        return []
    classes = scores[:, passed].argmax(0)
    best = scores[classes, passed]
    boxes = output[:4, passed].T.copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    keep = np.asarray(cv2.dnn.NMSBoxesBatched(boxes, best, classes, CONF, IOU)).reshape(-1)[:MAX_BOXES]
    boxes = boxes[keep]
    boxes[:, 2:] += boxes[:, :2]
    scale = min(width / SOURCE_W, height / SOURCE_H)
    boxes[:, 0::2] -= (width - SOURCE_W * scale) / 2
    boxes[:, 1::2] -= (height - SOURCE_H * scale) / 2
    return np.concatenate([boxes / scale, best[keep, None], classes[keep, None]], 1)


def main():
    a = arguments("--size")
    width, height = map(int, a.size.split("x"))
    cv2.setNumThreads(1)
    compiled = compile_model(a.model, width, height)
    compiled(next(pictures(a.clips[0], width, height)))
    ready = queue.Queue(16)
    meter = Meter(a.csv)

    def decode(stream):
        try:
            for frame, picture in enumerate(pictures(a.clips[stream], width, height)):
                ready.put((stream, frame, picture))
        finally:
            ready.put(None)

    def done(request, item):
        meter.add(item[0], item[1], detections(request.get_output_tensor().data[0], width, height))

    infer = ov.AsyncInferQueue(compiled)
    infer.set_callback(done)
    for stream in range(len(a.clips)):
        threading.Thread(target=decode, args=(stream,)).start()
    running = len(a.clips)
    while running:
        item = ready.get()
        if item is None:
            running -= 1
        else:
            # The input is shared, not copied; the item travels along and keeps its array alive.
            infer.start_async({0: item[2]}, item, share_inputs=True)
    infer.wait_all()
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    meter.finish(a.result, f"{width}x{height}", precision, ("openvino", "opencv-python", "numpy"))


if __name__ == "__main__":
    main()
