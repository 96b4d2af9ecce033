"""The course's explorers, and the guesses that a learner sets before an answer.

All are made of core ipywidgets alone, which JupyterLab, Notebook 7, VS Code and Colab all serve.
A picture is SVG text in a `widgets.HTML`: it takes the theme's own colours, is drawn in a fraction
of a millisecond (so that a dragged slider never falls behind) and replaced in one step (so that
nothing flickers). ipywidgets itself sends at most one change of a control at a time and drops the
ones in between, so moves do not pile up either.

Keyboard and screen reader: each slider stands beside a labelled field of the browser's own that
holds the same value, and its handle is given the same name. The numbers are a status region, an
error is an alert, and the picture has a text alternative.

Seen without a kernel, on GitHub say, a cell shows a picture of the first state.

* ``bench``: ``lora_bench``, which trains at each move
* ``cost``: ``lora_explorer``, with its ``cost_controls`` and ``cost_numbers``
* ``alpha``: ``training_explorer``
* ``live_view``: a training as it runs, with a Stop button
* ``ask``: a question of one's own, and the base's and an adapter's answers side by side
* ``lengths``: ``length_explorer``, what a ``max_length`` cuts off
* ``landscape``: ``landscape_explorer``, rank, alpha and rate over stored runs
* ``cut``: ``cut_explorer``, the rank at which a change of weights is cut
* ``guess``: ``Guesses``, a guess set before the answer is seen
* ``playground``, with its ``playground_parts``: runs of one's own, seen, kept and compared
* ``quantization``, ``mix``, ``merge``, ``switches``: a lesson's own knob, with ``knob``; the first
  and the third compute by ``rounding``
* ``sharding``: ``sharding_explorer``, a step divided among several GPUs
* ``controls``: a choice, a number typed or dragged; and ``Explorer``, what a cell shows of either

They call ``helpers.params``, ``helpers.memory``, ``helpers.plots``, ``helpers.landscape`` and
``helpers.evaluation``.
"""

from helpers._devices import GPUS
from helpers.widgets.alpha import TrainingExplorer, training_explorer
from helpers.widgets.ask import AskBoth, ask_both
from helpers.widgets.bench import Bench, lora_bench
from helpers.widgets.cost import LoraExplorer, lora_explorer
from helpers.widgets.cost_controls import PAGE, RANKS, lora_source
from helpers.widgets.cut import CutExplorer, cut_explorer
from helpers.widgets.guess import Guesses
from helpers.widgets.landscape import LandscapeExplorer, landscape_explorer
from helpers.widgets.lengths import LengthExplorer, length_explorer
from helpers.widgets.live_view import LiveView, live_view
from helpers.widgets.merge import MergedAt, MergeExplorer, merge_explorer, merge_rounded
from helpers.widgets.mix import MixExplorer, mix_explorer
from helpers.widgets.playground import Playground, playground
from helpers.widgets.quantization import QuantizationExplorer, quantization_explorer
from helpers.widgets.sharding import ShardingExplorer, sharding_explorer
from helpers.widgets.switches import SwitchExplorer, switch_explorer
