"""Turn weights of torchvision, timm, Places365, SphereFace or the original system into a checkpoint of this package.

python scripts/convert_checkpoint.py --checkpoint resnet18_places365.pth.tar --preset resnet_places --output_dir places
python scripts/convert_checkpoint.py --checkpoint model.pt --transformer crossvit.pt --preset model5 --output_dir new
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.support.command_line import run

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    checkpoint: Path = field(metadata={"help": "A file written by torch.save (.pth, .pt, .pth.tar), or .safetensors."})
    preset: str = field(
        metadata={"help": "Preset to convert to, such as densenet_emotic, face_aligned, fusion_attention_scene."}
    )
    output_dir: Path = field(metadata={"help": "New folder for the checkpoint, its card and conversion.json."})
    class_names: str = field(
        default="Negative,Neutral,Positive", metadata={"help": "Class names, in the order of the file's classifier."}
    )
    transformer: Path | None = field(
        default=None, metadata={"help": "Second file of the original's model 5, with its transformer."}
    )


def main(arguments: Arguments) -> dict:
    from ger_models.conversion.convert import convert

    class_names = [name.strip() for name in arguments.class_names.split(",")]
    report = convert(arguments.checkpoint, arguments.preset, arguments.output_dir, class_names, arguments.transformer)
    for name, reason in report["dropped"].items():
        logger.info("dropped %s: %s", name, reason)
    for note in report["notes"]:
        logger.warning("note: %s", note)
    figures = {key: report[key] for key in ("preset", "dropped", "new", "notes")}
    return {**figures, "mapped": len(report["mapped"]), "output_dir": str(arguments.output_dir)}


if __name__ == "__main__":
    run(main, Arguments)
