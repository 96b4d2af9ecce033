"""Runs to try things out with: settings, one run, a session that keeps them. No widgets here.

    session = Session()
    run = session.train(RunSettings(rank=4))
    print(session.forecast(RunSettings(rank=64)))
    print(session.table())
    session.save("my runs")

`helpers.widgets.playground` puts controls in front of the same functions. Where to look; each file
calls only those below it:

* ``session``: ``Session``: one run at a time, in a thread if wanted; the runs, and asking them
* ``answering``: ``Answering``, one question to a base or an adapter, at any alpha, word by word
* ``table``: what came of the runs, in words: a table, and which was best
* ``store``: a run in a folder, as safetensors and JSON
* ``forecast``: count, memory and time before a run, and whether it can be begun
* ``stored``: what the landscape's nearest run did
* ``running``: ``train_run``: one training, and what came of it; errors in words
* ``tasks``: what there is to learn, from the course or from a file, and how it is scored
* ``settings``: ``RunSettings``, what one can set, and the source to copy
"""

from helpers.playground.forecast import Forecast, forecast
from helpers.playground.running import Run, train_run
from helpers.playground.session import Session, current_session
from helpers.playground.settings import METHODS, RunSettings
from helpers.playground.tasks import Task, open_task
