"""Every feature belongs to its face, whatever the batch, the photo or the device; faces are cut out in place."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from faces_compared import assert_same_faces
from forked import forked
from PIL import Image
from torchvision.ops import box_iou

from ger_datasets.faces import (
    DETECTORS,
    MODES,
    FaceDetector,
    FaceExtractor,
    Faces,
    align_faces,
    crop_faces,
    detector,
)
from ger_datasets.faces.alignment import SPHEREFACE_TEMPLATE, similarity_transform
from ger_datasets.faces.resampling import AreaPhotos
from ger_datasets.sample.drawing import draw_photo


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [draw_photo(rng, "Positive", people)[0] for people in (1, 5, 12)]


def test_every_feature_is_the_hidden_layer_of_its_own_face(
    drawn: list[Image.Image], extractor: FaceExtractor, reference: MTCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row, recomputed from its own crop by facenet-pytorch's O-Net, gives back its feature."""
    squares: list[torch.Tensor] = []
    original = AreaPhotos.crops

    def remember(photos: AreaPhotos, index: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
        if side == 48:
            squares.append(boxes)
        return original(photos, index, boxes, side)

    monkeypatch.setattr(AreaPhotos, "crops", remember)
    hidden: list[torch.Tensor] = []
    reference.onet.prelu5.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    for image in drawn:
        squares.clear()
        (faces,) = extractor.extract([image])
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        features, scores, boxes = [], [], []
        for x1, y1, x2, y2 in torch.cat(squares).tolist():
            crop = torch.nn.functional.interpolate(pixels[:, :, y1:y2, x1:x2], (48, 48), mode="area")
            with torch.no_grad():
                _, _, probabilities = reference.onet((crop - 127.5) * 0.0078125)
            features.append(hidden[-1][0].numpy())
            scores.append(float(probabilities[0, 1]))
            boxes.append([x1, y1, x2, y2])
        assert len(faces) > 0
        overlaps = box_iou(torch.from_numpy(faces.boxes), torch.tensor(boxes).float()).numpy()
        for i in range(len(faces)):
            # its own crop: same score, and there is the face
            own = np.flatnonzero((np.abs(np.array(scores) - faces.scores[i]) < 1e-5) & (overlaps[i] > 0.3))
            distance = min(np.abs(features[j] - faces.features[i]).max() for j in own)
            assert distance < 1e-4, f"face {i}: {distance}"
            for other in set(range(len(faces))) - {i}:
                assert np.abs(faces.features[other] - faces.features[i]).max() > 0.01


def test_batches_give_what_single_photos_give(drawn: list[Image.Image], extractor: FaceExtractor) -> None:
    turned = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in drawn]  # two of each size
    small = [image.resize((150, 110)) for image in (*drawn, *turned)]  # six in one group
    images = [*drawn, Image.new("RGB", (50, 40)), *turned, *small]
    for image, faces in zip(images, extractor.extract(images), strict=True):
        flipped = np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        (alone,) = extractor.extract([flipped[:, ::-1]])  # read-only and backwards in memory
        assert_same_faces(faces, alone)
    assert sum(map(len, extractor.extract(small))) >= 4


def test_neither_groups_nor_chunks_change_the_faces(
    drawn: list[Image.Image], extractor: FaceExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = extractor.extract([drawn[1]] * 3)
    together = FaceExtractor(group_megapixels=100)
    monkeypatch.setitem(together.chunks, "rnet_crops", 50)
    monkeypatch.setitem(together.chunks, "onet_crops", 7)
    monkeypatch.setitem(together.chunks, "pnet_pixels", 30_000)
    for faces, others in zip(usual, together.extract([drawn[1]] * 3), strict=True):
        assert_same_faces(faces, others)


@pytest.mark.slow
def test_two_threads_find_what_one_finds(drawn: list[Image.Image], extractor: FaceExtractor) -> None:
    one = extractor.extract(drawn[:2])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = extractor.extract(drawn[:2])
    finally:
        torch.set_num_threads(threads)
    for some, others in zip(one, two, strict=True):
        assert_same_faces(some, others)


def test_other_devices_take_the_same_way(
    drawn: list[Image.Image], extractor: FaceExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on a GPU, on the CPU: large chunks, and networks that are not in oneDNN's layout."""
    monkeypatch.setattr("platform.machine", lambda: "another")
    monkeypatch.setitem(detector.CHUNKS, "cpu", detector.CHUNKS["cuda"])
    other = FaceExtractor(device="cpu")
    assert not other.onet.trunk.blocked
    for some, others in zip(extractor.extract(drawn), other.extract(drawn), strict=True):
        assert_same_faces(some, others)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_what_the_cpu_finds(drawn: list[Image.Image], extractor: FaceExtractor) -> None:
    for some, others in zip(extractor.extract(drawn), FaceExtractor(device="cuda").extract(drawn), strict=True):
        np.testing.assert_allclose(some.boxes, others.boxes, atol=0.5)  # TF32 convolutions


def test_boxes_of_another_detector_are_described(drawn: list[Image.Image], extractor: FaceExtractor) -> None:
    image = drawn[0]
    square = np.array([[100, 80, 180, 160]], np.float32)
    features, none = extractor.describe([image, image], [square, np.zeros((0, 4))])
    assert none.shape == (0, 256)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()[:, :, 79:160, 99:180]
    crop = torch.nn.functional.interpolate(pixels, (48, 48), mode="area")
    np.testing.assert_allclose(features, extractor.onet(crop)[-1], atol=1e-5)
    with pytest.raises(ValueError, match="outside"):
        extractor.describe([image], [np.array([[5000, 10, 5050, 60]])])


def test_detectors_are_chosen_by_name() -> None:
    for make in DETECTORS.values():
        assert isinstance(make(), FaceDetector)


def test_rows_are_sorted_and_boxes_lie_inside(drawn: list[Image.Image], extractor: FaceExtractor) -> None:
    for image, faces in zip(drawn, extractor.extract(drawn), strict=True):
        assert (np.diff(faces.scores) <= 0).all()
        assert (faces.boxes >= 0).all()
        assert (faces.boxes <= [*image.size, *image.size]).all()
        assert (faces.boxes[:, 2:] > faces.boxes[:, :2]).all()


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (12, 300), (19, 19), (20, 20), (21, 400), (300, 200)])
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_photos_without_faces(size: tuple[int, int], fill: str, extractor: FaceExtractor) -> None:
    if fill == "noise":
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    else:
        image = Image.new("RGB", size, fill)
    (faces,) = extractor.extract([image])
    assert faces.boxes.shape == (len(faces), 4)
    assert faces.landmarks.shape == (len(faces), 5, 2)
    assert faces.features.shape == (len(faces), 256)
    assert len(faces) == 0


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 90)])
@pytest.mark.parametrize("mode", list(MODES))
def test_constant_colours_hold_no_face(colour: tuple[int, int, int], mode: str) -> None:
    images = [Image.new("RGB", (120, 90), colour), Image.new("RGB", (10, 10), colour)]
    assert list(map(len, FaceExtractor(mode=mode).extract(images))) == [0, 0]


def test_one_face_and_two_hundred(extractor: FaceExtractor) -> None:
    photo, _ = draw_photo(np.random.default_rng(2), "Positive", 1, size=(200, 180))
    (one,) = extractor.extract([photo])
    assert len(one) == 1
    x1, y1, x2, y2 = one.boxes[0]
    middle, side = np.array([x1 + x2, y1 + y2]) / 2, 1.1 * max(x2 - x1, y2 - y1)
    head = photo.crop((*(middle - side).astype(int), *(middle + side).astype(int))).resize((100, 100))
    crowd = Image.new("RGB", (2000, 1000), "grey")
    for i in range(200):
        crowd.paste(head, (100 * (i % 20), 100 * (i // 20)))
    (many,) = extractor.extract([crowd])
    assert len(many) >= 200
    for values in (many.boxes, many.scores, many.landmarks, many.features):
        assert np.isfinite(values).all()
    near = [
        (np.abs(many.landmarks.mean(1) - [100 * (i % 20) + 50, 100 * (i // 20) + 50]) < 30).all(1) for i in range(200)
    ]
    assert all(face.any() for face in near)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
def test_fifty_megapixels_fit_into_two_gigabytes(extractor: FaceExtractor) -> None:
    """Together with the 900 MB that a process holds at most when it has imported what it needs."""
    photo, _ = draw_photo(np.random.default_rng(2), "Positive", 3, size=(420, 280))

    def find() -> None:
        import resource  # not on every system

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # what the child shares with this process
        image = photo.resize((8660, 5774))
        (faces,) = extractor.extract([image])
        align_faces(image, faces.landmarks)
        print(len(faces), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    code, printed, log = forked(find).wait()
    assert code == 0, log
    faces, kilobytes = map(int, printed.split())
    assert faces == 3
    assert 300_000 < kilobytes < 2_000_000 - 900_000


def test_no_photos_and_what_is_no_photo(extractor: FaceExtractor) -> None:
    assert extractor.extract([]) == []
    assert extractor.describe([], []) == []
    with pytest.raises(ValueError, match="uint8"):
        extractor.extract([np.zeros((40, 40, 3), np.float32)])
    with pytest.raises(ValueError, match="12"):
        FaceExtractor(min_face_pixels=5)
    with pytest.raises(ValueError, match="factor"):
        FaceExtractor(factor=1.0)
    with pytest.raises(ValueError, match="thresholds"):
        FaceExtractor(thresholds=(0.6, 0.7))
    with pytest.raises(ValueError, match="group_megapixels"):
        FaceExtractor(group_megapixels=0)


def test_area_resampling_equals_pytorch(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (2, 97, 131, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    photos = AreaPhotos(list(pixels))
    for height, width in ((58, 79), (12, 16), (97, 131)):
        expected = torch.nn.functional.interpolate(tensor, (height, width), mode="area")
        torch.testing.assert_close(photos.level(height, width, 0, height), expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(photos.level(height, width, 3, 9), expected[:, :, 3:9], atol=1e-3, rtol=0)
    boxes = torch.tensor([[0, 0, 131, 97], [5, 7, 8, 9], [130, 96, 131, 97], [10, 20, 90, 95]])
    index = torch.tensor([0, 1, 1, 0])
    for side in (24, 48):
        expected = torch.cat(
            [
                torch.nn.functional.interpolate(tensor[[i], :, y1:y2, x1:x2], (side, side), mode="area")
                for i, (x1, y1, x2, y2) in zip(index.tolist(), boxes.tolist(), strict=True)
            ]
        )
        torch.testing.assert_close(photos.crops(index, boxes, side), expected, atol=1e-3, rtol=0)


def test_cells_too_large_for_the_packed_sums_are_summed_in_parts(rng: np.random.Generator) -> None:
    """White overflows 21 bits from 8,225 pixels on, and the whole table 64 bits; the averages must not show it."""
    white = AreaPhotos([np.full((3000, 4000, 3), 255, np.uint8)])
    assert (white.level(12, 16, 0, 12) - 255).abs().max() < 1e-3
    box = torch.tensor([[0, 0, 4000, 3000], [7, 3, 31, 27]])
    assert (white.crops(torch.tensor([0, 0]), box, 24) - 255).abs().max() < 1e-3

    pixels = rng.integers(0, 256, (1500, 1700, 3), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None].double(), (12, 14), mode="area"
    )
    torch.testing.assert_close(AreaPhotos([pixels]).level(12, 14, 0, 12).double(), expected, atol=1e-3, rtol=0)


def test_similarity_transform_is_found_again(rng: np.random.Generator) -> None:
    angle, scale, shift = 0.4, 2.5, np.array([30.0, -12.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (SPHEREFACE_TEMPLATE - shift) @ np.linalg.inv(turn).T
    matrices = similarity_transform(np.stack([points, SPHEREFACE_TEMPLATE]))
    np.testing.assert_allclose(matrices[0, :, :2], turn, atol=1e-9)
    np.testing.assert_allclose(matrices[0, :, 2], shift, atol=1e-9)
    np.testing.assert_allclose(matrices[1], [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_aligned_faces_put_the_landmarks_on_the_template() -> None:
    """Dots at the landmarks of a turned, doubled face come out at the template's places."""
    angle = np.deg2rad(25)
    turn = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = SPHEREFACE_TEMPLATE @ turn.T + [180, 40]
    image = np.zeros((420, 480, 3), np.uint8)
    for x, y in landmarks:
        rows, columns = np.mgrid[:420, :480]
        image[np.hypot(columns - x, rows - y) < 5] = 255
    (face,) = align_faces(Image.fromarray(image), landmarks[None].astype(np.float32))
    assert face.size == (96, 112)
    bright = np.asarray(face)[..., 0] > 128
    for x, y in SPHEREFACE_TEMPLATE:
        corner = np.array([int(y) - 5, int(x) - 5])
        near = corner + np.argwhere(bright[corner[0] : corner[0] + 12, corner[1] : corner[1] + 12])
        np.testing.assert_allclose(near.mean(0), [y, x], atol=0.5)
    assert not bright[:40].any()


def test_aligning_never_fails() -> None:
    image = Image.new("RGB", (60, 50), "white")
    same = np.full((1, 5, 2), 25, np.float32)
    outside = (SPHEREFACE_TEMPLATE[None] + 1000).astype(np.float32)
    faces = align_faces(image, np.concatenate([same, outside]))
    assert [face.size for face in faces] == [(96, 112)] * 2
    assert np.asarray(faces[1]).max() == 0
    assert align_faces(image, np.zeros((0, 5, 2), np.float32)) == []


def test_the_original_lays_the_eyes_level() -> None:
    """As OpenCV's rotation about the eyes' middle: 30 % and 70 % of 112 pixels, 30 % of 96 pixels down."""
    image = np.zeros((200, 300, 3), np.uint8)
    eyes = np.array([[110.0, 90.0], [170.0, 120.0]])
    rows, columns = np.mgrid[:200, :300]
    for x, y in eyes:
        image[np.hypot(columns - x, rows - y) < 5] = 255
    landmarks = np.concatenate([eyes, np.zeros((3, 2))])[None].astype(np.float32)
    (face,) = align_faces(Image.fromarray(image), landmarks, "original")
    assert face.size == (112, 96)
    bright = np.asarray(face)[..., 0] > 128
    for part, (x, y) in ((slice(0, 56), (33.6, 28.8)), (slice(56, 112), (78.4, 28.8))):
        near = np.argwhere(bright[:, part]).mean(0) + np.array([0, part.start])
        np.testing.assert_allclose(near, [y, x], atol=0.6)
    with pytest.raises(ValueError, match="sphereface, original"):
        align_faces(Image.fromarray(image), landmarks, "umeyama")


def test_large_faces_do_not_alias() -> None:
    """A fine chequerboard behind a face of eight times the template's size comes out grey, not as moiré."""
    rows, columns = np.mgrid[:1000, :900]
    board = np.repeat((((rows + columns) % 2) * 255).astype(np.uint8)[..., None], 3, 2)
    (face,) = align_faces(Image.fromarray(board), SPHEREFACE_TEMPLATE[None].astype(np.float32) * 8 + 20)
    assert np.asarray(face).std() < 3
    assert abs(np.asarray(face).mean() - 127.5) < 2


def test_crops_are_the_boxes_as_they_stand() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    crops = crop_faces(image, np.array([[10.2, 20.7, 30.1, 40.0], [0, 0, 256, 256], [3.1, 3.1, 3.2, 3.2]]))
    assert [crop.size for crop in crops] == [(21, 20), (256, 256), (1, 1)]
    assert crops[0].getpixel((0, 0)) == image.getpixel((10, 20))


def test_selecting_faces_selects_every_array() -> None:
    faces = Faces(
        *(
            np.arange(3 * n, dtype=np.float32).reshape(3, *s)
            for n, s in ((4, (4,)), (1, ()), (10, (5, 2)), (256, (256,)))
        )
    )
    some = faces.select(np.array([2, 0]))
    assert len(some) == 2
    assert some.scores.tolist() == [2, 0]
    assert some.features[0, 0] == 512
