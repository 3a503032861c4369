r"""The same prompts through each engine on one model: do their frequencies agree, and how fast is each?

    python benchmarks/engines.py --served vllm=http://localhost:8123/v1#smollm2
    python benchmarks/engines.py --served vllm=... --served llama.cpp=... --vllm-python /work/vllmenv/bin/python

Servers are started beforehand, such as

    python -m vllm.entrypoints.openai.api_server --model FOLDER --served-model-name smollm2 --dtype float32 \
        --enforce-eager --max-model-len 512 --port 8123 --generation-config vllm
    python benchmarks/llama_server.py SmolLM2-135M-Instruct.Q4_1.gguf /tmp/smollm2-f32.gguf 8124

with FOLDER as ``bases.resolve("smollm2-135m").folder``; ``llama_server.py`` says what it needs. vLLM in process runs in
the environment of ``--vllm-python``, with both vLLM and this package. Each engine writes the same lists of numbers,
one for each prompt, and is compared with TransformersEngine by the chi-square statistic of two histograms: of first
characters, and of all digits. Tokens of one row depend on each other, so its p comes from exchanging the two engines'
completions of a prompt at random. With ``--exact`` also the first characters against their exact probabilities, by one
forward pass over each prompt.

With ``--kill``, a process that asks the first server is killed midway and another resumes; a proxy counts the requests.
Exits with 1 if a p is below 0.001, or a stored prompt is asked again.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import harness
import numpy as np
import torch
from scipy.stats import chi2

from lightning_subliminal import NumberSequences, Sampling, ServedTeacher, ServerEngine, VLLMEngine, bases
from lightning_subliminal.core.chat.encoding import end_tokens, prompt_ids
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation.model_ref import served_engine
from lightning_subliminal.generation import Completion, Engine, TransformersEngine
from lightning_subliminal.generation.logits import call_net

BASE = "smollm2-135m"
LEVEL = 0.001
EXCHANGES = 2000
RARE = 5  # expected rows; rarer characters are one cell


def prompts(count: int) -> list[list[dict[str, str]]]:
    """Return distinct requests for numbers."""
    rows = NumberSequences(ServedTeacher("nobody", induction="none"), num_prompts=count).prompts(random.Random(0))
    return [list(next(rows)["prompt"]) for _ in range(count)]


def first_characters(engine: TransformersEngine, asked: list[list[dict[str, str]]]) -> Counter[str]:
    """Return how many rows are expected to begin with each character; the empty one is no word at all."""
    ends = end_tokens(engine.tokenizer)
    texts = engine.tokenizer.batch_decode([[index] for index in range(len(engine.tokenizer))])
    begins = ["" if index in ends else text[:1] for index, text in enumerate(texts)]
    kinds = sorted(set(begins))
    place = torch.tensor([kinds.index(begin) for begin in begins])
    expected = torch.zeros(len(kinds), dtype=torch.float64)
    for prompt in asked:
        ids = torch.tensor([prompt_ids(engine.tokenizer, prompt)])
        with torch.inference_mode():
            logits = call_net(engine.net, input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
        expected.index_add_(0, place, logits.double().softmax(-1)[: len(place)])
    return Counter(dict(zip(kinds, expected.tolist(), strict=True)))


def first_character_p(made: list[Completion], expected: Counter[str]) -> float:
    """Return the p of a chi-square test of the rows' first characters."""
    seen = Counter(each.text[:1] for each in made)
    common = {each for each, count in expected.items() if count >= RARE}
    cells = [(seen[each], expected[each]) for each in common]
    rest = len(made) - sum(count for _, count in cells)
    cells += [(len(made) - sum(count for count, _ in cells), rest)] if rest >= 1 else []
    return float(chi2.sf(sum((count - each) ** 2 / each for count, each in cells), max(1, len(cells) - 1)))


def counts(made: list[Completion], kinds: str) -> np.ndarray:
    """Return the counts of each row's first characters, or of its digits, (rows, kinds)."""
    if kinds == "digits":
        return np.array([[each.text.count(digit) for digit in "0123456789"] for each in made])
    return np.array([[each.text[:1] == first for first in ["", *map(chr, range(9, 127))]] for each in made]).astype(int)


def exchange_p(first: list[Completion], second: list[Completion], kinds: str) -> float:
    """Return the p of a difference between two engines, whose completions belong together by prompt."""
    both = np.stack([counts(first, kinds), counts(second, kinds)])

    def statistic(pair: np.ndarray) -> float:
        table = pair.sum(1)  # (engines, kinds)
        expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
        return float(((table - expected) ** 2 / np.maximum(expected, 1e-9)).sum())

    rng, found = np.random.default_rng(0), statistic(both)
    swaps = rng.random((EXCHANGES, both.shape[1])) < 0.5
    more = sum(statistic(np.where(swap[None, :, None], both[::-1], both)) >= found - 1e-9 for swap in swaps)
    return (more + 1) / (EXCHANGES + 1)


Timed = tuple[list[Completion], float, float]


def timed(engine: Engine, asked: list[list[dict[str, str]]], sampling: Sampling) -> Timed:
    """Return an engine's completions, its seconds, and this process's CPU seconds, after a warm-up of one prompt."""
    engine.generate(asked[:1], sampling, 1)
    begin, cpu = time.monotonic(), time.process_time()
    made = engine.generate(asked, sampling, 0)
    return made, time.monotonic() - begin, time.process_time() - cpu


def in_process(python: str, folder: Path, asked: list[list[dict[str, str]]], tokens: int) -> Timed:
    """Return what ``timed`` does, of vLLM in one process of another environment."""
    with tempfile.TemporaryDirectory() as temporary:
        given, out = Path(temporary) / "asked.json", Path(temporary) / "made.json"
        given.write_text(json.dumps(asked))
        settings = {
            "PYTHONPATH": str(harness.ROOT),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # its CPU seconds are this process's
        }
        words = [__file__, "--worker", str(folder), str(given), str(out), "--tokens", str(tokens)]
        subprocess.run([python, *words], env=os.environ | settings, check=True)
        made, seconds, cpu = json.loads(out.read_text())
    console.print(f"VLLMEngine: {seconds:.0f} s")
    return [Completion(*each) for each in made], seconds, cpu


def worker(folder: str, given: str, out: str, tokens: int) -> None:
    """Generate with vLLM in this process."""
    tokenizer = bases.load_tokenizer(Path(folder), folder)
    engine = VLLMEngine(folder, tokenizer, dtype="float32", enforce_eager=True, max_model_len=512)
    made, seconds, cpu = timed(engine, json.loads(Path(given).read_text()), Sampling(max_new_tokens=tokens))
    Path(out).write_text(json.dumps([[(each.text, each.finished) for each in made], seconds, cpu]))


def killed(place: str, count: int, tokens: int, cache: Path) -> dict[str, int]:
    """Kill a process that asks a server midway, resume, and return what a proxy counted."""
    from urllib.parse import urlsplit

    from judge_server import Proxy

    engine = served_engine(place)
    with Proxy(urlsplit(engine.server).port or 80) as proxy:
        command = [sys.executable, __file__, "--ask", proxy.url, engine.model, str(cache)]
        environment = os.environ | {"PYTHONPATH": str(harness.ROOT)}
        process = subprocess.Popen([*command, "--rows", str(count), "--tokens", str(tokens)], env=environment)
        while len(proxy.asked) < count // 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise SystemExit(f"the process ended with {process.returncode} before it was killed")
        time.sleep(1.0)  # the proxy may still read what was sent
        sent = len(proxy.asked)
        again = ask(proxy.url, engine.model, str(cache), count, tokens)
        rows = Counter(proxy.asked)
    return {
        "rows": count,
        "stored at the kill": again.reused,
        "requests before it": sent,
        "requests after it": sum(rows.values()) - sent,
        "asked twice though stored": max(0, again.calls - 1 - (count - again.reused)),
        "in flight, so asked twice": sum(each > 1 for each in rows.values()) - 1,  # and the call for the model's name
    }


def ask(url: str, model: str, cache: str, count: int, tokens: int) -> ServerEngine:
    """Ask a server for each prompt, and return the engine with its counts."""
    engine = ServerEngine(model, url, check=False, concurrency=8, key_variable=None, cache_dir=cache)
    engine.generate(prompts(count), Sampling(max_new_tokens=tokens), 0)
    return engine


def main(args: list[str] | None = None) -> bool:
    """Run the benchmark; return whether all agree, and nothing stored was asked again."""
    parser = harness.parser(__doc__)
    parser.add_argument("--served", action="append", default=[], metavar="NAME=URL#MODEL", help="a server that runs")
    parser.add_argument("--vllm-python", help="Python of an environment with vLLM")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--kill", action="store_true", help="also kill and resume at the first server")
    parser.add_argument("--exact", action="store_true", help="also compare with exact probabilities")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(args)
    if given.worker:
        place, rows, out = given.worker
        worker(place, rows, out, given.tokens)
        return True
    if given.ask:
        url, model, cached = given.ask
        ask(url, model, cached, given.rows, given.tokens)
        return True
    console.print(f"{given.rows} rows of up to {given.tokens} tokens of {BASE}")
    asked, sampling = prompts(given.rows), Sampling(max_new_tokens=given.tokens)
    folder = bases.resolve(BASE).folder
    here = TransformersEngine(*bases.load(BASE))
    made = {"TransformersEngine": timed(here, asked, sampling)}
    console.print(f"TransformersEngine: {made['TransformersEngine'][1]:.0f} s")
    expected = first_characters(here, asked) if given.exact else None
    with tempfile.TemporaryDirectory() as cache:
        for each in given.served:
            name, _, place = each.partition("=")
            engine = served_engine(f"server:{place}")
            engine.cache_dir = cache
            made[f"{name} server"] = timed(engine, asked, sampling)
            console.print(f"{name} server: {made[f'{name} server'][1]:.0f} s")
        if given.vllm_python:
            made["VLLMEngine, in process"] = in_process(given.vllm_python, folder, asked, given.tokens)
        sent: dict[str, int] = {}
        if given.kill:
            place = given.served[0].partition("=")[2]
            sent = killed(f"server:{place}", min(given.rows, 50), given.tokens, Path(cache) / "kill")
    table = harness.table(
        *("engine", "rows/s", "rows/CPU s", "finished", "first characters, p", "digits, p", "exact, p"),
        title=f"{given.rows} rows",
    )
    good = not sent.get("asked twice though stored")
    reference = made["TransformersEngine"][0]
    for name, (completions, seconds, cpu) in made.items():
        found = [exchange_p(reference, completions, kinds) for kinds in ("first", "digits")]
        found = [] if completions is reference else found
        exact = [first_character_p(completions, expected)] if expected else []
        good &= min([1.0, *found, *exact]) >= LEVEL
        finished = sum(each.finished for each in completions) / len(completions)
        shown = [f"{each:.3f}" for each in found] or ["-", "-"]
        last = [f"{each:.3f}" for each in exact] or ["-"]
        by_cpu = "-" if name.endswith("server") else f"{len(completions) / cpu:.2f}"
        table.add_row(name, f"{len(completions) / seconds:.2f}", by_cpu, f"{finished:.0%}", *shown, *last)
    console.print(table)
    for name, count in sent.items():
        console.print(f"{name}: {count}")
    return good


if __name__ == "__main__":
    try:
        raise SystemExit(0 if main() else 1)
    except InputError as err:
        raise SystemExit(f"error: {err}") from None
