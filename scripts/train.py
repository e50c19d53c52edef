"""Train a model on a prepared dataset; the best epoch stays, and a run that was stopped goes on with --resume.

accelerate launch scripts/train.py --model densenet_emotic --dataset ger_datasets/gaf3 --output_dir runs/emotic
"""

from __future__ import annotations

import ger_datasets.support.openmp  # noqa: F401 - before torch

# isort: split
from dataclasses import dataclass, field
from pathlib import Path

from accelerate.utils import set_seed

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError, listing
from ger_models.presets import PRESETS, preset
from ger_models.training import loop, run_report
from ger_models.training import recipe as recipes
from ger_models.training.data_loading import Collator, killed_workers_told, make_loader, rest_of, set_epoch
from ger_models.training.losses import LOSSES, Teacher
from ger_models.training.meter import Stop, Watch
from ger_models.training.optimization import make_optimizer, rate_at, set_rate
from ger_models.training.run_folder import RunFolder
from ger_models.training.weight_averaging import MovingAverage


@dataclass(kw_only=True)
class Arguments(recipes.RecipeOptions):
    model: str = field(metadata={"help": f"Which model: {', '.join(PRESETS)}."})
    dataset: str = field(metadata={"help": "Prepared dataset: a folder that prepare.py wrote, or a Hub repository."})
    output_dir: Path = field(metadata={"help": "New folder for the checkpoint, its processor, card and metrics.json."})
    recipe: str | None = field(
        default=None, metadata={"help": "default, modern, another of the model's recipes, or a YAML file."}
    )
    resume: bool = field(default=False, metadata={"help": "Go on with the run in --output_dir, if there is one."})
    init_from: str | None = field(
        default=None, metadata={"help": "Run or checkpoint of the same architecture whose weights to begin with."}
    )
    scene_from: str | None = field(
        default=None, metadata={"help": "fusion_*: scene run whose backbone to begin with."}
    )
    faces_from: str | None = field(
        default=None,
        metadata={"help": "Fusion models: face_aligned or face_expressions run whose network to start from."},
    )
    pooling_from: str | None = field(
        default=None, metadata={"help": "fusion_*: fusion run whose pooling to begin with."}
    )
    teacher: str | None = field(
        default=None, metadata={"help": "Finished run that the loss distillation learns from, of the same classes."}
    )
    initial_weights: str = field(
        default="auto",
        metadata={"help": "imagenet, random, or auto: ImageNet where they can be had, else random with a warning."},
    )
    config_overrides: str = field(default="", metadata={"help": "Configuration fields, such as backbone=resnet18."})
    seed: int = field(default=0, metadata={"help": "Of the weights, the order, the augmentation and dropout."})
    num_workers: int = field(
        default=0, metadata={"help": "Processes that decode photos, beside each training process."}
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "Read the shards, from disk or the Hub, as training goes; nothing is copied into a cache."},
    )
    drop_unlabelled: bool = field(
        default=False, metadata={"help": "Leave photos without a label out, instead of refusing them."}
    )
    save_steps: int | None = field(
        default=None, metadata={"help": "Steps between checkpoints, beside the one each epoch."}
    )
    keep: int = field(default=2, metadata={"help": "How many checkpoints stay, the newest."})
    best_by: str = field(
        default="accuracy", metadata={"help": f"What the best epoch is chosen by: {', '.join(loop.SCORES)}."}
    )
    patience: int | None = field(
        default=None, metadata={"help": "Stop after so many epochs that were not better. Default: never."}
    )
    max_steps: int | None = field(
        default=None, metadata={"help": "Stop after so many steps of the optimizer: a quick look."}
    )
    limit_train: int | None = field(default=None, metadata={"help": "Train on so many photos: a quick look."})
    find_batch_size: bool = field(
        default=False, metadata={"help": "Halve the batch until it fits into memory, and add gradients up."}
    )
    profile: bool = field(
        default=False, metadata={"help": "Measure steps 3 to 7, and write a table and a trace to profile/."}
    )
    trackers: list[str] = field(
        default_factory=list, metadata={"help": "tensorboard, or another of Accelerate's trackers, by name."}
    )
    push_to_hub: str | None = field(
        default=None, metadata={"help": "ORG/NAME on the Hub that each epoch's best model goes to."}
    )
    public: bool = field(
        default=False, metadata={"help": "Show the pushed model to everyone; it is private otherwise."}
    )

    def __post_init__(self) -> None:
        for name in ("keep", "save_steps", "patience", "max_steps", "limit_train"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"--{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("drop_unlabelled", "limit_train", "find_batch_size"):
            if self.streaming and getattr(self, name):
                raise UserError(f"--{name} picks photos, which --streaming cannot: leave one of them out")
        if self.best_by not in loop.SCORES:
            raise UserError(f"--best_by must be one of {listing(loop.SCORES)}, not {self.best_by!r}")


def main(arguments: Arguments) -> dict | None:
    chosen = preset(arguments.model)
    recipe = recipes.effective(chosen.recipes, arguments.recipe, arguments)
    accelerator = loop.make_accelerator(chosen, recipe, arguments.trackers, arguments.output_dir)
    set_seed(arguments.seed)
    data = loop.load_data(arguments, chosen, accelerator)
    model, processor, began = loop.build(arguments, data["train"], accelerator)
    teacher = Teacher(arguments.teacher, data["train"].features["label"].names, accelerator.device)
    if arguments.find_batch_size:
        recipe = loop.fitting(recipe, arguments, model, data["train"], processor, accelerator)
    about_run = run_report.describe(arguments, recipe, data)
    folder = RunFolder(arguments.output_dir, accelerator, arguments.keep)
    with folder.begin(about_run, recipes.to_yaml(recipe), arguments.resume):
        report = run_report.Report(arguments, chosen, about_run, began, folder)
        model.config.notice = report.run["notice"]

        sizes = (recipe.batch_size, arguments.num_workers)
        collator = Collator(processor, arguments.seed, accelerator.device)
        loader = make_loader(data["train"], collator, *sizes, seed=arguments.seed, sampling=recipe.sampling)
        validation = make_loader(data["validation"], Collator(processor, device=accelerator.device), *sizes)
        optimizer = make_optimizer(loop.placed(model, accelerator), recipe)
        model, optimizer, loader, validation = accelerator.prepare(model, optimizer, loader, validation)
        average = MovingAverage(accelerator.unwrap_model(model), recipe.ema)
        position = loop.starting_position(folder, model, optimizer, average, loader, arguments.resume)
        steps = recipe.epochs * loop.steps_per_epoch(loader, accelerator)

        profiled = loop.profiled(arguments.profile, folder.path, accelerator)
        with killed_workers_told(), Stop() as stop, profiled as profile_step:
            watch = Watch(accelerator, position, stop, recipe.epochs * len(loader))
            while not position.finished:
                model.train()
                set_epoch(loader, position.epoch)
                for batch in rest_of(loader, position.batch):
                    photos = batch.pop("image_ids")
                    loop.seed_step(arguments.seed, position, accelerator.process_index)
                    with accelerator.accumulate(model):
                        outputs = model(**batch)
                        loss = LOSSES[recipe.loss](outputs, batch["labels"], recipe, teacher.logits(batch))
                        accelerator.backward(loss)
                        if accelerator.sync_gradients and recipe.max_grad_norm:
                            accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
                        set_rate(optimizer, rate_at(recipe, position.step, steps))
                        optimizer.step()
                        optimizer.zero_grad()
                    watch.add(loss, outputs.logits, batch["labels"], photos)
                    if accelerator.sync_gradients:
                        position.step += 1
                        average.update(position.step)
                        profile_step()
                        stopping = watch.stopping  # asked once: a signal may come at any moment
                        if stopping or (arguments.save_steps and position.step % arguments.save_steps == 0):
                            watch.look()
                            folder.save(position, model, optimizer, average)
                        if stopping:
                            stop.leave()
                        if position.step == arguments.max_steps:
                            break
                watch.look()
                with average.in_place():
                    logits, labels = loop.predict(model, validation, accelerator)
                    if loop.finish_epoch(position, logits, labels, data["train"], arguments, recipe):
                        loop.save_best(folder, model, processor)
                folder.save(position, model, optimizer, average)
                report.epoch(position)
                if watch.stopping and not position.finished:
                    stop.leave()
            watch.bar.close()
        accelerator.end_training()
        return report.end(position) if accelerator.is_main_process else None


if __name__ == "__main__":
    run(main, Arguments)
