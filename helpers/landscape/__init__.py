"""The landscape: stored training runs of the small model, and how to ask them.

    runs, curves = load_landscape()
    lora = select(runs, task="style", method="lora", rank=8, alpha=16.0, rows=85, steps=20)
    summarize(lora, "learning_rate")       # {(0.0005,): Interval, (0.001,): Interval, ...}
    best_rate(runs, task="style", method="full", first_layer=24)
    difference(some_runs, other_runs)      # Interval, seed by seed
    nearest_run(runs, task="style", rank=6, learning_rate=3e-3)
    stage_rows(runs, "rank")               # the runs that the grid's stage `rank` asks for
    prompt_rows(runs, "style")             # what the untouched model does when it is asked
    bits_stored(run)                       # how much of the codes a run has memorised

What the columns mean: the card, `helpers/course_data/landscape/README.md`. Nothing here trains or
needs the model: `.ci/landscape.py` and the files beside it make the runs. Where to look; each file
calls only those below it:

* ``reading``: what is above
* ``grid``: which runs there are, stage by stage
* ``settings``: what one run is made of, and its name
"""

from helpers.landscape.reading import (
    BestRate,
    Interval,
    best_rate,
    bits_stored,
    curve_of,
    difference,
    interval,
    load_landscape,
    nearest_run,
    prompt_rows,
    select,
    stage_rows,
    summarize,
)
