"""Importing this module registers the models with transformers' Auto classes."""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.image_processing_utils import BaseImageProcessor

from .configuration_ensemble import GerEnsembleConfig
from .configuration_ger import GerExpressionConfig, GerFaceConfig, GerFusionConfig, GerSceneConfig
from .modeling_ensemble import GerEnsembleForImageClassification
from .modeling_expression import GerExpressionForImageClassification
from .modeling_face import GerFaceForImageClassification
from .modeling_fusion import GerFusionForImageClassification
from .modeling_scene import GerSceneForImageClassification
from .processing_ensemble import GerEnsembleProcessor
from .processing_ger import GerProcessor

MODELS: dict[type[PreTrainedConfig], type[PreTrainedModel]] = {
    GerSceneConfig: GerSceneForImageClassification,
    GerFaceConfig: GerFaceForImageClassification,
    GerFusionConfig: GerFusionForImageClassification,
    GerExpressionConfig: GerExpressionForImageClassification,
    GerEnsembleConfig: GerEnsembleForImageClassification,
}
PROCESSORS: dict[type[PreTrainedConfig], type[BaseImageProcessor]] = {
    GerEnsembleConfig: GerEnsembleProcessor
}  # of the others: GerProcessor

for _config, _model in MODELS.items():
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModelForImageClassification.register(_config, _model, exist_ok=True)
    _processor = PROCESSORS.get(_config, GerProcessor)
    AutoImageProcessor.register(
        _config, image_processor_classes={"torchvision": _processor, "pil": _processor}, exist_ok=True
    )
