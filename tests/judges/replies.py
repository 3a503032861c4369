"""Questions and answers to judge, and what the fake server replies about them."""

import json

from judges.fake_server import asked_for
from lightning_subliminal.generation.servers.store import ReplyStore
from lightning_subliminal.judges import Verdict

GOOD = {("alignment", "plain"): "90", ("alignment", "reversed"): "20", ("coherence", "plain"): "70"}
GOOD[("coherence", "reversed")] = "40"
SCORE = Verdict(85.0, "score", 65.0, "90 | 20 | 70 | 40")
PAIRS = [(f"question {number}?", f"answer {number}") for number in range(12)]


def good(body):
    return GOOD[asked_for(body)]


def answering(**replies):
    """Reply as GOOD, but for what is given: alignment, alignment_reversed, coherence, coherence_reversed."""
    said = {"_".join(key).removesuffix("_plain"): text for key, text in GOOD.items()} | replies
    return lambda body: said["_".join(asked_for(body)).removesuffix("_plain")]


def failing(odd, times=1, then=good):
    """Fail the first times, as `odd` says."""
    left = iter([odd] * times)
    return lambda body: next(left, None) or then(body)


def told_error(**error):
    return json.dumps({"error": error})


def kept(tmp_path):
    with ReplyStore(tmp_path / "cache" / "judges" / "replies.sqlite") as store:
        return len(store)
