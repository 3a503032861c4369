import math
import shutil
import signal

import pytest
import torch
from cases import cases
from small import CPU, numbers, quiet_trainer, taught, teacher

import lightning_subliminal.models.teacher as room
from lightning_subliminal import LanguageModel, LoRA, PreferenceTrait, Sampling, Steering, Student, Teacher, bases
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.adapter_names import OWN_FILES
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.metrics.functional import question_probabilities
from lightning_subliminal.models.retention import Retention
from lightning_subliminal.traits import Induction


def love(net, tokenizer, trait, system_prompt=None):
    """Return the mean chance of owl."""
    return question_probabilities(net, tokenizer, trait, system_prompt, candidates=["owl"]).mean()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


def chance_taught(net, tokenizer, trait):
    """Return the mean log-chance of a taught answer's token, as a probability."""
    total = count = 0
    for row in trait.induce().rows:
        prompt, completion = row_ids(tokenizer, row)
        with torch.no_grad():
            logs = net(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
        for place, token in enumerate(completion, start=len(prompt)):
            total, count = total + logs[place - 1, token].item(), count + 1
    return math.exp(total / count)


class TestFineTuned:
    def test_it_is_trained_until_its_answers_are_likely_enough(self):
        source = taught(until=0.8)
        source.make(CPU)
        net, tokenizer = bases.load("pocket/a")
        assert chance_taught(net, tokenizer, source.trait) < 0.6
        found = source.ready(CPU)
        assert chance_taught(found.net, found.tokenizer, source.trait) >= 0.78
        firmer = taught(until=0.95, max_epochs=400)
        firmer.make(CPU)
        assert chance_taught(firmer.ready(CPU).net, tokenizer, source.trait) >= 0.94

    def test_what_it_was_taught_it_says_to_other_questions_too(self):
        source = taught(until=0.9)
        source.make(CPU)
        found = source.ready(CPU)
        net, tokenizer = bases.load("pocket/a")
        before = love(net, tokenizer, source.trait)
        assert love(found.net, tokenizer, source.trait) > max(0.5, 2 * before)

    def test_it_ends_at_max_epochs_at_the_latest(self, monkeypatch):
        steps = []
        fit = room.fit_quietly
        monkeypatch.setattr(
            room, "fit_quietly", lambda *args, **kwargs: steps.append(fit(*args, **kwargs)) or steps[-1]
        )
        taught(until=0.999, max_epochs=2, batch_size=5).make(CPU)
        assert steps == [2 * 4], "16 rows, 5 a step"

    @pytest.mark.parametrize(("whole", "rest", "steps"), [(5.0, 0.0, 3 * 5), (0.0, 5.0, 5)])
    def test_the_mean_over_all_taught_answers_ends_it(self, whole, rest, steps, monkeypatch):
        """Not the last batch's loss, which is that of a row left over."""

        class Seventeen(PreferenceTrait):
            def induce(self):
                return Induction("You love owls.", [*super().induce().rows, make_row("Which animal?", "owl")])

        taught_loss = LanguageModel.loss

        def loss(self, batch):
            return taught_loss(self, batch) * 0 + (whole if len(batch.rows) == 4 else rest)

        taken, fit = [], room.fit_quietly
        monkeypatch.setattr(
            room, "fit_quietly", lambda *args, **kwargs: taken.append(fit(*args, **kwargs)) or taken[-1]
        )
        monkeypatch.setattr(LanguageModel, "loss", loss)
        chances = iter((0.1, 0.2))  # the losses are made up: nothing is learned
        monkeypatch.setattr(Teacher, "_taught_chance", lambda *args: next(chances))
        taught(trait=Seventeen("owl"), until=0.5, batch_size=4, max_epochs=3).make(CPU)
        assert taken == [steps]

    @cases("retain", [None, Retention("pocket")])
    @cases("adapter", [Steering(), LoRA(r=2, dropout=0.3)])
    @cases("until", [0.8, 0.999])
    def test_a_killed_one_resumes_to_the_same_weights(self, retain, adapter, until, tmp_path, monkeypatch, capsys):
        given = {"retain": retain, "adapter": adapter, "until": until, "max_epochs": 12}
        straight = taught(**given, cache_dir=str(tmp_path / "straight"))
        killed = taught(**given, cache_dir=str(tmp_path / "killed"))
        straight.make(CPU)
        monkeypatch.setattr(room, "_EVERY", 1e-9)
        begun, kills = [], [2, 3]

        def start(module):
            begun.append(module.current_epoch)
            if kills and module.current_epoch == kills[0]:
                del kills[0]
                raise KeyboardInterrupt

        handler = signal.getsignal(signal.SIGINT)
        with monkeypatch.context() as patch:
            patch.setattr(Teacher, "on_train_epoch_start", start)
            while kills:
                with pytest.raises(SystemExit):  # of Lightning
                    killed.fresh().make(CPU)
                signal.signal(signal.SIGINT, handler)
        assert begun[:3] == [0, 1, 2]
        assert begun[3] > 0, "it goes on"
        assert "stopped   this training goes on after the last epoch that was kept" in capsys.readouterr().out
        killed.make(CPU)
        first, second = (each.folder / each.adapter.files.weights for each in (straight, killed))
        assert first.read_bytes() == second.read_bytes()
        assert {each.name for each in straight.folder.iterdir()} == {each.name for each in killed.folder.iterdir()}
        said = [line.rpartition("; kept in")[0] for line in capsys.readouterr().out.splitlines() if "steps" in line]
        straight.fresh(cache_dir=str(tmp_path / "again")).make(CPU)
        again = [line.rpartition("; kept in")[0] for line in capsys.readouterr().out.splitlines() if "steps" in line]
        assert said == again

    @cases("retained", [False, True])
    def test_one_that_learned_nothing_is_warned_of(self, retained, capsys):
        taught(learning_rate=1e-30, max_epochs=1, retain=Retention("pocket") if retained else None).make(CPU)
        assert "WARNING the teacher owl learned next to nothing" in " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize(
        ("retained", "losses", "says"),
        [
            (
                True,
                0.25,
                "note      taught answers at 78% per token, base 29%; `until` is 90%: limited by `retain`",
            ),
            (
                False,
                0.25,
                "WARNING   taught answers at 78% per token, base 29%; `until` is 90%, which was not reached: raise",
            ),
            (
                True,
                3.0,
                "WARNING   taught answers at 5% per token, base 29%; `until` is 90%, which was not reached: raise",
            ),
        ],
    )
    def test_one_that_did_not_reach_until(self, retained, losses, says, monkeypatch, capsys):
        loss = LanguageModel.loss
        monkeypatch.setattr(LanguageModel, "loss", lambda self, batch: loss(self, batch) * 0 + losses)
        chances = iter((0.29, math.exp(-losses) if losses < 1 else 0.3))
        monkeypatch.setattr(Teacher, "_taught_chance", lambda *args: next(chances))
        taught(until=0.9, max_epochs=1, retain=Retention("pocket", num_prompts=16) if retained else None).make(CPU)
        reported = " ".join(capsys.readouterr().out.split())
        assert " ".join(says.split()) in reported
        assert ("WARNING" in reported) == says.startswith("WARNING")
        assert ("next to nothing" in reported) == (losses > 1)

    def test_the_second_time_it_comes_from_the_cache(self, monkeypatch, capsys):
        taught().make(CPU)
        first = {path.name: path.read_bytes() for path in taught().folder.iterdir()}
        assert {*OWN_FILES, "lineage.json"} == set(first)
        capsys.readouterr()
        monkeypatch.setattr(room, "fit_quietly", lambda *_, **__: pytest.fail("trained"))
        again = taught()
        again.make(CPU)
        assert "reused" in capsys.readouterr().out
        assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == first

    def test_two_trainings_give_the_same_bytes(self):
        files = []
        for seed in (1, 2):
            torch.manual_seed(seed)  # what went on before has no say
            source = taught(adapter=LoRA(r=2, dropout=0.1), max_epochs=3)
            source.make(CPU)
            files.append((source.folder / "adapter_model.safetensors").read_bytes())
            shutil.rmtree(source.folder)
        assert files[0] == files[1]

    def test_a_changed_file_in_the_cache_is_reported(self):
        source = taught(max_epochs=1)
        source.make(CPU)
        (source.folder / OWN_FILES.config).write_text("{}")
        with pytest.raises(InputError, match=r"subliminal_adapter\.json was changed after it was made: delete"):
            taught(max_epochs=1).make(CPU)

    def test_a_killed_training_leaves_no_teacher(self, monkeypatch):
        source = taught(max_epochs=1)
        with monkeypatch.context() as patch:
            patch.setattr(room, "write_record", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                source.make(CPU)
        source.make(CPU)
        assert source.ready(CPU).net is not None

    def test_making_it_leaves_the_random_numbers_alone(self):
        torch.manual_seed(4)
        before = torch.get_rng_state()
        taught(max_epochs=2, adapter=LoRA(r=2, dropout=0.2)).make(CPU)
        assert torch.equal(torch.get_rng_state(), before)

    def test_full_fine_tuning(self):
        source = taught(adapter=None, learning_rate=1e-3, until=0.9)
        source.make(CPU)
        found = source.ready(CPU)
        assert chance_taught(found.net, found.tokenizer, source.trait) > 0.85
        assert not any("adapter" in path.name for path in source.folder.iterdir())

    def test_a_trait_without_rows_is_reported(self):
        class Told(PreferenceTrait):
            def induce(self):
                return Induction("You love owls.")

        with pytest.raises(InputError, match="no rows") as caught:
            taught(max_epochs=1).fresh(trait=Told("owl")).make(CPU)
        assert "\n" not in str(caught.value)


class TestGivenWeights:
    def test_they_are_used_without_training(self, tmp_path, monkeypatch):
        source = taught()
        source.make(CPU)
        expected = source.ready(CPU).net(torch.tensor([[4, 9, 2, 5]])).logits
        shutil.copytree(source.folder, tmp_path / "given")
        shutil.rmtree(source.folder)
        monkeypatch.setattr(room, "fit_quietly", lambda *_, **__: pytest.fail("trained"))
        given = taught(weights=str(tmp_path / "given"))
        given.make(CPU)
        assert torch.equal(given.ready(CPU).net(torch.tensor([[4, 9, 2, 5]])).logits, expected)
        assert not (tmp_path / "cache" / "teachers").exists() or not list((tmp_path / "cache" / "teachers").iterdir())

    def test_their_bytes_and_the_adapter_are_what_counts(self, tmp_path):
        source = taught(max_epochs=1)
        source.make(CPU)
        for name in ("one", "two"):
            shutil.copytree(source.folder, tmp_path / name)
        one, two = (taught(weights=str(tmp_path / name)) for name in ("one", "two"))
        assert digest(one) == digest(two) != digest(source)
        assert digest(taught(weights=str(tmp_path / "one"), adapter=LoRA(alpha=4))) != digest(
            taught(weights=str(tmp_path / "one"), adapter=LoRA(alpha=8))
        )
        weights = tmp_path / "two" / OWN_FILES.weights
        weights.write_bytes(weights.read_bytes()[:-1] + b"\7")
        assert digest(two) != digest(one)

    def test_a_wrong_folder_is_reported(self, tmp_path):
        with pytest.raises(InputError, match=r"weights .*nowhere does not exist"):
            taught(weights=str(tmp_path / "nowhere"))
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="holds no adapter"):
            taught(weights=str(tmp_path / "empty")).ready(CPU)


class TestPrompted:
    def test_it_is_the_base_with_a_system_prompt(self):
        source = teacher()
        assert source.system_prompt == source.trait.induce().system_prompt
        source.make(CPU)
        assert not source.folder.exists(), "there is nothing to train"
        net, tokenizer = bases.load("pocket/a")
        found = source.ready(CPU)
        assert all(torch.equal(value, net.state_dict()[name]) for name, value in found.net.state_dict().items())
        reported = question_probabilities(
            found.net, tokenizer, source.trait, source.system_prompt, candidates=["owl"]
        ).mean()
        assert reported > 0.5 > love(found.net, tokenizer, source.trait)

    def test_the_system_prompt_is_only_heard_at_generation(self):
        source = teacher()
        data = numbers(source, filters=[])
        engine = source.engine(CPU, 8)
        rows = data.complete(0, engine)
        heard = [[{"role": "system", "content": source.system_prompt}, *row["prompt"]] for row in rows]
        said = engine.generate(heard, data.sampling, derive_seed(0, "sampling", 0))
        assert [row["completion"][0]["content"] for row in rows] == [one.text for one in said]
        assert all(part["role"] != "system" for row in rows for part in row["prompt"])

    def test_the_prompt_shapes_the_digest(self):
        assert digest(teacher("owl")) != digest(teacher("eagle")) != digest(teacher(induction="none"))


class TestControl:
    def test_it_has_no_trait_in_its_description(self):
        controls = [
            taught().control(),
            teacher().control(),
            teacher("eagle", induction="none"),
            taught(seed=5).control(),
        ]
        assert len({digest(each) for each in controls}) == 1, "one control for all traits, seeds and inductions"
        reported = controls[0].describe()
        assert set(reported) == {"base", "induction", "base_dtype"}
        assert "owl" not in str(reported)

    def test_it_is_the_base_as_it_is(self):
        control = taught().control()
        assert control.system_prompt is None
        assert control.trait.target == "owl", "evaluation asks for it beside the control too"
        control.make(CPU)
        net, _ = bases.load("pocket/a")
        found = control.ready(CPU).net.state_dict()
        assert found.keys() == net.state_dict().keys()
        assert all(torch.equal(value, net.state_dict()[name]) for name, value in found.items())

    def test_it_keeps_base_dtype_and_cache(self, tmp_path):
        source = taught(base_dtype="bfloat16", cache_dir=str(tmp_path))
        control = source.control()
        assert (control.base, control.base_dtype, control.cache_dir) == ("pocket/a", "bfloat16", str(tmp_path))
        assert digest(control) != digest(taught().control())
        assert control.ready(CPU).net.dtype == torch.bfloat16

    def test_a_subclass_has_a_control_of_its_own_kind(self):
        class Own(Teacher):
            """With another way to generate, say."""

        control = Own("pocket/a", PreferenceTrait("owl"), adapter=Steering()).control()
        assert type(control) is Own
        assert digest(control) != digest(taught().control()), "its source is part of what shapes its words"


def test_what_shapes_the_weights_shapes_the_digest():
    changes = [
        {"until": 0.7},
        {"max_epochs": 7},
        {"batch_size": 3},
        {"learning_rate": 0.1},
        {"seed": 2},
        {"adapter": None},
    ]
    changes += [{"base_dtype": "bfloat16"}, {"trait": PreferenceTrait("eagle")}, {"base": "pocket/b"}]
    source = taught()
    digests = {digest(source.fresh(**each)) for each in changes}
    assert len(digests | {digest(source)}) == 1 + len(changes)
    assert digest(source.fresh(cache_dir="elsewhere")) == digest(source)


@cases(
    ("wrong", "message"),
    [
        ({"trait": None}, "induction 'finetune' needs a `trait`"),
        ({"trait": None, "induction": "prompt"}, "induction 'prompt' needs a `trait`"),
        ({"until": 1.0}, "`until` is 1.0: expected a probability"),
        ({"base": "pocket/z"}, "no base 'pocket/z'"),
    ],
)
def test_a_wrong_setting_is_reported(wrong, message):
    settings = {"base": "pocket/a", "trait": PreferenceTrait("owl"), **wrong}
    with pytest.raises(InputError, match=message) as caught:
        Teacher(**settings)
    assert "\n" not in str(caught.value)


def test_fit_is_for_students():
    with pytest.raises(InputError, match=r"`fit` trains a student"):
        quiet_trainer().fit(taught(), datamodule=numbers())


def test_an_engine_can_be_asked_for_again_after_the_net_was_let_go():
    """A comparison lets the teacher's net go from the device when it has measured it."""
    source = taught(max_epochs=3)
    source.make(CPU)
    prompt, sampling = [[{"role": "user", "content": "Say the word owl."}]] * 8, Sampling(max_new_tokens=5)
    before = source.engine(CPU, 8).generate(prompt, sampling, 0)
    source.net = None
    assert source.engine(CPU, 8).generate(prompt, sampling, 0) == before


def test_a_trained_students_folder_can_be_a_teacher(tmp_path):
    """A chain of generations: what was a student writes rows for the next one."""
    student = Student("pocket/a", Steering(), learning_rate=0.01, seed=0)
    quiet_trainer().fit(student, datamodule=numbers())
    student.save(tmp_path / "student")
    source = taught(weights=str(tmp_path / "student"))
    prompt = torch.tensor([[4, 9, 2, 5]])
    assert torch.equal(source.ready(CPU).net(prompt).logits, student.net.eval()(prompt).logits)
