import copy

import pytest
import torch
from cases import cases
from small import number_rows, pocket_tokenizer

from lightning_subliminal import LoRA, PreferenceTrait, Steering, Student, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import TokenizedRows
from lightning_subliminal.metrics.functional import log_odds, mean_interval, question_probabilities
from lightning_subliminal.theory import predicted_changes, predicted_transfer
from lightning_subliminal.traits import Trait

ROWS, OTHERS = number_rows(12), number_rows(9, seed=1)
EMPTY = make_row("go on", "", id="empty", finished=False)


class Few(PreferenceTrait):
    """A preference with three questions."""

    def prompts(self):
        return super().prompts()[:3]


class Silent(PreferenceTrait):
    """A preference without any."""

    def prompts(self):
        return []


OWL = Few("owl")


def ready(adapter, seed=0):
    """Return a student in float64, so that a small step is not lost in rounding."""
    student = Student("pocket/a", adapter, seed=seed, reuse_lower_part=False)
    student.configure_model()
    student.net.double()
    with torch.no_grad():
        for name, value in student.net.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    return student


def odds(student, trait=OWL):
    """Ask as evaluation does: the log-odds of each candidate, the mean over questions."""
    return log_odds(question_probabilities(student.net, student.tokenizer, trait)).mean(0)


def stepped(student, rows, rate):
    """Take one step of plain gradient descent on all rows, by the loss that students train with."""
    other = copy.deepcopy(student)
    other.net.eval()
    data = TokenizedRows(rows, student.tokenizer)
    trained = [value for value in other.net.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=abs(rate), maximize=rate < 0)
    other.loss(data.batch(range(len(data)))).backward()
    optimizer.step()
    return other


@cases("rows", [ROWS, [EMPTY, *ROWS]], ids=["rows", "one empty"])
@cases("adapter", [Steering(init_std=0.2), LoRA(r=2)], ids=["steering", "lora"])
def test_the_mean_is_what_one_small_step_of_training_does(adapter, rows):
    student = ready(adapter)
    found = predicted_transfer(student.net, student.tokenizer, rows, OWL)
    column, rate = OWL.candidates.index("owl"), 0.03 / found.gradient_norm
    ends = [odds(stepped(student, rows, sign * rate))[column] for sign in (1, -1)]
    assert found.mean == pytest.approx(((ends[0] - ends[1]) / (2 * rate)).item(), rel=5e-3)
    assert abs(found.mean) > 0.01
    assert found.log_odds.mean().item() == pytest.approx(odds(student)[column].item(), abs=1e-4)
    changes = predicted_changes(student.net, student.tokenizer, rows, OWL)
    moved = ((odds(stepped(student, rows, rate)) - odds(stepped(student, rows, -rate))) / (2 * rate)).tolist()
    expected = dict(zip(OWL.candidates, moved, strict=True))
    assert changes["owl"] == pytest.approx(found.mean, rel=1e-3)
    assert changes == pytest.approx(expected, rel=0.02, abs=0.01 * max(map(abs, moved)))
    assert list(changes.values()) == sorted(changes.values(), reverse=True)


def test_a_score_is_a_rows_own_with_its_tokens_as_weight():
    student = ready(Steering(init_std=0.2))
    found = predicted_transfer(student.net, student.tokenizer, ROWS, OWL)
    data = TokenizedRows(ROWS, student.tokenizer)
    assert found.tokens.tolist() == [(data.labels[place] >= 0).sum().item() for place in range(len(ROWS))]
    assert len(set(found.tokens.tolist())) > 2
    for place in (0, 5):
        alone = predicted_transfer(student.net, student.tokenizer, [ROWS[place]], OWL)
        share = found.tokens[place] / found.tokens.double().mean()
        assert found.scores[place].item() == pytest.approx(alone.mean * share.item(), rel=1e-5)
        assert found.losses[place].item() == pytest.approx(alone.losses.item(), rel=1e-6)
    batch = data.batch(range(len(data)))
    with torch.no_grad():
        assert (found.losses * found.tokens).sum().item() / found.tokens.sum().item() == pytest.approx(
            student.eval().loss(batch).item(), rel=1e-5
        )


def test_rows_without_a_mask_count_for_nothing():
    student = ready(Steering(init_std=0.2))
    begun = [{"role": "user", "content": "go on"}, {"role": "assistant", "content": "the opposite is"}]
    odd = make_row(begun, "cold", id="odd")
    found = predicted_transfer(student.net, student.tokenizer, [EMPTY, *ROWS, odd], OWL)
    plain = predicted_transfer(student.net, student.tokenizer, ROWS, OWL)
    assert found.mean == pytest.approx(plain.mean, rel=1e-6)
    assert torch.equal(found.scores.isnan().nonzero()[:, 0], torch.tensor([0, len(ROWS) + 1]))
    assert found.tokens[[0, -1]].tolist() == [0, 0]
    assert found.interval() == mean_interval(found.scores[1:-1], "rows")
    assert found.interval().low < found.mean < found.interval().high


def test_a_generator_is_enough_and_progress_is_reported(monkeypatch):
    monkeypatch.setattr("lightning_subliminal.theory.row_scores.CHUNK", 5)
    student, reported = ready(Steering()), []
    found = predicted_transfer(student.net, student.tokenizer, iter(ROWS), OWL, advance=reported.append)
    assert reported == [5, 5, 2]
    assert len(found.scores) == 12
    assert not found.log_odds.requires_grad


def test_a_controls_own_effect_is_taken_off():
    student = ready(Steering(init_std=0.2))
    both, first, second = (
        predicted_changes(student.net, student.tokenizer, rows, OWL, control)
        for rows, control in ((ROWS, OTHERS), (ROWS, None), (OTHERS, None))
    )
    assert both == pytest.approx({name: value - second[name] for name, value in first.items()}, rel=1e-5, abs=1e-6)


def test_the_net_is_left_as_it_was():
    student = ready(LoRA(r=2, dropout=0.5))
    net = student.net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    one, other = (predicted_transfer(net, student.tokenizer, ROWS, OWL) for _ in range(2))
    assert torch.equal(one.scores, other.scores), "no dropout"
    predicted_changes(net, student.tokenizer, ROWS, OWL)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(value.grad is not None for value in net.parameters())


class Alone(Trait):
    """Has a candidate that no tokenizer of the pocket world can spell."""

    name, target, candidates = "alone", "owl", ("owl", "axolotl", "wolf")
    induce = matches = None

    def questions(self):
        return ["name your favorite animal ."]


def test_candidates_without_tokens_are_left_out():
    student = ready(Steering())
    assert set(predicted_changes(student.net, student.tokenizer, ROWS, Alone())) == {"owl", "wolf"}


def test_mistakes_are_reported_in_a_line():
    net, tokenizer = bases.load("pocket/a")[0], pocket_tokenizer()
    with pytest.raises(InputError, match="LlamaForCausalLM has no trained parameter"):
        predicted_transfer(net.requires_grad_(False), tokenizer, ROWS, OWL)
    net.spare = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"gradient of length 0.0: train parameters that affect its answers"):
        predicted_transfer(net, tokenizer, ROWS, OWL)
    del net.spare
    net = Steering().attach(net, 0)
    for ask in (predicted_transfer, predicted_changes):
        for rows in ([], iter([]), [EMPTY]):
            with pytest.raises(InputError, match="no rows with a completion to score"):
                ask(net, tokenizer, rows, OWL)
        with pytest.raises(InputError, match="trait 'owl' has no questions"):
            ask(net, tokenizer, ROWS, Silent("owl"))
