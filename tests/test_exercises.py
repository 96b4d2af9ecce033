"""The graded exercises: the solution earns every point, the release none, a mistake its own."""

import re
import shutil
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load, save
from submissions import wrong_answers_6_9, wrong_answers_10_11
from submissions.wrong_answers import ADAPTERS, EVERY_SEED, WRONG, with_config

import release
import run_notebooks
from helpers.checks import check
from helpers.data import course_adapter
from helpers.grading.adapter_files import files_of
from helpers.grading.exercises import EXERCISES, SETS, Failed, adapters, judge
from helpers.grading.exercises.adapter_settings import LINEAR
from helpers.grading.plain import plainly
from helpers.grading.worker.drivers import DRIVERS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SOURCES = release.sources(ROOT)
SLOW = "mix_both"  # asks the real model: once here, once with a secret seed in test_grading

every_set = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=list(EXERCISES))


def code_of(source: Path, with_solutions: bool) -> list[str]:
    cells = release.notebook_of(source, with_solutions).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def answers_of(source: Path, with_solutions: bool) -> dict:
    """The names that an edition's cells define; nothing is checked, nothing is trained."""
    namespace = {"__name__": "exercises"}
    for cell in code_of(source, with_solutions):
        if not cell.startswith("check("):
            exec(cell, namespace)
    return namespace


# ------------------------------------------------------------------------------------- two editions


def test_every_set_has_a_source():
    assert [source.stem for source in SOURCES] == list(SETS)


@every_set
def test_the_release_is_in_step_and_holds_no_solution(source):
    assert release.in_step(source), "run: make release"
    text = release.release_path(source).read_text(encoding="utf-8")
    assert "SOLUTION" not in text and "not attempted yet" in text
    assert all(f"# EXERCISE: {exercise.id}" in text for exercise in SETS[source.stem])
    released = "\n".join(code_of(source, with_solutions=False))
    solution = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.DOTALL)
    for body in solution.findall("\n".join(code_of(source, with_solutions=True))):
        assert body.strip() not in released


@every_set
def test_statements_name_points_and_minutes_and_come_with_two_hints(source):
    text = source.read_text(encoding="utf-8")
    exercises = SETS[source.stem]
    assert 5 <= len(exercises) <= 8
    stated = re.findall(r"^# \*(\d+) points?, (\d+) minutes\.\*", text, flags=re.MULTILINE)
    assert [(e.points, e.minutes) for e in exercises] == [tuple(map(int, pair)) for pair in stated]
    for what in (r"^# EXERCISE: (\w+)", r'^check\("(\w+)"'):
        found = list(dict.fromkeys(re.findall(what, text, flags=re.MULTILINE)))
        assert found == [e.id for e in exercises]
    titles = re.findall(r"^# ## \d+ · (.+)", text, flags=re.MULTILINE)
    assert [title.replace("`", "") for title in titles] == [e.title for e in exercises]
    for hint in ("Hint 1", "Hint 2"):
        assert text.count(f"<details><summary>{hint}</summary>") == len(exercises)
    total = sum(e.points for e in exercises)
    assert f"{total} points" in text


@every_set
@pytest.mark.parametrize("seed", ["course", "another"])
def test_the_solution_gets_full_points(source, seed):
    answers = answers_of(source, with_solutions=True)
    for exercise in SETS[source.stem]:
        if exercise.hands_in == "adapter" or (exercise.id == SLOW and seed != "course"):
            continue
        result = check(exercise.id, answers[exercise.id], seed=seed)
        assert (result.outcome, result.points) == ("right", exercise.points), result


@every_set
def test_the_untouched_release_gets_nothing_and_is_told_why(source):
    answers = answers_of(source, with_solutions=False)
    checks = [cell for cell in code_of(source, False) if cell.startswith("check(")]
    results = [eval(cell, answers) for cell in checks]
    assert len(results) == len(SETS[source.stem])
    assert {(result.outcome, result.points) for result in results} == {("not attempted", 0)}


@pytest.fixture
def course(tmp_path):
    """A copy of the course with one source and nothing released."""
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    folder = tmp_path / "notebooks" / "exercises" / "src"
    folder.mkdir(parents=True)
    shutil.copy(SOURCES[0], folder)
    return tmp_path


def test_release_writes_both_editions_and_check_finds_what_is_out_of_step(
    course, capsys, monkeypatch
):
    ran = []
    monkeypatch.setattr(run_notebooks, "main", lambda names, root: ran.append((names, root)) or 0)
    assert release.main(["--check"], course) == 1
    assert "out of step; run: make release" in capsys.readouterr().out
    assert not list(course.rglob("*.ipynb")), "--check writes nothing"
    assert release.main([], course) == 0
    (source,) = release.sources(course)
    private = (course / "build" / "exercises" / f"{source.stem}.ipynb").read_text()
    public = release.release_path(source, course).read_text()
    assert "### BEGIN SOLUTION" in private and "SOLUTION" not in public
    assert ran == [([f"exercises/{source.stem}"], course)], "a release opens with its outputs"
    assert release.main(["--check"], course) == 0
    source.write_text(source.read_text().replace("warm-up", "start"))
    assert release.main(["--check"], course) == 1


@pytest.mark.parametrize("delimiter", ["### BEGIN SOLUTION", "### END SOLUTION"])
def test_a_solution_without_its_other_end_is_never_released(course, delimiter):
    (source,) = release.sources(course)
    source.write_text(source.read_text().replace(f"    {delimiter}\n", "", 1))
    with pytest.raises(ValueError, match="without its other end in fused-rank"):
        release.release_text(source, course)
    assert not list(course.rglob("*.ipynb"))


# ------------------------------------------------------------------------------------ wrong answers


def checked(exercise: str, answer: str, **settings):
    namespace: dict = {}
    exec(answer, namespace)
    return check(exercise, namespace[exercise], **settings)


@pytest.mark.parametrize(
    ("exercise", "answer", "points", "told"),
    WRONG,
    ids=[f"{id}-{number}" for number, (id, *_) in enumerate(WRONG)],
)
def test_a_wrong_answer_earns_its_points_and_is_told_what_differs(exercise, answer, points, told):
    result = checked(exercise, answer)
    assert result.points == points < EXERCISES[exercise].points, result
    assert told in str(result), result
    assert result.outcome == ("partly right" if points else "wrong")


@pytest.mark.parametrize(
    ("name", "points", "told"), [(name, *rest) for name, (_, *rest) in ADAPTERS.items()]
)
def test_an_adapter_earns_its_points_and_is_told_what_differs(name, points, told, tmp_path):
    files = ADAPTERS[name][0](files_of(course_adapter("style")))
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    result = check("train_style", tmp_path)
    assert (result.points, told in str(result)) == (points, True), result
    assert result.outcome == {5: "right", 0: "wrong"}.get(points, "partly right")


def test_every_exercise_has_two_wrong_answers():
    newer = [*wrong_answers_6_9.WRONG, *wrong_answers_10_11.WRONG]
    listed = [id for id, *_ in [*WRONG, *newer]] + ["train_style"] * (len(ADAPTERS) - 1)
    assert all(listed.count(id) >= 2 for id in EXERCISES)


def test_a_hint_tells_nothing_of_the_inputs():
    """A graded student sees the hints only: they are the same whatever the inputs are."""
    for exercise, answer, *_ in WRONG:
        if exercise == SLOW:
            continue
        namespace: dict = {}
        exec(answer, namespace)
        hints = []
        for seed in ("1", "2"):
            verdict = judged(EXERCISES[exercise], namespace[exercise], seed)
            hints.append({part: d.hint for part, d in verdict.differences.items()})
            for case in EXERCISES[exercise].cases(seed):
                assert not any(case.named and case.named in hint for hint in hints[-1].values())
        for part, hint in hints[0].items():
            assert hints[1].get(part, hint) == hint, exercise


@pytest.mark.parametrize(
    ("exercise", "answer", "most"),
    EVERY_SEED,
    ids=[f"{id}-{number}" for number, (id, *_) in enumerate(EVERY_SEED)],
)
def test_no_seed_gives_a_usual_mistake_more_than_it_earns(exercise, answer, most):
    """Chance does not decide: the cases that tell a mistake from the answer are in every seed."""
    namespace: dict = {}
    exec(answer, namespace)
    earned = {
        judged(EXERCISES[exercise], namespace[exercise], f"seed {number}").points
        for number in range(6 if exercise.startswith("config") else 30)
    }
    assert max(earned) <= most


def test_an_answer_that_changes_from_call_to_call_earns_nothing():
    """Two adapters in one must be one: not the pirate first and then the clerk."""
    weights = iter([(2.0, 0.0), (0.0, 2.0)] * 2)
    exercise = EXERCISES["mix_both"]
    cases = exercise.cases("x")
    verdict = judge(exercise, cases, [None] * len(cases), [next(weights) for _ in cases])
    assert (verdict.points, verdict.outcome) == (0, "wrong")


def judged(exercise, answer, seed):
    """What the grader's comparison says of an answer called here."""

    def called(case):
        try:  # on a copy: an answer may change its inputs
            return plainly(DRIVERS[exercise.driver](answer, *deepcopy(case.args)))
        except Exception as error:
            return Failed(type(error).__name__)

    cases, expected = drawn(exercise.id, seed)
    return judge(exercise, cases, expected, [called(case) for case in cases])


@cache
def drawn(id, seed):
    """The cases and the right answers: PEFT is asked once for all wrong ones."""
    exercise = EXERCISES[id]
    cases = exercise.cases(seed)
    return cases, [exercise.reference(*deepcopy(case.args)) for case in cases]


# ------------------------------------------------------------------------------------------- inputs


@every_exercise
def test_inputs_are_drawn_afresh_from_the_seed(exercise):
    one, same, other = (repr(exercise.cases(seed)) for seed in ("1", "1", "2"))
    assert one == same != other


@every_exercise
def test_the_cases_are_the_same_in_every_language(exercise, monkeypatch):
    def drawn():
        return repr([(case.part, case.args, case.hidden) for case in exercise.cases("1")])

    english = drawn()
    monkeypatch.setenv("LORA_COURSE_LANG", "ro")
    assert drawn() == english


@pytest.mark.parametrize("id", ["find_bug", "find_fault"])
def test_counting_the_calls_tells_nothing(id):
    """The order of the cases is another for every seed."""
    exercise = EXERCISES[id]
    orders = set()
    for seed in "123":
        expected = [exercise.reference(*case.args) for case in exercise.cases(seed)]
        orders.add(tuple(right == "none" for right in expected))
    assert len(orders) == 3


def test_what_differs_is_told_in_the_order_of_the_parts():
    result = check("find_bug", lambda setup: "x")
    places = [str(result).index(f"✗ {part} (") for part in EXERCISES["find_bug"].parts]
    assert places == sorted(places)


@every_exercise
def test_the_inputs_that_a_learner_sees_named_are_distinct(exercise):
    """Nothing to hard-code: no two cases of a part have the same inputs."""
    if exercise.hands_in == "adapter" or exercise.id == SLOW:
        return
    for part in exercise.parts:
        inputs = [repr(c.args) for c in exercise.cases("1") if exercise.part_of(c) == part]
        assert len(set(inputs)) == len(inputs) >= 2


ODD = {
    "nothing": None,
    "text": "x",
    "a huge number": 10**400,
    "not a number": float("nan"),
    "no elements": [],
    "a dictionary": {"r": [None]},
    "an object": object(),
    "a pair": (None, "x"),
    "a triple": ("ties", float("nan"), [1]),
    "a triple of lists": ([], [], []),
    "tensors": (torch.ones(2), torch.ones(1, 2, 3)),
    "a tensor of integers": torch.ones(2, 2, dtype=torch.int64),
    "an empty tensor": torch.empty(0),
    "NaN": torch.full((3, 3), float("nan")),
    "complex": torch.ones(3, 3, dtype=torch.complex64),
    "a configuration": LoraConfig(r=10**9, target_modules=["(a+)+$"]),
    "a strange configuration": LoraConfig(target_modules="all-linear", rank_pattern={"q": "x"}),
}


@every_exercise
def test_check_never_raises_whatever_comes_back(exercise):
    if exercise.hands_in == "adapter":
        return
    for name, value in ODD.items():
        result = check(exercise.id, lambda *arguments, value=value: value)
        assert result.outcome in ("wrong", "partly right", "error"), (name, result)
        assert result.points < exercise.points


@pytest.mark.parametrize("targets", [["zzz"], ["self_attn"], ["q_proj", "norm"], ["layers"]])
@pytest.mark.parametrize("id", ["config_for_budget", "spend_budget", "config_for_card"])
def test_a_target_that_peft_refuses_is_a_wrong_answer(id, targets):
    pattern = {"q_proj": 0, "v_proj": 0} if id == "spend_budget" else {}

    def answer(shape, *budget):
        ranks = dict.fromkeys(pattern, budget[-1])
        return LoraConfig(r=1, target_modules=targets, rank_pattern=ranks)

    result = check(id, answer)
    assert (result.outcome, result.points) == ("wrong", 0), result
    assert "must be that of a linear layer" in str(result)


@pytest.mark.parametrize("id", ["config_for_budget", "spend_budget", "config_for_card"])
def test_a_long_list_of_targets_is_refused_before_peft_sees_it(id, monkeypatch):
    answer = plainly(LoraConfig(target_modules=[f"name{n}" for n in range(30_000)]))
    cases = EXERCISES[id].cases("1")
    for what in ("count_trained", "_step_bytes"):
        monkeypatch.setattr(f"helpers.grading.exercises.lesson02.budgets.{what}", None)
    for case in cases:
        assert "at most 32 names" in EXERCISES[id].compare(case, 1, answer).hint


STYLE = files_of(course_adapter("style"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"target_modules": [f"a.q{n}" for n in range(30_000)]}, "larger than 64 KB"),
        ({"target_modules": ["q_proj"] * 33}, "at most 32 names"),
        ({"target_modules": ["q_proj", "norm"]}, "names no module"),
        ({"target_modules": ["lm_head"]}, "take them from q_proj"),
        ({"target_modules": []}, "names no module"),
    ],
)
def test_targets_are_looked_at_before_peft_touches_the_model(fields, told):
    with pytest.raises(adapters.Unusable, match=told):
        adapters.read_adapter(with_config(**fields)(STYLE))
    longer = with_config(
        target_modules=[f"self_attn.{n}" for n in LINEAR[:4]] + [f"mlp.{n}" for n in LINEAR[4:]]
    )(STYLE)
    assert adapters.read_adapter(longer)


def test_check_tells_that_an_adapter_is_the_course_s_own():
    assert "a person will look at it" in str(check("train_style", course_adapter("style")))


def test_an_answer_that_leaves_some_cases_open_keeps_what_it_earned():
    def merge(weight, lora_A, lora_B, lora_alpha, use_rslora):
        if use_rslora:
            raise NotImplementedError
        return weight + lora_alpha / len(lora_A) * lora_B @ lora_A

    result = check("merge", merge)
    assert (result.outcome, result.points) == ("partly right", 1), result


def test_the_course_s_own_adapter_is_what_the_grader_takes_for_the_solution():
    assert EXERCISES["train_style"].solution() == files_of(course_adapter("style"))
    weights = load(EXERCISES["train_style"].solution()["adapter_model.safetensors"])
    assert len(weights) == 420 and save(weights)
