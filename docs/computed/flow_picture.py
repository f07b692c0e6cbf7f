"""Draw ``docs/flow.svg``: how a study flows. ``python docs/computed/flow_picture.py`` writes it anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, RIGHT, FILES = 1120, 838, 870
INK, GREY, LINE = "#1f2933", "#5b6570", "#9aa5b1"
MONO = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace"'
TOP, HEAD, BOX, ROW = 98, 34, 60, 19

Step = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A verb in the picture.

    Attributes:
        command: Of the command line.
        keys: Of an example.
        steps: In a row.
        files: That it writes; those within a folder begin with blanks.
        colours: Of the ground and of lines.
        hands_on: What the next part takes up.
        extra: Height below the steps.
    """

    command: str
    keys: str
    steps: Sequence[Step]
    files: Sequence[str]
    colours: tuple[str, str]
    hands_on: str = ""
    extra: float = 0


GIVEN = (
    ("images", "folder, tar, npz, Parquet, torchvision"),
    ("search space", "search_spaces/*.yaml"),
    ("budget", "macs, params, acts, latency"),
)

PARTS = (
    Part(
        command="scalesearch search",
        keys="study=mine data=folder data.root=DIR budget.macs=5e6 trials=40",
        steps=(
            ("propose", "predictor, TPE,\nNSGA-II, GP, random"),
            ("gate", "exact cost,\nbefore any training"),
            ("score", "brief training, supernet,\nproxy or table"),
            ("record", "every trial, its values\nor its reason"),
        ),
        files=("config.yaml", "study.db", "trials.csv", "base.yaml", "checkpoints/base.safetensors", "cache/"),
        colours=("#e8f1fb", "#2f6fab"),
        hands_on="the base: the best within the budget",
        extra=62,
    ),
    Part(
        command="scalesearch scale",
        keys="study=mine step=0.05 seeds=3",
        steps=(
            ("grid", "alpha, beta, gamma"),
            ("keep", "what realises the target;\nequal networks merged"),
            ("race", "each seed, paired;\nthe hopeless drop out"),
            ("choose", "by a response surface,\nand say how sure"),
        ),
        files=("scaling.csv", "factors.yaml", "map.png"),
        colours=("#e7f5ec", "#23794c"),
        hands_on="base and factors",
    ),
    Part(
        command="scalesearch family",
        keys="study=mine phi=0..2 rivals=true",
        steps=(
            ("scale the base", "once for each phi;\nrivals at the same macs"),
            ("train longer", "each seed, weights anew\nor inherited"),
            ("score on test", "which nothing else reads"),
        ),
        files=("family.csv", "checkpoints/", "  family-phi*.safetensors"),
        colours=("#fdf1e0", "#a5650f"),
        hands_on="a backbone: base.yaml and its weights",
    ),
    Part(
        command="scalesearch detect",
        keys="study=mine data=coco data.root=DIR backbone=results/mine/base.yaml",
        steps=(
            ("detector", "backbone, neck,\nheads, anchors"),
            ("train", "necks, fusions and phis\nside by side, each seed"),
            ("score", "COCO's average precision"),
            ("predict", "boxes as COCO json,\nand drawn"),
        ),
        files=("detect.csv", "detections.png", "checkpoints/", "  detect-*.safetensors"),
        colours=("#e4f3f4", "#1d7480"),
        hands_on="the record of all trials",
    ),
    Part(
        command="scalesearch report",
        keys="study=mine",
        steps=(
            ("read the record", "of all parts"),
            ("analyse", "fronts, means, errors"),
            ("draw", "what each unit of compute buys"),
        ),
        files=("frontier.png, .svg", "scaling.png, .svg", "README.md"),
        colours=("#f0ecfb", "#6546b4"),
    ),
)


class Drawing:
    """Lines of SVG, from the top down."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def text(self, x: float, y: float, text: str, style: str = "", *, size: float = 12, fill: str = GREY) -> None:
        """Write a line of text."""
        self.lines.append(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" {style}>{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, step: Step, stroke: str) -> None:
        """Draw a step: its name, and a line on what it does."""
        self.lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{BOX}" rx="6" fill="#fff" stroke="{stroke}"'
            ' stroke-width="1.5"/>'
        )
        middle, name, said = x + width / 2, step[0], step[1].split("\n")
        top = y + BOX / 2 - (len(said) * 16) / 2 + 4
        self.text(middle, top, name, 'text-anchor="middle" font-weight="bold"', size=13, fill=INK)
        for number, line in enumerate(said):
            self.text(middle, top + 16 * (number + 1), line, 'text-anchor="middle"', size=11.5)

    def arrow(self, points: str, *, dashed: bool = False) -> None:
        """Draw a line with a tip at its end."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.lines.append(
            f'<path d="M{points}" fill="none" stroke="{INK}" stroke-width="1.5"{dash} marker-end="url(#tip)"/>'
        )

    def band(self, y: float, height: float, ground: str) -> None:
        """Draw the ground of a part."""
        self.lines.append(f'<rect x="24" y="{y:g}" width="1072" height="{height:g}" rx="10" fill="{ground}"/>')

    def part(self, y: float, part: Part) -> float:
        """Draw a verb, its steps in a row and its files; return where its ground ends."""
        ground, stroke = part.colours
        height = max(HEAD + BOX + 18 + part.extra, HEAD + ROW * len(part.files) + 8)
        self.band(y, height, ground)
        self.text(40, y + 24, part.command, f'font-weight="bold" {MONO}', size=15, fill=stroke)
        self.text(40 + 9.05 * len(part.command) + 14, y + 24, part.keys, MONO, size=12)
        width = (RIGHT - 40 - 36 * (len(part.steps) - 1)) / len(part.steps)
        for number, step in enumerate(part.steps):
            x = 40 + number * (width + 36)
            self.box(x, y + HEAD + 4, width, step, stroke)
            if number:
                self.arrow(f"{x - 36:g},{y + HEAD + 4 + BOX / 2:g} h34")
        self.lines.append(
            f'<line x1="854" y1="{y + 12:g}" x2="854" y2="{y + height - 12:g}" stroke="{stroke}"'
            ' stroke-dasharray="2 4"/>'
        )
        for number, name in enumerate(part.files):
            indent = 7 * (len(name) - len(name.lstrip()))
            self.text(FILES + indent, y + 24 + ROW * number, name.lstrip(), MONO, fill=INK)
        return y + height

    def joint(self, y: float, label: str) -> float:
        """Draw what one part hands to the next; return where the next begins."""
        self.arrow(f"700,{y:g} v34")
        self.text(714, y + 21, label)
        return y + 36


def draw_flow() -> str:
    """Return the picture."""
    drawing = Drawing()
    for number, step in enumerate(GIVEN):
        x = 40 + number * 278
        drawing.box(x, 14, 242, step, LINE)
        drawing.arrow(f"{x + 121:g},74 v22")
    drawing.text(FILES, 62, "writes into results/mine/", size=13)
    y = TOP
    for part in PARTS:
        y = drawing.part(y, part)
        if part is PARTS[0]:
            draw_search_loops(drawing)
        if part.hands_on:
            y = drawing.joint(y, part.hands_on)
    said = "scalesearch run does search, scale, family and report. Each goes on where it was stopped."
    drawing.text(40, y + 26, said, size=13, fill=INK)
    height = y + 44
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
        ' font-family="DejaVu Sans, Verdana, Arial, sans-serif" role="img" aria-labelledby="title">\n'
        '<title id="title">How a study flows: search, scale, family, detect and report, and the files that each writes'
        '</title>\n<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
        f' orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z" fill="{INK}"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{height:g}" rx="10" fill="#fff"/>\n'
    )
    return head + "\n".join(drawing.lines) + "\n</svg>\n"


def draw_search_loops(drawing: Drawing) -> None:
    """Draw what goes back within the search: refusals to the proposal, and the record."""
    below = TOP + HEAD + 4 + BOX
    drawing.arrow(f"331,{below:g} v24 h397 v-22", dashed=True)
    drawing.text(530, below + 19, "over budget, or known: not trained", 'text-anchor="middle"')
    drawing.arrow(f"765,{below:g} v52 h-641 v-50")
    drawing.text(430, below + 67, "the next proposal knows all that is recorded", 'text-anchor="middle"')


if __name__ == "__main__":
    Path(__file__).resolve().parents[1].joinpath("flow.svg").write_text(draw_flow(), encoding="utf-8")
