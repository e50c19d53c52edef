"""MTCNN's three networks with facenet-pytorch's weights, arranged for speed and to give O-Net's hidden layer.

What is computed is facenet-pytorch's; how differs: the normalisation (x - 127.5) / 128 is folded into the first
convolution, the softmax over {no face, face} is a difference of logits, and on x86 the convolutions hand each other
oneDNN's blocked layout, in which max-pooling takes a sixth of the time it takes channels last.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

import torch
from facenet_pytorch.models import mtcnn
from torch import nn
from torch.nn import functional as F

POOL_3, POOL_2, NO_POOL = (3, 2), (2, 2), None  # (window, stride)
BLOCK = 16  # channels: oneDNN's block with AVX-512, two of its blocks with AVX2


class Stage(NamedTuple):
    """A convolution, PReLU's slope per channel (None: no PReLU), and the max-pooling that follows (None: none)."""

    weight: torch.Tensor
    bias: torch.Tensor
    slopes: torch.Tensor | None
    pool: tuple[int, int] | None


class Trunk:
    """The convolutional part of a network: (n, 3, h, w) pixels 0 to 255 -> (n, c, h', w').

    A row's output is the same whichever rows stand beside it.
    """

    def __init__(self, stages: list[Stage], device: torch.device) -> None:
        # oneDNN's own layout is PyTorch's for x86 only: other builds lack some of the operations
        self.blocked = (
            device.type == "cpu" and platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()
        )
        self.outputs = len(stages[-1].bias)
        if self.blocked:
            stages = [_padded(stage, following=i > 0) for i, stage in enumerate(stages)]
        self.stages = [
            Stage(
                self._placed(stage.weight, device),
                self._placed(stage.bias, device),
                None if stage.slopes is None else self._placed(stage.slopes, device),
                stage.pool,
            )
            for stage in stages
        ]

    def _placed(self, parameter: torch.Tensor, device: torch.device) -> torch.Tensor:
        parameter = parameter.detach().to(device)
        if self.blocked:
            return parameter.contiguous().to_mkldnn()
        return parameter.contiguous(memory_format=torch.channels_last) if parameter.dim() == 4 else parameter

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to_mkldnn() if self.blocked else x.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = F.conv2d(x, stage.weight, stage.bias)
            if stage.slopes is not None:
                x = torch.prelu(x, stage.slopes)
            if stage.pool is not None:
                x = F.max_pool2d(x, *stage.pool, ceil_mode=True)
        return x.to_dense()[:, : self.outputs] if self.blocked else x


def _padded(stage: Stage, following: bool) -> Stage:
    """`stage` with channels of zeros up to a multiple of BLOCK, in its inputs too where it follows another stage.

    oneDNN leaves its fast paths where channels do not fill a block: PReLU over 10 of 16 took 15 times as long, and
    reading them back in a new shape a millisecond of code generation.
    """
    outputs, inputs = (-count % BLOCK for count in stage.weight.shape[:2])
    return Stage(
        F.pad(stage.weight, (0, 0, 0, 0, 0, inputs if following else 0, 0, outputs)),
        F.pad(stage.bias, (0, outputs)),
        None if stage.slopes is None else F.pad(stage.slopes, (0, outputs)),
        stage.pool,
    )


def _stages(net: nn.Module, *pools: tuple[int, int] | None) -> list[Stage]:
    """`net`'s conv1, prelu1, conv2, prelu2, ... each with the pooling that follows it, for pixels 0 to 255."""
    stages = []
    for i, pool in enumerate(pools, 1):
        convolution, prelu = getattr(net, f"conv{i}"), getattr(net, f"prelu{i}")
        stages.append(Stage(convolution.weight, convolution.bias, prelu.weight, pool))
    first = stages[0]
    bias = first.bias - first.weight.sum((1, 2, 3)) * 127.5 / 128
    return [first._replace(weight=first.weight / 128, bias=bias), *stages[1:]]


def _face_minus_other(layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the one logit whose sigmoid is the softmax of `layer`'s second output."""
    weight, bias = layer.parameters()
    return weight[1:] - weight[:1], bias[1:] - bias[:1]


class _Heads:
    """Linear layers over the same input as one: (n, in) -> (n, all outputs)."""

    def __init__(self, parts: list[tuple[torch.Tensor, torch.Tensor]], device: torch.device) -> None:
        self.weight = torch.cat([weight for weight, _ in parts]).detach().to(device)
        self.bias = torch.cat([bias for _, bias in parts]).detach().to(device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight, self.bias)


class _Hidden:
    """The fully connected layer after a trunk, with PReLU: (n, c, h, w) -> (n, out)."""

    def __init__(self, dense: nn.Linear, prelu: nn.PReLU, shape: tuple[int, int, int], device: torch.device) -> None:
        channels, height, width = shape
        # facenet-pytorch flattens (w, h, c), Matlab's order, after copying its input; here the weights move once
        weight = dense.weight.view(-1, width, height, channels).permute(0, 3, 2, 1).flatten(1)
        self.weight, self.bias, self.slopes = (t.detach().to(device) for t in (weight, dense.bias, prelu.weight))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.prelu(F.linear(x.flatten(1), self.weight, self.bias), self.slopes)


class PNet:
    """Proposes: (photos, 3, h, w) -> (photos, 5, h', w'): face logit and four box corrections at each place.

    Along each side n pixels give ceil((n - 2) / 2) - 4 places, two pixels apart, that see 12 pixels each.
    """

    def __init__(self, device: torch.device) -> None:
        net = mtcnn.PNet()
        face, boxes = _face_minus_other(net.conv4_1), (net.conv4_2.weight, net.conv4_2.bias)
        outputs = Stage(torch.cat([face[0], boxes[0]]), torch.cat([face[1], boxes[1]]), None, NO_POOL)
        self.trunk = Trunk([*_stages(net, POOL_2, NO_POOL, NO_POOL), outputs], device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.trunk(x)


class RNet:
    """Refines: (crops, 3, 24, 24) -> face probability (crops,) and box corrections (crops, 4)."""

    def __init__(self, device: torch.device) -> None:
        net = mtcnn.RNet()
        self.trunk = Trunk(_stages(net, POOL_3, POOL_3, NO_POOL), device)
        self.hidden = _Hidden(net.dense4, net.prelu4, (64, 3, 3), device)
        self.heads = _Heads([_face_minus_other(net.dense5_1), (net.dense5_2.weight, net.dense5_2.bias)], device)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, corrections = self.heads(self.hidden(self.trunk(x))).split([1, 4], 1)
        return logits[:, 0].sigmoid(), corrections


class ONet:
    """Outputs: (crops, 3, 48, 48) -> probability (crops,), box corrections (crops, 4), landmarks (crops, 10) as
    fractions of the crop (five x, then five y), and the last hidden layer (crops, 256)."""

    def __init__(self, device: torch.device) -> None:
        net = mtcnn.ONet()
        self.trunk = Trunk(_stages(net, POOL_3, POOL_3, POOL_2, NO_POOL), device)
        self.hidden = _Hidden(net.dense5, net.prelu5, (128, 3, 3), device)
        parts = [_face_minus_other(net.dense6_1), *((d.weight, d.bias) for d in (net.dense6_2, net.dense6_3))]
        self.heads = _Heads(parts, device)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.hidden(self.trunk(x))
        logits, corrections, landmarks = self.heads(features).split([1, 4, 10], 1)
        return logits[:, 0].sigmoid(), corrections, landmarks, features
