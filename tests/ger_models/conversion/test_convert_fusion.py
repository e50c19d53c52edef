"""The original's fusion checkpoints: converted, they give the logits of the original's arithmetic."""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from ger_datasets.support.errors import UserError
from ger_models import GerFusionConfig, GerFusionForImageClassification
from ger_models.backbones import SphereFace20
from ger_models.conversion.convert import convert, fill
from ger_models.conversion.old_checkpoints import OldCheckpoint
from ger_models.conversion.old_names import unwrapped

PRESETS = {
    "attention_scene": "fusion_attention_scene",
    "attention_intermediate": "fusion_attention_intermediate",
    "attention_score": "fusion_attention_score",
    "average": "fusion_average",
    "model5_crossvit": "model5",
}
NAMES = ["Negative", "Neutral", "Positive"]
SLOTS = 15
SECOND_FILE = "crossvit:"


def fill_value(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The reference's weight of this name, which anyone can make again."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.tensor(0)
    x = torch.randn(shape, generator=generator)
    if leaf == "running_var":
        return 1 + 0.1 * x.abs()
    if leaf in ("cls_token", "pos_embedding"):
        return 0.5 * x
    if x.ndim == 1:
        return 0.6 + 0.1 * x if leaf == "weight" else 0.1 * x
    return x / math.sqrt(math.prod(shape[1:]))


def reference_weights(table: Path) -> dict[str, torch.Tensor]:
    weights = {}
    for line in table.read_text().splitlines():
        key, _, shape = line.partition("\t")
        weights[key] = fill_value(key, tuple(map(int, shape.split("x"))) if shape.strip() else ())
    return weights


def photos() -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The reference's photos, three faces and one face, and three feature rows and one."""
    g = torch.Generator().manual_seed(1)
    image = torch.randn((2, 3, 224, 224), generator=g)
    faces = torch.cat([torch.rand((n, 3, 96, 112), generator=g) for n in (3, 1)])
    features = torch.zeros(2, 3, 256)
    features[0] = torch.randn((3, 256), generator=g)
    features[1, :1] = torch.randn((1, 256), generator=g)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    return (
        image,
        {"face_pixels": faces, "face_counts": torch.tensor([3, 1])},
        {"face_features": features, "face_mask": mask},
    )


def whole(weights: dict[str, torch.Tensor]) -> nn.Module:
    """A model with these weights as the original saved it: whole, in DataParallel, its class in the script."""
    root = of_main("FaceAttention", nn.Module)()
    for name, tensor in weights.items():
        *path, leaf = name.split(".")
        parent = root
        for part in path:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent._modules[part]
        if leaf in ("running_mean", "running_var", "num_batches_tracked"):
            parent.register_buffer(leaf, tensor)
        else:
            parent.register_parameter(leaf, nn.Parameter(tensor))
    return nn.DataParallel(root)


@pytest.mark.slow  # writes and reads networks of 25 to 150 million weights
@pytest.mark.parametrize("name", PRESETS)
def test_the_originals_own_logits(
    name: str, shared: Path, main_classes: None, run_script: Callable, tmp_path: Path
) -> None:
    reference = shared / "reference" / "original_fusion"
    expected = json.loads((reference / "outputs.json").read_text())
    image, faces, features = photos()
    inputs = {"image": image, "faces": faces["face_pixels"], "features": features["face_features"]}
    for key, tensor in inputs.items():
        assert float(tensor.double().sum()) == pytest.approx(expected[f"{key}_sum"], abs=0.02)
    weights = reference_weights(reference / f"{name}.tsv")
    first = {key: tensor for key, tensor in weights.items() if not key.startswith(SECOND_FILE)}
    second = {f"module.{key[len(SECOND_FILE) :]}": t for key, t in weights.items() if key.startswith(SECOND_FILE)}
    torch.save(whole(first), tmp_path / "old.pt")
    arguments = ["--checkpoint", tmp_path / "old.pt", "--preset", PRESETS[name], "--output_dir", tmp_path / "new"]
    if second:
        torch.save(second, tmp_path / "crossvit.pt")
        arguments += ["--transformer", tmp_path / "crossvit.pt"]
    code, figures, log = run_script("convert_checkpoint", *arguments)
    assert code == 0, log
    assert figures["mapped"] + len(figures["dropped"]) == len(weights)
    assert all(reason.startswith("not used by the original") for reason in figures["dropped"].values())
    assert figures["new"] == []
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "new").eval()
    with torch.inference_mode():
        logits = model(pixel_values=image, **(features if name == "average" else faces)).logits
    torch.testing.assert_close(logits, torch.tensor(expected["models"][name]["logits"]), atol=1e-4, rtol=0)


# -- the same at a small size and everywhere, against the original's arithmetic written down once more

WIDTH, INNER = 256, 64
BACKBONE, SCENE_WIDTH = "densenet121", 1024


class Original(nn.Module):
    """The original's fusion models, with its names of the weights."""

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling
        self.global_model = torchvision.models.densenet121().features
        face_width = INNER if pooling == "attention_intermediate" else WIDTH
        scene_width = SCENE_WIDTH if pooling == "average" else WIDTH
        if pooling == "average":
            self.bn_global = nn.BatchNorm1d(SCENE_WIDTH, affine=False)
            self.bn_face_features = nn.BatchNorm1d(face_width, affine=False)
        else:
            self.align_model = of_main("sphere20a", SphereFace20)(channels=4)
            self.align_model.fc6 = nn.Linear(512, face_width)
            self.global_fc_main = nn.Linear(SCENE_WIDTH, WIDTH)
            self.bn_debug_global = nn.BatchNorm1d(WIDTH, affine=False)
            self.bn_debug_face = nn.BatchNorm1d(face_width, affine=False)
        if pooling == "attention_intermediate":
            self.global_fc = nn.Linear(WIDTH, INNER)
        if pooling == "attention_score":
            self.attentionfc1, self.attentionfc2 = nn.Linear(WIDTH, INNER), nn.Linear(INNER, 1)
        self.global_fc3_debug = nn.Linear(face_width + scene_width, 3)

    def forward(
        self, image: torch.Tensor, faces: torch.Tensor, counts: list[int], crossvit: nn.Module
    ) -> torch.Tensor:
        """faces: (photos, SLOTS, 3, 96, 112), or (photos, SLOTS, WIDTH) features; black and 0 in empty slots."""
        scene = F.avg_pool2d(F.relu(self.global_model(image)), 7).flatten(1)
        if self.pooling == "average":
            means = torch.stack([f.sum(0) / n if n else f.sum(0) for f, n in zip(faces, counts, strict=True)])
            return self.global_fc3_debug(torch.cat([self.bn_face_features(means), self.bn_global(scene)], 1))
        scene = self.global_fc_main(scene)
        tokens = self.align_model.fc6(self.align_model(faces.flatten(0, 1))).unflatten(0, faces.shape[:2])
        pooled = crossvit(tokens, scene) if self.pooling == "model5_crossvit" else self.attended(tokens, scene, counts)
        return self.global_fc3_debug(torch.cat([self.bn_debug_face(pooled), self.bn_debug_global(scene)], 1))

    def attended(self, tokens: torch.Tensor, scene: torch.Tensor, counts: list[int]) -> torch.Tensor:
        pooled = []
        for photo, query, count in zip(tokens, scene, counts, strict=True):
            if self.pooling == "attention_score":
                scores = self.attentionfc2(self.attentionfc1(photo))[:, 0]
            else:
                query = self.global_fc(query) if self.pooling == "attention_intermediate" else query
                scores = query @ photo.reshape(photo.shape[1], SLOTS)
            pooled.append(scores[:count].softmax(0) @ photo[:count])  # nothing, so 0, where there is no face
        return torch.stack(pooled)


class CrossVit(nn.Module):
    """The original's transformer: weights by its names, applied one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.ParameterDict()
        for side, positions, pixels in (("sm", 17, 48), ("lg", 2, 60)):
            embedder = nn.Module()
            embedder.pos_embedding = nn.Parameter(torch.randn(1, positions, WIDTH))
            embedder.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
            embedder.to_patch_embedding = nn.Sequential(nn.Identity(), nn.Linear(pixels, WIDTH))
            setattr(self, f"{side}_image_embedder", embedder)
            setattr(self, f"{side}_mlp_head", nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)))
        self.multi_scale_encoder = nn.Module()
        self.multi_scale_encoder.layers = nn.ModuleList(
            nn.ModuleList([encoder(1), encoder(2), crossing()]) for _ in range(2)
        )
        self.linear = nn.Linear(WIDTH, 3)

    def forward(self, faces: torch.Tensor, scene: torch.Tensor) -> torch.Tensor:
        small, large = self.embedded("sm", faces), self.embedded("lg", scene[:, None])
        for faces_encoder, scene_encoder, cross in self.multi_scale_encoder.layers:
            small, large = encoded(faces_encoder, small), encoded(scene_encoder, large)
            for small_asks, large_asks in cross.layers:
                first, second = small[:, :1], large[:, :1]
                small_class = first + attention(small_asks.fn, first, large[:, 1:])
                large_class = second + attention(large_asks.fn, second, small[:, 1:])
                small, large = torch.cat([small_class, small[:, 1:]], 1), torch.cat([large_class, large[:, 1:]], 1)
        return self.sm_mlp_head(small[:, 0]) + self.lg_mlp_head(large[:, 0])

    def embedded(self, side: str, tokens: torch.Tensor) -> torch.Tensor:
        embedder = getattr(self, f"{side}_image_embedder")
        tokens = torch.cat([embedder.cls_token.expand(len(tokens), 1, WIDTH), tokens], 1)
        return tokens + embedder.pos_embedding[:, : tokens.shape[1]]


HEADS, HEAD_WIDTH, HIDDEN = 2, 8, 32


def named(**parts: nn.Module) -> nn.Module:
    made = nn.Module()
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def normalised(fn: nn.Module) -> nn.Module:
    return named(norm=nn.LayerNorm(WIDTH), fn=fn)


def attention_weights() -> nn.Module:
    inner = HEADS * HEAD_WIDTH
    to_out = nn.Sequential(nn.Linear(inner, WIDTH), nn.Identity())
    queries, keys = nn.Linear(WIDTH, inner, bias=False), nn.Linear(WIDTH, 2 * inner, bias=False)
    return normalised(named(to_q=queries, to_kv=keys, to_out=to_out))


def encoder(layers: int) -> nn.Module:
    def feed_forward() -> nn.Module:
        net = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Identity(), nn.Linear(HIDDEN, WIDTH))
        return normalised(named(net=net))

    each = nn.ModuleList(nn.ModuleList([attention_weights(), feed_forward()]) for _ in range(layers))
    return named(layers=each, norm=nn.LayerNorm(WIDTH))


def crossing() -> nn.Module:
    return named(
        layers=nn.ModuleList(nn.ModuleList(named(fn=attention_weights()) for _ in range(2)) for _ in range(2))
    )


def attention(weights: nn.Module, x: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
    """`others`: the class token in x attends to itself, normalised, and to these."""
    x = weights.norm(x)
    context = x if others is None else torch.cat([x, others], 1)
    query = weights.fn.to_q(x).unflatten(2, (HEADS, HEAD_WIDTH))
    key, value = (t.unflatten(2, (HEADS, HEAD_WIDTH)) for t in weights.fn.to_kv(context).chunk(2, 2))
    scores = torch.einsum("bihd,bjhd->bhij", query, key) / HEAD_WIDTH**0.5
    return weights.fn.to_out(torch.einsum("bhij,bjhd->bihd", scores.softmax(3), value).flatten(2))


def encoded(branch: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for attend, feed_forward in branch.layers:
        x = x + attention(attend, x)
        x = x + feed_forward.fn.net(feed_forward.norm(x))
    return branch.norm(x)


def of_main(name: str, base: type) -> type:
    """A class as the original's scripts defined it, in the file that was run."""
    made = type(name, (base,), {"__module__": "__main__"})
    setattr(sys.modules["__main__"], name, made)
    return made


@pytest.fixture
def main_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sphere20a", "FaceAttention"):
        monkeypatch.setattr(sys.modules["__main__"], name, None, raising=False)


def with_statistics(model: nn.Module) -> nn.Module:
    """BatchNorm statistics unlike those of a new layer, so that lost ones would show."""
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.8, 1.2)
    return model.eval()


def small_model(pooling: str) -> GerFusionForImageClassification:
    config = GerFusionConfig(
        faces="features" if pooling == "average" else "images",
        scene="image",
        join="both",
        pooling="cross_attention" if pooling == "model5_crossvit" else pooling,
        project=pooling != "average",
        backbone=BACKBONE,
        face_channels=4,
        depth=2,
        face_layers=1,
        scene_layers=2,
        heads=HEADS,
        head_dim=HEAD_WIDTH,
        mlp_dim=HIDDEN,
        as_published=True,
        num_labels=3,
    )
    return GerFusionForImageClassification(config).eval()


@pytest.mark.slow
@pytest.mark.parametrize("pooling", PRESETS)
def test_a_small_model_of_each_kind(pooling: str, main_classes: None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = with_statistics(of_main("FaceAttention", Original)(pooling))
    crossvit = CrossVit()
    weights = {f"module.{name}": tensor for name, tensor in original.state_dict().items()}
    bare = unwrapped(weights)
    tensors = {bare[name]: tensor for name, tensor in weights.items()}
    if pooling == "model5_crossvit":
        tensors |= {SECOND_FILE + name: tensor for name, tensor in crossvit.state_dict().items()}
    model = small_model(pooling)
    conversion = fill(model, OldCheckpoint("a state dict", tensors), "old.pt")
    assert len(conversion.mapped) + len(conversion.dropped) == len(tensors)
    assert conversion.new == []
    assert "computes as the original's code does" in conversion.notes[0]

    counts = [3, 0, SLOTS]
    pixels = torch.randn(3, 3, 224, 224)
    shape = (WIDTH,) if pooling == "average" else (3, 96, 112)
    slots = torch.zeros(3, SLOTS, *shape)
    for photo, count in zip(slots, counts, strict=True):
        photo[:count] = torch.rand(count, *shape)
    mask = torch.arange(SLOTS)[None] < torch.tensor(counts)[:, None]
    if pooling == "average":
        faces = {"face_features": slots, "face_mask": mask}
    else:
        faces = {"face_pixels": slots[mask], "face_counts": torch.tensor(counts)}
    with torch.inference_mode():
        wanted = original(pixels, slots, counts, crossvit)
        assert wanted.std(0).max() > 1e-3, "photos differ, so equal logits below mean something"
        got = model(pixel_values=pixels, output_faces=True, **faces)
        torch.testing.assert_close(got.logits, wanted, atol=1e-4, rtol=1e-4)
        assert got.face_attention.shape == (3, SLOTS)
        assert not got.face_attention[~mask].any()
        model.save_pretrained(tmp_path)
        again = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
        assert torch.equal(again(pixel_values=pixels, **faces).logits, got.logits)


def test_more_faces_than_slots_are_refused() -> None:
    model = small_model("attention_scene")
    with pytest.raises(ValueError, match="at most 15 faces of a photo, found 16"):
        model(
            pixel_values=torch.zeros(1, 3, 32, 32),
            face_pixels=torch.zeros(16, 3, 96, 112),
            face_counts=torch.tensor([16]),
        )


@pytest.mark.parametrize("fields", [{"scene": "none", "join": "pooled"}, {"join": "pooled"}, {"faces": "expressions"}])
def test_a_configuration_that_the_original_did_not_have(fields: dict) -> None:
    original = {"scene": "image", "join": "both", "faces": "images"}
    with pytest.raises(ValueError, match="as_published must be false"):
        GerFusionConfig(as_published=True, **{**original, **fields})
    with pytest.raises(ValueError, match="face_slots"):
        GerFusionConfig(face_slots=17)


def test_published_faces_are_the_part_of_an_aligned_face_that_the_original_kept() -> None:
    from ger_models import GerProcessor

    face = Image.new("RGB", (96, 112), (0, 0, 0))
    for x, y in ((30, 52), (66, 52)):  # the eyes of SphereFace's template
        face.paste((255, 255, 255), (x - 1, y - 1, x + 2, y + 2))
    original_size = Image.new("RGB", (112, 96), (255, 0, 0))
    row = {"aligned_faces": [face, original_size]}
    pixels = GerProcessor(columns=["aligned_faces"], published_faces=True)(row)["face_pixels"]
    assert pixels.shape == (2, 3, 96, 112)
    assert (pixels.min(), pixels.max()) == (0, 1)
    columns = pixels[0, 0].sum(0)
    left, right = columns[:56].argmax(), 56 + columns[56:].argmax()
    assert (int(left), int(right)) == pytest.approx((33.6, 78.4), abs=2)
    assert int(pixels[0, 0].sum(1).argmax()) == pytest.approx(28.8, abs=2)
    assert (pixels[1].amax((1, 2)) == torch.tensor([1.0, 0, 0])).all()


@pytest.fixture(scope="module")
def average_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole pickled DataParallel model of the original's `average`, at its own size."""
    folder = tmp_path_factory.mktemp("average")
    torch.manual_seed(1)
    whole = of_main("FaceAttention", nn.Module)()
    whole.global_model = torchvision.models.densenet161().features
    whole.global_fc3_debug = nn.Linear(2464, 3)
    whole.bn_global, whole.bn_face_features = (nn.BatchNorm1d(n, affine=False) for n in (2208, 256))
    torch.save(nn.DataParallel(whole), folder / "model.pt")
    return folder / "model.pt"


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_model_runs_in_the_pipeline(average_checkpoint: Path, tmp_path: Path) -> None:
    report = convert(average_checkpoint, "fusion_average", tmp_path / "new", NAMES)
    assert report["source"]["form"] == "a whole DataParallel"
    assert report["dropped"] == {}
    assert AutoModelForImageClassification.from_pretrained(tmp_path / "new").config.as_published
    answer = pipeline("group-emotion", model=str(tmp_path / "new"))(Image.new("RGB", (64, 48), "grey"))
    assert answer["label"] in NAMES
    assert "as_published" in (tmp_path / "new" / "README.md").read_text()


def test_faces_in_the_pipeline(tmp_path: Path) -> None:
    small_model("attention_score").save_pretrained(tmp_path)
    from ger_models import GerProcessor

    columns = ["aligned_faces", "image"]
    GerProcessor(columns=columns, keep_aspect=False, published_faces=True).save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path).published_faces
    run = pipeline("group-emotion", model=str(tmp_path))
    answer = run(Image.new("RGB", (64, 64), "grey"), whole_face=True)
    assert (answer["face_count"], len(answer["faces"])) == (1, 1)
    assert answer["faces"][0]["attention"] == pytest.approx(1)


def test_a_missing_second_file_and_one_too_many(average_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fusion_average has no transformer"):
        convert(average_checkpoint, "fusion_average", tmp_path / "a", NAMES, transformer=average_checkpoint)
    (tmp_path / "evil.pt").write_bytes(b"\x80\x02cos\nsystem\n.")
    with pytest.raises(UserError, match=r"evil.pt cannot be converted: it asks for 'os.system'.*nothing in it"):
        convert(average_checkpoint, "model5", tmp_path / "a", NAMES, transformer=tmp_path / "evil.pt")
    model = small_model("model5_crossvit")
    original = of_main("FaceAttention", Original)("model5_crossvit")
    with pytest.raises(UserError, match="give the file of the transformer with --transformer"):
        fill(model, OldCheckpoint("a state dict", original.state_dict()), "old.pt")
    with pytest.raises(UserError, match=r"does not have: attentionfc1\.weight"):
        fill(model, OldCheckpoint("x", {**original.state_dict(), "attentionfc1.weight": torch.ones(2)}), "old.pt")
    assert not (tmp_path / "a").exists()
