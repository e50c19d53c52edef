"""A whole photo, or a skeleton image -> logits."""

from __future__ import annotations

import torch
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import can_return_tuple

from .backbones import GerPreTrainedModel, create_backbone, feature_width, keep_own_weights
from .configuration_ger import GerSceneConfig


class GerSceneForImageClassification(GerPreTrainedModel):
    """A timm backbone over the photo, dropout, and a linear head.

    Args:
        config: the architecture.
        pretrained: start from timm's ImageNet weights (training only; `from_pretrained` brings a checkpoint's).
    """

    config_class = GerSceneConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = False

    def __init__(self, config: GerSceneConfig, pretrained: bool = False) -> None:
        super().__init__(config)
        self.backbone = create_backbone(config.backbone, pretrained)
        keep_own_weights(self.backbone)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(feature_width(self.backbone), config.num_labels)
        self.post_init()

    def features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Global features (batch, width) of photos (batch, 3, height, width), the input of the head."""
        return self.backbone(pixel_values)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
    ) -> ImageClassifierOutput:
        """Classify photos.

        Args:
            pixel_values: (batch, 3, height, width), from the processor.
            labels: (batch,) int64; -1 for photos without a label, which the loss ignores.
            image_features: (batch, width), the backbone's output for `pixel_values` if it is already computed.

        Returns:
            `loss` (a scalar, if labels were given) and `logits` (batch, classes).
        """
        features = self.features(pixel_values) if image_features is None else image_features
        logits = self.head(self.dropout(features))
        return ImageClassifierOutput(loss=self.classification_loss(logits, labels), logits=logits)
