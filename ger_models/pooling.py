"""Poolings: faces -> one vector. Every pooling is masked, so padding never changes a result.

Each pooling takes faces (batch, faces, width), face_mask (batch, faces) bool, scene tokens (batch, 0 or 1, width) and
their mask, and returns the pooled vector (batch, out_width) and each face's share in it (batch, faces), which is zero
for padding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def unpack(packed: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (total, width) and the number of rows of each photo (batch,) -> padded (batch, slots, width) and its mask.

    >>> padded, mask = unpack(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1, 2]))
    >>> padded[..., 0]
    tensor([[1., 0.],
            [2., 3.]])
    """
    slots = max(1, int(counts.max())) if len(counts) else 1
    mask = torch.arange(slots, device=counts.device)[None] < counts[:, None]
    padded = packed.new_zeros(len(counts), slots, packed.shape[1])
    return padded.masked_scatter(mask[..., None], packed), mask


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Softmax over the last dimension where `mask` is True; 0 elsewhere, and everywhere if `mask` is all False.

    >>> masked_softmax(torch.tensor([0.0, 0.0, 9.0]), torch.tensor([True, True, False]))
    tensor([0.5000, 0.5000, 0.0000])

    Args:
        scores: (..., slots).
        mask: bool, broadcastable to `scores`.
    """
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
    return weights * mask


class Pooling(nn.Module):
    """Base class of the poolings.

    Attributes:
        out_width: width of the pooled vector.
    """

    out_width: int


class AveragePooling(Pooling):
    """Mean of the faces; zero for a photo without faces."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, faces, width), (batch, 0 or 1, width) and their masks -> (batch, out_width), (batch, faces)."""
        weights = face_mask / face_mask.sum(1, keepdim=True).clamp(min=1)
        return _weighted_sum(weights.to(faces.dtype), faces), weights


class MeanMaxPooling(Pooling):
    """The mean and the maximum of the faces, side by side; zero without faces."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = 2 * width

    def forward(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, faces, width), (batch, 0 or 1, width) and their masks -> (batch, out_width), (batch, faces)."""
        counts = face_mask.sum(1, keepdim=True).clamp(min=1)  # (batch, 1)
        shares = face_mask / counts
        mean = (faces * shares[..., None]).sum(1)
        lowest = torch.finfo(faces.dtype).min
        highest = faces.masked_fill(~face_mask[..., None], lowest).amax(1)
        highest = torch.where(face_mask.any(1, keepdim=True), highest, 0.0)
        return torch.cat([mean, highest], 1), shares.to(faces.dtype)


class SceneQueryPooling(Pooling):
    """The scene is the query, the faces are the keys (Gupta et al. 2018, arXiv 1807.03380, attention A and B).

    Args:
        width: of faces and scene.
        inner_width: width that query and faces are projected to (B); 0: no projection (A).
    """

    def __init__(self, width: int, inner_width: int = 0) -> None:
        super().__init__()
        self.query = nn.Linear(width, inner_width) if inner_width else nn.Identity()
        self.face = nn.Linear(width, inner_width) if inner_width else nn.Identity()
        self.out_width = inner_width or width

    def forward(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, faces, width), (batch, 0 or 1, width) and their masks -> (batch, out_width), (batch, faces)."""
        query = (scene * scene_mask[..., None]).sum(
            1
        )  # (batch, width); zero without a scene, so all faces weigh the same
        faces = self.face(faces)
        scores = (faces @ self.query(query)[..., None])[..., 0] / self.out_width**0.5
        weights = masked_softmax(scores, face_mask)
        return _weighted_sum(weights, faces), weights


class ScorePooling(Pooling):
    """A small network scores each face, width -> 64 -> 1 (arXiv 1807.03380, attention C)."""

    def __init__(self, width: int, inner_width: int = 64) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, inner_width), nn.Tanh(), nn.Linear(inner_width, 1))
        self.out_width = width

    def forward(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, faces, width), (batch, 0 or 1, width) and their masks -> (batch, out_width), (batch, faces)."""
        weights = masked_softmax(self.score(faces)[..., 0], face_mask)
        return _weighted_sum(weights, faces), weights


def _weighted_sum(weights: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    return (weights[:, None] @ faces)[:, 0]


class Attention(nn.Module):
    """Multi-head attention with pre-normalisation of the queries.

    `heads` x `head_dim` need not equal `width`: the original used 8 heads of 64 on 256-d tokens.
    """

    def __init__(self, width: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.head_dim, self.dropout = heads, head_dim, dropout
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * head_dim, bias=False)
        self.key_value = nn.Linear(width, 2 * heads * head_dim, bias=False)
        self.out = nn.Sequential(nn.Linear(heads * head_dim, width), nn.Dropout(dropout))

    def _split(self, t: torch.Tensor) -> torch.Tensor:
        return t.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)  # (batch, heads, tokens, head_dim)

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Attend from x (batch, queries, width) to the normalised context (batch, keys, width).

        mask (batch, keys) is False for keys to ignore. Returns (batch, queries, width).
        """
        keys, values = self.key_value(context).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(
            self._split(self.query(self.norm(x))),
            self._split(keys),
            self._split(values),
            attn_mask=mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def shares(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The attention weights of `forward`, averaged over the heads: (batch, queries, keys)."""
        keys, _ = self.key_value(context).chunk(2, dim=-1)
        scores = self._split(self.query(self.norm(x))) @ self._split(keys).transpose(2, 3) / self.head_dim**0.5
        return masked_softmax(scores, mask[:, None, None, :]).mean(1)


class Layer(nn.Module):
    """One transformer layer with pre-normalisation."""

    def __init__(self, width: int, heads: int, head_dim: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, head_dim, dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (batch, tokens, width), mask (batch, tokens) -> (batch, tokens, width)."""
        x = x + self.attention(x, self.attention.norm(x), mask)
        return x + self.mlp(x)


class Branch(nn.Module):
    """The transformer layers of one branch, and the normalisation after them."""

    def __init__(self, layers: int, width: int, heads: int, head_dim: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, head_dim, mlp_dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (batch, tokens, width), mask (batch, tokens) -> (batch, tokens, width)."""
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class CrossAttentionPooling(Pooling):
    """CrossViT (Chen et al. 2021, arXiv 2103.14899) over two sets of tokens: the faces, and the scene.

    Each set has a class token. A block runs each branch's layers, then lets each class token attend to the other
    branch's tokens. The pooled vector is the mean of the two class tokens. A face's share is the attention that the
    scene's class token pays to it in the last block.

    The original reshaped (batch, faces, 256) to (batch, 256, faces) instead of transposing, which mixed the faces, and
    did not mask padding.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        face_layers: int,
        scene_layers: int,
        cross_rounds: int,
        heads: int,
        head_dim: int,
        mlp_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.out_width = width
        self.face_class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.scene_class_token = nn.Parameter(torch.zeros(1, 1, width))

        def crossing() -> nn.ModuleList:
            return nn.ModuleList(Attention(width, heads, head_dim, dropout) for _ in range(cross_rounds))

        def branches(layers: int) -> nn.ModuleList:
            return nn.ModuleList(Branch(layers, width, heads, head_dim, mlp_dim, dropout) for _ in range(depth))

        self.face_branches, self.scene_branches = branches(face_layers), branches(scene_layers)
        self.face_to_scene = nn.ModuleList(crossing() for _ in range(depth))
        self.scene_to_face = nn.ModuleList(crossing() for _ in range(depth))

    def forward(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, faces, width), (batch, 0 or 1, width) and their masks -> (batch, out_width), (batch, faces)."""
        faces, face_mask, scene, scene_mask = self._with_class_tokens(faces, face_mask, scene, scene_mask)
        blocks = zip(self.face_branches, self.scene_branches, self.face_to_scene, self.scene_to_face, strict=True)
        for face_branch, scene_branch, face_to_scene, scene_to_face in blocks:
            faces, scene = face_branch(faces, face_mask), scene_branch(scene, scene_mask)
            face_class, face_tokens = faces[:, :1], faces[:, 1:]
            scene_class, scene_tokens = scene[:, :1], scene[:, 1:]
            for from_face, from_scene in zip(face_to_scene.children(), scene_to_face.children(), strict=True):
                # each class token attends to itself too, so that it always has a key
                asked = scene_class, self._context(from_scene, scene_class, face_tokens), face_mask
                face_context = self._context(from_face, face_class, scene_tokens)
                face_class, scene_class = (
                    face_class + from_face(face_class, face_context, scene_mask),
                    scene_class + from_scene(*asked),
                )
            faces, scene = torch.cat([face_class, face_tokens], 1), torch.cat([scene_class, scene_tokens], 1)
        shares = face_mask[:, 1:].to(faces.dtype)
        if not self.training:
            shares = from_scene.shares(*asked)[:, 0, 1:]  # type: ignore[operator]  # an Attention
        return self._pooled(faces[:, 0], scene[:, 0]), shares

    def _with_class_tokens(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        always = face_mask.new_ones(len(faces), 1)
        face_mask, scene_mask = torch.cat([always, face_mask], 1), torch.cat([always, scene_mask], 1)
        faces = torch.cat([self.face_class_token.expand(len(faces), -1, -1).to(faces.dtype), faces], 1)
        scene = torch.cat([self.scene_class_token.expand(len(scene), -1, -1).to(scene.dtype), scene], 1)
        return faces, face_mask, scene, scene_mask

    def _context(self, attention: nn.Module, class_token: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """What a class token attends to: the other branch's tokens and itself, so that there is always something."""
        return torch.cat([class_token, tokens], 1)

    def _pooled(self, face_class: torch.Tensor, scene_class: torch.Tensor) -> torch.Tensor:
        return (face_class + scene_class) / 2


# The original's arithmetic, for its converted checkpoints (`GerFusionConfig.as_published`). All that it does otherwise
# stands below; the sources are the original's training scripts of the five fusion models.

FACE_POSITIONS, SCENE_POSITIONS = 17, 2  # of the original's position embeddings; the class token has the first


class PublishedFeatures(nn.Module):
    """O-Net's features as they are, without standardization."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (batch, faces, width), mask (batch, faces) -> x, zero in padded slots."""
        return x.masked_fill(~mask[..., None], 0)


def published_slots(
    tokens: Callable[[torch.Tensor], torch.Tensor], faces: torch.Tensor, counts: torch.Tensor, slots: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens as `unpack` gives them, but with `slots` for every photo; slots without a face have a black face's token.

    Args:
        tokens: faces (faces, 3, height, width) -> (faces, width).
        faces: (total_faces, 3, height, width).
        counts: (batch,) int64.
        slots: of each photo.

    Returns:
        (batch, slots, width), and (batch, slots) bool, True where there is a face.

    Raises:
        ValueError: a photo has more faces than slots.
    """
    if len(counts) and int(counts.max()) > slots:
        raise ValueError(f"this model takes at most {slots} faces of a photo, found {int(counts.max())}")
    packed = tokens(torch.cat([faces, faces.new_zeros(1, *faces.shape[1:])]))
    mask = torch.arange(slots, device=counts.device)[None] < counts[:, None]
    empty = packed[-1].expand(len(counts), slots, -1)
    return empty.masked_scatter(mask[..., None], packed[:-1]), mask


class PublishedSceneQueryPooling(Pooling):
    """Attention A and B of the original. For the scores alone the faces are reshaped to (width, slots), not
    transposed; the scores are not scaled. The faces arrive at `out_width` already.

    Args:
        width: of the scene.
        inner_width: of the faces and the query; 0: `width`, and the scene's vector itself is the query.
    """

    def __init__(self, width: int, inner_width: int = 0) -> None:
        super().__init__()
        self.query = nn.Linear(width, inner_width) if inner_width else nn.Identity()
        self.out_width = inner_width or width

    def forward(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, slots, out_width), (batch, 1, width) and their masks -> (batch, out_width), (batch, slots)."""
        mixed = faces.reshape(len(faces), self.out_width, -1)  # (batch, out_width, slots), not a transpose
        weights = masked_softmax((self.query(scene) @ mixed)[:, 0], face_mask)
        return _weighted_sum(weights, faces), weights


class PublishedScorePooling(ScorePooling):
    """Attention C of the original: no activation between its two layers."""

    def __init__(self, width: int, inner_width: int = 64) -> None:
        super().__init__(width, inner_width)
        self.score = nn.Sequential(nn.Linear(width, inner_width), nn.Linear(inner_width, 1))


class PublishedCrossAttentionPooling(CrossAttentionPooling):
    """The original's CrossViT: position embeddings, empty slots that count as faces, class tokens that are normalised
    where they are attended to, and a head for each of them, whose outputs are added."""

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        self.face_positions = nn.Parameter(torch.zeros(1, FACE_POSITIONS, width))
        self.scene_positions = nn.Parameter(torch.zeros(1, SCENE_POSITIONS, width))
        self.face_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.scene_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def _with_class_tokens(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        every = torch.ones_like(face_mask)
        faces, face_mask, scene, scene_mask = super()._with_class_tokens(faces, every, scene, scene_mask)
        faces = faces + self.face_positions[:, : faces.shape[1]]
        return faces, face_mask, scene + self.scene_positions, scene_mask

    def _context(self, attention: nn.Module, class_token: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([attention.norm(class_token), tokens], 1)  # type: ignore[operator]  # an Attention

    def _pooled(self, face_class: torch.Tensor, scene_class: torch.Tensor) -> torch.Tensor:
        return self.face_head(face_class) + self.scene_head(scene_class)
