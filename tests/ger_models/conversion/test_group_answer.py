"""How a group's emotion follows from its faces is chosen on made groups, and then computed by the model as chosen."""

from __future__ import annotations

import numpy as np
import torch

from ger_models import GerExpressionConfig, GerExpressionForImageClassification
from ger_models.configuration_ger import EXPRESSIONS, GROUPS
from ger_models.conversion.group_answer import LABELS, choose_answer, fit_temperature, group_logits, make_groups


def faces(count: int, bias: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Probabilities of faces by a network that leans towards `sad` by `bias`, and the faces' expressions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(EXPRESSIONS), count)
    logits = rng.normal(size=(count, len(EXPRESSIONS)))
    logits[np.arange(count), labels] += 2.0
    logits[:, EXPRESSIONS.index("sad")] += bias
    shares = np.exp(logits)
    return shares / shares.sum(1, keepdims=True), [EXPRESSIONS[i] for i in labels]


def test_made_groups_have_the_majority_they_claim() -> None:
    _, labels = faces(500, 0)
    made = make_groups(labels, count=60)
    assert np.bincount(made.labels).tolist() == [20, 20, 20]
    for rows, label in zip(made.members, made.labels, strict=True):
        assert 1 <= len(rows) <= 9
        agreeing = sum(GROUPS.get(labels[row]) == LABELS[label] for row in rows)
        assert agreeing > len(rows) / 2
    again = make_groups(labels, count=60)
    assert all(np.array_equal(a, b) for a, b in zip(made.members, again.members, strict=True))


def test_the_model_answers_as_was_chosen() -> None:
    probabilities, labels = faces(40, 0)
    made = make_groups(labels, count=6)
    priors = {"Negative": 0.5, "Neutral": 0.2, "Positive": 0.3}
    for combination in ("probabilities", "logarithms"):
        expected = group_logits(probabilities, EXPRESSIONS, GROUPS, priors, combination, made)
        config = GerExpressionConfig(
            id2label=dict(enumerate(LABELS)), priors=priors, combination=combination, widths=[8, 8], blocks=[0, 1]
        )
        model = GerExpressionForImageClassification(config).eval()
        everyone = torch.tensor(np.concatenate([probabilities[rows] for rows in made.members])).log()
        model.embed = lambda faces: faces[:, 0, 0]
        model.expression_head = torch.nn.Identity()
        counts = torch.tensor([len(rows) for rows in made.members])
        logits = model(everyone[:, None, None].float(), counts).logits
        np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)


def test_a_network_that_leans_to_the_negative_is_corrected() -> None:
    probabilities, labels = faces(3000, bias=1.5)
    counts = dict.fromkeys(EXPRESSIONS, 1000)
    fields, tried = choose_answer(probabilities, labels, EXPRESSIONS, counts)
    assert fields["priors"]["Negative"] > fields["priors"]["Neutral"]
    by_choice = {(t["combination"], t["prior_power"], t["surprise"]): t["accuracy"] for t in tried}
    best = max(by_choice.values())
    assert len(by_choice) == 2 * 3 * 4
    assert best > by_choice["probabilities", 0.0, "none"] + 0.05
    chosen = group_logits(
        probabilities, EXPRESSIONS, fields["groups"], fields["priors"], fields["combination"], make_groups(labels)
    )
    assert (chosen.argmax(1) == make_groups(labels).labels).mean() == best


def test_the_temperature_is_found_again() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(20_000, 3)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in shares])
    assert abs(fit_temperature(logits * 1.7, labels) - 1.7) < 0.1
