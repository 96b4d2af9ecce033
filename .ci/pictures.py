"""Make the course's pictures from what it really shows; ``make pictures``.

``python .ci/pictures.py lessons`` takes each lesson's small picture out of its stored outputs;
``… screen`` records the playground and the cost explorer in JupyterLab, in the chromium of this
machine. Without a word, both.
"""

import argparse
import base64
import io
import sys
from pathlib import Path

import nbformat
from PIL import Image

from address import ROOT
from files import write_atomically
from helpers.lessons import LESSONS, PICTURES

SIZE = (430, 258)  # shown at half of it
FIGURES = {  # the cell whose picture stands for its lesson, and how much of it, from the top
    "01_theory": ("01-theory-scheme", 1.0),
    "02_configuration": ("02-configuration-grid", 1.0),
    "03_training": ("landscape-alpha", 1.0),
    "04_adapters": ("04-adapters-056", 1.0),
    "05_merging": ("few-bits-widget", 1.0),
    "06_qlora": ("06-qlora-012", 1.0),
    "07_variants": ("07-variants-035", 1.0),
    "08_scaling": ("08-scaling-036", 1.0),
    "09_page_exercise": ("page-13", 1.0),
    "10_your_data": ("own-lengths", 1.0),
    "11_clinic": ("11-clinic-079", 1.0),
    "playground": ("play-live", 0.62),
}


def stored_picture(notebook: Path, cell_id: str) -> Image.Image:
    """The first PNG among the cell's stored outputs. Raises ValueError where there is none."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", ()) if cell.id == cell_id else ():
            if "image/png" in output.get("data", {}):
                content = base64.b64decode(output.data["image/png"])
                return Image.open(io.BytesIO(content)).convert("RGB")
    raise ValueError(f"{notebook.name} has no stored picture in a cell {cell_id!r}")


def small_picture(notebook: str, root: Path = ROOT) -> Image.Image:
    """A lesson's card, from what is stored in it."""
    cell_id, part = FIGURES[notebook]
    whole = stored_picture(root / "notebooks" / f"{notebook}.ipynb", cell_id)
    picture = whole.crop((0, 0, whole.width, round(whole.height * part)))
    picture.thumbnail((SIZE[0] - 16, SIZE[1] - 16), Image.Resampling.LANCZOS)
    card = Image.new("RGB", SIZE, "white")
    card.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
    return card


def small_pictures(root: Path = ROOT) -> None:
    for lesson in LESSONS:
        file = io.BytesIO()
        small_picture(lesson.notebook, root).save(file, "WEBP", quality=70, method=6)
        write_atomically(PICTURES / f"{lesson.notebook}.webp", file.getvalue())
        print(f"{lesson.notebook}: {len(file.getvalue()) / 1000:.0f} kB")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=["lessons", "screen"])
    what = parser.parse_args(arguments).what
    if what != "screen":
        small_pictures()
    if what != "lessons":
        from screen_pictures import record  # a browser, only where it is asked for

        record()
    return 0


if __name__ == "__main__":
    sys.exit(main())
