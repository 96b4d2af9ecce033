"""The course's figures: bars, lines, matrices as pictures, and tokens coloured by their loss mask.

Every figure comes with a text alternative, which is also what a reader without pictures (and the
notebook test) gets. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which stay
apart for colour-blind readers; series differ by marker too. Figures keep a white ground, so that
they read alike in a light and in a dark theme. Those drawn as SVG text, because a slider redraws
them at every move, can take the theme's own colours instead.

* ``charts``: ``bars``, ``pairs``, ``lines``, ``panels``, ``dots``
* ``pictures``: ``matrices``, ``codebooks``, ``timeline``, ``merge_stages``; and as
  HTML ``masked_tokens``, ``answer_table``
* ``svg``: ``memory_bars``, ``memory_svg``, ``memory_text``, ``shares_svg``; ``show_svg``
* ``scheme``: ``scheme``, how data flows through an adapted layer
* ``knobs``: ``quantization_svg``, ``sweep_svg``, ``rounding_svg``, ``switches_svg``
* ``raster``: ``png``, an SVG of ours as PNG, for viewers that show no other
* ``style``: colours, axes, and ``show``; all others call it
"""

from helpers.plots.charts import bars, dots, lines, pairs, panels
from helpers.plots.knobs import quantization_svg, rounding_svg, sweep_svg, switches_svg
from helpers.plots.pictures import (
    answer_table,
    codebooks,
    masked_tokens,
    matrices,
    merge_stages,
    timeline,
)
from helpers.plots.raster import png
from helpers.plots.scheme import scheme, scheme_svg
from helpers.plots.style import COLORS, LINESTYLES, MARKERS, show
from helpers.plots.svg import memory_bars, memory_svg, memory_text, shares_svg, show_svg
