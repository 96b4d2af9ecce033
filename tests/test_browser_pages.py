"""The pages that grading writes: axe-core finds nothing, and a phone shows them whole."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from test_browser import browser_path  # noqa: F401, a fixture

from helpers.grading.exercises import SETS
from helpers.grading.outcomes import Outcome, Status
from helpers.grading.pages import page_name, student_page, summary_page
from helpers.grading.results import ExerciseResult, Result

pytestmark = pytest.mark.slow
LONG = "an_answer_that_names_" + "a_very_long_" * 12 + "thing"
DECIDED = (Status.GRADED, Status.SUPERSEDED)


def results() -> list[Result]:
    """Every outcome, every status, late and in time, with words that nobody can break."""
    outcomes = list(Outcome)
    found = []
    for number, name in enumerate(SETS):
        exercises = tuple(
            ExerciseResult(
                exercise.id,
                outcome := outcomes[(number * 7 + place) % len(outcomes)],
                None if outcome.reason else float(place % (exercise.points + 1)),
                exercise.points,
                (LONG, "for rank 4 you return 5"),
                LONG,
            )
            for place, exercise in enumerate(SETS[name])
        )
        result = Result(
            student=f"{LONG} \N{HEBREW LETTER ALEF}",
            set=name,
            file=f"{LONG}.ipynb",
            status=Status.REVIEW,
            reasons=(),
            exercises=exercises,
        )
        open_ones = result.open_reasons
        status = Status.REVIEW if open_ones else DECIDED[number % 2]
        found.append(
            Result(**{**vars(result), "status": status, "reasons": open_ones, "late_penalty": 1.0})
        )
    return [*found, Result("anna", "", "cut.ipynb", Status.REVIEW, (f"unreadable: {LONG}",))]


@pytest.fixture(scope="module")
def browser(browser_path):  # noqa: F811
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_has_no_violation_and_nothing_stands_out_of_it(browser, width, scheme):
    graded = results()
    told = {outcome for r in graded for e in r.exercises for outcome in [e.outcome]}
    assert told == set(Outcome) and {r.status for r in graded} == set(Status)
    links = {r.student: page_name(r.student) for r in graded}
    pages = {
        "student": student_page(graded[0].student, graded),
        "summary": summary_page(graded, "bubblewrap", links),
    }
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for name, text in pages.items():
        page.set_content(text)
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response
        assert len(found["passes"]) > 5  # it has looked
        told = [(v["id"], v["impact"], v["nodes"][0]["html"][:160]) for v in found["violations"]]
        assert not told, (name, told)
        size = "document.documentElement.{}Width"
        assert page.evaluate(size.format("scroll")) <= page.evaluate(size.format("client")), name
    page.close()
