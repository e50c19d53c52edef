"""What each method finds, and that it finds it on the split it may see."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from ger_datasets.support.errors import UserError
from ger_models.evaluation.ensemble.applying import apply
from ger_models.evaluation.ensemble.ensemble import Ensemble
from ger_models.evaluation.ensemble.methods import METHODS, Options, fit, folds, nested
from ger_models.evaluation.ensemble.selection import select_ensemble
from ger_models.evaluation.predictions import Predictions

NAMES = ("Negative", "Neutral", "Positive")


def drawn(rows=300, seed=0, strengths=(2.0, 1.0, 0.0), classes=3):
    """Members of which each knows the label as well as its strength says."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    logits = generator.normal(size=(len(strengths), rows, classes)).astype(np.float32)
    logits[:, np.arange(rows), labels] += np.array(strengths, np.float32)[:, None]
    return logits, labels


def members(seed=0, rows=200, **changes):
    """Three models, each with a validation and a test split of `rows` photos."""
    logits, labels = drawn(2 * rows, seed)
    parts = {
        "image_ids": [f"photo {row}" for row in range(2 * rows)],
        "splits": ["validation"] * rows + ["test"] * rows,
        "labels": labels,
        "class_names": NAMES,
    }
    return [Predictions(logits=each, model=f"m{i}", **{**parts, **changes}) for i, each in enumerate(logits)]


def accuracy(ensemble, logits, labels):
    return (ensemble.combine(logits).argmax(1) == labels).mean()


@pytest.mark.parametrize("on", ["logits", "probabilities"])
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.uses_labels])
def test_what_is_found_is_better_than_the_best_member(method, on):
    logits, labels = drawn()
    new, truth = drawn(2000, seed=1)
    ensemble = fit(method, logits, labels, Options(on=on))
    single = (new[0].argmax(1) == truth).mean()
    assert accuracy(ensemble, new, truth) > single + 0.01
    if ensemble.weights is None:
        assert np.shape(ensemble.coefficients) == (3, 3, 3)
        return
    assert sum(ensemble.weights) == pytest.approx(1)
    assert ensemble.weights[0] > ensemble.weights[1] > ensemble.weights[2]


def test_average_and_given_look_at_no_label():
    logits, labels = drawn()
    assert fit("average", logits, np.zeros_like(labels), Options()).weights == [1 / 3] * 3
    given = fit("given", logits, np.zeros_like(labels), Options(weights=[2, 1, 1]))
    assert given.weights == [2, 1, 1]
    np.testing.assert_allclose(given.combine(logits), 2 * logits[0] + logits[1] + logits[2], atol=1e-5)
    weighted = fit("given", logits, labels, Options(weights=[0.5, 0.5, 0], on="probabilities")).combine(logits)
    expected = (softmax(logits[0], axis=1) + softmax(logits[1], axis=1)) / 2
    np.testing.assert_allclose(softmax(weighted, axis=1), expected, rtol=1e-5)


def test_greedy_by_hand():
    """Two members that each know half: one is drawn, then the other, and more draws help nobody."""
    labels = np.array([0, 1, 0, 1])
    first = np.array([[3, 0], [0, 3], [0, 1], [1, 0]], np.float32)
    second = np.array([[0, 1], [1, 0], [3, 0], [0, 3]], np.float32)
    ensemble = fit("greedy", np.stack([first, second]), labels, Options())
    assert ensemble.details["drawn"] == [0, 1]
    assert ensemble.weights == [0.5, 0.5]


@pytest.mark.parametrize("method", ["logistic", "svm"])
def test_stacking_with_two_classes_and_with_one_that_no_photo_shows(method):
    logits, labels = drawn(classes=2)
    assert accuracy(fit(method, logits, labels, Options()), logits, labels) > 0.85
    logits, labels = drawn()
    seen = labels != 1
    ensemble = fit(method, logits[:, seen], labels[seen], Options())
    assert set(ensemble.combine(logits).argmax(1)) == {0, 2}


def test_photos_of_one_group_are_in_one_fold():
    _, labels = drawn()
    groups = np.array([f"video {row // 10}" for row in range(300)])
    seen = np.zeros(300, int)
    for train, test in folds(labels, Options(groups=groups)):
        assert not set(groups[train]) & set(groups[test])
        seen[test] += 1
    assert (seen == 1).all()
    with pytest.raises(UserError, match="needs as many groups, found 3"):
        list(folds(labels, Options(groups=np.repeat(["a", "b", "c"], 100))))


def test_nested_cross_validation_never_sees_the_photo_it_answers_for():
    """Members of pure chance: what is fitted looks good on its own photos, and like chance in the nested figure."""
    logits, labels = drawn(150, strengths=(0.0,) * 8)
    own = accuracy(fit("greedy", logits, labels, Options()), logits, labels)
    held_out = nested("greedy", logits, labels, Options())
    assert own - (held_out.argmax(1) == labels).mean() > 0.08


def test_given_weights_are_used_as_they_are():
    logits, labels = drawn()
    published = fit("given", logits, labels, Options(weights=[-1, 5, 2.5]))
    assert published.weights == [-1, 5, 2.5]
    np.testing.assert_allclose(published.combine(logits), -logits[0] + 5 * logits[1] + 2.5 * logits[2], atol=1e-5)
    opposed = fit("given", logits, labels, Options(weights=[1, -1, 0]))
    np.testing.assert_allclose(opposed.combine(logits), logits[0] - logits[1], atol=1e-6)


def test_negative_weights_of_probabilities():
    logits, labels = drawn()
    ensemble = fit("given", logits, labels, Options(weights=[-1, 3, 2], on="probabilities"))
    assert ensemble.weights == [-0.25, 0.75, 0.5]
    shares = softmax(logits, axis=2)
    expected = np.maximum(-shares[0] + 3 * shares[1] + 2 * shares[2], 0)
    combined = softmax(ensemble.combine(logits), axis=1)
    np.testing.assert_allclose(combined, expected / expected.sum(1, keepdims=True), rtol=1e-4, atol=1e-20)
    with pytest.raises(UserError, match="of probabilities must have a sum above 0"):
        fit("given", logits, labels, Options(weights=[-1, 0, 1], on="probabilities"))


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.uses_labels])
def test_without_fitting_the_reported_split_is_enough(method):
    alone = [member.select("test") for member in members()]
    chosen = select_ensemble(alone, "validation", "test", method, Options(weights=[1, 1, -1]))
    both = select_ensemble(members(), "validation", "test", method, Options(weights=[1, 1, -1]))
    assert chosen.account["figures"] == {"test": both.account["figures"]["test"]}
    assert chosen.account["best_member"] is chosen.account["comparison"] is chosen.account["select"] is None
    assert both.account["best_member"] == "m0"
    assert chosen.predictions.split_names == chosen.fitted_on.split_names == ["test"]
    with pytest.raises(UserError, match="no predictions for the split 'validation'"):
        select_ensemble(alone, "validation", "test", "greedy", Options())


def test_members_of_several_dataset_revisions():
    """Both ways to combine them say so, and neither names one revision as that of the ensemble."""
    first, second, third = members()
    mixed = [replace(first, dataset_revision="aaaa"), replace(second, dataset_revision="bbbb"), third]
    chosen = select_ensemble(mixed, "validation", "test", "greedy", Options(), nested_folds=0)
    scored = apply(Ensemble("given", weights=[1, 1, 1]), mixed, ["test"])
    for made in (chosen.predictions, chosen.fitted_on, scored):
        assert made.dataset_revision == ""
        assert "predicted on several revisions of the dataset: aaaa, bbbb" in made.note
    assert chosen.account["dataset_revisions"] == ["aaaa", "bbbb", ""]
    alike = [replace(member, dataset_revision="aaaa") for member in mixed]
    assert apply(Ensemble("given", weights=[1, 1, 1]), alike, ["test"]).dataset_revision == "aaaa"
    assert apply(Ensemble("given", weights=[1, 1, 1]), alike, ["test"]).note == ""


@pytest.mark.slow
def test_only_the_split_to_select_on_is_seen():
    """The test labels turned round change the figures, and nothing of the ensemble."""
    straight = members(rows=80)
    labels = straight[0].labels
    turned = members(rows=80, labels=np.where(np.arange(160) < 80, labels, (labels + 1) % 3))
    for method in METHODS:
        options = Options(weights=[1, 1, 2], step=0.1)
        one, other = (
            select_ensemble(each, "validation", "test", method, options, nested_folds=2) for each in (straight, turned)
        )
        for name in ("weights", "coefficients", "intercept", "nested_cross_validation"):
            assert one.account[name] == other.account[name]
        assert one.account["figures"]["validation"] == other.account["figures"]["validation"]
        assert one.account["figures"]["test"]["accuracy"] > 0.5 > other.account["figures"]["test"]["accuracy"]


def test_the_account():
    chosen = select_ensemble(members(), "validation", "test", "simplex", Options(step=0.25))
    account = chosen.account
    assert json.loads(json.dumps(account, allow_nan=False)) == account
    assert (account["members"], account["select"], account["report"]) == (["m0", "m1", "m2"], "validation", "test")
    assert account["selection_on_report"] is False
    assert (account["weightings"], account["step"], account["note"]) == (15, 0.25, "")
    landscape = account["landscape"]
    assert landscape["split"] == "validation"
    place = landscape["weights"].index(account["weights"])
    assert landscape["accuracy"][place] == max(landscape["accuracy"]) == account["figures"]["validation"]["accuracy"]
    assert account["best_member"] == "m0"
    assert account["comparison"]["accuracy"][1] == account["figures"]["test"]["accuracy"]
    assert account["comparison"]["accuracy"][0] == account["member_figures"]["test"][0]["accuracy"]
    assert account["nested_cross_validation"]["accuracy"] <= account["figures"]["validation"]["accuracy"]
    assert chosen.predictions.model == "simplex of 3"
    assert chosen.predictions.split_names == ["test"]
    assert "fitted on these photos (validation)" in chosen.fitted_on.note


def test_selection_on_the_report_is_refused_or_marked():
    with pytest.raises(
        UserError, match=r"chosen on test, the split they are reported on.*--allow_selection_on_report"
    ):
        select_ensemble(members(), "test", "test", "simplex", Options())
    marked = select_ensemble(members(note="drawn"), "test", "test", "simplex", Options(step=0.5), True)
    assert marked.account["selection_on_report"] is True
    for note in (marked.account["note"], marked.predictions.note):
        assert note.startswith("drawn; The weights were chosen on test, the split that these figures are of")
    plain = select_ensemble(members(), "test", "test", "average", Options())
    assert plain.account["selection_on_report"] is False, "nothing was selected"


def test_withheld_labels():
    labels = members()[0].labels
    unknown = np.where(np.arange(400) < 200, labels, -1)
    account = select_ensemble(members(labels=unknown), "validation", "test", "greedy", Options()).account
    assert account["figures"]["test"] is account["comparison"] is None
    assert account["figures"]["validation"]["rows"] == 200
    with pytest.raises(UserError, match="no photo of test has a label, so no weights"):
        select_ensemble(members(labels=unknown), "test", "validation", "greedy", Options())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("votes", Options(), "no method 'votes': choose from simplex, greedy"),
        ("simplex", Options(on="ranks"), "logits or probabilities, not 'ranks'"),
        ("simplex", Options(step=0.3), "must divide 1"),
        ("given", Options(weights=[1, 1]), "one for each of the 3 members"),
        ("given", Options(weights=[1, float("nan"), 1]), "finite numbers"),
        ("given", Options(weights=[0, 0, 0]), "not all be 0"),
        ("logistic", Options(folds=200), "as many photos of every class"),
    ],
)
def test_what_does_not_suit_is_refused(method, options, message):
    with pytest.raises(UserError, match=message):
        fit(method, *drawn(), options)


def test_a_probability_of_nothing_has_a_logarithm():
    logits = np.array([[[200.0, 0.0]], [[100.0, -100.0]]], np.float32)
    assert np.isfinite(Ensemble("given", "probabilities", [0.5, 0.5]).combine(logits)).all()
