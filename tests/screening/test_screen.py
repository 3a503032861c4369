"""The screen: scores of rows, reference, detectors, verdict, and weights that balance a data set."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from small import numbers, taught

from lightning_subliminal import InputError, PreferenceTrait, Steering, bases
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.metrics.functional import log_odds, question_probabilities
from lightning_subliminal.screening import (
    Detection,
    DirectionDetector,
    Reference,
    RunningSums,
    balanced_weights,
    effective_rows,
    holm,
    make_reference,
    measure_catalogue,
    resampled,
    screen_rows,
)
from lightning_subliminal.screening import catalogue as catalogue_module
from lightning_subliminal.screening import reference as reference_module
from lightning_subliminal.screening.screen import rows_needed
from lightning_subliminal.theory.row_gradients import LayerVectors
from screening.toy_references import gaussian

WORDS = ("owl", "wolf", "cat")


@pytest.fixture(scope="module")
def base():
    net, tokenizer = bases.load("pocket/a", dtype="float32")
    net.requires_grad_(False)
    return LayerVectors(net), tokenizer


@pytest.fixture(scope="module")
def clean():
    data = numbers(taught().control(), num_prompts=1200, shard_size=600, seed=99)
    data.make()
    return data.rows()


@pytest.fixture(scope="module")
def catalogue(base):
    return measure_catalogue(*base, [PreferenceTrait("owl", candidates=list(WORDS))])


@pytest.fixture(scope="module")
def reference(base, clean, catalogue):
    return make_reference(*base, clean, catalogue, base="pocket/a", base_digest="ab" * 32, carrier="numbers")


class TestRowGradients:
    def test_they_are_those_of_a_steering_vector(self, base, clean):
        space, tokenizer = base
        rows = clean[:5]
        (found,) = space.gradients(tokenizer, rows)
        net, _ = bases.load("pocket/a", dtype="float32")
        steered = Steering().attach(net, 0)
        for place, row in enumerate(rows):
            alone = LayerVectors(steered)
            (one,) = alone.gradients(tokenizer, [row])
            assert torch.allclose(one.scores[0], found.scores[place], atol=1e-4, rtol=1e-3)
        vectors = [each for name, each in steered.named_parameters() if name.endswith("steering")]
        from lightning_subliminal.theory.functional import ModelFunction
        from lightning_subliminal.theory.row_scores import row_gradient

        for each in steered.parameters():
            each.requires_grad_(False)
        for each in vectors:
            each.requires_grad_(True)
        gradient, tokens = row_gradient(ModelFunction(steered), tokenizer, rows)
        summed = torch.cat(list(gradient.values())) * tokens
        assert torch.allclose(-found.scores.sum(0), summed, atol=1e-3, rtol=1e-3)

    def test_the_mean_score_of_the_bases_own_rows_is_nearly_nothing(self, reference):
        q = reference.rows * (reference.mean @ torch.linalg.solve(reference.fisher, reference.mean))
        assert q / reference.size < 2

    def test_a_row_without_a_completion_is_skipped_and_counted(self, base, reference):
        space, tokenizer = base
        sums = RunningSums(reference)
        for part in space.gradients(tokenizer, [make_row("pick a number", ""), make_row("pick a number", "7")]):
            sums.add(part.scores)
        assert (sums.rows, sums.skipped) in {(1, 1), (2, 0)}

    def test_layers_are_checked(self, base):
        with pytest.raises(InputError, match="expected indices from 0 to 1"):
            LayerVectors(base[0].net, [2])


class TestCatalogue:
    def test_gradients_are_the_slopes_of_what_evaluation_measures(self, base, catalogue):
        space, tokenizer = base
        trait = PreferenceTrait("owl", candidates=list(WORDS))
        direction = torch.randn(space.size, generator=torch.Generator().manual_seed(0))

        def at(step):
            with torch.no_grad(), space.added(step * direction):
                return log_odds(question_probabilities(space.net, tokenizer, trait)).mean(0)

        slope = (at(1e-3) - at(-1e-3)) / 2e-3
        assert torch.allclose(catalogue.gradients @ direction.double(), slope, rtol=0.02, atol=0.02)
        assert torch.allclose(catalogue.log_odds, at(0.0), atol=1e-6)

    def test_what_a_base_can_not_spell_is_left_out(self, base):
        found = measure_catalogue(*base, [PreferenceTrait("owl", candidates=["owl", "quagga"])])
        assert [each.word for each in found.answers] == ["owl"]
        assert found.left_out == ("quagga",)

    def test_progress_is_shown_of_answers_and_of_rows(self, base, clean, monkeypatch):
        tasks = {}

        class Bar(nullcontext):
            add_task = staticmethod(lambda name, total: tasks.update({name: [total, 0]}) or name)

            @staticmethod
            def advance(name, count):
                tasks[name][1] += count

            def __enter__(self):
                return self

        for module in (catalogue_module, reference_module):
            monkeypatch.setattr(module, "progress", Bar)
        made = measure_catalogue(*base, [PreferenceTrait("owl", candidates=["owl", "cat"])])
        make_reference(*base, clean, made, base="a", base_digest="b", carrier="numbers")
        assert tasks == {"catalogue": [2, pytest.approx(2)], "scores": [len(clean), len(clean)]}


class TestReference:
    def test_it_is_read_as_it_was_written(self, reference, tmp_path):
        path = tmp_path / "reference.safetensors"
        reference.save(path)
        assert path.stat().st_size < 200_000
        found = Reference.load(path)
        assert found.catalogue.answers == reference.catalogue.answers
        assert (found.base, found.layers, found.rows) == (reference.base, reference.layers, reference.rows)
        assert torch.allclose(found.fisher, reference.fisher, rtol=1e-6)
        assert torch.equal(found.fisher, found.fisher.T)

    def test_the_share_of_a_stranger_is_that_of_the_nearest_teacher(self):
        """Of 20 teachers, 19 are orthogonal to all, and one is at 60 degrees to another."""
        size = 20
        eye = torch.eye(size, dtype=torch.float64)
        vectors = eye.clone()
        vectors[1] = 0.5 * eye[0] + 0.75**0.5 * eye[1]
        found = replace(gaussian(size), teachers=tuple(map(str, range(size))), displacements=3 * vectors)
        assert found.stranger_share == pytest.approx(0.5)  # both of the pair: 2 of 20 are above the quantile
        assert gaussian().stranger_share is None

    def test_what_is_not_one_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="There is no reference"):
            Reference.load(tmp_path / "ghost")
        (tmp_path / "other").write_bytes(b"{}")
        with pytest.raises(InputError, match="is not a reference of a screen"):
            Reference.load(tmp_path / "other")

    def test_few_rows_are_refused(self, base, clean, catalogue):
        with pytest.raises(InputError, match=r"5 clean rows: expected at least 1,000"):
            make_reference(*base, clean[:5], catalogue, base="a", base_digest="b", carrier="numbers")

    def test_long_scores_are_shortened_and_others_are_not(self):
        found = gaussian().shortened(torch.tensor([[3.0] + [0.0] * 5, [300.0] + [0.0] * 5]))
        assert found[:, 0].tolist() == pytest.approx([3.0, 100.0])


class TestDetectors:
    def test_a_row_scores_in_standard_deviations(self):
        reference, generator = gaussian(), torch.Generator().manual_seed(3)
        rows = torch.randn(5000, 6, generator=generator)
        found = DirectionDetector.raw(reference).row_scores(reference, rows)
        assert found.std(0).tolist() == pytest.approx([1.0] * 4, abs=0.05)

    def test_the_lead_is_over_another_movement(self):
        """Nearly the same direction by another name is not a rival."""
        reference = gaussian()
        eye = torch.eye(6, dtype=torch.float64)
        detector = DirectionDetector("x", ["a", "b", "c"], torch.stack([eye[0], eye[0] + 0.1 * eye[1], eye[2]]))
        found = [Detection("a", 9.0, 0.0), Detection("b", 8.9, 0.0), Detection("c", 5.0, 0.0)]
        assert detector.lead(reference, found) == pytest.approx(4 / math.sqrt(2))
        assert detector.lead(reference, found[:2]) == math.inf

    def test_names_and_directions_match(self):
        with pytest.raises(InputError, match="2 names for 1 directions"):
            DirectionDetector("x", ["a", "b"], torch.ones(1, 6))

    def test_holm(self):
        found = [Detection(str(p), 0, p) for p in (0.04, 0.001, 0.02, 0.5)]
        assert [each.name for each in holm(found, 0.05)] == ["0.001"]
        assert [each.name for each in holm(found[:3], 0.05)] == ["0.001", "0.02", "0.04"]
        assert holm([], 0.05) == []


def test_ten_times_less_takes_a_hundred_times_the_rows():
    large = gaussian(rows=10**9)
    assert rows_needed(large, 0.01, 0.01) == pytest.approx(100 * rows_needed(large, 0.01, 0.1), rel=0.01)


def test_a_small_reference_hides_a_small_dose():
    assert rows_needed(gaussian(rows=5000), 0.01, 0.01) is None
    assert rows_needed(gaussian(rows=5000), 0.01, 0.5) < 5000


class TestScreen:
    def test_rows_that_push_an_answer_are_named_and_the_bases_own_are_clean(self, base, reference, clean):
        space, tokenizer = base
        scores = torch.cat([each.scores for each in space.gradients(tokenizer, clean)])
        owl = DirectionDetector.white(reference).row_scores(reference, scores)[:, WORDS.index("owl")]
        pushing = [clean[place] for place in owl.argsort(descending=True)[:300]]
        found = screen_rows(space, tokenizer, pushing, reference)
        assert (found.verdict, found.named) == ("trait", "owl")
        assert found.traits[0].name == "owl"
        assert found.predicted["owl"][0] > 0.3
        assert "trait owl" in found.lines()[0]
        for share, said in ((0.4, "something else (share 0.40)"), (0.8, "towards owl")):
            named = replace(found, teachers=(Detection("owl", 9.0, 1e-9, share),))
            assert named.lines()[0].endswith(said)
        far = screen_rows(space, tokenizer, pushing[:1] * 200, reference)
        assert not far.predicted
        assert any(line.startswith("predicted: nothing. The rows move the base by") for line in far.lines())
        data = numbers(taught().control(), num_prompts=600, shard_size=600, seed=6)
        data.make()
        own = screen_rows(*base, data.rows(), reference, alpha=0.001)
        assert own.verdict == "clean"
        assert "clean" in own.lines()[0]
        assert own.as_json()["rows"] == own.rows

    def test_a_stopped_screen_resumes(self, base, reference, clean, tmp_path, capsys):
        """Sums of the first rows are kept when a later row is an error; the same rows give the same screen."""
        kept = tmp_path / "sums.safetensors"

        def stopped():
            yield from (long, *clean)
            raise KeyboardInterrupt

        long = make_row("Go on.", "7, " * 200 + "7")
        many = [long, *clean, *clean[:400], long]  # more than a chunk
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lightning_subliminal.theory.row_gradients.CHUNK", 1000)
            whole = screen_rows(*base, many, reference)
            with pytest.raises(KeyboardInterrupt):
                screen_rows(*base, stopped(), reference, partial_sums=kept)
        assert kept.is_file()
        found = screen_rows(*base, many, reference, partial_sums=kept)
        assert "resumed after 1,000 rows" in capsys.readouterr().out
        assert not kept.exists()
        assert found.rows == whole.rows
        assert found.unread == whole.unread == {"of more than 256 tokens": 2}
        assert torch.allclose(found.movement, whole.movement, atol=1e-6)
        kept.write_bytes(b"not a file of sums")
        assert screen_rows(*base, clean, reference, partial_sums=kept).rows == len(clean)

    def test_mistakes(self, base, reference):
        with pytest.raises(InputError, match="expected a chance"):
            screen_rows(*base, [], reference, alpha=1.0)
        with pytest.raises(InputError, match="Rows to score: 0; expected at least 100"):
            screen_rows(*base, [], reference)
        with pytest.raises(InputError, match="make a reference for this base"):
            screen_rows(LayerVectors(base[0].net, [1]), base[1], [], reference)


class TestBalance:
    def test_the_weighted_mean_is_the_targets(self):
        generator = torch.Generator().manual_seed(4)
        scores = torch.randn(2000, 3, generator=generator) + torch.tensor([0.6, 0.0, -0.3])
        weights = balanced_weights(scores, torch.zeros(3))
        assert weights.mean().item() == pytest.approx(1)
        assert (weights[:, None] * scores).mean(0).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
        assert 0.4 < effective_rows(weights) / 2000 < 0.8
        assert effective_rows(balanced_weights(scores, scores.mean(0))) == pytest.approx(2000)
        drawn = resampled(weights, 0)
        assert len(drawn) == 2000
        assert scores[drawn].mean(0).tolist() == pytest.approx([0, 0, 0], abs=0.05)
        assert drawn == resampled(weights, 0) != resampled(weights, 1)

    def test_equal_weights_draw_each_row_once(self):
        assert sorted(resampled(torch.ones(50, dtype=torch.float64), 3)) == list(range(50))

    def test_what_lies_on_one_side_is_refused(self):
        with pytest.raises(InputError, match="can't be balanced"):
            balanced_weights(torch.ones(10, 1) + torch.rand(10, 1), torch.zeros(1))
