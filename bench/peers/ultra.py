"""ultralytics' own predict() over a list of streams: its PyTorch model or what its export() makes for OpenVINO.

The architecture is its own (yolov8n.yaml); the weights are those of the ONNX model the other rows run.
"""
import os
import re
import shutil

os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")

import cv2
import onnx
import onnx.numpy_helper
import torch
import ultralytics

from meter import CONF, IOU, MAX_BOXES, Meter, arguments

ENGINES = {"torch": None, "openvino-dynamic": dict(dynamic=True), "openvino-static": dict(dynamic=False)}


def with_weights_of(path):
    model = ultralytics.YOLO("yolov8n.yaml", task="detect")
    model.model.fuse(verbose=False)
    # The names of an export's head repeat a part of the path: cv2.0.cv2.0.1 for cv2.0.1.
    weights = {re.sub(r"(cv\d\.\d)\.\1\.", r"\1.", t.name): torch.from_numpy(onnx.numpy_helper.to_array(t).copy())
               for t in onnx.load(path).graph.initializer}
    model.model.load_state_dict({name: weights[name] for name in model.model.state_dict()})
    return model


def exported(onnx_path, work, engine, batch):
    folder = work / f"yolov8n_{engine}_openvino_model"
    if not folder.exists():
        made = with_weights_of(onnx_path).export(format="openvino", imgsz=640, batch=batch, **ENGINES[engine])
        shutil.move(made, folder)
    return ultralytics.YOLO(folder, task="detect")


def main():
    a = arguments("--engine")
    a.model = a.model.resolve()
    a.result, a.csv, a.work = a.result.resolve(), a.csv.resolve(), a.work.resolve()
    clips = [os.path.abspath(c) for c in a.clips]
    os.chdir(a.work)
    batch = len(clips)
    model = with_weights_of(a.model) if a.engine == "torch" else exported(a.model, a.work, a.engine, batch)
    streams = a.work / f"{a.engine}.streams"
    streams.write_text("\n".join(clips) + "\n")
    options = dict(imgsz=640, batch=batch, conf=CONF, iou=IOU, max_det=MAX_BOXES, device="cpu", verbose=False, save=False)
    frame = cv2.VideoCapture(clips[0]).read()[1]
    for _ in range(2):
        model.predict([frame] * batch, **options)
    # It takes one core less than there are; the peer shall have all.
    torch.set_num_threads(a.threads)

    # What really goes into the network, and how exactly it computes.
    backend = model.predictor.model
    seen = []
    hook = backend.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    meter = Meter(a.csv)
    # Without stream_buffer its loader drops the frames of files that come too fast.
    for i, result in enumerate(model.predict(str(streams), stream=True, stream_buffer=True, **options)):
        meter.add(i % batch, i // batch, result.boxes.data.tolist())
    hook.remove()
    precision = "f32"
    if a.engine != "torch":
        compiled = backend.backend.ov_compiled_model
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    shapes = {f"{s[3]}x{s[2]}" for s in seen}
    meter.finish(a.result, ", ".join(sorted(shapes)), precision, ("ultralytics", "torch", "openvino", "opencv-python"))


if __name__ == "__main__":
    main()
