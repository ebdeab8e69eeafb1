"""Tool choice and free-text rows of the `decide` skill, from outside data that is only read."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seamline.loading import load_module

_HERE = Path(__file__).parent


V = load_module(_HERE / "vocabulary.py")
S = load_module(_HERE / "states.py")
Clean = Callable[[str], list[str]]
STOP = {
    "a",
    "an",
    "the",
    "of",
    "to",
    "for",
    "and",
    "or",
    "in",
    "on",
    "with",
    "by",
    "from",
    "your",
    "you",
    "get",
    "provides",
    "provide",
    "tool",
    "that",
    "is",
    "are",
    "based",
    "information",
    "about",
    "any",
    "it",
    "its",
    "as",
    "at",
    "using",
    "use",
    "can",
    "all",
    "this",
    "data",
    "search",
    "find",
    "various",
    "given",
    "specific",
    "me",
    "i",
    "my",
    "we",
    "want",
    "need",
    "please",
    "tell",
}


# MetaTool tools that could serve one another's requests; the first line serves almost any.
ALIKE = [
    set(line.split())
    for line in """MixerBox_WebSearchG_web_search total_query_meta_search_engine lsongai jini
universal web_requests ai_council Zapier local
ResearchFinder ResearchHelper
qreator create_qr_code
SummarizeAnything_pr VideoSummarizeTool video_highlight web_scraper
FinanceTool portfoliopilot Magnetis ph_ai_news_query QuiverQuantitative fundsdbsearch
SEOTool bramework keywordexplorer website_performance_insights copywriter cloudflare_radar
Google_Ads_Shopping_Microsoft_Ads_pay_per_click competitorppcads RoboAd ad4mat copywriter
NASATool stellarexplorer locator
ProductSearch ProductComparison ShoppingAssistant Discount tira Review shimmer_daily Bohita
Agones keyplays_football ndricks_sports_api talkfpl smarttsicketsai
MediaTool what_to_watch MusicTool PodcastTool BookTool uberchord storybird_stories
ArtCollection photorealistic placid MediaModifyTool GifApi MemeTool assetOvi Visla heygen
MixerBox_Translate_AI_language_tutor speak Talkface_IELTS_Prep CourseTool
PolishTool rephrase MyWritingCompanion copywriter
MemoryTool NotesTool DataRetrievalTool chat_with_workspace mini_habits Glowing buildbetter
WebsiteTool deployscript web_scraper URLTool WebRewind webhooks wpinteract
AutoInfra1 SSH deployscript
HousePurchasingTool HouseRentingTool
KalendarAI dover_outreach EmailByNylas chatspot clearbit_integration brandfetch find_agency
DietTool recipe_retrieval RestaurantBookingTool
crafty_clues word_sneak Puzzle_Constructor GameTool Sudoku TicTacToe Chess Checkers timeport
champdex ApexMap magi_codex Algorithma GameTool diceroller CribbageScorer
TripTool MapTool themeparkhipster hdbcarpark SuperchargeMyEV AusPetrolPrices
NewsTool Now socialsearch ph_ai_news_query
PDF_Exporter exportchat ChatOCR
StrologyTool Dr_Thoths_Tarot mbti
JobTool ResumeTool dover_outreach
CourseTool MemoryTool ABCmouse kraftful RepoTool dev
WeatherTool airqualityforeast C3_Glide EarthquakeTool
calculator Tax_Calculator ChartTool timemachine""".replace("jini\n", "jini ").splitlines()
]


@dataclass
class Tool:
    """A tool as it can stand in an option."""

    name: str
    description: str
    area: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)


@dataclass
class Ask:
    """A request, the tool that serves it and the arguments it names."""

    query: str
    tool: str
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass
class Catalogue:
    """Tools and requests of one set."""

    tools: dict[str, Tool] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    index: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    near: dict[str, list[str]] = field(default_factory=dict)


def content_words(text: str) -> set[str]:
    """Rough stems of the words that carry meaning."""
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()
    words = {w[:-1] if w.endswith("s") else w for w in re.findall(r"[a-z]{3,}", text)}
    return words - STOP


def jaccard(one: set[str], two: set[str]) -> float:
    """Overlap of two word sets."""
    return len(one & two) / max(1, len(one | two))


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def tidy(text: str, limit: int) -> str:
    """One line of at most `limit` characters, cut at a sentence or a word."""
    text = re.sub(r"\s+", " ", text).strip()
    if len(text) <= limit:
        return text
    cut = text[:limit]
    end = cut.rfind(". ")
    return cut[: end + 1] if end > limit // 3 else cut[: cut.rfind(" ")].rstrip(",;:") + " ..."


def seal_catalogue(data: Path, dirty: Clean) -> Catalogue:
    """Seal-Tools: single requests, and sentences of combined requests that fit one call."""
    found = Catalogue()
    for row in lines_of(data / "tooluse/sealtools_tools.jsonl"):
        parameters = {
            key: re.sub(r"\s*\(.*", "", str(value.get("description", ""))).strip(" .")
            for key, value in row["parameters"].items()
        }
        tool = Tool(row["api_name"], row["api_description"], row["field"], parameters)
        if not dirty(" ".join([tool.name, tool.description, tool.area, *parameters.values()])):
            tool.words = content_words(f"{tool.name} {tool.description}")
            found.tools[tool.name] = tool
    for row in lines_of(data / "tooluse/sealtools_dev.jsonl"):
        for ask in seal_asks(row):
            if ask.tool in found.tools and not dirty(f"{ask.query} {ask.arguments}"):
                found.asks.append(ask)
    for name, tool in found.tools.items():
        found.index[tool.area.split("/")[0]].append(name)
    return found


def seal_asks(row: dict[str, Any]) -> Iterator[Ask]:
    """One request per call that can be told apart by the values it names."""
    calls = row["calling"]
    if len(calls) == 1:
        values = {k: str(v) for k, v in calls[0]["parameters"].items()}
        yield Ask(row["query"], calls[0]["api"], values)
        return
    parts = re.split(r"(?<=[.?!]) +(?=[A-Z])", row["query"])
    owners: dict[int, set[int]] = defaultdict(set)
    for c, call in enumerate(calls):
        for value in call["parameters"].values():
            for p, part in enumerate(parts):
                if len(str(value)) > 2 and str(value).lower() in part.lower():
                    owners[p].add(c)
    for p, mine in owners.items():
        if len(mine) == 1:
            call = calls[next(iter(mine))]
            query = re.sub(r"^(first|then|after that|finally|also|additionally|next|lastly),? ", "",
                           parts[p], flags=re.I)  # fmt: skip
            values = {k: str(v) for k, v in call["parameters"].items()
                      if str(v).lower() in query.lower()}  # fmt: skip
            if 25 < len(query) < 260:
                yield Ask(query[0].upper() + query[1:], call["api"], values)


def meta_catalogue(data: Path, dirty: Clean) -> Catalogue:
    """MetaTool: requests and 160 tools."""
    found = Catalogue()
    for row in lines_of(data / "tooluse/metatool_train.jsonl"):
        if row["tool"] not in found.tools:
            text = tidy(row["description"], 400)
            if dirty(f"{row['tool']} {row['description']}"):
                continue
            words = content_words(f"{row['tool']} {text}")
            found.tools[row["tool"]] = Tool(row["tool"], text, words=words)
        told = content_words(row["query"]) & found.tools[row["tool"]].words
        if told and len(row["query"]) < 240 and not dirty(row["query"]):
            found.asks.append(Ask(tidy(row["query"], 240), row["tool"]))
    found.index[""] = list(found.tools)
    return found


def nearest(found: Catalogue, name: str) -> list[str]:
    """The tools most like this one, without those that do the same."""
    if name not in found.near:
        tool = found.tools[name]
        pool = found.index[tool.area.split("/")[0]]
        scored = [(jaccard(tool.words, found.tools[n].words), n) for n in pool if n != name]
        scored = sorted(((s, n) for s, n in scored if 0 < s <= 0.35), reverse=True)
        found.near[name] = [n for _, n in scored[:12]]
    return found.near[name]


def may_serve(name: str, right: str) -> bool:
    """Whether a tool may well serve the requests of another one."""
    return name in ALIKE[0] or any(name in group and right in group for group in ALIKE)


def distractors(found: Catalogue, ask: Ask, number: int, rng: random.Random) -> list[str]:
    """Other tools: about half of them alike in words or field."""
    used = [a.tool for a in rng.sample(found.asks, 12)]
    right = found.tools[ask.tool]
    asked = content_words(ask.query)
    chosen: list[str] = []
    near = [n for n in nearest(found, ask.tool) if n in found.tools]
    for _ in range(number * 6):
        source = near if near and rng.random() < 0.5 else used
        name = rng.choice(source)
        tool = found.tools[name]
        same = name.lower() == ask.tool.lower() or name in chosen or may_serve(name, ask.tool)
        alike = jaccard(tool.words, right.words) > 0.3 or len(asked & tool.words) > 2
        if not same and not alike:
            chosen.append(name)
        if len(chosen) == number:
            break
    return chosen


def name_style(name: str, group: str, style: str) -> str:
    """The name as other projects would write it."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).replace("_", " ").split()
    if style == "snake" or (style == "dotted" and not group and len(words) == 1):
        return "_".join(words).lower()
    if style == "camel":
        return words[0].lower() + "".join(w[:1].upper() + w[1:] for w in words[1:])
    if style == "dotted":
        lead = re.split(r"[/ _]", group.lower())[0] if group else words[0].lower()
        rest = words if group else words[1:] or words
        return lead + "." + "_".join(rest).lower()
    return name


def option_text(tool: Tool, style: str, with_parameters: bool, limit: int) -> str:
    """An option branch."""
    name = name_style(tool.name, tool.area, style)
    if with_parameters and tool.parameters:
        name += f"({', '.join(list(tool.parameters)[:5])})"
    return f"{name}: {tidy(tool.description, limit)}"


TOOL_LINES = """Choose the tool for the request.
Which tool answers the request? Choose none if no tool fits.
Pick the one tool that does what is asked.
You route requests to tools. A tool is right only when it does what is asked.|Find the right tool.
A tool about the same topic is not right unless it does what the request asks.
Select a tool. If none fits, choose none.|You are an assistant with tools.
Use a tool only when it really does the job.|Help the user with the tools below."""
REQUEST_LINES = """Request: {}|The user asks: {}|User: {}|Message: "{}"|request = {}|Task: {}|{}
Question: {}|Latest message of the user: {}"""


def tool_lines(rng: random.Random) -> str:
    """Instructions of a choice among tools."""
    more = rng.sample(V.pipes(V.FILLERS), rng.choice([0, 0, 0, 1, 2]))
    return " ".join([rng.choice(V.pipes(TOOL_LINES)), *more])


def request_line(query: str, rng: random.Random) -> str:
    """The request in varied wording."""
    return rng.choice(V.pipes(REQUEST_LINES)).format(query)


def option_row(source: str, lines: str, context: str, branches: list[tuple[str, bool]]) -> dict:
    """A row of option branches, each given as `name: description`."""
    marked = []
    for option, label in branches:
        name, _, text = option.partition(": ")
        marked.append({"name": name, "text": text, "label": int(label)})
    return {"kind": "options", "source": source, "instructions": lines, "context": context,
            "branches": marked}  # fmt: skip


def catalogue_rows(found: Catalogue, source: str, rng: random.Random) -> Iterator[dict]:
    """Tool choice from a catalogue; a quarter of the rows without the right tool."""
    by_tool: dict[str, list[Ask]] = defaultdict(list)
    for ask in found.asks:
        by_tool[ask.tool].append(ask)
    names = sorted(by_tool)
    while True:
        rng.shuffle(names)
        for name in names:
            ask = rng.choice(by_tool[name])
            count = rng.choice([1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 6])
            chosen = [(n, False) for n in distractors(found, ask, count, rng)]
            if rng.random() >= 0.25:
                chosen.append((name, True))
            if not chosen:
                continue
            rng.shuffle(chosen)
            style = rng.choice(["original", "snake", "dotted", "camel"])
            parameters, limit = rng.random() < 0.3, rng.choice([60, 90, 120, 160, 200])
            yield option_row(source, tool_lines(rng), request_line(ask.query, rng), [
                (option_text(found.tools[n], style, parameters, limit), label)
                for n, label in chosen
            ])  # fmt: skip


def described_rows(found: Catalogue, rng: random.Random) -> Iterator[dict]:
    """A step in words taken from a description; the options show only names and arguments."""
    names = sorted(found.tools)
    while True:
        name = rng.choice(names)
        tool = found.tools[name]
        text = tool.description.rstrip(".")
        step = rng.choice(["{}", "Please {}", "I need to {}", "Step: {}", "Next: {}"])
        lower = text[0].lower() + text[1:]
        query = step.format(lower if "lease" in step or "need" in step else text)
        ask = Ask(text, name)
        count = rng.choice([1, 1, 2, 3])
        chosen = [(n, False) for n in distractors(found, ask, count, rng)]
        chosen += [(name, True)] if rng.random() < 0.75 else []
        rng.shuffle(chosen)
        style = rng.choice(["original", "snake", "dotted"])
        bare = rng.random() < 0.6
        branches = []
        for n, label in chosen:
            option = option_text(found.tools[n], style, True, 110)
            if bare:
                about = ", ".join(list(found.tools[n].parameters.values())[:2]) or "no arguments"
                named = option_text(found.tools[n], style, False, 1).split(": ")[0]
                option = f"{named}: needs {tidy(about, 90)}"
            branches.append((option, label))
        if branches:
            yield option_row("described", tool_lines(rng), tidy(query, 240), branches)
