"""The options of train.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.support.errors import UserError, listing

from ..combining import FORMS
from ..evaluation.chosen_photos import check_only
from ..evaluation.metrics import METRICS
from ..presets import preset_names
from .recipe import RecipeOptions, about


@dataclass(kw_only=True)
class RunOptions:
    """Options of train.py that, with the recipe, identify a run: `--resume` refuses a run in which they differ."""

    model: str = about("Preset name, such as densenet_emotic; an unknown name lists all.")
    dataset: str = about("Prepared dataset: a folder written by prepare.py, or a Hub repository.")
    config_overrides: str = about("Configuration fields, such as backbone=resnet18.", default="")
    initial_weights: str = about(
        "imagenet, random, or auto: ImageNet weights if available, else random with a warning.", default="auto"
    )
    init_from: str | None = about(
        "Run or checkpoint of the same architecture whose weights to start from.", default=None
    )
    scene_from: str | None = about("Fusion models: scene run whose backbone to start from.", default=None)
    faces_from: str | None = about(
        "Fusion models: face_aligned or face_expressions run, or starter, whose network to start from.", default=None
    )
    pooling_from: str | None = about("Fusion models: fusion run whose pooling to start from.", default=None)
    teacher: str | None = about(
        "Finished run with the same classes that the loss distillation learns from.", default=None
    )
    only: str | None = about(f"Train and validate only on photos with so many faces: {FORMS}.", default=None)
    min_face_score: float | None = about(
        "With --only: how sure the detector must be of a face for it to be counted. Default: the preset's.",
        default=None,
    )
    seed: int = about("Random seed for weights, order, augmentation and dropout.", default=0)
    best_by: str = about(f"Metric that chooses the best epoch: {', '.join(METRICS)}.", default="accuracy")
    patience: int | None = about("Stop after this many epochs without improvement. Default: never.", default=None)
    max_steps: int | None = about("Stop after this many optimizer steps, for a quick look.", default=None)


@dataclass(kw_only=True)
class TrainingOptions(RecipeOptions, RunOptions):
    """All options of train.py."""

    model: str = about(f"Preset: one of {', '.join(preset_names())}.")
    output_dir: Path = field(metadata={"help": "New folder for the checkpoint, its processor, card and metrics.json."})
    recipe: str | None = about("default, modern, another of the model's recipes, or a YAML file.", default=None)
    resume: bool = about("Resume the run in --output_dir, if there is one.", default=False)
    num_workers: int = about("Processes that decode photos, for each training process.", default=0)
    streaming: bool = about("Read the shards during training, from disk or the Hub, without a cache.", default=False)
    drop_unlabelled: bool = about("Leave out photos without a label instead of refusing the dataset.", default=False)
    save_epochs: int = about("Epochs between checkpoints; the last epoch always ends with one.", default=1)
    save_steps: int | None = about("Steps between checkpoints, in addition to those after epochs.", default=None)
    keep: int = about("Number of newest checkpoints to keep.", default=2)
    limit_train: int | None = about("Train on this many photos, for a quick look.", default=None)
    find_batch_size: bool = about(
        "Divide the batch until it fits into memory, and accumulate gradients.", default=False
    )
    profile: bool = about("Profile steps 3 to 7, and write a table and a trace to profile/.", default=False)
    trackers: list[str] = field(
        default_factory=list, metadata={"help": "tensorboard, trackio, or other trackers of Accelerate, by name."}
    )
    push_to_hub: str | None = about(
        "Hub repository ORG/NAME that the best model is pushed to after each epoch.", default=None
    )
    public: bool = about("Make the pushed model public; it is private otherwise.", default=False)

    def __post_init__(self) -> None:
        for name in ("keep", "save_epochs", "save_steps", "patience", "max_steps", "limit_train"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"--{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("drop_unlabelled", "limit_train", "find_batch_size", "only"):
            if self.streaming and getattr(self, name):
                raise UserError(f"--{name} needs random access to photos, unlike --streaming: leave one of them out")
        check_only(self.only, self.min_face_score)
        if self.min_face_score is not None and self.only is None:
            raise UserError("--min_face_score is for --only")
        if self.best_by not in METRICS:
            raise UserError(f"--best_by must be one of {listing(METRICS)}, not {self.best_by!r}")
