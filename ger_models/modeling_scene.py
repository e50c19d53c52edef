"""A whole photo, or a skeleton image -> logits."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import can_return_tuple

from .backbones import GerPreTrainedModel, VisionTower, create_backbone, feature_width, keep_own_weights
from .configuration_ger import GerSceneConfig


class GerSceneForImageClassification(GerPreTrainedModel):
    """A network over the photo (of timm, or a vision model of transformers), dropout, and a linear head.

    Args:
        config: the architecture.
        pretrained: start from timm's ImageNet weights (training only; `from_pretrained` brings a checkpoint's).
    """

    config_class = GerSceneConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = False

    def __init__(self, config: GerSceneConfig, pretrained: bool = False) -> None:
        super().__init__(config)
        self.backbone: nn.Module
        if config.backbone_config is None:
            self.backbone = create_backbone(config.backbone, pretrained)
        else:
            self.backbone = VisionTower.from_fields(config.backbone_config)
        keep_own_weights(self.backbone)
        self.backbone.requires_grad_(not config.freeze_backbone)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(feature_width(self.backbone), config.num_labels)
        self.post_init()

    def features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Global features (batch, width) of photos (batch, 3, height, width), the input of the head."""
        return self.backbone(pixel_values)

    def train(self, mode: bool = True) -> GerSceneForImageClassification:
        """To training, or out of it; a frozen backbone stays out of it."""
        super().train(mode)
        if self.config.freeze_backbone:  # frozen weights with moving BatchNorm statistics would not be frozen
            self.backbone.eval()
        return self

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
    ) -> ImageClassifierOutput:
        """Classify photos.

        Args:
            pixel_values: (batch, 3, height, width), as the processor makes them.
            labels: (batch,) int64; -1 marks a photo without a label, which adds nothing to the loss.
            image_features: (batch, width), the backbone's output where it is known already.

        Raises:
            ValueError: neither of the two.

        Returns:
            `loss` (a scalar, if labels were given) and `logits` (batch, classes).
        """
        if image_features is None:
            if pixel_values is None:
                raise ValueError("this model needs pixel_values, or image_features")
            image_features = self.features(pixel_values)
        features = F.normalize(image_features, dim=1) if self.config.unit_length else image_features
        logits = self.head(self.dropout(features))
        return ImageClassifierOutput(loss=self.classification_loss(logits, labels), logits=logits)
