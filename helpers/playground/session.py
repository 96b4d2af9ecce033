"""Runs one after the other, kept as long as the kernel lives, and in a folder beyond that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from peft import PeftModel, get_peft_model, set_peft_model_state_dict

from helpers._language import N_, worded
from helpers.data import TASKS
from helpers.models import PROFILES, Profile, load_tokenizer
from helpers.own_data import token_lengths
from helpers.playground.answering import BASE, Answering
from helpers.playground.forecast import USUAL_TOKENS, Forecast, forecast
from helpers.playground.running import Run, clean_up, explain, load_base, train_run
from helpers.playground.settings import RunSettings
from helpers.playground.store import RUN, load_run, place_for, save_run, trace
from helpers.playground.table import as_text, verdict
from helpers.playground.tasks import Task, open_task
from helpers.training.recorder import RunRecorder


class Busy(RuntimeError):
    """A run is being made; one at a time."""


class Session:
    """The runs of one sitting: `runs`, in order. `problem` says why the last one failed, if so.

    `load` gives a fresh base, quantized or not: see `load_base`. What `watchers` holds is called
    after each run, in the thread that made it, with the run, or with None if it failed.
    """

    def __init__(self, profile: Profile = PROFILES["small"], load: Callable = load_base) -> None:
        self.profile, self._load = profile, load
        self.runs: list[Run] = []
        self.problem = ""
        self.watchers: list[Callable[[Run | None], None]] = []
        self.recorder: RunRecorder | None = None  # of the run that is being made
        self._lock, self._thread = threading.Lock(), None
        self._tasks: dict[str, Task] = {}
        self._tokenizer, self._lengths = None, {}  # tokens of the longest row, by task
        self._asked: dict[bool, Answering] = {}  # by whether the base is quantized

    # Runs

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    def task(self, name: str) -> Task:
        """The task of that name, read once; a file of one's own, each time."""
        if name in self._tasks:
            return self._tasks[name]
        task = open_task(name)
        if task.name == name:
            self._tasks[name] = task
        return task

    def forecast(self, settings: RunSettings) -> Forecast:
        """What is known before the run; raises ValueError or TypeError if it cannot be made."""
        return forecast(settings, self.profile, self.runs, self._longest(settings.task))

    def _longest(self, name: str) -> int:
        """Tokens of the task's longest row to train on, counted once for each state of a file."""
        file = Path(name)
        state = (name, file.stat().st_mtime_ns if name not in TASKS and file.is_file() else 0)
        if state not in self._lengths:
            try:
                rows = self.task(name).train
                self._tokenizer = self._tokenizer or load_tokenizer(self.profile)
                self._lengths[state] = int(token_lengths(self._tokenizer, rows).whole.max())
            except (OSError, ValueError, TypeError):  # said when the run is begun
                return USUAL_TOKENS
        return self._lengths[state]

    def train(self, settings: RunSettings, recorder: RunRecorder | None = None) -> Run:
        """Make a run and keep it; returns when it is done.

        A run that cannot be made is kept out: `problem` says why, nothing else is changed, and
        what went wrong is raised. Raises Busy while another one is made.
        """
        self._begin(recorder or RunRecorder(stop_if_diverged=True))
        return self._train(settings)

    def start(self, settings: RunSettings, recorder: RunRecorder) -> threading.Thread:
        """The same in a thread, which is returned; a failure is told in `problem` alone."""
        self._begin(recorder)

        def work() -> None:
            with suppress(BaseException):  # told in `problem`: a thread has nobody to raise it to
                self._train(settings)

        self._thread = threading.Thread(target=work, name="playground run", daemon=True)
        self._thread.start()
        return self._thread

    def stop(self) -> None:
        """End the run that is being made after its step; asked again, leave out the judging."""
        recorder = self.recorder
        if recorder is not None:
            recorder.stop()

    def wait(self) -> None:
        """Until the run in the thread is done."""
        if self._thread is not None:
            self._thread.join()

    def _begin(self, recorder: RunRecorder) -> None:
        if not self._lock.acquire(blocking=False):
            raise Busy(worded("a run is being made; wait for it, or stop it"))
        self.problem, self.recorder = "", recorder

    def _train(self, settings: RunSettings) -> Run:
        run = None
        try:
            run = self._made(settings)
            self.runs.append(run)
        except BaseException as error:
            told = isinstance(error, MemoryError) and str(error)
            self.problem = str(error) if told else explain(error)
            raise
        finally:
            self.recorder = None
            clean_up()
            self._lock.release()
            for watcher in self.watchers:
                watcher(run)
        return run

    def _made(self, settings: RunSettings) -> Run:
        task = self.task(settings.task)
        if said := self.forecast(settings).problem:
            raise MemoryError(said)
        return train_run(
            settings,
            task,
            number=self._next_number,
            recorder=self.recorder,
            profile=self.profile,
            load=self._load,
        )

    @property
    def _next_number(self) -> int:
        return 1 + max((run.number for run in self.runs), default=0)

    # Asking

    @property
    def names(self) -> tuple[str, ...]:
        return (BASE, *(run.name for run in self.runs))

    @property
    def default(self) -> str:
        return self.names[-1]

    def run(self, name: str) -> Run:
        """The run of that name, such as "run 2"; ValueError if there is none."""
        found = next((run for run in self.runs if run.name == name), None)
        if found is None:
            said = N_("name={name!r} is not one of {valid}")
            raise ValueError(worded(said, name=name, valid=", ".join(self.names)))
        return found

    def trained_alpha(self, name: str) -> float | None:
        return None if name == BASE else self.run(name).settings.alpha

    def answer(self, question: str, name: str, **how: object) -> str:
        """See `Answering.answer`; an adapter trained on a quantized base is asked on one."""
        run = None if name == BASE else self.run(name)
        quantized = run is not None and run.settings.quantized
        if quantized not in self._asked:
            self._asked[quantized] = Answering(*self._load(self.profile, quantized))
        asked = self._asked[quantized]
        if run is not None and name not in asked.names:
            asked.model = _with_adapter(asked.model, run)
        return asked.answer(question, name, **how)

    def side_by_side(self, first: str, second: str) -> list[tuple[str, str, str]]:
        """(question, first's answer, second's answer) for what both runs were asked."""
        run, compared = self.run(first), self.run(second)
        answers = dict(zip(compared.questions, compared.answers, strict=True))
        return [
            (question, answer, answers[question])
            for question, answer in zip(run.questions, run.answers, strict=True)
            if question in answers
        ]

    # What came of them

    def table(self) -> str:
        """The runs as text, one a line; the columns are those of `helpers.playground.table`."""
        return as_text(self.runs)

    def verdict(self) -> str:
        """Which run was best on the task of the last one, by what, and in what it differs."""
        return verdict(self.runs)

    # On disk

    def save(self, folder: str | Path) -> list[Path]:
        """Each run into a folder of its own below `folder`; return these. Raises OSError.

        A folder that holds another run is left as it is: the next free one is taken.
        """
        return [
            save_run(run, place_for(run, Path(folder)), self.profile.model_id) for run in self.runs
        ]

    def load(self, folder: str | Path) -> list[Run]:
        """Add the runs that are saved below `folder`, numbered on from those that are here.

        Returns those that were added: a run that is here already is not read again.

        Raises FileNotFoundError if there is none, and ValueError for one that is damaged or was
        made with another base; then none is added.
        """
        places = sorted(path.parent for path in Path(folder).glob(f"run-*/{RUN}"))
        if not places:
            raise FileNotFoundError(
                worded("folder={folder!r} holds no saved runs (run-01, …)", folder=str(folder))
            )
        here = [trace(run) for run in self.runs]
        saved = [load_run(place, self.profile.model_id) for place in places]
        loaded = [run for run in saved if trace(run) not in here]
        for number, run in enumerate(loaded, self._next_number):
            run.number = number
        self.runs += loaded
        return loaded


def _with_adapter(model, run: Run) -> PeftModel:
    config = run.settings.lora_config()
    if isinstance(model, PeftModel):
        model.add_adapter(run.name, config)
    else:
        model = get_peft_model(model, config, adapter_name=run.name)
    set_peft_model_state_dict(model, run.adapter, adapter_name=run.name)
    return model.requires_grad_(False)


_SESSIONS: list[Session] = []


def current_session() -> Session:
    """The kernel's session: run a cell twice or reload the page, and the runs are still there."""
    if not _SESSIONS:
        _SESSIONS.append(Session())
    return _SESSIONS[0]
