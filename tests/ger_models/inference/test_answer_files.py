"""Folders of answers: the colours of expressions."""

from __future__ import annotations

from pathlib import Path

from ger_models.configuration_ensemble import GerEnsembleConfig
from ger_models.configuration_ger import GerSceneConfig
from ger_models.inference.answer_files import AnswerFolder
from ger_models.inference.pictures import expression_colour

CLASSES = {0: "Negative", 1: "Neutral", 2: "Positive"}


def test_an_ensembles_groups_are_not_those_of_expressions(tmp_path: Path) -> None:
    member = GerSceneConfig(id2label=CLASSES, label2id={name: i for i, name in CLASSES.items()}).to_dict()
    config = GerEnsembleConfig(members=[member, member], weights=[0.5, 0.5])
    config.id2label = CLASSES
    folder = AnswerFolder(tmp_path / "out", config)
    happy, positive, sad = (
        expression_colour(name, folder.class_names, folder.groups) for name in ("happy", "Positive", "sad")
    )
    assert happy == positive != sad
