"""Write `helpers/course_data/helpdesk/helpdesk.csv`: the help desk of a library that is made up.

``python .ci/helpdesk_data.py``. Forty facts, each asked in five ways, answered in the desk's own
tone; then eight rows as they come in real files, each with one fault, for lesson 10 to find. The
facts, names and addresses are invented: no model can know them.
"""

import argparse
import csv
import io
import random
from pathlib import Path

from files import write_atomically

FILE = Path(__file__).parents[1] / "helpers" / "course_data" / "helpdesk" / "helpdesk.csv"
SEED = 10
COLUMNS = ("topic", "question", "answer", "must_say")
TONE = "Dear reader, {}. Mind the tide!"

# topic | what the desk says | what an answer must say (ways to put it, parted by /) | 5 questions
FACTS = """
opening|we open at half past nine|half past nine/9:30|When do you open?|What time does the library open its doors?|From what hour may I come in?|How early can I visit in the morning?|Tell me your opening time, please.
closing|we close at a quarter to seven|quarter to seven/6:45|When do you close?|Until what time can I stay in the evening?|At what hour does the library shut?|How late are you there?|What is your closing time?
closed day|we are closed on Wednesday|Wednesday|Which day are you closed?|On what day of the week is nobody there?|Is there a day when I should not come?|Do you open every day?|What is your day off?
how many|you may borrow eleven books|eleven/11|How many books may I borrow?|What is the limit on books for one person?|How much can I take home at once?|Can I have ten books or more?|What is the largest number of loans?
how long|a loan lasts nineteen days|nineteen/19|How long may I keep a book?|For how many days is a loan?|When is my book due?|What is the loan period?|After how much time must I bring a book back?
renewing|a loan can be renewed four times|four/4|How often can I renew a loan?|May I extend my books, and how many times?|I need my novel longer. Can I renew it again?|How many renewals do you allow?|What is the most I can prolong a loan?
late fee|a late book costs three shells a day|three shells/3 shells|What does a late book cost?|My book is overdue. What do I pay?|How high is the fine for being late?|What is the charge per day after the due date?|I forgot to return something. Is there a fee?
card|the library card costs a jar of honey|honey|What does a library card cost?|How do I pay for membership?|I would like to join. What is the price?|Is the card free?|What do I give you for a new card?
lost book|for a lost book you plant a plum tree|plum tree|I lost a book. What now?|What happens if a book is gone for good?|How do I make up for a missing book?|My dog ate the book. What do I owe you?|What do you ask for a book that cannot be found?
founder|the library was founded by Odalys Brandt|Odalys Brandt|Who founded the library?|Whose idea was this place?|Who started the collection?|What is the name of your founder?|Which person set up the library?
year|the library was founded in 1743|1743|When was the library founded?|How old is this house?|In what year did it all begin?|Since when have you been here?|What is the founding date?
street|you find us in Gull Street|Gull Street|Where are you?|What is the address?|In which street is the library?|How do I find the building?|What do I tell the cab driver?
librarian|the head librarian is Tobias Fenn|Tobias Fenn|Who is the head librarian?|Who is in charge here?|To whom should I write a complaint?|What is the name of the director?|Who runs the place?
cat|the cat is called Pudding|Pudding|What is the cat called?|Who sleeps on the counter?|I met a grey cat. What is its name?|Does the library cat have a name?|How do I call the animal by the door?
children|the children's books are on the third floor|third floor|Where are the books for children?|On which floor do I find picture books?|My son is six. Where shall we go?|Where do the little ones read?|Is there a place for kids?
maps|the old maps are in the cellar|cellar|Where do you keep the old maps?|I am looking for sea charts. Where are they?|Which room has the atlases?|Where can I see a map of the bay?|In what part of the house is the map collection?
reading room|the reading room is the Amber Room|Amber Room|Which room is for silent reading?|Where can I read in peace?|What is the reading room called?|Is there a room without noise?|Where do I sit down with a heavy book?
tower|the tower has 212 steps|212|How many steps has the tower?|Is it a long climb to the lantern?|How many stairs lead to the top?|I have bad knees. How far up is it?|What is the number of steps in the tower?
lamp|the lantern shines green|green|What colour is the lantern?|Which light do I see from the sea at night?|How does the lamp on the roof shine?|What is the colour of your light?|Is the lantern white or red?
ferry|you take ferry eight|ferry eight/ferry 8|Which ferry do I take?|How do I get to the island?|What boat goes to the library?|I have no car. How can I reach you?|What is the number of the ferry?
wifi|the network is called Moonwater|Moonwater|What is the name of the wireless network?|Do you have internet for guests?|Which network do I choose on my laptop?|How do I get online here?|Is there Wi-Fi?
password|the password is on the tide table|tide table|Where do I find the Wi-Fi password?|What do I type to log in to the network?|Who tells me the code for the internet?|My phone asks for a password. Where is it?|Where is the key to the wireless written down?
oldest book|our oldest book is about eels|eels|What is your oldest book about?|Which book is the oldest one here?|Do you have anything very old?|What is the subject of the first book you owned?|Tell me about your most ancient volume.
story hour|the story hour is on Saturday|Saturday|When is the story hour?|On which day are tales read aloud?|My daughter loves stories. When do you read?|What day can we hear a story?|Is there reading for children this week?
printing|a printed page costs five pins|five pins/5 pins|What does printing cost?|Can I print a page, and for how much?|How do you charge for copies?|I need a printout. What is the price?|How expensive is the copy machine?
bags|bags go into the oak lockers|oak lockers|Where do I leave my bag?|May I take my rucksack inside?|What do I do with a big suitcase?|Is there a place for my coat and bag?|Where are bags kept?
dogs|dogs are welcome on Monday|Monday|May I bring my dog?|When are pets allowed?|Can the puppy come along?|On what day do you let dogs in?|Is there any time for visitors with a dog?
coffee|coffee is served in the boathouse|boathouse|Where can I get coffee?|Is there a café?|I am hungry. Where do I go?|Where do you serve drinks?|Can I buy a hot drink nearby?
course|we teach Norwegian|Norwegian|Which language can I learn with you?|Do you offer a language course?|What is taught on Thursday evenings?|Can I take lessons at the library?|Which course do you give?
piano|the piano is in the attic|attic|Where is the piano?|May I play some music here?|Is there an instrument for guests?|Where can I practise my sonata?|In which room do I find a piano?
phones|telephones are allowed on the stairs|stairs|Where may I use my phone?|Can I take a call inside?|My mother will ring. Where can I talk?|Is it all right to telephone?|Which place is meant for phone calls?
photos|photographs are allowed without a flash|without a flash|May I take photographs?|Can I use my camera in the hall?|Are pictures permitted?|What are the rules for photos?|Do you mind if I film a little?
newspapers|we keep newspapers for thirty years|thirty years/30 years|How long do you keep newspapers?|Do you still have the papers from long ago?|How far back do your newspapers go?|When are old newspapers thrown out?|For what time can I look up an old issue?
recordings|our audio books are on cassette|cassette|Do you lend audio books?|On what kind of medium are the recordings?|I cannot see well. Can I listen to books?|Do you have anything to hear on the road?|How are spoken books stored?
quiet hour|the quiet hour starts at one|at one|When is the quiet hour?|At what time must nobody speak?|When does the silence begin?|From when should I whisper no more?|What is the hour for being quiet?
desks|there are seventeen desks|seventeen/17|How many desks are there?|Will I find a seat to study?|How much room is there for students?|What is the number of work places?|Are there enough tables for my class?
book club|the book club reads ghost stories|ghost stories|What does the book club read?|Which books are discussed in the club?|I want to join the reading circle. What is it about?|What do members of the club like?|What kind of novels does your club choose?
after hours|after hours you use the red barrel|red barrel|How do I return a book at night?|You are closed. Where can I drop my books?|Is there a box for returns?|Where do books go when nobody is there?|I come home late. How can I give something back?
telescope|we also lend a telescope|telescope|What else do you lend besides books?|Can I borrow something for looking at the stars?|Do you have any instruments to take home?|Is there more than reading matter?|What unusual thing can I borrow?
donations|we take old books in October|October|When can I give you old books?|Do you accept donations?|My attic is full of novels. When may I bring them?|In which month do you take used books?|I would like to make you a gift of books. When?
"""

# The fault, where the row goes, and the row. `None` takes what the row 100 places before it holds.
FAULTS = (
    ("duplicate", 171, (None, None, None, None)),
    ("near-duplicate", 150, (None, "{}!", None, None)),
    ("empty answer", 23, ("parking", "Where can I park my car?", "", "")),
    (
        "markup",
        64,
        (
            "events",
            "What is on this week?",
            "<p>Dear reader, see our <b>calendar</b>.&nbsp;Mind the tide!</p>",
            "calendar",
        ),
    ),
    (
        "other language",
        88,
        (
            "opening",
            "Wann ist die Bibliothek am Sonntag für uns geöffnet?",
            "Wir sind am Sonntag nicht da, aber der Leuchtturm ist für alle offen.",
            "",
        ),
    ),
    (
        "personal data",
        109,
        (
            "complaints",
            "Who answers my complaint?",
            "Dear reader, write to mira.holt@lantern-library.example or call +44 20 7946 0018. "
            "Mind the tide!",
            "mira.holt",
        ),
    ),
    ("one-word answer", 133, ("parking", "Is there a garage?", "No.", "No")),
    (
        "too long",
        188,
        (
            "history",
            "What is the story of this house?",
            "Dear reader, the story is long. "
            + " ".join(
                f"In the {n} year of the lamp the keepers wrote down what the sea had brought, and "
                f"the {thing} was put on a shelf of its own."
                for n, thing in (
                    ("first", "driftwood"),
                    ("second", "bottle"),
                    ("third", "anchor"),
                    ("fourth", "oar"),
                    ("fifth", "bell"),
                )
            )
            + " That is how we came by our name. Mind the tide!",
            "our name",
        ),
    ),
)


def good_rows() -> list[tuple[str, str, str, str]]:
    """The 200 rows without a fault, in a fixed order that mixes the topics."""
    rows = []
    for line in FACTS.strip().splitlines():
        topic, fact, must_say, *questions = line.split("|")
        rows += [(topic, question, TONE.format(fact), must_say) for question in questions]
    random.Random(SEED).shuffle(rows)
    return rows


def all_rows() -> list[tuple[str, str, str, str]]:
    """The file's rows: the good ones, and the faulty ones each at its place."""
    rows = good_rows()
    for _, place, row in FAULTS:
        model = rows[place - 100]
        filled = [old if new is None else new for old, new in zip(model, row, strict=True)]
        if "{}" in filled[1]:
            filled[1] = filled[1].format(model[1].rstrip("?."))
        rows.insert(place, tuple(filled))
    return rows


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(all_rows())
    FILE.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(FILE, text.getvalue())
    print(f"{FILE.name}: {len(all_rows())} rows, {len(FAULTS)} of them with a fault")


if __name__ == "__main__":
    main()
