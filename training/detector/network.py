"""The network behind the bundled detector: LibreYOLO's YOLOX with its loss, exported to ONNX and read back.

As "lite0" it has another backbone (`lite_backbone.py`), and LibreYOLO cannot open it.

The model and the loss are LibreYOLO's own; this module adds mixed precision that is safe on a CPU, an average of
the weights, and an ONNX file that keeps every weight under its LibreYOLO name. So the one file is served by ONNX
Runtime, opened by LibreYOLO, and trained further from here.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.detector.lite_backbone import LiteBackbone
from xray_app.atomic_write import atomic_write
from xray_app.errors import BadModel

OPSET = 17


class DetectorNetwork:
    """A YOLOX model with what training needs of it.

    Attributes:
        model: LibreYOLO's `LibreYOLOXModel`.
        labels: canonical class names by class index.
        variant: LibreYOLO's size letter, "n" (nano), "t" (tiny), "s" …, or "lite0": neck and head of "t" on an
            EfficientNet-lite0.
    """

    def __init__(self, labels: Sequence[str], variant: str) -> None:
        architecture = _import_training_library("libreyolo.models.yolox.nn").LibreYOLOXModel
        self.labels = tuple(labels)
        self.variant = variant
        lite = variant == "lite0"
        self.model: Any = architecture(config="t" if lite else variant, nb_classes=len(self.labels))
        if lite:
            self.model.backbone.backbone = LiteBackbone((96, 192, 384))
        self.model.head.initialize_biases(0.01)
        self.model.to(memory_format=torch.channels_last)

    @classmethod
    def from_scratch(cls, labels: Sequence[str], variant: str) -> DetectorNetwork:
        """A network that has seen no scan: weights at random, or of "lite0" those learned on photographs.

        Raises:
            BadModel: the package with those weights is not installed.
        """
        network = cls(labels, variant)
        if variant == "lite0":
            network.model.backbone.backbone.load_photographs()
        return network

    def sight(self) -> Iterator[torch.nn.Parameter]:
        """Weights that were learned on photographs and are trained on, more slowly than the rest."""
        if self.variant == "lite0":
            backbone = self.model.backbone.backbone
            learned = [backbone._conv_stem, backbone._bn0, backbone._blocks]
            yield from (p for part in learned for p in part.parameters() if p.requires_grad)

    def loss(self, images: torch.Tensor, targets: torch.Tensor, unlabelled: torch.Tensor, bf16: bool) -> torch.Tensor:
        """LibreYOLO's YOLOX loss (SimOTA assignment), one number.

        Only the convolutions run in bfloat16: box coordinates of a few hundred pixels need more than its
        eight bits of mantissa.

        Args:
            images: (B, 3, S, S) float, blue-green-red, 0 to 255.
            targets: (B, most boxes, 5): class, centre x and y, width, height in pixels; zero rows are padding.
            unlabelled: (B, classes) bool, classes nobody looked for in a scan: a box of one of them outside
                the true boxes is neither right nor wrong.
            bf16: run the convolutions in bfloat16.
        """
        head = self.model.head
        maps: list[torch.Tensor] = []
        raw_boxes: list[torch.Tensor] = []
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            for level, feature in enumerate(self.model.backbone(images)):
                stem = head.stems[level](feature)
                about_class, about_box = head.cls_convs[level](stem), head.reg_convs[level](stem)
                boxes = head.reg_preds[level](about_box)
                maps.append(torch.cat([boxes, head.obj_preds[level](about_box), head.cls_preds[level](about_class)], 1))
                raw_boxes.append(boxes)
        outputs, x_shifts, y_shifts, strides = [], [], [], []
        for level, found in enumerate(maps):
            stride = head.strides[level]
            output, grid = head.get_output_and_grid(found.float(), level, stride, found.float().type())
            outputs.append(output)
            x_shifts.append(grid[:, :, 0])
            y_shifts.append(grid[:, :, 1])
            strides.append(torch.full((1, grid.shape[1]), float(stride), device=images.device))
        unmoved = [boxes.float().flatten(2).permute(0, 2, 1) for boxes in raw_boxes] if head.use_l1 else []
        predicted = torch.cat(outputs, 1)
        if unlabelled.any():
            centres = torch.stack([torch.cat(x_shifts, 1)[0], torch.cat(y_shifts, 1)[0]], 1) + 0.5
            predicted = _without_unlabelled(predicted, targets, unlabelled, centres, torch.cat(strides, 1)[0])
        losses = head.get_losses(images, x_shifts, y_shifts, strides, targets, predicted, unmoved, dtype=torch.float32)
        total: torch.Tensor = losses["total_loss"]
        return total

    def averaged_copy(self) -> DetectorNetwork:
        """An independent network with the same weights, for the running average."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model).eval()
        for parameter in other.model.parameters():
            parameter.requires_grad_(False)
        return other

    @torch.no_grad()
    def average_with(self, newer: DetectorNetwork, step: int, decay: float) -> None:
        """Moves this average towards `newer`; faster at first, when the old weights mean little."""
        keep = min(decay, (1 + step) / (10 + step))
        current = newer.model.state_dict()
        for name, mine in self.model.state_dict().items():
            if mine.dtype.is_floating_point:
                mine.lerp_(current[name], 1 - keep)
            else:
                mine.copy_(current[name])

    def export(self, path: Path, size: int, name: str) -> None:
        """Writes the ONNX file, whole or not at all: square inputs of any multiple of 32, in any number.

        Args:
            path: the file to write.
            size: the side of the square it is meant for, pixels; kept in the metadata.
            name: what the desk calls the model.
        """
        onnx = _import_training_library("onnx")
        model = copy.deepcopy(self.model).cpu().float().eval()
        model.head.export = True
        # PRESERVE and no folding: batch normalisation stays in the graph, so that the weights can be trained
        # on. ONNX Runtime folds it when it loads the file, and answers as fast.
        with atomic_write(path) as part:
            torch.onnx.export(
                model,
                (torch.zeros(1, 3, size, size),),
                str(part),
                dynamo=False,
                opset_version=OPSET,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                input_names=["images"],
                output_names=["output"],
                dynamic_axes={
                    "images": {0: "batch", 2: "height", 3: "width"},
                    "output": {0: "batch", 1: "anchors"},
                },
            )
            exported = onnx.load(str(part))
            for key, value in _metadata(self.labels, self.variant, size, name).items():
                exported.metadata_props.add(key=key, value=value)
            onnx.save(exported, str(part))

    def save_for_libreyolo(self, path: Path, size: int) -> None:
        """Writes LibreYOLO's own checkpoint, whole or not at all, for `LibreYOLO(path)` and its command line."""
        from libreyolo.utils.serialization import wrap_libreyolo_checkpoint

        checkpoint = wrap_libreyolo_checkpoint(
            self.model.state_dict(),
            model_family="yolox",
            size=self.variant,
            task="detect",
            nc=len(self.labels),
            names=dict(enumerate(self.labels)),
            imgsz=size,
        )
        # Into an open file: given a path, torch writes the path's name, which is a random one, into the file.
        with atomic_write(path) as part, part.open("wb") as file:
            torch.save(checkpoint, file)

    @classmethod
    def from_onnx(cls, path: Path, labels: Sequence[str] = ()) -> DetectorNetwork:
        """A network with the weights of a file `export` wrote.

        Args:
            path: the ONNX file.
            labels: classes it is to know; those the file does not know are added after its own, untrained.

        Raises:
            BadModel: not such a file.
        """
        onnx = _import_training_library("onnx")
        try:
            exported = onnx.load(str(path))
            facts = {entry.key: entry.value for entry in exported.metadata_props}
            known = [name for _, name in sorted(json.loads(facts["names"]).items(), key=lambda item: int(item[0]))]
            variant = facts["size"]
        except Exception as error:  # protobuf, JSON and key errors alike mean it is not ours
            raise BadModel(f"{path} holds no LibreYOLO YOLOX weights to train from: {error}") from error
        weights = _weights(exported)
        network = cls([*known, *(label for label in labels if label not in known)], variant)
        own = network.model.state_dict()
        for name, value in own.items():
            if name.endswith("num_batches_tracked"):
                continue
            if name not in weights:
                raise BadModel(f"{path} lacks the weights {name}; was it simplified after export?")
            loaded = torch.from_numpy(weights[name].copy())
            if ".cls_preds." in name:
                value[: len(known)] = loaded
            elif loaded.shape == value.shape:
                value.copy_(loaded)
            else:
                raise BadModel(f"{path}: weights {name} have the shape {tuple(loaded.shape)}")
        return network


def _import_training_library(module: str) -> Any:
    """Imports what only training a detector needs; libreyolo brings OpenCV, which a slim image cannot load."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BadModel(
            f"Training a detector needs LibreYOLO and ONNX ({error}): pip install libreyolo onnx, and on a slim "
            "image apt-get install libgl1 libglib2.0-0."
        ) from error


def _without_unlabelled(
    predicted: torch.Tensor,
    targets: torch.Tensor,
    unlabelled: torch.Tensor,
    centres: torch.Tensor,
    strides: torch.Tensor,
) -> torch.Tensor:
    """Takes out of the objectness loss what may be an item of a class nobody looked for.

    That is a place whose likeliest class is one of those, and which no true box could claim: LibreYOLO assigns
    places up to 1.5 strides from a box's centre.
    """
    likeliest = predicted[..., 5:].argmax(-1)
    outside = unlabelled.gather(1, likeliest)
    places = (centres * strides[:, None])[None, None]  # (1, 1, places, 2)
    away = (places - targets[:, :, None, 1:3]).abs()  # (B, boxes, places, 2)
    reach = torch.maximum(targets[:, :, None, 3:5] / 2, 1.5 * strides[None, None, :, None])
    claimed = ((away <= reach).all(-1) & (targets[:, :, None, 3] > 0)).any(1)
    objectness = predicted[..., 4].masked_fill(outside & ~claimed, -30.0)  # no loss, no gradient
    return torch.cat([predicted[..., :4], objectness[..., None], predicted[..., 5:]], -1)


def _metadata(labels: Sequence[str], variant: str, size: int, name: str) -> dict[str, str]:
    """LibreYOLO's export metadata (schema 1.0) and the name the desk shows."""
    from libreyolo.utils.serialization import SCHEMA_VERSION, get_libreyolo_version

    return {
        "schema_version": str(SCHEMA_VERSION),
        "libreyolo_version": get_libreyolo_version(),
        "model_family": "yolox",
        "size": variant,
        "model_size": variant,
        "task": "detect",
        "supported_tasks": json.dumps(["detect"]),
        "default_task": "detect",
        "nc": str(len(labels)),
        "nb_classes": str(len(labels)),
        "names": json.dumps({str(index): label for index, label in enumerate(labels)}),
        "imgsz": str(size),
        "imgsz_h": str(size),
        "imgsz_w": str(size),
        "dynamic": "True",
        "precision": "fp32",
        "half": "False",
        "detector_name": name,
    }


def _weights(exported: Any) -> dict[str, NDArray[Any]]:
    """The initializers by name. The exporter stores equal tensors once and names the rest by Identity nodes."""
    onnx = _import_training_library("onnx")
    weights: dict[str, NDArray[Any]] = {
        entry.name: np.asarray(onnx.numpy_helper.to_array(entry)) for entry in exported.graph.initializer
    }
    for node in exported.graph.node:
        if node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    return weights
