"""The course's figures: bars, lines, matrices as pictures, and tokens coloured by their loss mask.

Every figure comes with a text alternative, which is also what a reader without pictures (and the
notebook test) gets. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which stay
apart for colour-blind readers; series differ by marker too. Figures keep a white ground, so that
they read alike in a light and in a dark theme. Those drawn as SVG text, because a slider redraws
them at every move, can take the theme's own colours instead.

* ``charts``: ``bars``, ``pairs``, ``lines``, ``intervals``, ``panels``, ``dots``
* ``places``: where a legend, a level's name and a bar's label stand: for ``charts``
* ``grids``: ``grid``, a table coloured by its numbers
* ``pictures``: ``matrices``, ``codebooks``, ``timeline``, ``merge_stages``,
  ``token_probabilities``; and as HTML ``masked_tokens``, ``answer_table``
* ``training``: ``LossCurve``, ``curves_svg``, ``curves_png``, ``curves_text``: losses of runs
* ``lengths``: ``lengths_svg``
* ``memory``: ``memory_bars``, ``memory_svg``, ``memory_text``
* ``svg``: ``shares_svg``, ``show_svg``; what all that draw SVG text are made of
* ``scheme``: ``scheme``, how data flows through an adapted layer
* ``cut``: ``cut_svg``, a matrix, what is left of it at a rank, and what that keeps
* ``fitted``: ``fit_svg``, ``fit_panels``, ``fit_text``, what a training of ``low_rank`` came to
* ``runs``: ``runs_svg``, stored runs' curves, and where they lie among their like
* ``heat``: ``heat_image``, ``heat_png``, a matrix as a small picture for a slider
* ``guessed``: ``guess_svg``, a guess beside its answer
* ``knobs``: ``quantization_svg``, ``sweep_svg``, ``rounding_svg``, ``switches_svg``
* ``plane``: ``Plane``, a pair of axes; ``disc``, ``rect``: for ``knobs``
* ``raster``: ``png``, an SVG of ours as PNG, for viewers that show no other
* ``style``: colours, axes, and ``show``; all others call it
"""

from helpers._language import spoken
from helpers.plots.charts import bars, dots, intervals, lines, pairs, panels
from helpers.plots.cut import cut_svg
from helpers.plots.fitted import fit_panels, fit_svg, fit_text, short
from helpers.plots.grids import grid
from helpers.plots.guessed import guess_svg
from helpers.plots.heat import heat_image, heat_png
from helpers.plots.knobs import quantization_svg, rounding_svg, sweep_svg, switches_svg
from helpers.plots.lengths import lengths_svg
from helpers.plots.memory import memory_bars, memory_svg, memory_text
from helpers.plots.pictures import (
    answer_table,
    codebooks,
    masked_tokens,
    matrices,
    merge_stages,
    timeline,
    token_probabilities,
)
from helpers.plots.raster import png
from helpers.plots.runs import Curve, runs_svg
from helpers.plots.scheme import scheme, scheme_svg
from helpers.plots.style import COLORS, LINESTYLES, MARKERS, show
from helpers.plots.svg import shares_svg, show_svg, svg_output
from helpers.plots.training import LossCurve, curves_png, curves_svg, curves_text

# What a notebook hands to these is English, as its code is.
bars, dots, intervals = spoken(bars), spoken(dots), spoken(intervals)
lines, pairs, panels = spoken(lines), spoken(pairs), spoken(panels)
matrices, codebooks, grid = spoken(matrices), spoken(codebooks), spoken(grid)
timeline, token_probabilities = spoken(timeline), spoken(token_probabilities)
memory_bars = spoken(memory_bars)
