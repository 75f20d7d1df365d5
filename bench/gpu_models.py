"""resnet50 and vit_b_16 of torchvision, layer by layer and in its order of numbers, for machines that have PyTorch alone.

    gpu_models.py     compares them with torchvision's, where that is installed
"""
import torch
from torch import nn


class Bottleneck(nn.Module):
    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, k, 1, bias=False), nn.BatchNorm2d(k)
        self.conv2, self.bn2 = nn.Conv2d(k, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k)
        self.conv3, self.bn3 = nn.Conv2d(k, 4 * k, 1, bias=False), nn.BatchNorm2d(4 * k)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or c != 4 * k:
            self.downsample = nn.Sequential(nn.Conv2d(c, 4 * k, 1, stride, bias=False), nn.BatchNorm2d(4 * k))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        c, layers = 64, []
        for i, n in enumerate((3, 4, 6, 3)):
            k = 64 << i
            layers.append(nn.Sequential(*(Bottleneck(4 * k if j else c, k, 2 if i and not j else 1) for j in range(n))))
            c = 4 * k
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(2048, 1000)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(x))))), 1))


class Block(nn.Module):
    def __init__(self, d, heads, mlp):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(d, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(d, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(d, mlp), nn.GELU(), nn.Dropout(0.0), nn.Linear(mlp, d), nn.Dropout(0.0))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    def __init__(self, d=768, heads=12, mlp=3072, depth=12):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, d))
        self.conv_proj = nn.Conv2d(3, d, 16, 16)
        self.pos_embedding = nn.Parameter(torch.randn(1, 197, d) * 0.02)
        self.layers = nn.Sequential(*(Block(d, heads, mlp) for _ in range(depth)))
        self.ln, self.head = nn.LayerNorm(d, eps=1e-6), nn.Linear(d, 1000)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).permute(0, 2, 1)
        x = torch.cat((self.class_token.expand(x.shape[0], -1, -1), x), 1) + self.pos_embedding
        return self.head(self.ln(self.layers(x))[:, 0])


def classifier(name):
    """With random weights; torchvision's own where it is there."""
    try:
        import torchvision
        return getattr(torchvision.models, name)(weights=None).eval()
    except ImportError:
        own = {"resnet50": ResNet50, "vit_b_16": ViT}
        if name not in own:
            raise
        return own[name]().eval()


def compare():
    import torchvision
    torch.manual_seed(1)
    x, worst = torch.rand(2, 3, 224, 224), 0.0
    for name, made in (("resnet50", ResNet50), ("vit_b_16", ViT)):
        theirs, ours = getattr(torchvision.models, name)(weights=None).eval(), made().eval()
        for p in theirs.parameters():
            if p.std() == 0:
                nn.init.normal_(p, std=0.02)
        other, own = dict(theirs.state_dict()), ours.state_dict()
        if name == "vit_b_16":
            own = {k: other.pop(k) for k in ("class_token", "conv_proj.weight", "conv_proj.bias")}
            own |= {k.replace("encoder.", "").replace("layers.encoder_layer_", "layers.").replace("heads.head.", "head."): v
                    for k, v in other.items()}
            own = {k.replace("mlp.linear_1", "mlp.0").replace("mlp.linear_2", "mlp.3"): v for k, v in own.items()}
        else:
            own = other
        ours.load_state_dict(own)
        with torch.inference_mode():
            a, b = theirs(x), ours(x)
        worst = max(worst, ((a - b).norm() / a.norm()).item())
        print(f"{name}: {sum(p.numel() for p in ours.parameters())} numbers, differs by {((a - b).norm() / a.norm()).item():.2g}")
    return 0 if worst < 1e-5 else 1


if __name__ == "__main__":
    raise SystemExit(compare())
