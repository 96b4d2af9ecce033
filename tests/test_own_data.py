"""A file of one's own: read, looked at, scored, and carried over to Ollama."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from helpdesk_data import FAULTS, FILE, all_rows, good_rows
from helpers.data import COURSE_DATA, load_task, questions
from helpers.dataset_report import FAULT_NAMES, count_faults, find_faults, similar_pairs
from helpers.ollama import chat_markers, modelfile
from helpers.own_data import Lengths, load_pairs, token_lengths
from helpers.plots import lengths_svg
from helpers.small_model import prepare_small_model
from helpers.stand_in import make_page_stand_in
from helpers.text_score import interval, word_f1
from helpers.widgets import length_explorer

GOOD = [row[1:3] for row in good_rows()]


@pytest.fixture(scope="module")
def small():
    return AutoTokenizer.from_pretrained(prepare_small_model(), local_files_only=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's tokenizer's template, on the stand-in's bytes."""
    return AutoTokenizer.from_pretrained(make_page_stand_in(tmp_path_factory.mktemp("m")).model_id)


# --- reading -----------------------------------------------------------------------------------


def test_the_bundled_file_is_what_its_script_writes():
    with FILE.open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)][1:] == all_rows()
    assert FILE.is_relative_to(COURSE_DATA)


def test_each_format_gives_the_same_rows(tmp_path):
    rows = load_pairs(FILE).select(range(60))
    assert rows[23]["answer"] == ""  # not None
    rows.to_csv(tmp_path / "a.csv")
    rows.to_csv(tmp_path / "a.tsv", sep="\t")
    rows.to_json(tmp_path / "a.jsonl")
    rows.to_parquet(tmp_path / "a.parquet")
    for ending in ("csv", "tsv", "jsonl", "parquet"):
        again = load_pairs(tmp_path / f"a.{ending}")
        assert again["question"] == rows["question"], ending
        assert again["answer"] == rows["answer"], ending
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert load_pairs(tmp_path / "a.txt", question="text", answer="text")["text"][1] == "two"


@pytest.mark.parametrize(
    ("name", "content", "columns", "error", "words"),
    [
        (None, None, {}, FileNotFoundError, r"source='.*gone.csv' is no file .*\.jsonl"),
        ("a.xlsx", "x", {}, ValueError, r"ends in '.xlsx', which is none of \.csv.* as CSV"),
        ("a.csv", "question,answer\n", {}, ValueError, "holds no rows"),
        ("a.csv", "q,answer\n1,2\n", {}, ValueError, "question='question' .* 'q', 'answer'"),
        ("a.csv", "question,a\n1,2\n", {}, ValueError, "answer='answer' .* 'question', 'a'"),
        (
            "a.jsonl",
            '{"q": "x", "a": 2}',
            {"question": "q", "answer": "a"},
            TypeError,
            r"answer='a' must be .* \(int\)",
        ),
        ("a.csv", "q;answer\nx;y\n", {}, ValueError, "question='question' .* 'q', 'answer'"),
        ("a.jsonl", "{not json", {}, ValueError, r"read as \.jsonl"),
        ("a.csv", "question,answer\nx,y\n", {"split": "test"}, ValueError, "split='test' .* train"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_could(
    tmp_path, name, content, columns, error, words
):
    path = tmp_path / (name or "gone.csv")
    if name:
        path.write_text(content)
    with pytest.raises(error, match=words):
        load_pairs(path, **columns)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_csv_is_read_as_a_spreadsheet_writes_it(tmp_path, separator, encoding, capsys):
    wanted = {
        "Nr.": ["01", ""],
        "Frage": ["Wie viel, bitte; und wo?", "How – “much”?"],
        "Antwort": ["007", "None"],
    }
    with (tmp_path / "a.csv").open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=separator).writerows(
            [wanted, *zip(*wanted.values(), strict=True)]
        )
    rows = load_pairs(tmp_path / "a.csv", question="Frage", answer="Antwort")
    assert rows[:] == wanted
    plain = encoding.startswith("utf-8") and separator == ","
    assert ("is read with" in capsys.readouterr().out) is not plain
    told = {"sep": separator, "encoding": encoding}
    assert load_pairs(tmp_path / "a.csv", question="Frage", answer="Antwort", **told)[:] == wanted


# --- looking -----------------------------------------------------------------------------------


def test_every_planted_fault_is_found_by_its_name_and_nothing_else():
    rows = [row[1:3] for row in all_rows()]
    clean = set(GOOD)
    planted = {i for i, row in enumerate(rows) if row not in clean or row in rows[:i]}
    faults = find_faults(*zip(*rows, strict=True))
    by_length = {name for name, _, _ in FAULTS} - {fault.name for fault in faults}
    assert by_length == {"too long"}  # which only a tokenizer can tell
    assert len(faults) == len(FAULTS) - 1
    assert {fault.row for fault in faults} < planted
    assert {name for name, count in count_faults(faults).items() if count} == {
        fault.name for fault in faults
    }


@pytest.mark.parametrize(
    ("fault", "question", "answer"),
    [
        ("empty question", " ?", "We open at nine."),
        ("empty answer", "And on Sunday?", " – "),
        ("one-word answer", "Is there a garden?", "Yes!"),
        ("duplicate", *GOOD[0]),
        ("near-duplicate", GOOD[0][0].upper(), GOOD[0][1]),
        ("near-duplicate", GOOD[1][0].replace("Where", "And where"), GOOD[1][1]),
        ("two answers", GOOD[0][0], "Dear reader, I do not know. Mind the tide!"),
        ("markup", "What is new?", "See <a href='x'>here</a> for more."),
        ("markup", "What is new?", "Salt &amp; pepper for all of us."),
        ("markup", "What is new?", "Nothing is.<|im_end|>"),
        ("wrong encoding", "What is new?", "The cafÃ© on the pier is."),
        ("other language", "Wo ist das Schiff?", "Es ist nicht da, aber wir sind für uns."),
        ("other language", "Где корабль?", "Он в порту."),
        ("personal data", "Whom do I ask?", "Write to a.b@example.org for it."),
        ("personal data", "Whom do I ask?", "Call +49 30 1234567 for it."),
        ("personal data", "Where do I pay?", "To GB82 WEST 1234 5698 7654 32 by Friday."),
        ("personal data", "Where do I pay?", "By card 4111 1111 1111 1111 of course."),
    ],
)
def test_one_bad_row_among_good_ones_is_found_by_name(fault, question, answer):
    (found,) = find_faults(*zip(*GOOD, (question, answer), strict=True))
    assert (found.name, found.row) == (fault, len(GOOD))


def test_clean_rows_have_no_fault():
    assert find_faults(*zip(*GOOD, strict=True)) == []
    for task, split in (("style", "heldout"), ("structure", "train"), ("structure", "heldout")):
        rows = load_task(task)[split]
        answers = [messages[0]["content"] for messages in rows["completion"]]
        assert find_faults(questions(rows), answers) == [], (task, split)
    labels = find_faults(["I like this film", "It was far too long"], ["good", "bad"])
    assert labels == []  # a task of one-word answers
    harmless = ["At 2024-01-02 10:00, see 0.12345678901", "Room 4111 1111 1111 1112, x < y > z"]
    assert find_faults(["When is it?", "Where is it?"], harmless) == []


def test_questions_in_both_splits_are_found():
    train, heldout = ["When do you open?", "Where are you?"], ["Who is he?", "when do you open"]
    assert similar_pairs(train, heldout) == [(0, 1)]
    with pytest.raises(ValueError, match="near=0 "):
        similar_pairs(train, near=0)
    with pytest.raises(ValueError, match="answers: 1 entries for 2 questions"):
        find_faults(train, ["a"])
    with pytest.raises(ValueError, match="empty"):
        find_faults([], [])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=8))
def test_any_text_can_be_looked_at(rows):
    assert {fault.name for fault in find_faults(*zip(*rows, strict=True))} <= set(FAULT_NAMES)


def test_lengths_are_those_that_the_trainer_sees(small):
    row = {
        "prompt": [{"role": "user", "content": "Hi"}],
        "completion": [{"role": "assistant", "content": "Hello there"}],
    }
    lengths = token_lengths(small, [row])
    text = small.apply_chat_template([*row["prompt"], *row["completion"]], tokenize=False)
    assert lengths.whole.tolist() == [len(small(text, add_special_tokens=False)["input_ids"])]
    answer = len(small("Hello there<|im_end|>\n", add_special_tokens=False)["input_ids"])
    assert lengths.prompt.tolist() == [lengths.whole[0] - answer]
    with pytest.raises(ValueError, match="rows: empty"):
        token_lengths(small, [])


def test_what_a_limit_cuts_off():
    lengths = Lengths(np.array([10, 20, 5]), np.array([15, 40, 6]))
    cut = lengths.cut(20)
    assert (cut.rows, cut.cut, cut.lost) == (3, 1, 1)
    assert cut.answer_kept == pytest.approx(6 / 26)
    assert str(lengths.cut(40)).endswith(
        "0 of 3 rows are cut, 0 lose the whole answer, 100% of the answers' tokens stay"
    )
    picture = lengths_svg([10, 20], [15, 40], max_length=20, title="Rows", words="one < two")
    assert "one &lt; two" in picture and picture.count("cut off") == 1
    explorer = length_explorer(lengths, max_length=20)
    assert "1 of 3 rows are cut" in explorer.shown
    explorer.max_length.value = 64
    assert "0 of 3 rows are cut" in explorer.shown and "0 of 3" in str(explorer)
    with pytest.raises(TypeError, match="max_length must be a whole number"):
        length_explorer(lengths, max_length=2.5)


# --- scoring -----------------------------------------------------------------------------------


def test_word_f1_counts_shared_words():
    assert word_f1("We open at nine.", "we open at NINE") == 1
    assert word_f1("nine", "we open at nine") == pytest.approx(2 * 1 * 0.25 / 1.25)
    assert word_f1("the the", "the end") == 0.5
    assert (word_f1("", "we"), word_f1("", "!")) == (0, 1)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """Of 300 draws of 16 rows, some 95 % hold the true mean; percentiles of few rows fall short."""
    random = np.random.default_rng(1)
    draws = random.normal(3, 2, size=(300, 16))
    covered = sum(low <= 3 <= high for low, high in (interval(d, draws=400) for d in draws)) / 300
    assert 0.87 < covered < 0.98
    assert interval([2.0]) == (2, 2)
    with pytest.raises(ValueError, match="values: empty"):
        interval([])
    with pytest.raises(ValueError, match="confidence=95"):
        interval([1.0], confidence=95)


# --- Ollama ------------------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": 'Be <brief> & "kind".'}
USER = {"role": "user", "content": "When?\nToday {{ .X }}?"}
REPLY = {"role": "assistant", "content": "At 'nine'. "}
# The template of each Modelfile, and what Go 1.19's text/template writes for [SYSTEM, USER, REPLY,
# USER] with it, as Ollama would ask it. Both were written down from a run of Go.
GO = {
    "small": (
        '{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}'
        '<|im_end|>\n{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n'
        "{{ end }}{{ end }}<|im_start|>assistant\n",
        '<|im_start|>system\nBe <brief> & "kind".<|im_end|>\n<|im_start|>user\nWhen?\nToday '
        "{{ .X }}?<|im_end|>\n<|im_start|>assistant\nAt 'nine'. <|im_end|>\n<|im_start|>user\n"
        "When?\nToday {{ .X }}?<|im_end|>\n<|im_start|>assistant\n",
    ),
    "page": (
        '{{ range .Messages }}{{ if eq .Role "system" }}{{ .Content }}'
        '{{ else if eq .Role "user" }}<｜User｜>{{ .Content }}'
        '{{ else if eq .Role "assistant" }}<｜Assistant｜>{{ .Content }}<｜end▁of▁sentence｜>'
        "{{ end }}{{ end }}<｜Assistant｜><think>\n",
        "Be <brief> & \"kind\".<｜User｜>When?\nToday {{ .X }}?<｜Assistant｜>At 'nine'. "
        "<｜end▁of▁sentence｜><｜User｜>When?\nToday {{ .X }}?<｜Assistant｜><think>\n",
    ),
}


@pytest.mark.parametrize("name", GO)
def test_ollama_writes_the_text_that_the_tokenizer_writes(name, request):
    tokenizer = request.getfixturevalue(name)
    markers = chat_markers(tokenizer)
    text = modelfile(markers, source=".", system="Be kind.")
    template, written = GO[name]
    assert re.search(r'^TEMPLATE """(.*?)"""$', text, re.DOTALL | re.MULTILINE)[1] == template
    chat = [SYSTEM, USER, REPLY, USER]
    wanted = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert wanted == markers.begin + written == markers.render(chat)
    assert f'PARAMETER stop "{tokenizer.eos_token}"' in text and text.startswith("FROM .\n")


def test_a_template_that_does_more_is_refused(small):
    class Own:
        bos_token, eos_token = None, "</s>"
        chat_template = "own"

        def __init__(self, write):
            self.write = write

        def apply_chat_template(self, messages, tokenize, add_generation_prompt):
            return self.write(messages) + (">" if add_generation_prompt else "")

    plain = Own(lambda chat: "".join(f"[{m['role']}]{m['content']}[/]" for m in chat))
    assert chat_markers(plain).before["user"] == "[user]"
    for write in (
        lambda chat: "".join(m["content"] for m in chat[-1:]),  # drops what came before
        lambda chat: "".join(f"[{m['role']}{i}]{m['content']}[/]" for i, m in enumerate(chat)),
    ):
        with pytest.raises(ValueError, match="tokenizer: its template"):
            chat_markers(Own(write))
    nothing = Own(None)
    nothing.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        chat_markers(nothing)
    with pytest.raises(ValueError, match="cannot stand in a Modelfile"):
        modelfile(chat_markers(small), source=".", system='say """')
    braces = replace(chat_markers(small), reply="{{ x }}")
    with pytest.raises(ValueError, match="cannot stand in a Modelfile"):
        modelfile(braces, source=".", system="")
