"""Train a model on a prepared dataset. The best epoch is kept, and --resume continues an interrupted run bit-exactly.

accelerate launch scripts/train.py --model densenet_emotic --dataset ger_datasets/gaf3 --output_dir runs/emotic
"""

from __future__ import annotations

import ger_datasets.support.cpu_cores  # noqa: F401 - before torch

# isort: split
import math
import time

from ger_datasets.support.command_line import run
from ger_models import presets
from ger_models.training import recipe as recipes
from ger_models.training.options import TrainingOptions as Arguments


def main(arguments: Arguments) -> dict | None:
    from accelerate.utils import set_seed

    from ger_models.inference.encoded_columns import column_of_backbone, training_processor
    from ger_models.sharing.model_card import how_to_use
    from ger_models.training import loop
    from ger_models.training.loading.batching import Collator, make_loader, report_killed_workers, rest_of, set_epoch
    from ger_models.training.losses import LOSSES
    from ger_models.training.meter import Stop, Watch
    from ger_models.training.optimization import clip_gradients, make_optimizer, rate_at, set_rate
    from ger_models.training.run_folder import RunFolder
    from ger_models.training.run_report import Report, describe
    from ger_models.training.weight_averaging import MovingAverage

    chosen = presets.preset(arguments.model)
    recipe = recipes.effective(chosen.recipes, arguments.recipe, arguments)
    accelerator = loop.make_accelerator(
        chosen.architecture, recipe.gradient_accumulation, arguments.trackers, arguments.output_dir
    )
    set_seed(arguments.seed)
    data = loop.load_data(
        arguments, accelerator, arguments.streaming, arguments.drop_unlabelled, arguments.limit_train
    )
    names = data["train"].features["label"].names
    model, processor, started_from = loop.build(arguments, data["train"], accelerator)
    vectors = column_of_backbone(arguments.dataset, arguments.model, arguments.config_overrides)
    reader = training_processor(processor, model, data["train"], arguments.dataset, vectors)
    if recipe.gradient_checkpointing:
        loop.checkpoint_backbone(model)
    teacher = loop.Teacher(arguments.teacher, names, reader, accelerator)
    if arguments.find_batch_size:
        resumed = arguments.output_dir if arguments.resume else None
        recipe = loop.fitting(recipe, model, data["train"], reader, accelerator, resumed)
    about_run = describe(arguments, recipe, data)
    folder = RunFolder(arguments.output_dir, accelerator, arguments.keep)
    with folder.begin(about_run, recipes.to_yaml(recipe), arguments.resume):
        example = how_to_use(model.config, processor, about_run["dataset"])
        report = Report(arguments, about_run, started_from, folder, example, arguments.push_to_hub, arguments.public)
        model.config.notice = report.run["notice"]

        sizes = (recipe.batch_size, arguments.num_workers)
        collator = Collator(reader, arguments.seed, accelerator.device)
        loader = make_loader(data["train"], collator, *sizes, seed=arguments.seed, sampling=recipe.sampling)
        validation = make_loader(data["validation"], Collator(reader, device=accelerator.device), *sizes)
        optimizer = make_optimizer(loop.placed(model, accelerator), **vars(recipe))
        model, optimizer, loader, validation = accelerator.prepare(model, optimizer, loader, validation)
        average = MovingAverage(accelerator.unwrap_model(model), recipe.ema)
        position = loop.starting_position(folder, model, optimizer, average, loader, arguments.resume)
        steps, epochs = loop.run_length(recipe.epochs, loader, accelerator, arguments.max_steps)
        schedule = {**vars(recipe), "epochs": epochs}

        profiled = loop.profiled(arguments.profile, folder.path, accelerator)
        with report_killed_workers(), Stop() as stop, profiled as profile_step:
            watch = Watch(accelerator, position, stop, math.ceil(epochs * len(loader)))
            while not position.finished:
                model.train()
                set_epoch(loader, position.epoch)
                for batch in rest_of(loader, position.batch):
                    photos = batch.pop("image_ids")
                    loop.seed_step(arguments.seed, position, accelerator.process_index)
                    with accelerator.accumulate(model):
                        outputs = model(**batch)
                        loss = LOSSES[recipe.loss](
                            outputs, batch["labels"], teacher_logits=teacher.logits(batch), **vars(recipe)
                        )
                        accelerator.backward(loss)
                        if accelerator.sync_gradients:
                            watch.gradient_norm = clip_gradients(accelerator, model, recipe.max_grad_norm)
                        watch.learning_rate = rate_at(position.step, steps, **schedule)
                        set_rate(optimizer, watch.learning_rate)
                        optimizer.step()
                        optimizer.zero_grad()
                    watch.add(loss, outputs.get("plain_logits", outputs.logits), batch["labels"], photos)
                    if accelerator.sync_gradients:
                        position.step += 1
                        average.update(position.step)
                        profile_step()
                        stopping = watch.stopping  # read once: a signal may come at any moment
                        if stopping or (arguments.save_steps and position.step % arguments.save_steps == 0):
                            watch.look()
                            folder.save(position, model, optimizer, average)
                        if stopping:
                            stop.leave()
                        if position.step == arguments.max_steps:
                            break
                watch.look()
                with average.in_place():
                    began = time.perf_counter()
                    logits, labels = loop.predict(model, validation, accelerator)
                    report.photos_per_second = round(len(labels) / (time.perf_counter() - began), 1)
                    main_process = accelerator.is_main_process
                    if loop.finish_epoch(position, logits, labels, names, arguments, recipe.epochs, main_process):
                        loop.save_best(folder, model, processor)
                stopping = watch.stopping
                if stopping or position.finished or (position.epoch - 1) % arguments.save_epochs == 0:
                    folder.save(position, model, optimizer, average)
                report.epoch(position)
                if stopping and not position.finished:
                    stop.leave()
            watch.bar.close()
        loop.end_training(accelerator)
        return report.end(position) if accelerator.is_main_process else None


if __name__ == "__main__":
    run(main, Arguments)
