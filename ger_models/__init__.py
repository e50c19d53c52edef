"""Models for group-level emotion recognition, as transformers models.

Importing the package registers them: `AutoModelForImageClassification.from_pretrained` and
`AutoImageProcessor.from_pretrained` open its checkpoints, of which `STARTER` comes with the
package, and `pipeline("group-emotion")` answers photos.
"""

from . import auto, pipeline_ger
from .configuration_ensemble import GerEnsembleConfig
from .configuration_ger import GerExpressionConfig, GerFaceConfig, GerFusionConfig, GerSceneConfig
from .modeling_ensemble import GerEnsembleForImageClassification
from .modeling_expression import GerExpressionForImageClassification
from .modeling_face import GerFaceForImageClassification
from .modeling_fusion import GerFusionForImageClassification
from .modeling_scene import GerSceneForImageClassification
from .pipeline_ger import GroupEmotionPipeline
from .processing_ensemble import GerEnsembleProcessor
from .processing_ger import GerProcessor
from .starter import STARTER

__all__ = [
    "STARTER",
    "GerEnsembleConfig",
    "GerEnsembleForImageClassification",
    "GerEnsembleProcessor",
    "GerExpressionConfig",
    "GerExpressionForImageClassification",
    "GerFaceConfig",
    "GerFaceForImageClassification",
    "GerFusionConfig",
    "GerFusionForImageClassification",
    "GerProcessor",
    "GerSceneConfig",
    "GerSceneForImageClassification",
    "GroupEmotionPipeline",
    "auto",
    "pipeline_ger",
]
