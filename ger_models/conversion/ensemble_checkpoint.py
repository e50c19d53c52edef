"""What scripts/ensemble.py writes: the account of an ensemble, its predictions, and its checkpoint with a card."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, one_line
from ger_datasets.support.hub_connection import read_from_hub
from ger_datasets.support.repository_names import is_missing_folder, public_name

from ..combining import route_title
from ..evaluation.ensemble.ensemble import FORMAT, Ensemble
from ..evaluation.ensemble.selection import Selected
from ..evaluation.own_folder import check_own
from ..evaluation.predictions import Predictions, write_predictions
from ..evaluation.report.card import TASK, render_card
from ..evaluation.report.writing import make_report
from ..starter import checkpoint_place

logger = logging.getLogger(__name__)

ACCOUNT, CHECKPOINT, RECORDED = "ensemble.json", "checkpoint", ["recorded"]


def check_folder(folder: Path, select: str, report: str) -> None:
    """Refuse a folder that holds files of the ensemble's names which are not an ensemble's.

    Raises:
        UserError: it does.
    """
    check_own(folder, (ACCOUNT, f"{select}.parquet", f"{report}.parquet", CHECKPOINT), "ensemble", FORMAT)


def write_ensemble(folder: Path, chosen: Selected) -> dict[str, str]:
    """Write ensemble.json and the ensemble's predictions tables, one for each split; returns where they are.

    Raises:
        UserError: they cannot be written.
    """
    chosen.ensemble.write(folder / ACCOUNT)  # first: it marks the others as ours
    written = {}
    for table in (chosen.fitted_on, chosen.predictions):  # one of the same name where the split is the same
        path = folder / f"{table.splits[0]}.parquet"
        write_predictions(path, table)
        written["predictions"] = str(path)
    return {"output_dir": str(folder), **written}


def member_checkpoints(names: Sequence[str], members: Sequence[Predictions]) -> list[tuple[str, str | None]]:
    """The members' checkpoints and, of those on the Hub, their commits; looked at before anything is computed.

    Args:
        names: the checkpoints in the order of the predictions, as they are now; `["recorded"]`: the very ones that the
            tables are of, by the names and revisions in them.
        members: the tables.

    Raises:
        UserError: there is not one for each member, it is a folder that is not there, or a recorded one has changed.
    """
    recorded = list(names) == RECORDED
    names = [checkpoint_place(name) for name in ([member.model for member in members] if recorded else names)]
    if len(names) != len(members):
        raise UserError(f"--members must be one checkpoint for each of the {len(members)} members, found {len(names)}")
    missing = [name for name in names if is_missing_folder(name)]
    if missing:
        raise UserError(f"no checkpoint at {', '.join(missing)}: name the folders or repositories with --members")
    if not recorded:
        return [(name, None) for name in names]
    return [(name, _recorded(name, member.model_revision)) for name, member in zip(names, members, strict=True)]


def _recorded(name: str, revision: str) -> str | None:
    """The commit to load, of a repository; a folder must hold what it held."""
    if not Path(name).is_dir():
        if not revision:
            logger.warning("the predictions of %s name no revision: its main branch is taken as it is now", name)
        return revision or None
    from ..inference.checkpoints import load_checkpoint
    from ..inference.revisions import model_revision

    found = model_revision(name, *load_checkpoint(name)) if revision else ""
    if found != revision:
        raise UserError(
            f"the checkpoint in {name} is {found}, not {revision} as when it was predicted with: predict again, or "
            "name the folders with --members"
        )
    return None


def write_checkpoint(
    folder: Path, checkpoints: Sequence[tuple[str, str | None]], ensemble: Ensemble, note: str, card: str
) -> str:
    """Save the ensemble as one model with its processor and card, ready to push.

    Args:
        folder: of the ensemble; the checkpoint goes to `checkpoint` in it.
        checkpoints: of the members, in the ensemble's order: see `member_checkpoints`.
        ensemble: how the members are combined.
        note: what must be known of its figures; the checkpoint's configuration says it too.
        card: its README.md, without the example.

    Returns:
        Where it is.

    Raises:
        UserError: one cannot be loaded, they know other classes, or the checkpoint cannot be written.
    """
    model, processor = _made(checkpoints, ensemble)
    known = [model.config.id2label[i] for i in range(model.config.num_labels)]
    if known != ensemble.class_names:
        raise UserError(
            f"the checkpoints know the classes {', '.join(known)}, the predictions {', '.join(ensemble.class_names)}"
        )
    notes = dict.fromkeys(filter(None, (getattr(model.config, "notice", ""), note)))
    model.config.notice = "; ".join(notes)
    return _save(folder, model, processor, card)


def write_runs(folder: Path, ensemble: Ensemble) -> str:
    """Save an ensemble of checkpoints that nothing was predicted with yet: its account and the checkpoint.

    Args:
        folder: of the ensemble.
        ensemble: its `members` are the folders or Hub repositories of the checkpoints.

    Returns:
        Where the checkpoint is.

    Raises:
        UserError: as `write_checkpoint`.
    """
    from ..sharing.model_card import USE

    names = [checkpoint_place(name) for name in ensemble.members]
    missing = [name for name in names if is_missing_folder(name)]
    if missing:
        raise UserError(f"no checkpoint at {', '.join(missing)}: name tables, runs or repositories")
    public = replace(ensemble, members=[public_name(name) for name in ensemble.members])
    how = _routes(public) if public.routes is not None else _weights(public)
    parts = [f"# {public.method} ensemble", how, "Nothing was scored.", USE.strip()]
    model, processor = _made([(name, None) for name in names], public)
    public.write(folder / ACCOUNT)  # first: it marks the checkpoint as ours
    return _save(folder, model, processor, "\n\n".join(parts) + "\n")


def _save(folder: Path, model: Any, processor: Any, card: str) -> str:
    """Write the checkpoint in the folder of an ensemble; returns where it is."""
    from ..inference.saving import disk_errors, put_files
    from ..sharing.model_card import how_to_use

    whole = ModelCard(card)
    whole.data.library_name, whole.data.pipeline_tag = "transformers", TASK
    whole.data.tags = ["group-level emotion recognition", "ensemble"]
    example = how_to_use(model.config, processor)

    def write(made: Path) -> None:
        model.save_pretrained(made)
        processor.save_pretrained(made)
        write_text(made / "README.md", f"---\n{whole.data}\n---\n\n{whole.text.strip()}\n\n{example}\n")

    with disk_errors(folder / CHECKPOINT):
        put_files(folder / CHECKPOINT, write)
    return str(folder / CHECKPOINT)


def _made(checkpoints: Sequence[tuple[str, str | None]], ensemble: Ensemble) -> tuple[Any, Any]:
    """The ensemble's model and processor; UserError if there can be none."""
    from ..inference.checkpoints import load_checkpoint
    from ..modeling_ensemble import GerEnsembleForImageClassification

    names, revisions = [name for name, _ in checkpoints], [revision for _, revision in checkpoints]
    stacking = None
    if ensemble.coefficients is not None:
        stacking = {"coefficients": ensemble.coefficients, "intercept": ensemble.intercept}
    try:
        return read_from_hub(
            ", ".join(names),
            lambda: GerEnsembleForImageClassification.from_members(
                names, ensemble.weights, ensemble.on, stacking, revisions, ensemble.routes
            ),
        )
    except Exception as error:  # of another's files transformers makes a dozen kinds
        for name in names:
            load_checkpoint(name)  # says which file it is, if it is one of a single member
        raise UserError(f"no ensemble can be made of {', '.join(names)}: {one_line(error)}") from error


def _routes(ensemble: Ensemble) -> str:
    """How a routed ensemble answers."""
    rows = zip(ensemble.routes or (), ensemble.members, strict=True)
    lines = [f"- {route_title(route)}: `{member}`" for route, member in rows]
    return "\n".join(["Each photo is answered by one member, by its number of faces:\n", *lines])


def _weights(ensemble: Ensemble) -> str:
    """How a weighted ensemble answers."""
    rows = zip(ensemble.weights or (), ensemble.members, strict=True)
    lines = [f"- `{member}`: {weight:.3g}" for weight, member in rows]
    return "\n".join([f"The members' {ensemble.on} are added with these weights:\n", *lines])


def ensemble_card(chosen: Selected) -> str:
    """The checkpoint's README.md without the example: the report's card, how the ensemble was found, and its use."""
    from ..sharing.model_card import USE

    account: Mapping[str, Any] = chosen.account
    revisions = zip(account["members"], account["model_revisions"], strict=True)
    members = [f"{name} (revision {revision})" if revision else name for name, revision in revisions]
    if chosen.ensemble.routes is not None:
        found = _routes(replace(chosen.ensemble, members=members))
    else:
        found = f"The members {', '.join(members)} were combined by `{account['method']}` on their {account['on']}"
        found += f", chosen on the split `{account['select']}`." if account["select"] else "; nothing was fitted."
    expected = account["nested_cross_validation"]
    if expected:
        low, high = expected["accuracy_interval"]
        found += (
            f" Nested cross-validation on that split alone led to expect an accuracy of {expected['accuracy']:.3f} "
            f"({low:.3f}–{high:.3f})."
        )
    how = "## How it was found\n\n" + found
    if account["figures"][account["report"]] is None:
        return "\n\n".join([f"# {chosen.predictions.model}", how, USE.strip()]) + "\n"
    card = render_card(make_report(chosen.predictions, account["report"], ensemble=account))
    return "\n\n".join([card.strip(), how, USE.strip()]) + "\n"
