"""SphereFace-20 (Liu et al. 2017, arXiv 1704.08063) and the large-margin softmax head (Liu et al. 2016)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

FACE_WIDTH, FACE_HEIGHT = 96, 112  # pixels; the original of this system fed 112 wide x 96 high into this net
EMBEDDING = 512

# stage -> residual pairs; each stage begins with a convolution of stride 2 and doubles the channels
STAGES = {1: 1, 2: 2, 3: 4, 4: 1}


class SphereFace20(nn.Module):
    """Aligned faces (faces, 3, 112, 96), scaled to (x - 127.5) / 128 -> embeddings (faces, 512).

    Layers are named as in the public `sphere20a` weights: conv1_1, relu1_1, ..., conv4_3, relu4_3, fc5.

    Args:
        channels: of the first stage; 64 is SphereFace-20, fewer make it narrower throughout.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        narrow, wide = 3, channels
        for stage, pairs in STAGES.items():
            for i in range(1, 2 * pairs + 2):
                stride = 2 if i == 1 else 1
                convolution = nn.Conv2d(narrow, wide, 3, stride, 1)
                weight, bias = convolution.parameters()
                nn.init.zeros_(bias)  # as the public training recipe (sphereface_train/code/sphereface_model.prototxt)
                if i == 1:
                    nn.init.xavier_uniform_(weight)
                else:
                    nn.init.normal_(weight, std=0.01)
                self.add_module(f"conv{stage}_{i}", convolution)
                self.add_module(f"relu{stage}_{i}", nn.PReLU(wide))
                narrow = wide
            wide *= 2
        self.fc5 = nn.Linear(narrow * (FACE_HEIGHT // 16) * (FACE_WIDTH // 16), EMBEDDING)

    def _layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(f"relu{name}")(self.get_submodule(f"conv{name}")(x))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(faces, 3, 112, 96), scaled to (x - 127.5) / 128 -> (faces, 512)."""
        x = faces
        for stage, pairs in STAGES.items():
            x = self._layer(f"{stage}_1", x)
            for pair in range(pairs):
                x = x + self._layer(f"{stage}_{2 * pair + 3}", self._layer(f"{stage}_{2 * pair + 2}", x))
        return self.fc5(x.flatten(1))


class LargeMarginLinear(nn.Linear):
    """L-Softmax (Liu et al. 2016, arXiv 1612.02295): in training the true class must win by a margin of angle.

    The true class's logit |w||x| cos(t) becomes |w||x| psi(t), psi(t) = (-1)^k cos(m t) - 2k for t in
    [k pi / m, (k + 1) pi / m], blended with the plain logit by `plain_share` (lambda / (1 + lambda) of the paper) so
    that training starts. The original of this system had this head too, but returned the plain logits.
    """

    def __init__(self, width: int, classes: int, margin: int, plain_share: float = 5 / 6) -> None:
        super().__init__(width, classes, bias=False)
        self.margin, self.plain_share = margin, plain_share

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """x (rows, width), labels (rows,) int64 with -1 for none -> logits (rows, classes)."""
        logits = F.linear(x, self.weight)
        if labels is None or not self.training:
            return logits
        true = labels.clamp(min=0)[:, None]
        length = x.norm(dim=1, keepdim=True) * self.weight.norm(dim=1)[true]  # (rows, 1)
        cosine = (logits.gather(1, true) / length.clamp(min=1e-12)).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = cosine.acos()
        k = (self.margin * angle / math.pi).floor().detach()
        psi = (1 - 2 * (k % 2)) * (self.margin * angle).cos() - 2 * k
        hard = length * (self.plain_share * cosine + (1 - self.plain_share) * psi)
        return torch.where((labels >= 0)[:, None], logits.scatter(1, true, hard.to(logits.dtype)), logits)
