"""Scores of rows beside a plain forward pass over them, encoding counted in both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed_sides.claims import Claim, Result, Run

CARRIERS = ("numbers", "code", "math")


def _side(carrier: str, work: Callable[[Any, Any, list[Any]], int]) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        import torch

        from lightning_subliminal.plans.screen_reference import clean_data, load_space

        space, tokenizer = load_space("pocket/a", None, torch.device("cpu"))
        data = clean_data("pocket/a", carrier, 4096, 5000)
        data.make(torch.device("cpu"))
        rows = list(data.rows())

        def run() -> Result:
            return {"rows": work(space, tokenizer, rows)}

        return run

    return prepare


def _scores(space: Any, tokenizer: Any, rows: list[Any]) -> int:
    return sum(len(each.scores) for each in space.gradients(tokenizer, rows))


def _forward(space: Any, tokenizer: Any, rows: list[Any]) -> int:
    from lightning_subliminal.theory.row_likelihoods import row_likelihoods

    return sum(map(len, row_likelihoods(space.net, tokenizer, rows)))


scores_numbers, scores_code, scores_math = (_side(carrier, _scores) for carrier in CARRIERS)
forward_numbers, forward_code, forward_math = (_side(carrier, _forward) for carrier in CARRIERS)
CLAIMS = [
    Claim(f"row scores beside a forward pass, {each}", f"scores_{each}", f"forward_{each}", 0.55, peer=False)
    for each in CARRIERS
]
