"""The faces of a photo and its scene -> logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .backbones import (
    EMBEDDING,
    ExpressionNet,
    GerPreTrainedModel,
    SphereFace20,
    create_backbone,
    feature_width,
    keep_own_weights,
)
from .configuration_ger import GerFusionConfig
from .pooling import (
    AveragePooling,
    CrossAttentionPooling,
    MeanMaxPooling,
    Pooling,
    PublishedCrossAttentionPooling,
    PublishedFeatures,
    PublishedSceneQueryPooling,
    PublishedScorePooling,
    SceneQueryPooling,
    ScorePooling,
    published_slots,
    unpack,
)


def _cross_attention(config: GerFusionConfig, width: int) -> Pooling:
    made = PublishedCrossAttentionPooling if config.as_published else CrossAttentionPooling
    return made(
        width=width,
        depth=config.depth,
        face_layers=config.face_layers,
        scene_layers=config.scene_layers,
        cross_rounds=config.cross_rounds,
        heads=config.heads,
        head_dim=config.head_dim,
        mlp_dim=config.mlp_dim,
        dropout=config.dropout,
    )


POOLINGS: dict[str, Callable[[GerFusionConfig, int], Pooling]] = {
    "mean_and_max": lambda config, width: MeanMaxPooling(width),
    "average": lambda config, width: AveragePooling(width),
    "attention_scene": lambda config, width: SceneQueryPooling(width),
    "attention_intermediate": lambda config, width: SceneQueryPooling(width, inner_width=64),
    "attention_score": lambda config, width: ScorePooling(width),
    "cross_attention": _cross_attention,
}
# where the original's arithmetic (`as_published`) differs
_PUBLISHED_POOLINGS: dict[str, Callable[[GerFusionConfig, int], Pooling]] = {
    "attention_scene": lambda config, width: PublishedSceneQueryPooling(width),
    "attention_intermediate": lambda config, width: PublishedSceneQueryPooling(width, inner_width=64),
    "attention_score": lambda config, width: PublishedScorePooling(width),
}


@dataclass
class GerFusionOutput(ModelOutput):
    """`loss` (a scalar, if labels were given), `logits` (photos, classes) and, on request, `face_attention` (photos,
    faces), each face's share in the answer; zero for padding."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    face_attention: torch.Tensor | None = None


class MaskedStandardize(nn.BatchNorm1d):
    """Standardise each dimension to mean 0 and variance 1 over all tokens except padding, which stays 0."""

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """x (batch, tokens, width), mask (batch, tokens) bool, False for padding."""
        there = x[mask]  # (tokens without padding, width)
        if self.training and len(there) < 2:
            return torch.zeros_like(x)  # one token alone has no variance, and none has no mean
        return torch.zeros_like(x).masked_scatter(mask[..., None], super().forward(there).to(x.dtype))


class GerFusionForImageClassification(GerPreTrainedModel):
    """Faces and, optionally, a scene: tokens, a pooling of the faces, and a linear head.

    For a photo without faces, the model uses its scene or, if it reads photos, four sampled patches in place of the
    faces; without a scene, its logits are learned constants.

    Args:
        config: the architecture.
        pretrained: start the backbone from timm's ImageNet weights (training only).
    """

    config_class = GerFusionConfig
    main_input_name = "face_features"
    has_face_outputs = True

    def __init__(self, config: GerFusionConfig, pretrained: bool = False) -> None:
        super().__init__(config)
        if config.pooling not in POOLINGS:
            raise ValueError(f"GerFusionConfig.pooling must be one of {', '.join(POOLINGS)}, not {config.pooling!r}")
        self.face_net: nn.Module
        face_width = 0
        if config.faces == "features":
            face_width = config.face_dim
            # O-Net's features come as they are, with ranges that differ tenfold between dimensions
            self.face_norm = PublishedFeatures() if config.as_published else MaskedStandardize(face_width)
        elif config.faces != "patches":
            if config.faces == "images":
                self.face_net, face_width = SphereFace20(config.face_channels), EMBEDDING
            else:
                self.face_net = ExpressionNet(config.face_widths, config.face_blocks)
                face_width = config.face_widths[-1]
            keep_own_weights(self.face_net)
            self.face_net.requires_grad_(not config.freeze_faces)
        scene_width = config.scene_dim
        if config.scene == "image":
            self.scene_backbone = create_backbone(config.backbone, pretrained)
            keep_own_weights(self.scene_backbone)
            self.scene_backbone.requires_grad_(not config.freeze_scene)
            scene_width = feature_width(self.scene_backbone)
        elif config.scene == "feature":
            self.scene_norm = MaskedStandardize(scene_width)

        width = config.hidden_size if config.project else face_width
        self.feature_dropout = nn.Dropout(config.feature_dropout)
        poolings = POOLINGS | _PUBLISHED_POOLINGS if config.as_published else POOLINGS
        self.pooling = poolings[config.pooling](config, width)
        self.pooling.requires_grad_(not config.freeze_pooling)
        face_token_width = self.pooling.out_width if config.as_published else width
        if config.faces != "patches":
            self.face_projection = nn.Linear(face_width, face_token_width) if config.project else nn.Identity()
        if config.scene != "none":
            self.scene_projection = nn.Linear(scene_width, width) if config.project else nn.Identity()
        if config.scene == "image" and config.faces in ("images", "patches") and not config.as_published:
            self.patch_projection = nn.Linear(scene_width, width)
        pooled_width = self.pooling.out_width
        if config.join == "both":
            joined_scene = width if config.project else scene_width
            self.pooled_standardize = MaskedStandardize(pooled_width)
            self.scene_standardize = MaskedStandardize(joined_scene)
            self.head = classifier(pooled_width + joined_scene, config)
        else:
            self.norm = nn.LayerNorm(pooled_width)
            self.head = classifier(pooled_width, config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CrossAttentionPooling):
            for token in module.parameters(recurse=False):  # class tokens and positions
                init.normal_(token, std=0.02)

    def train(self, mode: bool = True) -> GerFusionForImageClassification:
        """Set the training mode; frozen networks stay in evaluation mode."""
        super().train(mode)
        # frozen weights with moving BatchNorm statistics would not be frozen
        if self.config.scene == "image" and self.config.freeze_scene:
            self.scene_backbone.eval()
        if self.config.freeze_faces:  # the configuration refuses it where there is no such network
            self.face_net.eval()
        if self.config.freeze_pooling:
            self.pooling.eval()
        return self

    @can_return_tuple
    def forward(
        self,
        face_features: torch.Tensor | None = None,
        face_mask: torch.Tensor | None = None,
        face_pixels: torch.Tensor | None = None,
        expression_pixels: torch.Tensor | None = None,
        face_counts: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        scene_feature: torch.Tensor | None = None,
        scene_mask: torch.Tensor | None = None,
        patch_pixels: torch.Tensor | None = None,
        patch_counts: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_faces: bool = False,
        image_features: torch.Tensor | None = None,
    ) -> GerFusionOutput:
        """Classify photos by their faces and scene. Only the inputs that the configuration requires are needed.

        Args:
            face_features: (photos, faces, face_dim); what stands in padded slots does not matter.
            face_mask: (photos, faces) bool, True where there is a face. A row may be all False.
            face_pixels: (total_faces, 3, 112, 96), or (..., 96, 112) `as_published`; the faces of all photos in turn.
            expression_pixels: (total_faces, 1, 48, 48), as `face_pixels`, but grey.
            face_counts: (photos,) int64, number of faces of each photo, which may be 0.
            pixel_values: (photos, 3, height, width).
            scene_feature: (photos, scene_dim), or None.
            scene_mask: (photos,) bool, True where the photo has a scene feature; None: all have, if any is given.
            patch_pixels: (total_patches, 3, height, width), patches in the place of faces.
            patch_counts: (photos,) int64, how many of them each photo has.
            labels: (photos,) int64; -1 marks a photo without a label, which adds nothing to the loss.
            output_faces: whether to return `face_attention` too; there is none where `faces` is `patches`.
            image_features: (photos, width), the backbone's output for `pixel_values` where it is known already.
        """
        faces, face_mask = self._face_tokens(
            face_features,
            face_mask,
            {"images": face_pixels, "expressions": expression_pixels},
            face_counts,
            patch_counts,
        )
        if pixel_values is not None and image_features is None and self.config.scene == "image":
            image_features = self.scene_backbone(pixel_values)
        raw_scene, scene, scene_mask = self._scene_tokens(image_features, scene_feature, scene_mask, faces)
        tokens, token_mask = self._with_patches(faces, face_mask, patch_pixels, patch_counts)
        pooled, shares = self.pooling(tokens, token_mask, scene, scene_mask)
        if self.config.join == "both":
            everyone = token_mask.new_ones(len(pooled), 1)
            beside = scene if self.config.project else raw_scene
            parts = [self.pooled_standardize(pooled[:, None], everyone), self.scene_standardize(beside, scene_mask)]
            logits = self.head(torch.cat(parts, 2)[:, 0])
        else:
            logits = self.head(self.norm(pooled))
        attends = output_faces and self.config.faces != "patches"
        attention = shares[:, : face_mask.shape[1]] * face_mask if attends else None
        return GerFusionOutput(loss=self.classification_loss(logits, labels), logits=logits, face_attention=attention)

    def _face_tokens(
        self,
        features: torch.Tensor | None,
        mask: torch.Tensor | None,
        pixels: dict[str, torch.Tensor | None],
        counts: torch.Tensor | None,
        patch_counts: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(photos, slots, width) and its mask."""
        if self.config.faces == "patches":  # their tokens follow: `_with_patches`
            if patch_counts is None:
                raise ValueError("this model needs patch_pixels and patch_counts")
            empty = patch_counts.new_zeros(len(patch_counts), 1, self.config.hidden_size)
            return empty.to(self.dtype), empty[..., 0].bool()
        if self.config.faces == "features":
            if features is None or mask is None:
                raise ValueError("this model needs face_features and face_mask")
            return self.face_projection(self.feature_dropout(self.face_norm(features, mask))), mask
        faces = pixels[self.config.faces]
        if faces is None or counts is None:
            name = {"images": "face_pixels", "expressions": "expression_pixels"}[self.config.faces]
            raise ValueError(f"this model needs {name} and face_counts")

        def tokens(pixels: torch.Tensor) -> torch.Tensor:
            return self.face_projection(self.feature_dropout(self.face_net(pixels)))

        if self.config.as_published:
            return published_slots(tokens, faces, counts, self.config.face_slots)
        return unpack(tokens(faces), counts)

    def _scene_tokens(
        self,
        image_features: torch.Tensor | None,
        feature: torch.Tensor | None,
        mask: torch.Tensor | None,
        faces: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The scene as it is (photos, 0 or 1, scene width), as tokens (photos, 0 or 1, width), and their mask."""
        photos = len(faces)
        if self.config.scene == "image":
            if image_features is None:
                raise ValueError("this model needs pixel_values")
            raw = image_features[:, None]
            mask = torch.ones(photos, 1, dtype=torch.bool, device=raw.device)
        elif self.config.scene == "feature":
            if feature is None:
                feature, mask = faces.new_zeros(photos, self.config.scene_dim), mask_of(faces, False)
            mask = (mask_of(faces, True) if mask is None else mask)[:, None]
            raw = self.scene_norm(feature[:, None], mask)
        else:
            none = faces.new_zeros(photos, 0, faces.shape[2])
            return none, none, torch.zeros(photos, 0, dtype=torch.bool, device=faces.device)
        return raw, self.scene_projection(self.feature_dropout(raw)), mask

    def _with_patches(
        self,
        faces: torch.Tensor,
        mask: torch.Tensor,
        pixels: torch.Tensor | None,
        counts: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The faces' tokens, followed by those of the sampled patches."""
        if pixels is None or counts is None or not len(pixels) or not hasattr(self, "patch_projection"):
            return faces, mask
        patches = self.patch_projection(self.feature_dropout(self.scene_backbone(pixels)))
        tokens, patch_mask = unpack(patches.to(faces.dtype), counts)
        return torch.cat([faces, tokens], 1), torch.cat([mask, patch_mask], 1)


def classifier(width: int, config: GerFusionConfig) -> nn.Module:
    """(photos, width) -> logits, through `head_layers` hidden layers."""
    if not config.head_layers:
        return nn.Linear(width, config.num_labels)
    hidden = nn.Linear(width, config.hidden_size)
    return nn.Sequential(
        hidden, nn.GELU(), nn.Dropout(config.dropout), nn.Linear(config.hidden_size, config.num_labels)
    )


def mask_of(like: torch.Tensor, value: bool) -> torch.Tensor:
    """(photos,) bool, all `value`."""
    return torch.full((len(like),), value, dtype=torch.bool, device=like.device)
