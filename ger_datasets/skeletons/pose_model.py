"""SkeletonModel: a person detector and ViTPose -> the `skeleton` column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..records import Record
from ..support.errors import UserError, listing
from ..support.hub_connection import read_from_hub
from .drawing import COCO_17, draw_skeletons
from .openpose import MAX_PEOPLE

DETECTOR = "PekingU/rtdetr_r50vd_coco_o365"  # RT-DETR (Zhao et al. 2024, arXiv 2304.08069)
# What transformers' documentation of ViTPose uses for both.
MIN_PERSON_SCORE, MIN_JOINT_SCORE = 0.3, 0.3
MIN_PERSON_PIXELS = 4  # of a box's shorter side; less shows no limbs
PEOPLE_CHUNK = 16  # people per forward: bounds the memory of a crowd
COCO_EXPERT = 0  # ViTPose+: the expert that knows MS COCO's joints
SAFE = {"trust_remote_code": False}


@dataclass(frozen=True)
class Networks:
    """Both models with their processors, and the detector's labels that mean a person."""

    detector: Any
    detector_processor: Any
    person_labels: tuple[int, ...]
    pose: Any
    pose_processor: Any


class SkeletonModel:
    """Skeletons that two models find: people by a detector, then each one's joints by ViTPose.

    ViTPose: Xu et al. 2022, arXiv 2204.12484. The weights are loaded on first use, and do not travel when pickled.

    Args:
        pose: `usyd-community/vitpose-base-simple` or another ViTPose with COCO-17 joints: a name on the Hub or a
            checkpoint's folder.
        detector: an object detector of transformers with a label `person`; likewise.
        device: where they run.
    """

    name = "skeletons"

    def __init__(self, pose: str, detector: str = DETECTOR, device: str | torch.device = "cpu") -> None:
        self.pose, self.detector, self.device = pose, detector, device
        self._networks: Networks | None = None
        self.settings: Mapping[str, Any] = {
            "kind": "pose_model",
            "pose": _public(pose),
            "detector": _public(detector),
            "min_person_score": MIN_PERSON_SCORE,
            "min_joint_score": MIN_JOINT_SCORE,
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_networks": None}

    def check(self) -> None:
        """Raises UserError if the configurations cannot be had or are not those of such models; loads no weights."""
        _pose_config(self.pose)
        _person_labels(_config(self.detector, "detector"), self.detector)

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """`{"skeleton": RGB image of the photo's size}`, black where nobody is found.

        Raises:
            UserError: on first use, if the weights cannot be loaded.
        """
        people = self.find_people(image)
        return {"skeleton": draw_skeletons(people, image.size, COCO_17, MIN_JOINT_SCORE)}

    @torch.inference_mode()
    def find_people(self, image: Image.Image) -> np.ndarray:
        """The joints of everybody in `image` (upright, RGB).

        Returns:
            (people, 17, 3) float64: x, y in pixels, score; the surest person first.
        """
        if self._networks is None:
            self._networks = _load(self.pose, self.detector, self.device)
        networks = self._networks
        boxes = self._boxes(networks, image).tolist()
        people = [np.zeros((0, COCO_17.joints, 3))]
        for i in range(0, len(boxes), PEOPLE_CHUNK):
            chunk = boxes[i : i + PEOPLE_CHUNK]
            inputs = networks.pose_processor(image, boxes=[chunk], return_tensors="pt").to(self.device)
            if networks.pose.config.backbone_config.num_experts > 1:
                inputs["dataset_index"] = torch.full((len(chunk),), COCO_EXPERT, device=self.device)
            found = networks.pose_processor.post_process_pose_estimation(networks.pose(**inputs), boxes=[chunk])[0]
            joints = [torch.cat([person["keypoints"], person["scores"][:, None]], 1) for person in found]  # (17, 3)
            people.append(torch.stack(joints).cpu().double().numpy())
        return np.concatenate(people)

    def _boxes(self, networks: Networks, image: Image.Image) -> np.ndarray:
        """(people, 4): x, y, width, height in pixels, inside the photo, the surest first."""
        inputs = networks.detector_processor(images=image, return_tensors="pt").to(self.device)
        size = [(image.height, image.width)]
        found = networks.detector_processor.post_process_object_detection(
            networks.detector(**inputs), threshold=MIN_PERSON_SCORE, target_sizes=size
        )[0]
        found = {name: found[name].cpu().double().numpy() for name in ("boxes", "labels", "scores")}
        order = np.argsort(-found["scores"], kind="stable")
        order = order[np.isin(found["labels"][order], networks.person_labels)][:MAX_PEOPLE]
        boxes_xyxy = np.clip(found["boxes"][order], 0, np.array(image.size * 2))
        boxes = np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], 1)
        return boxes[(boxes[:, 2:] >= MIN_PERSON_PIXELS).all(1)]


def _load(pose: str, detector: str, device: str | torch.device) -> Networks:
    from transformers import AutoModelForObjectDetection, VitPoseForPoseEstimation

    _pose_config(pose)
    labels = _person_labels(_config(detector, "detector"), detector)
    models, processors = [], []
    for kind, name, auto in (
        ("detector", detector, AutoModelForObjectDetection),
        ("pose model", pose, VitPoseForPoseEstimation),
    ):
        try:
            (model, info), processor = read_from_hub(name, partial(_open, auto, name))
            processors.append(processor)
        except Exception as error:  # whatever transformers makes of a broken checkpoint
            raise _cannot_load(name, kind, error) from error
        random = sorted(info["missing_keys"] & dict(model.named_parameters()).keys())
        if random:
            raise UserError(f"skeletons: the {kind} {name} lacks weights: {listing(random, 3)}; give a trained one")
        models.append(model.eval().requires_grad_(False).to(device))
    return Networks(models[0], processors[0], labels, models[1], processors[1])


def _open(auto: Any, name: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor

    loaded = auto.from_pretrained(name, use_safetensors=True, output_loading_info=True, **SAFE)
    return loaded, AutoImageProcessor.from_pretrained(name, **SAFE)


def _config(name: str, kind: str) -> Any:
    from transformers import AutoConfig

    try:
        return read_from_hub(name, lambda: AutoConfig.from_pretrained(name, **SAFE))
    except Exception as error:
        raise _cannot_load(name, kind, error) from error


def _pose_config(name: str) -> None:
    config = _config(name, "pose model")
    if config.model_type != "vitpose":
        raise UserError(f"skeletons: {name} is a {config.model_type} model; the pose model must be a ViTPose")
    if config.num_labels != COCO_17.joints:
        raise UserError(
            f"skeletons: {name} finds {config.num_labels} joints; expected the {COCO_17.joints} of MS COCO"
        )


def _person_labels(config: Any, name: str) -> tuple[int, ...]:
    labels = tuple(number for number, label in config.id2label.items() if str(label).lower() == "person")
    if not labels:
        raise UserError(f"skeletons: the detector {name} has no label person, but {listing(config.id2label.values())}")
    return labels


def _cannot_load(name: str, kind: str, error: Exception) -> UserError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return UserError(
        f"skeletons: {name} is not a folder of skeletons, and no {kind} can be loaded by that name: {reason}"
    )


def _public(name: str) -> str:
    """`name`, or of a checkpoint's folder its last part: without its path on this machine."""
    return Path(name).resolve().name if Path(name).is_dir() else name
