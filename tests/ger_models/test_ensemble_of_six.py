"""The original's six models in one checkpoint answer as the weighted sum of the six run apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_presets import rows, tiny
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ger_models import GerEnsembleForImageClassification
from ger_models.presets import ALIASES

pytestmark = pytest.mark.slow

WEIGHTS = [0.1, 0.3, 0.05, 0.15, 0.2, 0.2]


@pytest.mark.parametrize("combination", ["logits", "probabilities"])
def test_the_ensemble_of_six(combination: str, tmp_path: Path) -> None:
    photos, apart, folders = rows([2, 0, 4]), [], []
    for name in ALIASES.values():
        model, processor = tiny(name)
        folders.append(str(tmp_path / name))
        model.save_pretrained(folders[-1])
        processor.save_pretrained(folders[-1])
        with torch.no_grad():
            apart.append(model.eval()(**processor(photos)).logits)
    stacked = torch.stack(apart)  # (members, photos, classes)
    weights = torch.tensor(WEIGHTS)[:, None, None]
    expected = {
        "logits": (weights * stacked).sum(0),
        "probabilities": (weights * stacked.softmax(-1)).sum(0).log(),
    }[combination]

    ensemble, processor = GerEnsembleForImageClassification.from_members(folders, WEIGHTS, combination)
    ensemble.save_pretrained(tmp_path / "ensemble")
    processor.save_pretrained(tmp_path / "ensemble")
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "ensemble").eval()
    inputs = AutoImageProcessor.from_pretrained(tmp_path / "ensemble")(photos)
    with torch.no_grad():
        for model, batch in ((ensemble.eval(), processor(photos)), (again, inputs)):
            torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=0)
