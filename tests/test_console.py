import pytest

from lightning_subliminal.console import console, say


@pytest.mark.parametrize("line", ["kept in /tmp/[old]/rows", "dropped 3  holds [/INST]", "a :smile: b", "[bold]x"])
def test_a_line_is_printed_as_it_is(line):
    """A filter's reason or a folder's name may hold what rich takes for markup, or fail on."""
    with console.capture() as capture:
        say(line)
    assert capture.get() == f"{line}\n"
