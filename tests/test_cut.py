"""Cutting a change of weights at a rank: what is kept, and that no other matrix comes closer."""

import numpy as np
import pytest

from helpers.widgets import cut_explorer

KEPT = {1: 0.5, 2: 0.75, 4: 1.0}


def change(rank: int = 4) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=(60, rank)) @ random.normal(size=(rank, 80))


def test_each_rank_keeps_its_energy_and_the_full_rank_is_the_matrix_itself():
    matrix = change()
    explorer = cut_explorer(matrix, KEPT)
    strengths = np.linalg.svd(matrix)[1]
    for rank, kept in explorer.energy_kept.items():
        assert kept == pytest.approx(np.sum(strengths[:rank] ** 2) / np.sum(strengths**2))
    np.testing.assert_allclose(explorer._corner(4), matrix[:48, :48], atol=1e-9)
    assert np.linalg.matrix_rank(explorer._corner(2)) == 2


def test_a_move_changes_words_and_picture():
    explorer = cut_explorer(change(), KEPT)
    before = explorer.shown
    explorer.rank.value = 2
    assert explorer.shown != before and "75% of the improvement" in explorer.shown
    assert str(explorer).count("\n") == 2 and "image/png" in explorer._repr_mimebundle_()


@pytest.mark.parametrize(
    ("matrix", "kept", "name"),
    [
        (np.ones(4), KEPT, "change"),
        (np.full((9, 9), np.nan), KEPT, "change"),
        (change(), {1: 0.5}, "improvement_kept"),
        (change(), {0: 0.1, 1: 0.5}, "improvement_kept"),
        (change(), {1: 0.5, 61: 1.0}, "improvement_kept"),
        (change(), {2: 0.5, 1: 0.2}, "improvement_kept"),
    ],
)
def test_what_cannot_be_cut_is_refused(matrix, kept, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        cut_explorer(matrix, kept)
