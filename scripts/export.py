"""Export a scene or face model to one file that runs without this package, and verify its outputs.

python scripts/export.py --model runs/densenet_emotic --output densenet_emotic.onnx
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.support.command_line import run
from ger_datasets.support.repository_names import public_name


@dataclass
class Arguments:
    model: str = field(metadata={"help": "A checkpoint: the output folder of train.py, or a Hub repository."})
    output: Path = field(metadata={"help": "Output file, .pt2 (for torch.export.load) or .onnx."})


def main(arguments: Arguments) -> dict:
    from ger_models.conversion.export import export
    from ger_models.inference.checkpoints import load_checkpoint

    model, processor = load_checkpoint(arguments.model)
    figures = export(model, processor, arguments.output)
    class_names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    return {
        "model": public_name(arguments.model),
        **figures,
        "class_names": class_names,
        "output": str(arguments.output),
    }


if __name__ == "__main__":
    run(main, Arguments)
