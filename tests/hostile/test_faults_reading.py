"""A Hub that fails while a dataset or a model is read from it: waited for, or told in one line; never half a file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import Do, digests, predicting, preparing, refused, training
from hub_server import CLOSE, Fault, HubServer

from ger_models.evaluation.predictions import read_predictions
from ger_models.presets import build

FILES = r"GET .*/resolve/.*\.(parquet|safetensors)"
PASSING = [
    Fault("HEAD .*/resolve/", 500, times=1),
    Fault("HEAD .*/resolve/", 429, times=1, wait=86_400),
    Fault("(GET|HEAD) ", CLOSE, after=3, times=1),
    Fault(FILES, 500, times=1),
    Fault(FILES, cut_answer=50_000, times=2),
    Fault(FILES, CLOSE, times=1),
    Fault("GET .*/api/", delay=0.2),
]
STAYING = {
    "500": Fault("", 500),
    "429": Fault(FILES, 429, wait=86_400),  # come back tomorrow
    "cut": Fault(FILES, cut_answer=50_000),
    "closed": Fault("", CLOSE),
    "silent": Fault(FILES, delay=60),
}


@pytest.fixture(scope="module")
def pooling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of face features, untrained."""
    folder = tmp_path_factory.mktemp("pooling") / "tiny"
    made, processor = build("features_crossvit", ["Negative", "Neutral", "Positive"])
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


Step = Callable[[Path, str], tuple[tuple, Callable[[Path], object]]]


@pytest.fixture
def steps(hub: HubServer, drawn_dataset: Path, raw_folder: Path, model: Path, pooling: Path) -> dict[str, Step]:
    """Each step's command, with what it reads here or on the Hub, and what there is to compare in the end."""

    def there(kind: str, folder: Path, where: str) -> object:
        if where == "here":
            return folder
        repo = f"me/{where}-{kind}"
        if f"{kind}/{repo}" not in hub.store.repos:
            hub.hold(f"{kind}/{repo}", folder)
        return repo

    def prepare(output: Path, where: str) -> tuple:
        command = preparing(raw_folder, output, "--scene_model", there("models", model, where))
        return command, lambda folder: digests(folder / "data")

    def predict(output: Path, where: str) -> tuple:
        command = predicting(there("models", model, where), there("datasets", drawn_dataset, where), output)
        return command, lambda table: (read_predictions(table).image_ids, read_predictions(table).logits.tolist())

    def train(output: Path, where: str) -> tuple:
        begin = ("--init_from", there("models", pooling, where), "--epochs", 1)
        command = training(there("datasets", drawn_dataset, where), output, *begin)
        return command, lambda run: (run / "model.safetensors").read_bytes()

    def stream(output: Path, where: str) -> tuple:
        command, look = train(output, where)
        return (*command, "--streaming"), look

    return {"prepare": prepare, "predict": predict, "train": train, "train from a stream": stream}


@pytest.mark.parametrize("step", ["prepare", "predict", "train", "train from a stream"])
def test_reading_from_a_hub_that_is_busy_slow_or_cuts_the_connection(
    do: Do, hub: HubServer, steps: dict[str, Step], tmp_path: Path, step: str
) -> None:
    words, look = steps[step](tmp_path / "calm", "here")
    assert do(*words)["code"] == 0
    words, _ = steps[step](tmp_path / "out", f"passing-{step.replace(' ', '-')}")
    hub.faults += [Fault(**vars(fault)) for fault in PASSING]
    told = do(*words, hasty=True)
    assert told["code"] == 0, told["stderr"]
    assert hub.faults[4].times == 0, "it met them"
    assert look(tmp_path / "out") == look(tmp_path / "calm")


@pytest.mark.parametrize("fault", STAYING)
@pytest.mark.parametrize("step", ["prepare", "predict", "train"])
def test_reading_from_a_hub_that_stays_away(
    do: Do, hub: HubServer, steps: dict[str, Step], tmp_path: Path, step: str, fault: str
) -> None:
    words, look = steps[step](tmp_path / "out", f"{fault}-{step}")
    hub.faults.append(STAYING[fault])
    told = do(*words, hasty=True, silence=0.1)
    refused(told, f"me/{fault}-{step}-", "cannot be read from the Hub: ", "run the same command again later")
    assert not (tmp_path / "out").exists()
    hub.faults.clear()
    if fault == "cut":
        assert do(*words)["code"] == 0
        calm, _ = steps[step](tmp_path / "calm", "here")
        assert do(*calm)["code"] == 0
        assert look(tmp_path / "out") == look(tmp_path / "calm"), "half a file was never taken for the whole"


def test_a_stream_that_breaks_off_while_it_trains(
    do: Do, hub: HubServer, steps: dict[str, Step], tmp_path: Path
) -> None:
    """The run is told in one line, and goes on where it was when the Hub is back."""
    options = ("--epochs", 8, "--batch_size", 6)
    words, look = steps["train from a stream"](tmp_path / "calm", "here")
    assert do(*words, *options)["code"] == 0
    words, _ = steps["train from a stream"](tmp_path / "out", "stream")
    over = threading.Event()

    def fail_after_an_epoch() -> None:
        while not over.wait(0.005):
            if list((tmp_path / "out" / "checkpoints").glob("*")):
                hub.faults.append(Fault(r"GET .*train.*\.parquet", 500))
                return

    watch = threading.Thread(target=fail_after_an_epoch)
    watch.start()
    try:
        told = do(*words, *options, hasty=True)
    finally:
        over.set()
        watch.join()
    refused(told, "me/stream-datasets", "cannot be read from the Hub: the Hub fails (500)")
    assert (tmp_path / "out" / "checkpoints").is_dir(), "it broke off amid the run"
    hub.faults.clear()
    assert do(*words, *options, "--resume")["code"] == 0
    assert look(tmp_path / "out") == look(tmp_path / "calm")
