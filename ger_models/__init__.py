"""Models for group-level emotion recognition, as transformers models.

Importing the package registers them: `AutoModelForImageClassification.from_pretrained` and
`AutoImageProcessor.from_pretrained` open its checkpoints, of which `STARTER` comes with the
package, and `pipeline("group-emotion")` answers photos.

In a script (see `ger_datasets.support.register_models`) the models are registered when one is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ger_datasets import support
from ger_datasets.moved_modules import keep_old_imports

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

keep_old_imports(__name__)

if TYPE_CHECKING or support.register_models:
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
else:

    def __getattr__(name: str) -> Any:
        """A public class, imported and registered on first use."""
        if name not in __all__ or name in ("auto", "pipeline_ger"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        modules = import_module(".auto", __name__), import_module(".pipeline_ger", __name__)
        return getattr(modules[name == "GroupEmotionPipeline"], name)
