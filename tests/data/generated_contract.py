"""What holds for every data module on the template ``GeneratedRows``. A subclass gives ``make``, inherits the tests."""

import json
from pathlib import Path

import pytest
from cases import cases
from small import CPU, quiet_trainer, taught, teacher

from lightning_subliminal import Sampling, ShardWriter, Student, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, read_parquet, rows_digest
from lightning_subliminal.filters import Filter
from lightning_subliminal.lineage import read_record, rows_root


class Drop(Filter):
    """Drops rows by their place in the shard."""

    def __init__(self, every: int = 1) -> None:
        self.every = every

    def reasons(self, row):
        return ["dropped"] if int(row["id"].rpartition("-")[2]) % self.every == 0 else []


def files(folder: Path, pattern: str = "*.parquet") -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.glob(pattern))}


def doubled(net, tokenizer):
    return net.double(), tokenizer


class GeneratedContract:
    """A generated data set's contract; 20 prompts in shards of 8 from a prompted teacher that needs no training."""

    columns = frozenset({"id", "prompt", "completion", "finished"})

    def make(self, **changes):
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))

    def made(self, **changes):
        data = self.make(**changes)
        data.make(CPU)
        return data

    def test_same_seed_same_rows(self, tmp_path):
        first = rows_digest(self.made().rows())
        assert rows_digest(self.made(cache_dir=str(tmp_path / "other")).rows()) == first
        assert rows_digest(self.made(seed=1).rows()) != first

    def test_the_seed_is_the_global_one_where_none_is_given(self, monkeypatch):
        monkeypatch.setenv("PL_GLOBAL_SEED", "0")
        assert self.make(seed=None).folder == self.make().folder
        monkeypatch.setenv("PL_GLOBAL_SEED", "1")
        assert self.make(seed=None).folder == self.make(seed=1).folder != self.make().folder

    def test_rows_have_prompt_completion_id_and_finished(self):
        rows = self.made(filters=[]).rows()
        assert [set(row) for row in rows] == [self.columns] * 20
        assert len({row["id"] for row in rows}) == 20
        assert all(isinstance(row["finished"], bool) for row in rows)

    def test_several_answers_to_a_prompt_are_rows_of_their_own(self):
        rows = self.made(filters=[], answers_per_prompt=3).rows()
        assert len(rows) == len({row["id"] for row in rows}) == 60
        asked = [row["prompt"] for row in rows]
        assert asked[::3] == asked[1::3] == asked[2::3] == [row["prompt"] for row in self.made(filters=[]).rows()]
        assert len({completion_text(row) for row in rows}) > 20
        with pytest.raises(InputError, match="`answers_per_prompt` is 0"):
            self.make(answers_per_prompt=0)

    def test_prompts_differ_over_shards_and_seeds(self):
        asked = [[str(row["prompt"]) for row in self.made(filters=[], seed=seed).rows()] for seed in (0, 1)]
        assert len({*asked[0], *asked[1]}) > 30

    def test_the_batch_size_of_generation_has_no_say(self, tmp_path, monkeypatch):
        # in float64, since float32 rounds otherwise in another batch, and some day a draw lies between the two
        load = bases.load
        monkeypatch.setattr(bases, "load", lambda *args, **kwargs: doubled(*load(*args, **kwargs)))
        data = self.made(filters=[], cache_dir=str(tmp_path / "one"))
        other = self.made(filters=[], generation_batch_size=3, cache_dir=str(tmp_path / "other"))
        assert other.folder.name == data.folder.name
        assert rows_digest(other.rows()) == rows_digest(data.rows())

    def test_a_shard_that_is_lost_is_made_again_and_no_other(self):
        data = self.made()
        before, rows = files(data.shards_folder), rows_digest(data.rows())
        assert len(before) == 3
        (data.shards_folder / "shard-00001.parquet").unlink()
        for path in data.folder.iterdir():
            path.unlink()
        data.make(CPU)
        after = files(data.shards_folder)
        assert rows_digest(data.rows()) == rows
        assert [name for name in before if after[name] == before[name]] == [
            "shard-00000.parquet",
            "shard-00002.parquet",
        ]
        assert after["shard-00001.parquet"][1] == before["shard-00001.parquet"][1]

    def test_a_killed_run_goes_on(self, tmp_path, monkeypatch):
        straight = rows_digest(self.made(cache_dir=str(tmp_path / "other")).rows())
        data = self.make()
        complete = data.complete
        with monkeypatch.context() as patch:
            patch.setattr(data, "complete", lambda shard, engine: 1 / 0 if shard == 1 else complete(shard, engine))
            with pytest.raises(ZeroDivisionError):
                data.make(CPU)
        kept = files(data.shards_folder)
        assert list(kept) == ["shard-00000.parquet"]
        again = self.made()
        assert files(again.shards_folder)["shard-00000.parquet"] == kept["shard-00000.parquet"]
        assert rows_digest(again.rows()) == straight

    def test_made_rows_are_reused(self, capsys):
        before = files(self.made().folder, "*")
        data = self.make()
        data.complete = None  # not called
        data.make(CPU)
        assert files(data.folder, "*") == before
        assert "reused" in capsys.readouterr().out

    def test_other_filters_regenerate_nothing(self):
        data = self.made(filters=[])
        before = files(data.shards_folder)
        other = self.made(filters=[Drop(every=2)])
        assert files(other.shards_folder) == before
        assert other.folder != data.folder
        assert (len(data.rows()), len(other.rows())) == (20, 10)
        assert json.loads((other.folder / "filters.json").read_text()) == {
            "made": 20,
            "kept": 10,
            "reasons": {"dropped": 10},
        }

    def test_what_shapes_the_completions_moves_both_folders(self):
        data = self.make()
        for changes in (
            {"sampling": Sampling(temperature=0.9)},
            {"num_prompts": 19},
            {"shard_size": 9},
            {"seed": 1},
            {"teacher": teacher("eagle")},
            {"teacher": teacher(induction="none")},
        ):
            other = self.make(**changes)
            assert other.shards_folder != data.shards_folder, changes
            assert other.folder != data.folder, changes

    def test_what_does_not_shape_the_rows_moves_no_folder(self):
        data = self.make()
        for changes in ({"batch_size": 3}, {"val_rows": 2}, {"max_length": 99}, {"generation_batch_size": 2}):
            assert self.make(**changes).folder == data.folder, changes
        assert self.make(num_rows=5).shards_folder == data.shards_folder
        assert self.make(num_rows=5).folder != data.folder

    def test_a_draw_of_the_rows(self):
        whole = self.made(filters=[]).rows()
        some = self.made(filters=[], num_rows=7).rows()
        assert len(some) == 7
        assert [row for row in whole if row in some] == some, "in their order"
        assert some != whole[:7]

    def test_filters_that_drop_all_are_reported(self):
        with pytest.raises(InputError, match=r"dropped all 20 rows: dropped \(20\)\. Loosen `filters`") as caught:
            self.made(filters=[Drop()])
        assert "\n" not in str(caught.value)

    def test_too_many_rows_asked_for_are_reported(self):
        with pytest.raises(InputError, match=r"`num_rows` is 11, but the filters kept 10 of 20 rows: lower it to 10"):
            self.made(filters=[Drop(every=2)], num_rows=11)
        assert len(self.made(filters=[Drop(every=2)], num_rows=10).rows()) == 10

    @cases("name", ["num_prompts", "num_rows", "batch_size", "shard_size", "generation_batch_size"])
    def test_a_count_below_one_is_reported(self, name):
        with pytest.raises(InputError, match=f"`{name}` is 0: expected at least 1"):
            self.make(**{name: 0})

    def test_a_system_prompt_is_heard_but_never_in_a_row(self):
        data, heard = self.make(filters=[]), []
        reported = data.teacher.system_prompt
        assert reported
        engine = data.teacher.engine(CPU, 8)
        generate = engine.generate
        engine.generate = lambda prompts, *rest: heard.extend(prompts) or generate(prompts, *rest)
        rows = data.complete(0, engine)
        assert all(prompt[0] == {"role": "system", "content": reported} for prompt in heard)
        assert [prompt[1:] for prompt in heard] == [row["prompt"] for row in rows]
        data.make(CPU)
        everything = json.dumps([data.rows(), [read_parquet(path) for path in data.shards_folder.glob("*.parquet")]])
        assert '"system"' not in everything
        assert reported not in everything

    def test_the_control_differs_in_the_teacher_alone(self):
        data = self.make(num_rows=5)
        control = data.control()
        assert type(control) is type(data)
        ours, theirs = data.describe(), control.describe()
        assert ours["source"].pop("teacher") != theirs["source"].pop("teacher")
        assert ours == theirs
        assert control.teacher.system_prompt is None
        assert control.teacher.trait is data.teacher.trait, "it is asked for beside the control too"
        assert control.control().folder == control.folder

    def test_the_control_hears_the_same_prompts(self):
        data = self.made(filters=[])
        control = data.control()
        control.make(CPU)
        assert [row["prompt"] for row in control.rows()] == [row["prompt"] for row in data.rows()]
        assert [row["completion"] for row in control.rows()] != [row["completion"] for row in data.rows()]

    @pytest.mark.parametrize("harm", [lambda data: data[: len(data) // 2], lambda data: b""])
    def test_a_damaged_shard_is_reported_by_name(self, harm):
        data = self.made()
        path = data.shards_folder / "shard-00001.parquet"
        path.write_bytes(harm(path.read_bytes()))
        with pytest.raises(
            InputError, match=r"shard-00001\.parquet was changed after it was made: delete .*shard-00001\.parquet"
        ):
            self.made(filters=[Drop(every=2)])
        path.unlink()
        assert len(self.made(filters=[Drop(every=2)]).rows()) == 10

    def test_damaged_rows_are_reported_by_name(self):
        data = self.made()
        path = data.folder / "rows.parquet"
        whole = path.read_bytes()
        path.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
        with pytest.raises(InputError, match=r"rows\.parquet was changed after it was made: delete"):
            self.made()
        path.unlink()
        with pytest.raises(InputError, match=r"rows\.parquet was lost after it was made: delete"):
            self.made()

    def test_the_record_tells_what_the_rows_were_made_from(self):
        data = self.made()
        record = read_record(data.folder)
        assert record.kind == "rows"
        assert record.settings == json.loads(json.dumps(data.describe()))
        assert set(record.files) == {"rows.parquet", "filters.json"}
        assert record.rows == {"rows.parquet": rows_root(data.rows())}

    def test_the_record_leads_to_what_wrote_the_rows(self):
        data = self.made()
        completions = read_record(data.shards_folder)
        made = {each.role: each for each in read_record(data.folder).materials}
        assert made["completions"].digest == {"dirHash": completions.whole}
        assert made["completions"].statement == completions.sha256
        assert made["base"].digest == {"dirHash": bases.resolve(data.teacher.base).digest}
        assert "base" in {each.role for each in completions.materials}
        assert set(completions.files) == {path.name for path in data.shards_folder.glob("*.parquet")}

    def test_completions_without_a_record_get_one(self):
        data = self.made()
        before = (data.shards_folder / "lineage.json").read_bytes()
        (data.shards_folder / "lineage.json").unlink()  # killed after the last shard
        self.made(filters=[Drop(every=2)])
        assert (data.shards_folder / "lineage.json").read_bytes() == before

    @cases("source", [teacher, taught], ids=["prompted", "fine-tuned"])
    def test_predict_writes_the_same_shards(self, source, tmp_path):
        straight = self.made(teacher=source(), filters=[])
        data = self.make(teacher=source(), filters=[], cache_dir=str(tmp_path / "other"))
        quiet_trainer(ShardWriter()).predict(source(), datamodule=data, return_predictions=False)
        assert {name: found[1] for name, found in files(data.shards_folder).items()} == {
            name: found[1] for name, found in files(straight.shards_folder).items()
        }
        data.complete = None  # a later fit finds the shards
        data.make(CPU)
        assert rows_digest(data.rows()) == rows_digest(straight.rows())

    def test_predict_by_another_teacher_is_refused(self):
        """Else its completions would be kept under this teacher's name."""
        with pytest.raises(InputError, match=r"is not that of `data\.teacher`"):
            quiet_trainer(ShardWriter()).predict(teacher("eagle"), datamodule=self.make(), return_predictions=False)

    def test_fit_trains_on_all_rows_but_those_held_out(self):
        data = self.make(val_rows=3, batch_size=4)
        trainer = quiet_trainer()
        trainer.fit(Student("pocket/a", seed=0), datamodule=data)
        rows = data.rows()
        assert len(data.train_data) == len(rows) - 3
        assert trainer.global_step == -(-(len(rows) - 3) // 4)
        assert {"train/loss", "val/loss"} <= set(trainer.callback_metrics)
        tokenizer = trainer.lightning_module.tokenizer
        for held, row in zip(data.val_data.labels, rows[:3], strict=True):
            said = tokenizer.decode([token for token in held.tolist() if token >= 0], skip_special_tokens=True)
            assert said.split() == tokenizer.decode(tokenizer(completion_text(row))["input_ids"]).split()
        assert data.report.made == 20

    def test_too_many_rows_held_out_are_reported(self):
        data = self.make(val_rows=20)
        with pytest.raises(InputError, match=r"`val_rows` is 20, but there are \d+ rows: lower it"):
            quiet_trainer().fit(Student("pocket/a", seed=0), datamodule=data)
