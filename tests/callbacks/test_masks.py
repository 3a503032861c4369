import re

from small import number_rows, pocket_tokenizer, quiet_trainer, tokenized
from toy import Toy, ToyData

from lightning_subliminal import PrintMasks, Steering, Student
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.console import console
from lightning_subliminal.data.tokenized import row_loader


def printed(trainer, *args, **kwargs):
    with console.capture() as capture:
        trainer.fit(*args, **kwargs)
    return " ".join(capture.get().split())


def test_it_shows_the_first_rows_and_how_much_of_them_is_trained_on(monkeypatch):
    monkeypatch.setattr(console, "width", 400)
    reported = printed(
        quiet_trainer(PrintMasks(2)), Student("pocket/a", Steering(), seed=0), row_loader(tokenized(4), 4, 0)
    )
    assert ">" in reported  # a log has no colors: trained tokens stand between these
    reported = re.sub(r">(\S+)<", r"\1", reported)
    for row in number_rows(2):
        prompt, completion = row_ids(pocket_tokenizer(), row)
        words = " ".join(pocket_tokenizer().decode([token]) for token in prompt + completion)
        assert words in reported
        assert f"{len(completion)} of {len(prompt) + len(completion)} tokens are trained on" in reported
    assert "row 1" in reported
    assert "row 2" not in reported


def test_trained_tokens_alone_are_marked(monkeypatch):
    drawn = []
    monkeypatch.setattr("lightning_subliminal.callbacks.masks.say", drawn.append)
    trainer = quiet_trainer(PrintMasks(1))
    trainer.fit(Student("pocket/a", Steering(), seed=0), row_loader(tokenized(1), 1, 0))
    text = drawn[1]
    marked = "".join(text.plain[span.start : span.end] for span in text.spans if "reverse" in str(span.style))
    completion = row_ids(pocket_tokenizer(), number_rows(1)[0])[1]
    assert marked == "".join(pocket_tokenizer().decode([token]) for token in completion)


def test_data_without_tokens_has_no_mask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no token rows" in printed(quiet_trainer(PrintMasks()), Toy(), datamodule=ToyData())
