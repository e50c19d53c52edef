"""MTCNN's three networks with facenet-pytorch's weights, arranged for speed and to give O-Net's hidden layer.

Two things differ from facenet-pytorch's modules, neither in what is computed: the normalisation (x - 127.5) / 128 is
folded into the first convolution, and the softmax over {no face, face} is a sigmoid of the difference.
"""

from __future__ import annotations

import torch
from facenet_pytorch.models import mtcnn
from torch import nn
from torch.nn import functional as F


def _on_raw_pixels(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same convolution for pixels 0 to 255 that are not normalised."""
    folded = nn.Conv2d(3, convolution.out_channels, convolution.kernel_size)
    with torch.no_grad():
        folded.weight.copy_(convolution.weight / 128)
        folded.bias.copy_(convolution.bias - convolution.weight.sum((1, 2, 3)) * 127.5 / 128)
    return folded


def _face_probability(logits: torch.Tensor) -> torch.Tensor:
    return (logits[:, 1] - logits[:, 0]).sigmoid()


class PNet(nn.Module):
    """Proposes: (photos, 3, h, w) -> face probability (photos, h', w') and box corrections (photos, 4, h', w')."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mtcnn.PNet()
        self.conv1 = _on_raw_pixels(self.net.conv1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        net = self.net
        x = net.pool1(net.prelu1(self.conv1(x)))
        x = net.prelu3(net.conv3(net.prelu2(net.conv2(x))))
        return _face_probability(net.conv4_1(x)), net.conv4_2(x)


class RNet(nn.Module):
    """Refines: (crops, 3, 24, 24) -> face probability (crops,) and box corrections (crops, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mtcnn.RNet()
        self.conv1 = _on_raw_pixels(self.net.conv1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        net = self.net
        x = F.max_pool2d(net.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = net.prelu3(net.conv3(net.pool2(net.prelu2(net.conv2(x)))))
        x = net.prelu4(net.dense4(x.permute(0, 3, 2, 1).flatten(1)))
        return _face_probability(net.dense5_1(x)), net.dense5_2(x)


class ONet(nn.Module):
    """Outputs: (crops, 3, 48, 48) -> probability (crops,), box corrections (crops, 4), landmarks (crops, 10) as
    fractions of the crop (five x, then five y), and the last hidden layer (crops, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mtcnn.ONet()
        self.conv1 = _on_raw_pixels(self.net.conv1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        net = self.net
        x = net.pool1(net.prelu1(self.conv1(x)))
        x = net.pool3(net.prelu3(net.conv3(net.pool2(net.prelu2(net.conv2(x))))))
        x = net.prelu4(net.conv4(x))
        features = net.prelu5(net.dense5(x.permute(0, 3, 2, 1).flatten(1)))
        return _face_probability(net.dense6_1(features)), net.dense6_2(features), net.dense6_3(features), features
