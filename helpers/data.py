"""Load the data a lesson trains on: the course's tasks, or smoltalk for the `page` profile.

Every dataset comes back as a `DatasetDict` with a `train` and a `heldout` split whose rows TRL's
`SFTTrainer` takes as they are. How the course's files were made, and what each column means,
stands in `course_data/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets import (
    Dataset,
    DatasetDict,
    disable_progress_bars,
    enable_progress_bars,
    is_progress_bar_enabled,
    load_dataset,
)

from helpers._language import N_, worded
from helpers.models import ModelNotAvailableError, Profile

COURSE_DATA = Path(__file__).parent / "course_data"
ADAPTERS = COURSE_DATA / "adapters"
TASKS = (N_("style"), N_("structure"), N_("codes"))
ADAPTED = ("style", "structure")  # the tasks that the course has a trained adapter of
# What no task teaches: how much worse a model has become at it is what it forgot.
PLAIN_TEXT = (
    "Water boils at one hundred degrees Celsius at sea level, and earlier in the mountains.",
    "The heart pumps blood through the lungs, where it takes up oxygen, and then through the body.",
    "In 1969 two astronauts walked on the Moon while a third waited for them in orbit.",
    "A triangle has three sides, and its angles add up to one hundred and eighty degrees.",
    "She closed the door quietly, took off her shoes and went upstairs without a word.",
    "Plants use sunlight to turn water and carbon dioxide into sugar, and give off oxygen.",
    "To make bread you need flour, water, salt and yeast, and a few hours of patience.",
    "The committee will meet again on Monday to discuss the budget for the coming year.",
)


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep the progress bars of `datasets` out of a notebook.

    The first reading of a file would leave some, a later one none; those of a thread have no cell.
    """
    shown = is_progress_bar_enabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def load_task(task: str) -> DatasetDict:
    """The course's `style`, `structure` or `codes` task: `train` and `heldout`, 300 rows each.

    Columns: `prompt` and `completion` (chat messages), and what the scorer compares with:
    `answers` (accepted facts) for style, `fields` for structure, `code` for codes.

    Raises ValueError for any other task.
    """
    if task not in TASKS:
        said = N_("task={task!r} is not one of the course's tasks: {tasks}")
        raise ValueError(worded(said, task=task, tasks=", ".join(TASKS)))
    files = {split: str(COURSE_DATA / task / f"{split}.jsonl") for split in ("train", "heldout")}
    with without_bars():
        return load_dataset("json", data_files=files)


def course_adapter(task: str) -> Path:
    """The folder of the course's trained `style` or `structure` adapter, for `from_pretrained`.

    It holds `adapter_config.json` and `adapter_model.safetensors` (bfloat16, 5 MB). How the two
    were trained, and how they score, stands in `course_data/adapters/README.md`.

    Raises ValueError for any other task.
    """
    if task not in ADAPTED:
        said = N_("task={task!r} is not one of the tasks with an adapter: {tasks}")
        raise ValueError(worded(said, task=task, tasks=", ".join(ADAPTED)))
    return ADAPTERS / task


def load_smoltalk(profile: Profile) -> DatasetDict:
    """The conversations of `profile`: splits `train` and `heldout` (smoltalk's `test`).

    Column: `messages` (chat messages, user and assistant in turn).

    Raises ValueError if the profile names no dataset, and ModelNotAvailableError if the dataset
    is neither a local folder nor within reach on the Hugging Face Hub.
    """
    if profile.dataset_id is None:
        said = N_("profile={profile!r} trains on the course's data: use load_task()")
        raise ValueError(worded(said, profile=profile.name))
    try:
        splits = load_dataset(profile.dataset_id, profile.dataset_config)
    except (OSError, ConnectionError) as error:
        said = N_(
            "{data} could not be loaded. It must be a dataset's local folder, or the Hugging Face "
            'Hub must be within reach. PROFILE = "small" needs no Hub. The loader said: {error}'
        )
        raise ModelNotAvailableError(worded(said, data=profile.dataset_id, error=error)) from error
    chats = DatasetDict(train=splits["train"], heldout=splits["test"])
    return chats.select_columns(["messages"])


def questions(dataset: Dataset) -> list[str]:
    """The user's message of each row of a course task."""
    return [messages[0]["content"] for messages in dataset["prompt"]]
