"""Train a model on a prepared dataset; the best epoch by validation accuracy stays.

accelerate launch scripts/train.py --model densenet_emotic --dataset ger_datasets/gaf3 --output_dir runs/emotic
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from tqdm import tqdm

from ger_datasets.cards import read_card
from ger_datasets.cli import run
from ger_models import batches, loading, training
from ger_models.evaluation.metrics import compute_metrics
from ger_models.presets import PRESETS, preset

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    model: str = field(metadata={"help": f"Which model: {', '.join(PRESETS)}."})
    dataset: str = field(metadata={"help": "Prepared dataset: a folder that prepare.py wrote, or a Hub repository."})
    output_dir: Path = field(metadata={"help": "New folder for the checkpoint, its processor, card and metrics.json."})
    epochs: int | None = field(default=None, metadata={"help": "Default: the model's recipe."})
    batch_size: int | None = field(
        default=None, metadata={"help": "Photos per process and step. Default: the recipe."}
    )
    learning_rate: float | None = field(default=None, metadata={"help": "Default: the model's recipe."})
    seed: int = field(default=0, metadata={"help": "Of the weights, the order and the augmentation."})
    num_workers: int = field(
        default=0, metadata={"help": "Processes that decode photos, beside each training process."}
    )
    initial_weights: str = field(
        default="auto",
        metadata={"help": "imagenet, random, or auto: ImageNet where they can be had, else random with a warning."},
    )
    config_overrides: str = field(default="", metadata={"help": "Configuration fields, such as backbone=resnet18."})


def main(arguments: Arguments) -> dict | None:
    # a batch without a face, or without a faceless photo, leaves a part of some models unused
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    set_seed(arguments.seed)
    chosen = preset(arguments.model)
    recipe = training.overridden(chosen.recipe, arguments)
    data = loading.load_splits(
        arguments.dataset, (*chosen.columns, *chosen.optional), ("train", "validation"), accelerator
    )
    loading.check_trainable(arguments.dataset, data, chosen.columns)
    model, processor, began = training.build(arguments, data["train"], accelerator)
    card = read_card(arguments.dataset)
    model.config.notice = str(card.get("notice", ""))
    training.new_run_folder(arguments.output_dir, accelerator)

    collator = batches.Collator(processor, train_seed=arguments.seed)
    loader = batches.make_loader(
        data["train"], collator, recipe.batch_size, arguments.num_workers, seed=arguments.seed
    )
    validation = batches.make_loader(
        data["validation"], batches.Collator(processor), recipe.batch_size, arguments.num_workers
    )
    model, loader, validation = accelerator.prepare(model, loader, validation)
    optimizer, schedule = training.make_optimizer(model, recipe, steps=recipe.epochs * len(loader))
    optimizer = accelerator.prepare(optimizer)

    history, best = [], None
    bar = tqdm(total=recipe.epochs * len(loader), unit="step", disable=not accelerator.is_main_process)
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        batches.set_epoch(loader, epoch)
        losses = []
        for batch in loader:
            loss = model(**batch).loss
            accelerator.backward(loss)
            if recipe.max_grad_norm:
                accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(accelerator.gather(loss.detach()).mean().item())
            training.check_loss(losses[-1], epoch)
            bar.update()
        logits, labels = training.predict(model, validation, accelerator)
        accuracy = float((logits.argmax(1) == labels).mean())
        history.append({"epoch": epoch, "loss": sum(losses) / len(losses), "validation_accuracy": accuracy})
        bar.set_postfix(epoch=epoch, loss=f"{history[-1]['loss']:.3f}", validation=f"{accuracy:.3f}")
        if best is None or accuracy > history[best]["validation_accuracy"]:
            best, best_logits = epoch - 1, logits
            if accelerator.is_main_process:
                training.save_checkpoint(arguments.output_dir, accelerator.unwrap_model(model), processor)
    bar.close()

    if not accelerator.is_main_process:
        return None
    model = accelerator.unwrap_model(model)
    class_names = data["train"].features["label"].names
    figures = {
        "model": arguments.model,
        "dataset": loading.public_name(arguments.dataset),
        "best_epoch": best + 1,
        "validation": compute_metrics(labels, best_logits, class_names),
        "license": str(card.get("license", "other")),
        "train_photos": len(data["train"]),
        "class_names": class_names,
        "initial_weights": began,
        "seed": arguments.seed,
        "processes": accelerator.num_processes,
    }
    training.write_run(
        arguments.output_dir, chosen, {**figures, "recipe": asdict(recipe)}, history, model.config.notice
    )
    logger.info("wrote %s: validation accuracy %.3f", arguments.output_dir, figures["validation"]["accuracy"])
    return {
        **figures,
        "validation": {"accuracy": figures["validation"]["accuracy"]},
        "output_dir": str(arguments.output_dir),
    }


if __name__ == "__main__":
    run(main, Arguments)
