"""The lessons' cards show what the lessons show."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / ".ci"))
import pictures
from helpers.lessons import LESSONS, PICTURES

MOST = 3.0  # mean difference of a pixel, of 255: what the file's compression may change


@pytest.mark.parametrize("notebook", [lesson.notebook for lesson in LESSONS])
def test_a_card_is_made_of_what_its_lesson_has_stored(notebook):
    """Where it is not: `.ci/pictures.py lessons`."""
    wanted = np.asarray(pictures.small_picture(notebook), dtype=float)
    card = np.asarray(Image.open(PICTURES / f"{notebook}.webp").convert("RGB"), dtype=float)
    assert card.shape == wanted.shape
    assert np.abs(card - wanted).mean() < MOST
