"""Load the data a lesson trains on: the course's two tasks, or smoltalk for the `page` profile.

Every dataset comes back as a `DatasetDict` with a `train` and a `heldout` split whose rows TRL's
`SFTTrainer` takes as they are. How the course's files were made, and what each column means,
stands in `course_data/README.md`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from datasets import (
    Dataset,
    DatasetDict,
    disable_progress_bars,
    enable_progress_bars,
    is_progress_bar_enabled,
    load_dataset,
)

from helpers.models import ModelNotAvailableError, Profile

COURSE_DATA = Path(__file__).parent / "course_data"
ADAPTERS = COURSE_DATA / "adapters"
TASKS = ("style", "structure")


def load_task(task: str) -> DatasetDict:
    """The course's `style` or `structure` task: splits `train` and `heldout`, 300 rows each.

    Columns: `prompt` and `completion` (chat messages), and what the scorer compares with:
    `answers` (accepted facts) for style, `fields` for structure.

    Raises ValueError for any other task.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is not one of the course's tasks: {', '.join(TASKS)}")
    files = {split: str(COURSE_DATA / task / f"{split}.jsonl") for split in ("train", "heldout")}
    shown = is_progress_bar_enabled()
    disable_progress_bars()  # the first reading would leave two in the notebook, a later one none
    try:
        return load_dataset("json", data_files=files)
    finally:
        if shown:
            enable_progress_bars()


def course_adapter(task: str) -> Path:
    """The folder of the course's trained `style` or `structure` adapter, for `from_pretrained`.

    It holds `adapter_config.json` and `adapter_model.safetensors` (bfloat16, 5 MB). How the two
    were trained, and how they score, stands in `course_data/adapters/README.md`.

    Raises ValueError for any other task.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is not one of the course's tasks: {', '.join(TASKS)}")
    return ADAPTERS / task


def load_smoltalk(profile: Profile) -> DatasetDict:
    """The conversations of `profile`: splits `train` and `heldout` (smoltalk's `test`).

    Column: `messages` (chat messages, user and assistant in turn).

    Raises ValueError if the profile names no dataset, and ModelNotAvailableError if the dataset
    is neither a local folder nor within reach on the Hugging Face Hub.
    """
    if profile.dataset_id is None:
        raise ValueError(f"profile={profile.name!r} trains on the course's data: use load_task()")
    try:
        splits = load_dataset(profile.dataset_id, profile.dataset_config)
    except (OSError, ConnectionError) as error:
        raise ModelNotAvailableError(
            f"{profile.dataset_id} could not be loaded. It must be a dataset's local folder, or "
            'the Hugging Face Hub must be within reach. PROFILE = "small" needs no Hub. '
            f"The loader said: {error}"
        ) from error
    chats = DatasetDict(train=splits["train"], heldout=splits["test"])
    return chats.select_columns(["messages"])


def make_smoltalk_stand_in(folder: str | Path, profile: Profile) -> Profile:
    """Save a few everyday chats in smoltalk's schema; return `profile` pointing at them.

    As in smoltalk's "everyday-conversations": parquet files, splits `train` and `test`, columns
    `full_topic` and `messages`. It lets the page's code path run without the Hub.
    """
    folder = Path(folder)
    chats = [
        (
            "Travel/Packing",
            "Hi! What should I pack for a rainy weekend?",
            "A raincoat, a spare pair of shoes and something to read indoors.",
        ),
        (
            "Cooking/Breakfast",
            "How long do I boil an egg?",
            "Six minutes for a soft yolk, ten for a hard one.",
        ),
        (
            "Garden/Watering",
            "When is the best time to water tomatoes?",
            "Early in the morning, so that the leaves are dry by noon.",
        ),
        (
            "Home/Cleaning",
            "My kettle is full of limescale. Any ideas?",
            "Boil equal parts of vinegar and water in it, wait an hour, then rinse it twice.",
        ),
    ]
    rows = [
        {
            "full_topic": topic,
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
        }
        for topic, question, answer in chats
    ]
    config = folder / profile.dataset_config
    config.mkdir(parents=True, exist_ok=True)
    for split, chosen in (("train", rows * 4), ("test", rows)):
        Dataset.from_list(chosen).to_parquet(config / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        f"- config_name: {profile.dataset_config}\n"
        "  data_files:\n"
        f"  - split: train\n    path: {profile.dataset_config}/train-*\n"
        f"  - split: test\n    path: {profile.dataset_config}/test-*\n---\n",
        encoding="utf-8",
    )
    return replace(profile, dataset_id=str(folder))


def questions(dataset: Dataset) -> list[str]:
    """The user's message of each row of a course task."""
    return [messages[0]["content"] for messages in dataset["prompt"]]
