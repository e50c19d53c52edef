"""Faces -> one vector. Every pooling is masked: a padded slot never changes a result."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


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

    def forward(self, x: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (batch, queries, width) over context (batch, keys, width), already normalised; mask (batch, keys), True
        where a key counts. Returns (batch, queries, width)."""

        def split(t: torch.Tensor) -> torch.Tensor:
            return t.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)  # (batch, heads, tokens, head_dim)

        keys, values = self.key_value(context).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(
            split(self.query(self.norm(x))),
            split(keys),
            split(values),
            attn_mask=mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """One transformer layer, normalised before attention and before the feed-forward part."""

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
        x = x + self.attention(x, self.attention.norm(x), mask)
        return x + self.mlp(x)


class Branch(nn.Module):
    """The transformer layers of one branch, and the normalisation after them."""

    def __init__(self, layers: int, width: int, heads: int, head_dim: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, head_dim, mlp_dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class CrossAttentionPooling(nn.Module):
    """CrossViT (Chen et al. 2021, arXiv 2103.14899) over two sets of tokens: the faces, and the scene.

    Each set has a class token. A block runs each branch's layers, then lets each class token attend to the other
    branch's tokens. The pooled vector is the mean of the two class tokens.
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
        # as (1, 1, width) weights of embeddings, so that they are drawn and saved like any other weight
        self.face_class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.scene_class_token = nn.Parameter(torch.zeros(1, 1, width))

        def crossing() -> nn.ModuleList:
            return nn.ModuleList(Attention(width, heads, head_dim, dropout) for _ in range(cross_rounds))

        self.face_branches = nn.ModuleList(
            Branch(face_layers, width, heads, head_dim, mlp_dim, dropout) for _ in range(depth)
        )
        self.scene_branches = nn.ModuleList(
            Branch(scene_layers, width, heads, head_dim, mlp_dim, dropout) for _ in range(depth)
        )
        self.face_to_scene = nn.ModuleList(crossing() for _ in range(depth))
        self.scene_to_face = nn.ModuleList(crossing() for _ in range(depth))

    def forward(
        self, faces: torch.Tensor, face_mask: torch.Tensor, scene: torch.Tensor, scene_mask: torch.Tensor
    ) -> torch.Tensor:
        """Pool one photo's tokens.

        Args:
            faces: (batch, faces, width).
            face_mask: (batch, faces) bool, True where there is a face. A row may be all False.
            scene: (batch, scene tokens, width).
            scene_mask: (batch, scene tokens) bool.

        Returns:
            (batch, width).
        """
        always = face_mask.new_ones(len(faces), 1)
        face_mask, scene_mask = torch.cat([always, face_mask], 1), torch.cat([always, scene_mask], 1)
        faces = torch.cat([self.face_class_token.expand(len(faces), -1, -1), faces], 1)
        scene = torch.cat([self.scene_class_token.expand(len(scene), -1, -1), scene], 1)
        blocks = zip(self.face_branches, self.scene_branches, self.face_to_scene, self.scene_to_face, strict=True)
        for face_branch, scene_branch, face_to_scene, scene_to_face in blocks:
            faces, scene = face_branch(faces, face_mask), scene_branch(scene, scene_mask)
            face_class, face_tokens = faces[:, :1], faces[:, 1:]
            scene_class, scene_tokens = scene[:, :1], scene[:, 1:]
            for from_face, from_scene in zip(face_to_scene, scene_to_face, strict=True):
                # each class token stands among the tokens it looks at, so that it always has one to look at
                face_class, scene_class = (
                    face_class + from_face(face_class, torch.cat([face_class, scene_tokens], 1), scene_mask),
                    scene_class + from_scene(scene_class, torch.cat([scene_class, face_tokens], 1), face_mask),
                )
            faces, scene = torch.cat([face_class, face_tokens], 1), torch.cat([scene_class, scene_tokens], 1)
        return (faces[:, 0] + scene[:, 0]) / 2
