"""Word lists of the `decide` training data: everyday, invented and free of any domain."""

from __future__ import annotations

AGENTS = """bakery planner|warehouse clerk|telescope scheduler|bike lending desk
radio station producer
parcel router|greenhouse keeper|ferry dispatcher|puzzle master|museum guide|kite workshop
toy repairer
seed bank helper|tram depot planner|quiz host|archive robot|choir organiser|printing shop
lighthouse keeper
beehive monitor|recipe collector|chess club secretary|data clean-up agent|research agent
filing agent
search agent|report writer|support agent|glorp handler|zindle operator|norvik unit|assistant
task runner
extraction agent|labelling agent|lending library|garden crew|film club|map maker|pottery studio"""

INSTRUCTIONS = """Decide the next step of the {agent}.|You are the {agent}. Choose what to do next.
Pick the next action from the state below.|The {agent} works step by step. Look at the state.
You guide a {agent}. Follow the rules exactly.|Only use what the state says; do not guess.
Rules of the {agent}. The first rule that holds decides.|State of the {agent}:
Read the facts and judge each condition on its own.|Judge the condition from the facts alone.
You control the {agent}. A fact that is not listed is not known.
Work through the task of the {agent}.
Run the {agent}. Be strict about what has and has not happened.|Route the work of the {agent}.
You decide for the {agent} which step comes next. Only what is written here is known."""

VERBS = """weigh weighed weighing|sort sorted sorting|wash washed washing|pack packed packing
label labelled labelling|count counted counting|check checked checking|load loaded loading
scan scanned scanning|paint painted painting|move moved moving|clean cleaned cleaning
test tested testing|print printed printing|review reviewed reviewing
translate translated translating
merge merged merging|filter filtered filtering|rank ranked ranking|tag tagged tagging
copy copied copying|verify verified verifying|collect collected collecting
inspect inspected inspecting
repair repaired repairing|seal sealed sealing|fold folded folding|stack stacked stacking
glorp glorped glorping|frim frimmed frimming|zindle zindled zindling|blick blicked blicking
approve approved approving|archive archived archiving|deliver delivered delivering
compare compared comparing|register registered registering|upload uploaded uploading
summarise summarised summarising|validate validated validating|close closed closing"""

THINGS = """parcels parcel|crates crate|loaves loaf|bikes bike|lamps lamp|boxes box|items item
records record|results result|candidates candidate|pieces piece|sections section|entries entry
pages page|rows row|messages message|files file|photos photo|songs song|seeds seed|tickets ticket
boats boat|bricks brick|tiles tile|maps map|letters letter|requests request|tasks task|jars jar
keys key|rooms room|orders order|glorps glorp|zindles zindle|norviks norvik|stamps stamp
tables table|cards card|names name|links link|questions question|notes note|answers answer
drafts draft|suggestions suggestion|matches match|kites kite|drums drum|sensors sensor"""

FLAGS = """gate open closed|lamp on off|line free busy|key valid invalid|signal present absent
door locked unlocked|tank full empty|engine running stopped|belt loose tight
list complete incomplete
shop open closed|path clear blocked|badge active inactive|pump on off|answer correct wrong
bridge up down|file readable unreadable|room warm cold|user known unknown|oven hot cool
sensor online offline|draft ready unfinished|request urgent routine|drum wet dry
form signed unsigned
mode automatic manual|glorp bright dim|norvik awake asleep|page visible hidden|seat taken vacant"""

SCORES = """confidence|match score|fill level|humidity|battery charge|similarity|coverage
overlap score
certainty|load|progress|signal strength|share of read pages|glorp rate|quality score|completeness"""

LEVELS = """confidence|priority|noise|demand|risk|urgency|effort|wind|brightness|glorp pressure
traffic
stock|pressure|interest|difficulty|temperature|certainty|importance"""

CATEGORIES = {
    "colour": "red blue green yellow black white orange purple grey brown",
    "shape": "round square oval flat long hexagonal",
    "zone": "north south east west centre harbour",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "language": "English German French Spanish Italian Dutch Polish Portuguese",
    "material": "wood steel glass paper cotton clay copper",
    "format": "csv json xml pdf txt png html",
    "status": "new open waiting paused finished rejected cancelled",
    "mode": "draft live test quiet night manual",
    "channel": "email phone chat letter counter radio",
    "size": "tiny small medium large huge",
    "season": "spring summer autumn winter",
    "origin": "Lund Porto Graz Oslo Turin Kyoto Quito",
    "kind": "loan gift sale return swap repair",
    "glorp type": "frim blick vorn zast plin quub",
    "team": "alpha beta gamma delta omega",
    "unit": "metre inch litre gram mile",
    "weather": "sunny rainy foggy windy snowy",
    "step": "search pick check ask write send",
}

PEOPLE = """Korin Mella Tovik Anders Bea Chidi Dana Emeka Farah Goran Hana Ivo Jun Kaya Lior
Mina Nils Oona Pavel Quin Rosa Sefu Tess Uma Vito Wren Yara Zeno"""

ROLES = """winner driver owner sender reader target helper successor chosen_name reviewer backup
keeper host destination_label parent"""

KIND_ADJECTIVES = "late early small large double hand made long range low noise free open night"
KIND_NOUNS = """parcel|ticket|window seat|route|garden tool|message|return date|delivery note
room key
start date|end date|price limit|page title|author name|file path|phone line|colour code
serial number
paper size|radio slot|boat trip|song list|map sheet|seat row|delivery date|opening period
order number"""

PERSONS = "person|user|customer|caller|operator|visitor|owner|requester|reader|sender"
SEARCHES = "search|lookup|scan|fetch|collection|query|retrieval|first pass|hunt|survey"
CHECKS = """check checked|review reviewed|verification verified|inspection inspected|test tested
validation validated|comparison compared|audit audited"""
ITEMS = """items item|records record|results result|candidates candidate|pieces piece
sections section
entries entry|matches match|options option|rows row|suggestions suggestion|passages passage
values value|names name|tiles tile|glorps glorp"""
UNITS = "calls|steps|credits|minutes|tokens|tries|coins|rounds"
ERRORS = "timeout|no access|bad format|nothing returned|limit reached|unknown name|out of range"
NONSENSE = [
    "glorp",
    "blick",
    "zindle",
    "frim",
    "vorn",
    "plin",
    "quub",
    "zast",
    "norvik",
    "trelm",
    "spindle_x",
    "oop",
    "flarn",
    "dweb",
    "kip_tool",
    "mork",
    "yintle",
    "brask",
    "snell",
    "tovo",
]


def pipes(text: str) -> list[str]:
    """Split a word list at bars and line ends."""
    return [part.strip() for line in text.splitlines() for part in line.split("|") if part.strip()]


def triples(text: str) -> list[tuple[str, ...]]:
    """Split a list of word groups: groups at bars, words at blanks."""
    return [tuple(part.split()) for part in pipes(text)]


LANGUAGES = {
    "English": """Could you send me the photos from last week?|The train leaves at half past nine.
I lost my umbrella somewhere near the station.|Please water the plants on Friday.
My sister paints small boats.|We would like a table for four.|Nothing came in the post today.
How do I change the colour of the lamp?""",
    "German": """Kannst du mir die Fotos von letzter Woche schicken?|Der Zug fährt um halb zehn ab.
Ich habe meinen Schirm am Bahnhof verloren.|Bitte gieß am Freitag die Pflanzen.
Meine Schwester malt kleine Boote.|Wir hätten gern einen Tisch für vier.|Heute kam keine Post.
Wie ändere ich die Farbe der Lampe?""",
    "French": """Peux-tu m'envoyer les photos de la semaine dernière ?
Le train part à neuf heures et demie.
J'ai perdu mon parapluie près de la gare.|Merci d'arroser les plantes vendredi.
Ma sœur peint de petits bateaux.|Nous voudrions une table pour quatre.|Rien au courrier aujourd'hui.
Comment changer la couleur de la lampe ?""",
    "Spanish": """¿Puedes enviarme las fotos de la semana pasada?|El tren sale a las nueve y media.
Perdí mi paraguas cerca de la estación.|Riega las plantas el viernes, por favor.
Mi hermana pinta barcos pequeños.|Queremos una mesa para cuatro.|Hoy no llegó nada por correo.
¿Cómo cambio el color de la lámpara?""",
    "Italian": """Puoi mandarmi le foto della settimana scorsa?|Il treno parte alle nove e mezza.
Ho perso l'ombrello vicino alla stazione.|Annaffia le piante venerdì, per favore.
Mia sorella dipinge piccole barche.|Vorremmo un tavolo per quattro.|Oggi non è arrivata posta.
Come cambio il colore della lampada?""",
    "Dutch": """Kun je me de foto's van vorige week sturen?|De trein vertrekt om half tien.
Ik ben mijn paraplu kwijt bij het station.|Geef vrijdag de planten water.
Mijn zus schildert kleine boten.|We willen graag een tafel voor vier.
Er is vandaag geen post gekomen.
Hoe verander ik de kleur van de lamp?""",
    "Polish": """Czy możesz mi wysłać zdjęcia z zeszłego tygodnia?
Pociąg odjeżdża o wpół do dziesiątej.
Zgubiłem parasol koło dworca.|Podlej proszę rośliny w piątek.|Moja siostra maluje małe łodzie.
Chcielibyśmy stolik dla czterech osób.|Dziś nic nie przyszło pocztą.|Jak zmienić kolor lampy?""",
    "Portuguese": """Você pode me mandar as fotos da semana passada?|O trem sai às nove e meia.
Perdi meu guarda-chuva perto da estação.|Por favor, regue as plantas na sexta.
Minha irmã pinta barcos pequenos.|Queremos uma mesa para quatro.|Hoje não chegou nada pelo correio.
Como mudo a cor da lâmpada?""",
}

FILLERS = """Stop when nothing is left to do.|Answers are short and polite.|One step at a time.
Every step costs one unit of the budget.|Results are kept for later.
Do not repeat a step without need.
Facts come from the tools, never from memory.|Be careful with names and numbers.|Work in silence.
Ask only when it is needed.|The list may be incomplete.
Later rules matter only when earlier ones fail.
A person reads the outcome.|The state is updated after each step.|Prefer few steps.
What is not written has not happened.|Tools may fail.|The order of the facts has no meaning."""

MARKS = """checked unchecked|approved open|done pending|found missing|sent unsent|read unread
paid unpaid
confirmed unconfirmed|glorped raw|labelled unlabelled|answered unanswered|ready unready
kept undecided
supported unsupported|complete incomplete|clean faulty|matched unmatched|filled blank"""
