"""How each form is loaded and run: a few lines of Python that stand in the card, and that a test runs."""

from __future__ import annotations

from scalesearch.export.models import ClassifierModel, Model

PICTURE = "picture.jpg"
"""The file that a snippet reads."""

_LONGEST = 400  # characters of class names that stand in a snippet; the file has them all

_FIT = """\
picture = Image.open({picture}).convert("RGB")
square = ImageOps.fit(picture, ({size}, {size}), Image.Resampling.BILINEAR)  # the middle of it
images = np.asarray(square, dtype=np.float32).transpose(2, 0, 1)[None] / 255
"""

_LETTERBOX = """\
picture = Image.open({picture}).convert("RGB")
scale = {size} / max(picture.size)
square = Image.new("RGB", ({size}, {size}), {fill})
square.paste(picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.BILINEAR))
images = np.asarray(square, dtype=np.float32).transpose(2, 0, 1)[None] / 255
"""

_IMPORTS = {
    "safetensors": ("import scalesearch", "import torch"),
    "onnx": ("import onnxruntime",),
    "program": ("import torch",),
    "timm": ("import runpy", "import torch"),
}

_RUN = {
    "safetensors": """\
model = scalesearch.load({file})
with torch.no_grad():
    {outputs} = model(torch.from_numpy(images))
""",
    "onnx": """\
session = onnxruntime.InferenceSession({file}, providers=["CPUExecutionProvider"])
[{outputs}] = session.run(None, {{"images": images}})
""",
    "program": """\
model = torch.export.load({file}).module()
with torch.no_grad():
    {outputs} = model(torch.from_numpy(images))
""",
    "timm": """\
built = runpy.run_path({file})
mean, std = (torch.tensor(built[name]).view(3, 1, 1) for name in ("MEAN", "STD"))
with torch.no_grad():
    logits = built["build"]()((torch.from_numpy(images) - mean) / std)
""",
}


def write_snippet(model: Model, form: str, file: str, *, nms: bool = False) -> str:
    """Return Python that reads a picture, runs the model on it and prints what it shows.

    Args:
        model: What was written.
        form: Of the export.
        file: Name of the file that is loaded; of timm's form, of the Python file.
        nms: Whether it gives a detector's best boxes alone.
    """
    if isinstance(model, ClassifierModel):
        prepare, outputs, tail, pillow = _FIT, "logits", _class_line(model), "from PIL import Image, ImageOps"
    else:
        outputs = "boxes_xyxy, scores, labels" if nms else "boxes_xyxy, scores"
        prepare, tail, pillow = _LETTERBOX, _BOXES if nms else _ANCHORS, "from PIL import Image"
    imports = sorted([*_IMPORTS[form], "import numpy as np", pillow], key=lambda line: line.split()[1].lower())
    # a name of anybody's making: as a Python text of ASCII it ends neither the text nor the block of code
    run = _RUN[form].format(file=ascii(file), outputs=outputs)
    prepared = prepare.format(size=model.image_size, picture=ascii(PICTURE), fill=_fill(model))
    return "\n".join([*imports, "", f"{prepared}{run}{tail}"])


_BOXES = """\
print(boxes_xyxy / scale, scores, labels)  # corners in pixels of the picture
"""

_ANCHORS = """\
best = int(scores[0].argmax()) // scores.shape[2]  # of all anchors; nms=true leaves the best boxes alone
print(boxes_xyxy[0, best] / scale, scores[0, best])  # corners in pixels of the picture
"""


def _class_line(model: ClassifierModel) -> str:
    names = ascii(list(model.class_names))
    if not model.class_names or len(names) > _LONGEST:
        return "print(logits[0].argmax())\n"
    return f"class_names = {names}\nprint(class_names[logits[0].argmax()])\n"


def _fill(model: Model) -> tuple[int, ...]:
    """Return the colour of what no picture covers: the training pictures' mean."""
    return (0, 0, 0) if model.normalisation is None else tuple(round(255 * mean) for mean in model.normalisation.mean)
