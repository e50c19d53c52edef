"""Models for group-level emotion recognition, as transformers models.

Importing the package registers them: `AutoModelForImageClassification.from_pretrained` and
`AutoImageProcessor.from_pretrained` open its checkpoints.
"""

from . import auto
from .configuration_ger import GerFaceConfig, GerFusionConfig, GerSceneConfig
from .modeling_face import GerFaceForImageClassification
from .modeling_fusion import GerFusionForImageClassification
from .modeling_scene import GerSceneForImageClassification
from .processing_ger import GerProcessor

__all__ = [
    "GerFaceConfig",
    "GerFaceForImageClassification",
    "GerFusionConfig",
    "GerFusionForImageClassification",
    "GerProcessor",
    "GerSceneConfig",
    "GerSceneForImageClassification",
    "auto",
]
