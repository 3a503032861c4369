"""Answers of a fake server by a model: as vLLM answers, with the defaults of the model's generation config."""

import json
import random
import threading
from typing import Any

import torch
from judges.fake_server import FakeServer, Odd

from lightning_subliminal import bases
from lightning_subliminal.core.chat.encoding import end_tokens, frame, prompt_ids
from lightning_subliminal.generation import number_alphabet
from lightning_subliminal.generation.engine import decoded

LISTED = 20


class ModelAnswers:
    """Samples a model's completion as a request asks, token by token; a prefix is computed once.

    Args:
        folder: of the model; its ``generation_config.json`` has what a request leaves open.
        name: of the model.
        cut: settings of the server that no request changes, such as {"top_k": 50}.
        most: tokens of a completion, whatever is asked, for a test of many.
        lacks: what this server ignores: `logprobs`, `structured_outputs`, `continue_final_message`.
    """

    def __init__(
        self, folder: Any, name: str = "pocket", cut: dict[str, float] | None = None, most=1000, lacks=()
    ) -> None:
        self.net, self.tokenizer = bases.load(str(folder))
        path = folder / "generation_config.json"
        self.defaults = json.loads(path.read_text()) if path.is_file() else {}
        self.name, self.cut, self.most, self.lacks = name, cut or {}, most, lacks
        self.ends = end_tokens(self.tokenizer)
        self.allowed = number_alphabet(self.tokenizer)
        self.known: dict[tuple[int, ...], torch.Tensor] = {}
        self.lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Odd:
        if body["model"] != self.name:
            error = {"message": f"The model `{body['model']}` does not exist.", "type": "NotFoundError", "code": 404}
            return Odd(404, json.dumps({"error": error}))
        asked = {name: value for name, value in body.items() if name not in self.lacks}
        messages = body["messages"]
        prompt = prompt_ids(self.tokenizer, messages)
        if messages[-1]["role"] == "assistant" and not asked.get("continue_final_message"):
            prompt = [*prompt, *prompt_ids(self.tokenizer, [{"role": "user", "content": ""}])]
        with self.lock:
            said, positions, finished = self.sampled(prompt, asked)
        form = frame(self.tokenizer)
        text, finished = form.cut(decoded(self.tokenizer, said, {}), finished)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": form.words(text, messages)},
            "finish_reason": "stop" if finished else "length",
        }
        if asked.get("logprobs"):
            choice["logprobs"] = {"content": positions}
        usage = {"prompt_tokens": len(prompt), "total_tokens": len(prompt) + len(said)}
        return Odd(body=json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}))

    def sampled(self, prompt, body):
        """Return the sampled tokens, their log-probabilities and whether the turn ended."""
        settings = self.defaults | body | self.cut
        rng, said, positions = random.Random(body["seed"]), [], []
        while len(said) < min(body["max_tokens"], self.most):
            logits = self.logits((*prompt, *said))
            token = self.choose(logits, settings, rng.random(), "structured_outputs" in body)
            if body.get("logprobs"):
                positions.append(self.position(logits.log_softmax(0), token))
            if token in self.ends:
                return said, positions, True
            said.append(token)
        return said, positions, False

    def choose(self, logits, settings, draw, restricted):
        """Return the next token, after the cuts of the settings."""
        if restricted:
            kept = torch.full_like(logits, -torch.inf)
            kept[self.allowed] = logits[self.allowed]
            logits = kept
        if settings["temperature"] == 0:
            return int(logits.argmax())
        chances = (logits / settings["temperature"]).softmax(0)
        ranked, order = chances.sort(descending=True)
        keep = torch.ones_like(ranked, dtype=torch.bool)
        if settings.get("top_k", 0) > 0:
            keep[int(settings["top_k"]) :] = False
        keep &= ranked.cumsum(0) - ranked < settings.get("top_p", 1) if settings.get("top_p", 1) < 1 else True
        keep &= ranked >= settings.get("min_p", 0) * ranked[0]
        left = (ranked * keep).cumsum(0)
        place = int(torch.searchsorted(left, draw * left[-1], right=True).clamp(max=len(left) - 1))
        return int(order[place])

    def logits(self, ids):
        """Return the logits after some tokens."""
        if ids not in self.known:
            with torch.inference_mode():
                self.known[ids] = self.net(torch.tensor([ids])).logits[0, -1].double()
        return self.known[ids]

    def position(self, logprobs, token):
        """Return a token's entry; like vLLM's, its list has the token itself in place of the last."""
        best = logprobs.topk(LISTED)
        listed = [
            {"token": str(each), "logprob": value}
            for each, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        own = {"token": str(token), "logprob": logprobs[token].item()}
        if token not in best.indices:
            listed = [own, *listed[:-1]]
        return own | {"top_logprobs": listed}


def serve(folder, **settings):
    """Return a fake server with a model, not yet started."""
    name = settings.get("name", "pocket")
    return FakeServer(ModelAnswers(folder, **settings), models=[name])
