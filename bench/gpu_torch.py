"""torch.compile on the same card: the peer of gpu_engine.

    gpu_torch.py NAME BATCH [SECONDS]     yolov8n, yolov5s (640x640), resnet50, mobilenet_v2, vit_b_16 (224x224)
    gpu_torch.py NAME - [SECONDS]         says "ready" once all is loaded, then measures each batch that comes as a line

fp16, channels last, random weights, batch norms folded, CUDA graphs (mode reduce-overhead); one JSON line.
"""

import json
import sys
import time

import torch
from gpu_models import classifier
from torch import nn


class CBS(nn.Sequential):
    def __init__(self, c, k, r=1, s=1, p=None):
        super().__init__(nn.Conv2d(c, k, r, s, r // 2 if p is None else p), nn.SiLU(inplace=True))


class Bottleneck(nn.Module):
    def __init__(self, c, r, add):
        super().__init__()
        self.a, self.b, self.add = CBS(c, c, r), CBS(c, c, 3), add

    def forward(self, x):
        y = self.b(self.a(x))
        return x + y if self.add else y


class C2f(nn.Module):
    def __init__(self, c, k, n, add):
        super().__init__()
        self.a, self.b = CBS(c, k), CBS(k // 2 * (n + 2), k)
        self.m = nn.ModuleList(Bottleneck(k // 2, 3, add) for _ in range(n))

    def forward(self, x):
        y = list(self.a(x).chunk(2, 1))
        for m in self.m:
            y.append(m(y[-1]))
        return self.b(torch.cat(y, 1))


class C3(nn.Module):
    def __init__(self, c, k, n, add):
        super().__init__()
        self.a, self.b, self.c = CBS(c, k // 2), CBS(c, k // 2), CBS(k, k)
        self.m = nn.Sequential(*(Bottleneck(k // 2, 1, add) for _ in range(n)))

    def forward(self, x):
        return self.c(torch.cat((self.m(self.a(x)), self.b(x)), 1))


class SPPF(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b, self.p = CBS(c, c // 2), CBS(c * 2, c), nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        y = [self.a(x)]
        for _ in range(3):
            y.append(self.p(y[-1]))
        return self.b(torch.cat(y, 1))


class Yolo(nn.Module):
    """The path of both: three grids; `block` is what they repeat."""

    def __init__(self, c, block, deep, stem):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        b = block
        self.s2 = nn.Sequential(stem, CBS(c[0], c[1], 3, 2), b(c[1], c[1], deep[0], True), CBS(c[1], c[2], 3, 2),
                                b(c[2], c[2], deep[1], True))
        self.s3 = nn.Sequential(CBS(c[2], c[3], 3, 2), b(c[3], c[3], deep[2], True))
        self.s4 = nn.Sequential(CBS(c[3], c[4], 3, 2), b(c[4], c[4], deep[0], True), SPPF(c[4]))

    def grids(self, x):
        p3 = self.s2(x)
        p4 = self.s3(p3)
        return p3, p4, self.s4(p4)


class Yolov8n(Yolo):
    def __init__(self):
        c = [16, 32, 64, 128, 256]
        super().__init__(c, C2f, [1, 2, 2], CBS(3, 16, 3, 2))
        self.n4, self.n3 = C2f(384, 128, 1, False), C2f(192, 64, 1, False)
        self.d3, self.m4 = CBS(64, 64, 3, 2), C2f(192, 128, 1, False)
        self.d4, self.m5 = CBS(128, 128, 3, 2), C2f(384, 256, 1, False)
        self.box = nn.ModuleList(nn.Sequential(CBS(k, 64, 3), CBS(64, 64, 3), nn.Conv2d(64, 64, 1)) for k in (64, 128, 256))
        self.cls = nn.ModuleList(nn.Sequential(CBS(k, 80, 3), CBS(80, 80, 3), nn.Conv2d(80, 80, 1)) for k in (64, 128, 256))
        self.register_buffer("bins", torch.arange(16.0))
        self.register_buffer("points", torch.rand(1, 2, 8400))
        self.register_buffer("strides", torch.rand(1, 1, 8400))

    def forward(self, x):
        p3, p4, p5 = self.grids(x)
        n4 = self.n4(torch.cat((self.up(p5), p4), 1))
        o3 = self.n3(torch.cat((self.up(n4), p3), 1))
        o4 = self.m4(torch.cat((self.d3(o3), n4), 1))
        o5 = self.m5(torch.cat((self.d4(o4), p5), 1))
        out = (o3, o4, o5)
        box = torch.cat([m(y).flatten(2) for m, y in zip(self.box, out)], 2)
        score = torch.cat([m(y).flatten(2) for m, y in zip(self.cls, out)], 2)
        d = box.view(-1, 4, 16, 8400).softmax(2).mul(self.bins.view(1, 1, 16, 1)).sum(2)
        near, far = self.points - d[:, :2], self.points + d[:, 2:]
        return torch.cat((torch.cat(((near + far) / 2, far - near), 1) * self.strides, score.sigmoid()), 1)


class Yolov5s(Yolo):
    def __init__(self):
        c = [32, 64, 128, 256, 512]
        super().__init__(c, C3, [1, 2, 3], CBS(3, 32, 6, 2, 2))
        self.r5, self.n4 = CBS(512, 256), C3(512, 256, 1, False)
        self.r4, self.n3 = CBS(256, 128), C3(256, 128, 1, False)
        self.d3, self.m4 = CBS(128, 128, 3, 2), C3(256, 256, 1, False)
        self.d4, self.m5 = CBS(256, 256, 3, 2), C3(512, 512, 1, False)
        self.out = nn.ModuleList(nn.Conv2d(k, 255, 1) for k in (128, 256, 512))
        for i, g in enumerate((80, 40, 20)):
            self.register_buffer(f"grid{i}", torch.rand(1, 3, g, g, 2))

    def forward(self, x):
        p3, p4, p5 = self.grids(x)
        r5 = self.r5(p5)
        r4 = self.r4(self.n4(torch.cat((self.up(r5), p4), 1)))
        o3 = self.n3(torch.cat((self.up(r4), p3), 1))
        o4 = self.m4(torch.cat((self.d3(o3), r4), 1))
        o5 = self.m5(torch.cat((self.d4(o4), r5), 1))
        flat = []
        for i, (m, y) in enumerate(zip(self.out, (o3, o4, o5))):
            grid = getattr(self, f"grid{i}")
            y = m(y)
            y = y.view(-1, 3, 85, *y.shape[2:]).permute(0, 1, 3, 4, 2).sigmoid()
            xy, wh, rest = y.split((2, 2, 81), 4)
            flat.append(torch.cat(((xy * 2 + grid) * 8, (wh * 2) ** 2 * grid, rest), 4).flatten(1, 3))
        return torch.cat(flat, 1)


def build(name):
    if name == "yolov8n":
        return Yolov8n(), 640
    if name == "yolov5s":
        return Yolov5s(), 640
    net = classifier(name)
    if name != "vit_b_16":
        from torch.fx.experimental.optimization import fuse
        net = fuse(net)
    return net, 224


def measure(net, size, name, batch, seconds):
    x = torch.rand(batch, 3, size, size, device="cuda").half().contiguous(memory_format=torch.channels_last)
    start = time.time()
    with torch.inference_mode():
        compiled = torch.compile(net, mode="reduce-overhead", dynamic=False)
        for _ in range(5):
            compiled(x)
        torch.cuda.synchronize()
        built, n, start = time.time() - start, 0, time.time()
        while time.time() - start < seconds:
            for _ in range(10):
                compiled(x)
            torch.cuda.synchronize()
            n += 10
        rate = n * batch / (time.time() - start)
    print(json.dumps({"peer": "torch.compile", "model": name, "batch": batch, "img_s": round(rate),
                      "batch_ms": round(1e3 * batch / rate, 3), "compile_s": round(built, 1), "torch": torch.__version__}), flush=True)


def main():
    name, batch = sys.argv[1:3]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 2.0
    torch.backends.cudnn.benchmark = True
    net, size = build(name)
    net = net.eval().cuda().half().to(memory_format=torch.channels_last)
    if batch == "-":
        print("ready", flush=True)
    for line in sys.stdin if batch == "-" else [batch]:
        measure(net, size, name, int(line), seconds)


if __name__ == "__main__":
    main()
