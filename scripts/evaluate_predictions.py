"""Score predictions against their labels: a report as one HTML page, JSON, a model card's figures and two plots.

python scripts/evaluate_predictions.py --predictions test.parquet --output_dir report
python scripts/evaluate_predictions.py --predictions a.parquet b.npz --split test --weights 0.3 0.7 --output_dir report
python scripts/evaluate_predictions.py --predictions challenge.parquet --split challenge --submission upload
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError, listing
from ger_datasets.support.repository_names import public_name
from ger_models.combining import FORMS
from ger_models.evaluation.chosen_photos import check_only

if TYPE_CHECKING:
    from ger_models.evaluation.ensemble.ensemble import Ensemble
    from ger_models.evaluation.predictions import Predictions
    from ger_models.inference.explanations import Explainer

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    predictions: list[Path] = field(
        metadata={"help": "Predictions tables that predict.py wrote (Parquet), or the original system's npz archives."}
    )
    output_dir: Path | None = field(
        default=None, metadata={"help": "Folder for the report; an earlier report in it is replaced."}
    )
    split: list[str] | None = field(
        default=None, metadata={"help": "The splits to score. Default: the only one of the tables."}
    )
    only: str | None = field(default=None, metadata={"help": f"Score only photos with so many faces: {FORMS}."})
    by: str | None = field(
        default=None, metadata={"help": "group or clip: score each group, such as a video, by all its rows together."}
    )
    group_rule: str = field(
        default="mean", metadata={"help": "With --by: the mean, median or majority of its rows' probabilities."}
    )
    weights: list[float] | None = field(
        default=None,
        metadata={"help": "Score their ensemble too: for each model a weight, which its logits are multiplied by."},
    )
    ensemble: Path | None = field(
        default=None,
        metadata={"help": "Score the ensemble in an ensemble.json of ensemble.py too."},
    )
    dataset: str | None = field(
        default=None, metadata={"help": "Prepared dataset to take the photos of the mistakes from."}
    )
    explain: str | None = field(
        default=None,
        metadata={
            "help": "With --dataset: a scene or fusion model, whose heat maps are drawn on the photos of the mistakes."
        },
    )
    without_images: bool = field(default=False, metadata={"help": "Leave photos out of the page."})
    most_mistakes: int = field(
        default=20, metadata={"help": "How many of the most confident mistakes the report lists."}
    )
    model_card: Path | None = field(
        default=None, metadata={"help": "README.md of a checkpoint; the figures of the first model are added to it."}
    )
    submission: Path | None = field(
        default=None,
        metadata={
            "help": "New folder for NAME.txt files of one model, or the ensemble, on one split: the format of the "
            "EmotiW 2018 challenge."
        },
    )

    def __post_init__(self) -> None:
        if self.output_dir is None and self.submission is None:
            raise UserError("give --output_dir, the folder for the report, or --submission")
        if self.model_card is not None and self.output_dir is None:
            raise UserError("--model_card needs --output_dir, the folder for the report")
        if self.weights is not None and self.ensemble is not None:
            raise UserError("give --weights or --ensemble, not both")
        if self.explain is not None and (self.dataset is None or self.without_images or self.output_dir is None):
            raise UserError("--explain needs --dataset, whose photos it draws on, and --output_dir")
        if self.by is not None:
            self.check_by()
        check_only(self.only)

    def check_by(self) -> None:
        """Refuse what rows cannot be scored together by."""
        from ger_models.evaluation.grouping import COLUMNS

        if self.by not in COLUMNS:
            raise UserError(f"--by must be {' or '.join(COLUMNS)}, not {self.by!r}")
        if self.dataset is not None:
            raise UserError(f"--by {self.by} scores groups, and --dataset shows photos: leave one out")


def main(arguments: Arguments) -> dict[str, Any]:
    from ger_models.evaluation.ensemble.applying import apply, in_order
    from ger_models.evaluation.grouping import by_group
    from ger_models.evaluation.joining import read_members
    from ger_models.evaluation.report.card import add_to_card
    from ger_models.evaluation.report.shown_photos import read_pictures
    from ger_models.evaluation.report.writing import write_report
    from ger_models.evaluation.submission import write_submission

    members = read_members(arguments.predictions)
    splits = arguments.split or only_split(members)
    ensemble = read_ensemble(arguments, members)
    models = members
    if ensemble is not None:
        members = in_order(members, ensemble.members)
        whole = apply(ensemble, members, splits)
        models = [whole, *members_of_all(whole, members, splits)]
    if arguments.only is not None:
        models = [model.chosen(arguments.only) for model in models]
    if arguments.by is not None:
        models = [by_group(model, arguments.group_rule, arguments.by) for model in models]
    if arguments.submission is not None:
        check_submission(splits, [] if ensemble is not None else [member.model for member in members])
    figures: dict[str, Any] = {}
    if arguments.output_dir is not None:
        show = None
        if arguments.dataset is not None and not arguments.without_images:
            draw = make_explainer(arguments.explain) if arguments.explain is not None else None
            about = "" if arguments.explain is None else public_name(arguments.explain)
            show = partial(read_pictures, arguments.dataset, splits, draw=draw, heat_of=about)
        dataset = "" if arguments.dataset is None else public_name(arguments.dataset)
        report = write_report(
            arguments.output_dir,
            models,
            splits,
            most_mistakes=arguments.most_mistakes,
            ensemble=None if ensemble is None else ensemble.to_dict(),
            dataset=dataset,
            show=show,
        )
        if arguments.model_card is not None:
            add_to_card(arguments.model_card, report, dataset)
        figures = summary(report, arguments.output_dir / "report.html")
    if arguments.submission is not None:
        write_submission(arguments.submission, models[0].select(splits[0]))
        figures |= {"model": models[0].model, "split": splits[0], "submission": str(arguments.submission)}
    return figures


def make_explainer(model: str) -> Explainer:
    """What draws the heat maps of a model; UserError if it is another model."""
    from ger_models.inference.checkpoints import load_checkpoint
    from ger_models.inference.explanations import Explainer

    return Explainer(model, *load_checkpoint(model))


def check_submission(splits: Sequence[str], models: Sequence[str]) -> None:
    """Refuse to submit one of several splits, or one of several `models` that no ensemble combines."""
    if len(splits) > 1:
        raise UserError(
            f"a submission is of one split, not of {listing(splits)}: run once for each, into a new folder"
        )
    if len(models) > 1:
        raise UserError(
            f"a submission is of one model, not of {listing(models)}: run once for each table, into a new folder, "
            "or combine them with --ensemble or --weights"
        )


def only_split(members: Sequence[Predictions]) -> list[str]:
    """The split of the tables, if they hold only one."""
    names = list(dict.fromkeys(split for member in members for split in member.split_names))
    if len(names) > 1:
        raise UserError(f"the table holds the splits {listing(names)}; choose one with --split")
    return names


def read_ensemble(arguments: Arguments, members: Sequence[Predictions]) -> Ensemble | None:
    """The ensemble of --weights or --ensemble, if any."""
    from ger_models.evaluation.ensemble.ensemble import Ensemble

    if arguments.weights is not None:
        return Ensemble("given", weights=arguments.weights, members=[member.model for member in members])
    return None if arguments.ensemble is None else Ensemble.read(arguments.ensemble)


def members_of_all(whole: Predictions, members: Sequence[Predictions], splits: Sequence[str]) -> list[Predictions]:
    """The members that can be compared with a routed ensemble: those that were given all of its photos.

    Members of other ensembles always are, or there would be no ensemble.
    """
    if whole.routes is None:
        return list(members)
    photos = {split: set(whole.select(split).image_ids) for split in splits}
    return [member for member in members if all(set(member.select(s).image_ids) == photos[s] for s in splits)]


def summary(report: dict[str, Any], page: Path) -> dict[str, Any]:
    """The figures for the last line of stdout: those of the first result, then the accuracy of every other."""
    if report["note"]:
        logger.warning("note: %s", report["note"])
    for result in (report, *report["others"]):
        accuracy = 100 * result["metrics"]["accuracy"]
        logger.info("%s on %s: %.1f%% accuracy", result["model"], result["split"], accuracy)
    logger.info("%s", page)
    left_out = ("confusion_matrix", "per_class", "reliability")
    metrics = {name: value for name, value in report["metrics"].items() if name not in left_out}
    others = [
        {"model": result["model"], "split": result["split"], "accuracy": result["metrics"]["accuracy"]}
        for result in report["others"]
    ]
    about = {"model": report["model"], "split": report["split"], "note": report["note"], "report": str(page)}
    about |= {name: report[name] for name in ("only", "by_route") if report[name]}
    marked = {"selection_on_report": True} if report["selection_on_report"] else {}
    return {**metrics, **report["baselines"], **about, **marked, **({"others": others} if others else {})}


if __name__ == "__main__":
    run(main, Arguments)
