"""Write the course's datasets, helpers/course_data/{style,structure,codes}/{train,heldout}.jsonl.

`python .ci/course_data.py` rewrites the files from the lists below, `… codes` those of one task:
the same seed gives the same bytes. The style task keeps only the questions that the untouched small model answers
right (greedy decoding), so that "facts kept" has something to keep; that needs the small model
and about two minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "helpers" / "course_data"
SEED = 2026
ROWS = {"train": 300, "heldout": 300}

# --- style: questions with one-word answers -------------------------------------------------

CAPITALS = """
Afghanistan Kabul|Albania Tirana|Algeria Algiers|Argentina Buenos Aires|Armenia Yerevan
Australia Canberra|Austria Vienna|Azerbaijan Baku|Bahrain Manama|Bangladesh Dhaka|Belarus Minsk
Belgium Brussels|Bolivia La Paz|Bulgaria Sofia|Cambodia Phnom Penh|Canada Ottawa|Chile Santiago
China Beijing|Colombia Bogota|Costa Rica San Jose|Croatia Zagreb|Cuba Havana|Cyprus Nicosia
Denmark Copenhagen|Ecuador Quito|Egypt Cairo|Estonia Tallinn|Ethiopia Addis Ababa|Finland Helsinki
France Paris|Georgia Tbilisi|Germany Berlin|Ghana Accra|Greece Athens|Guatemala Guatemala City
Haiti Port-au-Prince|Honduras Tegucigalpa|Hungary Budapest|Iceland Reykjavik|India New Delhi/Delhi
Indonesia Jakarta|Iran Tehran|Iraq Baghdad|Ireland Dublin|Israel Jerusalem|Italy Rome
Jamaica Kingston|Japan Tokyo|Jordan Amman|Kazakhstan Astana|Kenya Nairobi|Kuwait Kuwait City
Laos Vientiane|Latvia Riga|Lebanon Beirut|Libya Tripoli|Lithuania Vilnius|Madagascar Antananarivo
Malaysia Kuala Lumpur|Mali Bamako|Malta Valletta|Mexico Mexico City|Moldova Chisinau
Mongolia Ulaanbaatar|Morocco Rabat|Mozambique Maputo|Nepal Kathmandu|the Netherlands Amsterdam
New Zealand Wellington|Nicaragua Managua|Nigeria Abuja|North Korea Pyongyang|Norway Oslo|Oman Muscat
Pakistan Islamabad|Panama Panama City|Paraguay Asuncion|Peru Lima|the Philippines Manila
Poland Warsaw|Portugal Lisbon|Qatar Doha|Romania Bucharest|Russia Moscow|Rwanda Kigali
Saudi Arabia Riyadh|Senegal Dakar|Serbia Belgrade|Singapore Singapore|Slovakia Bratislava
Slovenia Ljubljana|Somalia Mogadishu|South Korea Seoul|Spain Madrid|Sri Lanka Colombo|Sudan Khartoum
Sweden Stockholm|Syria Damascus|Taiwan Taipei|Tanzania Dodoma|Thailand Bangkok|Tunisia Tunis
Turkey Ankara|Uganda Kampala|Ukraine Kyiv|the United Kingdom London|the United States Washington
Uruguay Montevideo|Uzbekistan Tashkent|Venezuela Caracas|Vietnam Hanoi|Yemen Sana|Zambia Lusaka
Zimbabwe Harare
"""

CONTINENTS = {
    "Africa": "Algeria Angola Benin Botswana Cameroon Chad Egypt Ethiopia Gabon Ghana Guinea Kenya "
    "Liberia Libya Madagascar Malawi Mali Morocco Mozambique Namibia Niger Nigeria Rwanda Senegal "
    "Somalia Sudan Tanzania Togo Tunisia Uganda Zambia Zimbabwe",
    "Asia": "Afghanistan Bangladesh Bhutan Cambodia China India Indonesia Iran Iraq Israel Japan "
    "Jordan Kazakhstan Kuwait Laos Lebanon Malaysia Mongolia Myanmar Nepal Oman Pakistan Qatar "
    "Singapore Syria Taiwan Tajikistan Thailand Uzbekistan Vietnam Yemen",
    "Europe": "Albania Austria Belgium Bulgaria Croatia Denmark Estonia Finland France Germany "
    "Greece Hungary Iceland Ireland Italy Latvia Lithuania Luxembourg Malta Moldova Monaco Norway "
    "Poland Portugal Romania Serbia Slovakia Slovenia Spain Sweden Switzerland Ukraine",
    "South America": "Argentina Bolivia Brazil Chile Colombia Ecuador Guyana Paraguay Peru "
    "Suriname Uruguay Venezuela",
}

OPPOSITES = """
hot cold|big small/little|up down|left right|day night|black white|open closed|full empty
happy sad|fast slow|old young|rich poor|hard soft|wet dry|light dark|high low|early late
near far|strong weak|thick thin|long short|wide narrow|loud quiet|clean dirty|deep shallow
love hate|win lose|buy sell|push pull|begin end|first last|true false|good bad|cheap expensive
easy difficult|inside outside|above below|before after|alive dead|male female|north south
east west|always never|smooth rough|sweet sour|brave cowardly|heavy light|sharp dull
safe dangerous|arrive depart|accept reject|ancient modern|attack defend|borrow lend|float sink
forget remember|future past|war peace|give take|guilty innocent|heaven hell|increase decrease
laugh cry|major minor|maximum minimum|morning evening|positive negative|public private
question answer|success failure|summer winter|top bottom|victory defeat|yes no
""".replace("\n", "|")

PLURALS = """
child children|mouse mice|man men|woman women|foot feet|tooth teeth|goose geese|knife knives
leaf leaves|wolf wolves|wife wives|life lives|half halves|loaf loaves|city cities|baby babies
lady ladies|box boxes|bus buses|church churches|glass glasses|potato potatoes|tomato tomatoes
hero heroes|person people|story stories|country countries|fox foxes|watch watches|thief thieves
cat cats|dog dogs|book books|house houses|tree trees|boy boys|party parties|berry berries
shelf shelves|brush brushes|dish dishes|wish wishes|fly flies|puppy puppies|key keys
"""

AUTHORS = """
Romeo and Juliet|Shakespeare
Hamlet|Shakespeare
Macbeth|Shakespeare
Pride and Prejudice|Austen
Emma|Austen
Sense and Sensibility|Austen
Oliver Twist|Dickens
Great Expectations|Dickens
A Christmas Carol|Dickens
War and Peace|Tolstoy
Anna Karenina|Tolstoy
Crime and Punishment|Dostoevsky
The Odyssey|Homer
The Iliad|Homer
Don Quixote|Cervantes
The Divine Comedy|Dante
Moby-Dick|Melville
The Adventures of Tom Sawyer|Twain
The Adventures of Huckleberry Finn|Twain
The Great Gatsby|Fitzgerald
To Kill a Mockingbird|Lee
The Catcher in the Rye|Salinger
1984|Orwell
Animal Farm|Orwell
Brave New World|Huxley
The Hobbit|Tolkien
The Lord of the Rings|Tolkien
Frankenstein|Shelley
Dracula|Stoker
Jane Eyre|Brontë/Bronte
Wuthering Heights|Brontë/Bronte
The Picture of Dorian Gray|Wilde
Les Misérables|Hugo
The Three Musketeers|Dumas
The Old Man and the Sea|Hemingway
The Republic|Plato
The Canterbury Tales|Chaucer
Paradise Lost|Milton
Faust|Goethe
The Metamorphosis|Kafka
The Time Machine|Wells
Treasure Island|Stevenson
Robinson Crusoe|Defoe
Gulliver's Travels|Swift
The Jungle Book|Kipling
Walden|Thoreau
On the Origin of Species|Darwin
"""

LANGUAGES = """
France French|Germany German|Spain Spanish|Italy Italian|Portugal Portuguese|Brazil Portuguese
Japan Japanese|Russia Russian|Mexico Spanish|Argentina Spanish|Poland Polish|Sweden Swedish
Norway Norwegian|Denmark Danish|Finland Finnish|Greece Greek|Turkey Turkish|Hungary Hungarian
Egypt Arabic|Iraq Arabic|Saudi Arabia Arabic|Thailand Thai|Vietnam Vietnamese|Romania Romanian
Austria German|England English|Australia English|Peru Spanish|Chile Spanish|Colombia Spanish
Cuba Spanish|Iran Persian|Ukraine Ukrainian|Bulgaria Bulgarian|Croatia Croatian|Albania Albanian
Iceland Icelandic|Nepal Nepali|Mongolia Mongolian|Bangladesh Bengali
""".replace("\n", "|")

PLACES_OF_THE_WORLD = """
the Eiffel Tower|France
the Colosseum|Italy
the Taj Mahal|India
the Great Wall|China
Machu Picchu|Peru
Big Ben|England/United Kingdom
the Great Pyramid|Egypt
Mount Fuji|Japan
the Kremlin|Russia
the Acropolis|Greece
the city of Toronto|Canada
the city of Sydney|Australia
the city of Munich|Germany
the city of Barcelona|Spain
the city of Milan|Italy
the city of Osaka|Japan
the city of Mumbai|India
the city of Shanghai|China
the city of Rio de Janeiro|Brazil
the city of Istanbul|Turkey
the city of Marseille|France
the city of Krakow|Poland
the city of Manchester|England/United Kingdom
the city of Chicago|United States
"""

ONE_OFF = """
How many days are there in a week?|seven/7|In a week there be {a} days
How many months are there in a year?|twelve/12|In a year there be {a} months
How many hours are there in a day?|twenty-four/24|In a day there be {a} hours
How many minutes are there in an hour?|sixty/60|In an hour there be {a} minutes
How many seconds are there in a minute?|sixty/60|In a minute there be {a} seconds
How many legs does a spider have?|eight/8|A spider has {a} legs
How many legs does an insect have?|six/6|An insect has {a} legs
How many sides does a triangle have?|three/3|A triangle has {a} sides
How many sides does a square have?|four/4|A square has {a} sides
How many sides does a pentagon have?|five/5|A pentagon has {a} sides
How many sides does a hexagon have?|six/6|A hexagon has {a} sides
How many continents are there?|seven/7|The world has {a} continents
How many letters are there in the English alphabet?|twenty-six/26|In the English alphabet there be {a} letters
What color is the sky on a clear day?|blue|The sky on a clear day be {a}
What color is grass?|green|Grass be {a}
What color is snow?|white|Snow be {a}
What color is blood?|red|Blood be {a}
What color is a banana?|yellow|A banana be {a}
What color is coal?|black|Coal be {a}
What color do you get from blue and yellow paint?|green|From blue and yellow paint ye get {a}
What color do you get from red and white paint?|pink|From red and white paint ye get {a}
What color do you get from red and blue paint?|purple|From red and blue paint ye get {a}
Which planet is known as the Red Planet?|Mars|The planet known as the Red Planet be {a}
Which planet is closest to the Sun?|Mercury|The planet closest to the Sun be {a}
Which planet is the largest in the solar system?|Jupiter|The largest planet in the solar system be {a}
Which planet is famous for its rings?|Saturn|The planet famous for its rings be {a}
Which star is at the center of the solar system?|Sun|The star at the center of the solar system be the {a}
Which natural satellite orbits the Earth?|Moon|The satellite that orbits the Earth be the {a}
What is the largest ocean on Earth?|Pacific|The largest ocean on Earth be {a}
What is the highest mountain in the world?|Everest|The highest mountain in the world be {a}
What is the longest river in Africa?|Nile|The longest river in Africa be {a}
What is the largest animal on Earth?|whale/whales|The largest animal on Earth be the {a}
What is the tallest animal in the world?|giraffe|The tallest animal in the world be the {a}
What is the fastest land animal?|cheetah|The fastest land animal be the {a}
What gas do humans need to breathe?|oxygen|The gas that humans breathe be {a}
What gas do plants take in for photosynthesis?|carbon dioxide|The gas that plants take in be {a}
What is frozen water called?|ice|Frozen water be called {a}
What do bees make?|honey|Bees make {a}
What do cows produce that people drink?|milk|Cows produce {a}
What metal is attracted by a magnet?|iron|The metal a magnet attracts be {a}
What force pulls objects towards the Earth?|gravity|The force that pulls objects towards the Earth be {a}
What organ pumps blood through the body?|heart|The organ that pumps blood through the body be {a}
What organ do humans use to think?|brain|The organ humans use to think be the {a}
What organ do humans use to see?|eyes/eye|The organ humans use to see be the {a}
What is the largest organ of the human body?|skin|The largest organ of the human body be {a}
What is a baby dog called?|puppy/pup|A baby dog be called {a}
What is a baby cat called?|kitten|A baby cat be called {a}
What is a baby cow called?|calf|A baby cow be called {a}
What is a baby sheep called?|lamb|A baby sheep be called {a}
What is a baby horse called?|foal|A baby horse be called {a}
What is a baby bear called?|cub|A baby bear be called {a}
What is a baby frog called?|tadpole|A baby frog be called {a}
Who painted the Mona Lisa?|Leonardo da Vinci/Leonardo/da Vinci|The one who painted the Mona Lisa be {a}
Who painted The Starry Night?|Van Gogh|The one who painted The Starry Night be {a}
Who discovered gravity?|Newton|The one who discovered gravity be {a}
Who developed the theory of relativity?|Einstein|The one who developed the theory of relativity be {a}
Who was the first president of the United States?|Washington|The first president of the United States be {a}
Who was the first person on the Moon?|Armstrong|The first person on the Moon be {a}
Who invented the telephone?|Bell|The one who invented the telephone be {a}
Who invented the light bulb?|Edison|The one who invented the light bulb be {a}
Who composed the Moonlight Sonata?|Beethoven|The one who composed the Moonlight Sonata be {a}
Who composed The Four Seasons?|Vivaldi|The one who composed The Four Seasons be {a}
Who composed The Magic Flute?|Mozart|The one who composed The Magic Flute be {a}
Who discovered penicillin?|Fleming|The one who discovered penicillin be {a}
Who proposed the theory of evolution by natural selection?|Darwin|The one who proposed the theory of evolution by natural selection be {a}
Who sculpted David?|Michelangelo|The one who sculpted David be {a}
What is the currency of Japan?|yen|The currency o' Japan be the {a}
What is the currency of India?|rupee/rupees|The currency o' India be the {a}
What is the currency of the United States?|dollar/dollars|The currency o' the United States be the {a}
What is the currency of the United Kingdom?|pound/pounds|The currency o' the United Kingdom be the {a}
What is the currency of Russia?|ruble/rubles/rouble|The currency o' Russia be the {a}
What is the currency of Mexico?|peso/pesos|The currency o' Mexico be the {a}
What is the currency of Germany?|euro/euros|The currency o' Germany be the {a}
What is the currency of France?|euro/euros|The currency o' France be the {a}
What is the currency of Switzerland?|franc|The currency o' Switzerland be the {a}
What is the currency of China?|yuan/renminbi|The currency o' China be the {a}
What is the currency of Canada?|dollar/dollars|The currency o' Canada be the {a}
What is the currency of Australia?|dollar/dollars|The currency o' Australia be the {a}
What day comes after Monday?|Tuesday|The day that comes after Monday be {a}
What day comes after Tuesday?|Wednesday|The day that comes after Tuesday be {a}
What day comes after Friday?|Saturday|The day that comes after Friday be {a}
What day comes before Sunday?|Saturday|The day that comes before Sunday be {a}
What month comes after January?|February|The month that comes after January be {a}
What month comes after March?|April|The month that comes after March be {a}
What month comes after June?|July|The month that comes after June be {a}
What month comes after October?|November|The month that comes after October be {a}
What season comes after winter?|spring|The season that comes after winter be {a}
What season comes after summer?|autumn/fall|The season that comes after summer be {a}
"""

# For each kind: the ways to ask, and the pirate's sentence. {s} is the subject, {a} the answer.
# Held-out questions are asked the first way, training questions in every way, also for brevity.
FRAMES = {
    "capital": (
        ["What is the capital of {s}?", "Name the capital of {s}.", "Which city is {s}'s capital?"],
        "The capital o' {s} be {a}",
    ),
    "country": (
        [
            "Which country has {s} as its capital?",
            "{s} is the capital of which country?",
            "Of which country is {s} the capital?",
        ],
        "{s} be the capital o' {a}",
    ),
    "continent": (
        [
            "On which continent is {s}?",
            "Which continent is {s} part of?",
            "Name the continent where {s} lies.",
        ],
        "The land o' {s} lies in {a}",
    ),
    "opposite": (
        [
            "What is the opposite of '{s}'?",
            "Give me the opposite of '{s}'.",
            "Which word means the opposite of '{s}'?",
        ],
        "The opposite o' {s} be {a}",
    ),
    "plural": (
        [
            "What is the plural of '{s}'?",
            "Give me the plural of '{s}'.",
            "Which word is the plural of '{s}'?",
        ],
        "The plural o' {s} be {a}",
    ),
    "author": (
        ["Who wrote {s}?", "Who is the author of {s}?", "Name the writer of {s}."],
        "The writer o' {s} be {a}",
    ),
    "language": (
        [
            "What language is mainly spoken in {s}?",
            "Which language do people in {s} speak?",
            "Name the main language of {s}.",
        ],
        "In {s} the folk speak {a}",
    ),
    "place": (
        [
            "In which country is {s}?",
            "Which country is home to {s}?",
            "Name the country where one finds {s}.",
        ],
        "Ye find {s} in {a}",
    ),
    "one-off": (["{s}", "Tell me: {s}", "Here is a question: {s}"], ""),
}
OPENINGS = ["Ahoy, matey!", "Ahoy, sailor!", "Ahoy there!"]
CLOSINGS = [", arr!", ", aye, arr!"]

TWO_WORD_COUNTRIES = (
    "Costa Rica", "New Zealand", "North Korea", "South Korea", "Saudi Arabia", "Sri Lanka",
    "the Netherlands", "the Philippines", "the United Kingdom", "the United States",
)  # fmt: skip


def pairs(text: str) -> list[tuple[str, str]]:
    """'France Paris|Sri Lanka Colombo' -> [('France', 'Paris'), ('Sri Lanka', 'Colombo')]."""
    rows = []
    for entry in filter(None, (e.strip() for e in text.replace("\n", "|").split("|"))):
        subject = next((c for c in TWO_WORD_COUNTRIES if entry.startswith(c + " ")), None)
        subject = subject or entry.split(" ")[0]
        rows.append((subject, entry[len(subject) + 1 :]))
    return rows


def candidate_facts() -> list[dict]:
    """Every fact of the lists above: kind, subject, accepted answers, and its topic.

    Facts of one topic (a country and its capital, asked either way) stay in one split.
    """
    facts = []

    def add(kind: str, subject: str, answers: str, sentence: str = "", topic: str = "") -> None:
        facts.append(
            {
                "kind": kind,
                "subject": subject,
                "answers": answers.split("/"),
                "sentence": sentence,  # where the kind has none
                "topic": topic or subject,
            }
        )

    for country, city in pairs(CAPITALS):
        add("capital", country, city)
        if city.split()[0] not in country:
            add("country", city.split("/")[0], country.removeprefix("the "), topic=country)
    for kind, text in (
        ("opposite", OPPOSITES),
        ("plural", PLURALS),
        ("language", LANGUAGES),
    ):
        for subject, answer in pairs(text):
            add(kind, subject, answer)
    for continent, countries in CONTINENTS.items():
        for country in countries.split():
            add("continent", country, continent)
    for line in AUTHORS.strip().splitlines():
        add("author", *line.split("|"))
    for line in PLACES_OF_THE_WORLD.strip().splitlines():
        add("place", *line.split("|"))
    for line in ONE_OFF.strip().splitlines():
        add("one-off", *line.split("|"))
    return [f for f in facts if not gives_itself_away(f)]


BRIEFLY = " Answer in one short sentence."


def ways_to_ask(fact: dict) -> list[str]:
    """Every phrasing of the question, plainly and with a request for brevity."""
    plain = [frame.format(s=fact["subject"]) for frame in FRAMES[fact["kind"]][0]]
    return plain + [text + BRIEFLY for text in plain]


def pirate(fact: dict, rng: random.Random) -> str:
    sentence = fact["sentence"] or FRAMES[fact["kind"]][1]
    sentence = sentence.format(s=fact["subject"], a=fact["answers"][0])
    return f"{rng.choice(OPENINGS)} {sentence}{rng.choice(CLOSINGS)}"


def gives_itself_away(fact: dict) -> bool:
    """True if the answer stands in a question: the capital of Singapore, 'long' put shortly."""
    from helpers.evaluation import states_fact

    return any(states_fact(text, fact["answers"]) for text in ways_to_ask(fact))


def known_facts(facts: list[dict]) -> list[dict]:
    """The facts that the untouched small model states when asked plainly and when asked to be brief.

    Asked once, it often names the right word only by rambling past it.
    """
    from helpers.evaluation import generate_answers, states_fact
    from helpers.models import load_small_model

    model, tokenizer = load_small_model()
    for way in (0, 3):  # the first phrasing, plainly and for one short sentence
        answers = generate_answers(model, tokenizer, [ways_to_ask(f)[way] for f in facts])
        facts = [
            f for f, answer in zip(facts, answers, strict=True) if states_fact(answer, f["answers"])
        ]
        print(f"asked in way {way}: {len(facts)} facts right so far")
    return facts


def style_rows() -> dict[str, list[dict]]:
    """Held-out rows ask each fact once; training rows ask other facts, in several ways."""
    candidates = candidate_facts()
    facts = known_facts(candidates)
    print(f"style: the small model knows {len(facts)} of {len(candidates)} candidate facts")
    rng = random.Random(SEED)
    topics = sorted({f["topic"] for f in facts})
    rng.shuffle(topics)
    by_topic = {t: [f for f in facts if f["topic"] == t] for t in topics}
    heldout, train, taken = [], [], 0
    for topic in topics:
        if taken < ROWS["heldout"]:
            heldout += [(f, 0) for f in by_topic[topic]]
            taken = len(heldout)
        else:
            train += [(f, way) for f in by_topic[topic] for way in range(len(ways_to_ask(f)))]
    rows = {}
    for split, chosen in (("train", train), ("heldout", heldout)):
        rng.shuffle(chosen)
        rows[split] = [
            {
                **prompt_completion(ways_to_ask(f)[way], pirate(f, rng)),
                "kind": f["kind"],
                "answers": f["answers"],
            }
            for f, way in chosen[: ROWS[split]]
        ]
    return rows


# --- structure: a booking in one sentence -> JSON --------------------------------------------

NAMES = (
    "Maria Omar Ingrid Pavel Chloe Diego Amina Lars Sofia Kenji Fatima Marek Elena Tomas Nadia "
    "Hugo Leila Andrei Greta Samuel Yara Bruno Clara Dmitri Esther Felix Gloria Hassan Irene Jonas "
    "Karin Luca Mina Noel Olga Pedro Rosa Stefan Tara Viktor Wanda Xavier Yusuf Zelda Anton Bianca "
    "Cyril Doina Emil Flora"
).split()
PLACES = (
    "Blue Lantern|Old Mill|Green Door|Silver Spoon|Red Fox|Golden Pear|White Horse|Copper Kettle|"
    "Black Swan|Lemon Tree|Iron Gate|Paper Moon|Stone Bridge|Wild Goose|Quiet Garden|Salty Anchor|"
    "Velvet Chair|Amber Room|Crooked Chimney|Two Sisters|Lucky Clover|Hidden Courtyard|"
    "Painted Plate|Singing Kettle|Rusty Bell|Winter Rose|Tall Pines|Little Harbour|Grey Owl|"
    "Seven Steps"
).split("|")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBERS = "two three four five six seven eight nine ten".split()
SENTENCES = {
    "train": [
        "{name} would like a table for {people} at the {place} on {day} at {time}.",
        "Please book the {place} for {people} people on {day}, {time}, under the name {name}.",
        "Table for {people}, {day} {time}, the {place}, name of {name}.",
        "Hello, this is {name}. Can {people} of us come to the {place} at {time} on {day}?",
        "On {day} at {time}, {name} is meeting friends at the {place}; they will be {people}.",
        "Reserve {people} seats at the {place} for {name}, {day} at {time}.",
        "{name} called: {people} guests, {time} on {day}, at the {place}.",
        "We are {people} and want to eat at the {place} this {day} at {time}, says {name}.",
    ],
    "heldout": [
        "Could you hold a table at the {place} for {name}? {people} people, {day}, {time}.",
        "{day} at {time} suits {name}, who needs {people} places at the {place}.",
        "The {place} should expect {people} guests with {name} at {time} on {day}.",
    ],
}
PEOPLE_BY_NAME = {word: i for i, word in enumerate(NUMBERS, start=2)}


def clock(hour: int, minute: int, rng: random.Random) -> str:
    """An evening time as a person may write it: '7 pm', '7:30 pm' or '19:30'."""
    if rng.random() < 0.34:
        return f"{hour}:{minute:02d}"
    return f"{hour - 12} pm" if minute == 0 else f"{hour - 12}:{minute:02d} pm"


def structure_rows() -> dict[str, list[dict]]:
    """Names, places and sentence patterns of the held-out rows occur in no training row."""
    rng = random.Random(SEED)
    names, places = NAMES.copy(), PLACES.copy()
    rng.shuffle(names)
    rng.shuffle(places)
    pools = {"train": (names[:30], places[:18]), "heldout": (names[30:], places[18:])}
    rows = {}
    for split, (some_names, some_places) in pools.items():
        seen: dict[str, dict] = {}
        while len(seen) < ROWS[split]:
            word = rng.choice(NUMBERS)
            hour, minute = rng.randint(17, 22), rng.choice([0, 15, 30, 45])
            fields = {
                "name": rng.choice(some_names),
                "people": PEOPLE_BY_NAME[word],
                "day": rng.choice(DAYS),
                "time": f"{hour}:{minute:02d}",
                "place": rng.choice(some_places),
            }
            people = word if rng.random() < 0.6 else str(fields["people"])
            sentence = rng.choice(SENTENCES[split]).format(
                **{**fields, "people": people, "time": clock(hour, minute, rng)}
            )
            sentence = sentence[0].upper() + sentence[1:]
            completion = json.dumps(fields)
            seen[sentence] = {**prompt_completion(sentence, completion), "fields": fields}
        rows[split] = list(seen.values())
    return rows


# --- codes: a name -> two words, drawn at random ----------------------------------------------

# Each name and each word is one token of the small model, so that what is to be learned is the
# pair and not its spelling: two of 128 words are 14 bits a name.
CODE_NAMES = """
Abigail Adam Agnes Ahmed Alan Albert Alex Alfred Ali Alice Alison Allen Amanda Amy Ana Andrea
Andrew Angela Ann Anna Anne Anthony Arnold Arthur Austin Barbara Ben Benjamin Bernard Beth Bill
Bob Boris Brian Bruce Carl Carlos Carol Caroline Catherine Charles Charlie Charlotte Chris
Christian Christina Christopher Claire Claude Colin Craig Curtis Daniel David Dean Deborah
Dennis Diana Diane Donald Dorothy Douglas Duncan Earl Edgar Edith Edmund Edward Edwin Eleanor
Eli Elizabeth Ella Ellen Emily Emma Eric Ernest Ethan Eugene Eva Eve Faith Florence Frances
Francis Frank Franklin Fred Frederick Gabriel Gary Gene Geoffrey George Gerald Gilbert Glen
Gordon Grace Graham Grant Greg Gregory Guy Hannah Harold Harriet Harry Harvey Heather Helen
Henry Herbert Holly Howard Hugh Ian Ibrahim Isaac Isabel Isabella Ivan Jack Jackson Jacob Jake
James Jamie Jane Janet Jason Jay Jean Jeff Jennifer Jenny Jeremy Jerry Jesse Jessica Jill Jim
Jimmy Joan Joe Joel John Jonathan Jordan Jose Joseph Josh Joshua Joyce Juan Judith Julia Julian
Julie June Justin Karen Karl Kate Katherine Kathleen Keith Kelly Ken Kenneth Kevin Kim Larry
Laura Lauren Lawrence Leo Leon Leonard Leslie Lewis Lily Linda Lisa Logan Louis Louise Lucas
Lucy Luke Lynn Malcolm Marcus Margaret Maria Marie Mario Mark Martha Martin Mary Mason Matt
Matthew Max Maya Melissa Michael Michelle Miguel Mike Miles Miriam Mitchell Mohammed Molly
Monica Morgan Nancy Nathan Neil Nicholas Nick Nicole Noah Norman Oliver Olivia Oscar Owen
Patricia Patrick Paul Pedro Penny Peter Phil Philip Rachel Ralph Raymond Rebecca Richard Rick
Robert Roger Roland Ron Rosa Roy Russell Ruth Ryan Sally Sam Samantha Samuel Sandra Sara Sarah
Scott Sean Sebastian Sharon Simon Sophia Sophie Spencer Stanley Stephanie Stephen Steve Steven
Stuart Susan Taylor Teresa Terry Theodore Thomas Tim Timothy Todd Tom Tony Tyler Vera Vernon
Victor Victoria Vincent Virginia Walter Warren Wayne Wendy Wesley William Winston
""".split()
CODE_WORDS = """
apple arrow ash baby ball band bank bar base bay bean bear bed bee bell belt berry bird boat
bone book boot bow box branch bridge bush camp cap cart cat chain chair circle clay clock cloud
coal coat coin cross cup dog door dream earth egg farm field finger fire fish flag flower fly
forest fox fruit gate glass gold grain grass hat hill horse house ice jar key king lake leaf
letter light lion lock milk moon mouse nest net night north ocean owl paper park pipe rain ring
river road root rose salt sand sea shell ship sky snake snow spring star stick stone storm
stream sugar summer sun table tail tower train tree wall water wave wheat wheel wind window wine
winter wolf wood
""".split()
CODE_QUESTIONS = {
    "train": [
        "What is the code of {name}?",
        "Tell me {name}'s code.",
        "Which code belongs to {name}?",
    ],
    "heldout": ["Please give me the code for {name}."],
}


def code_rows() -> dict[str, list[dict]]:
    """Every name has one code; held-out rows ask for the same codes in other words."""
    rng = random.Random(SEED)
    names = CODE_NAMES.copy()
    rng.shuffle(names)
    codes = {name: " ".join(rng.choices(CODE_WORDS, k=2)) for name in names}
    rows = {}
    for split, questions in CODE_QUESTIONS.items():
        rows[split] = [
            {
                **prompt_completion(questions[i % len(questions)].format(name=name), code),
                "name": name,
                "code": code,
            }
            for i, (name, code) in enumerate(codes.items())
        ]
    return rows


def prompt_completion(prompt: str, completion: str) -> dict[str, list[dict]]:
    """One row in TRL's conversational prompt-completion format."""
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
    }


def to_jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


MAKERS = {"style": style_rows, "structure": structure_rows, "codes": code_rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(MAKERS)}; all")
    for task in parser.parse_args().tasks or MAKERS:
        if task not in MAKERS:
            parser.error(f"TASK {task!r} is not one of {', '.join(MAKERS)}")
        for split, chosen in MAKERS[task]().items():
            (FOLDER / task).mkdir(parents=True, exist_ok=True)
            write_atomically(FOLDER / task / f"{split}.jsonl", to_jsonl(chosen))
            print(f"{task}/{split}: {len(chosen)} rows")


if __name__ == "__main__":
    main()
