"""Help of every verb and command: one screen, examples first, and only options that exist."""

import re
import shlex

import pytest
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.table import MODULES, TRAINER_VERBS, commands, entry_of
from lightning_subliminal.cli.verb import Group
from lightning_subliminal.cli.words import parameter_of, spell

COMMANDS = commands()
GROUPS = {verb: entry for verb in MODULES if verb not in TRAINER_VERBS and isinstance(entry := entry_of(verb), Group)}
PAGES = ["", *TRAINER_VERBS, *GROUPS, *COMMANDS]


def shown(capsys, *words):
    main(list(words))
    return capsys.readouterr().out


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_walk_is_whole():
    assert len(PAGES) == len(set(PAGES)) == 1 + 21 + 26  # the overview, verbs, commands of verbs


@cases("name", PAGES)
@cases("word", ["--help", "-h"])
def test_a_page_is_one_screen_with_examples_first(name, word, capsys):
    lines = shown(capsys, *name.split(), word).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith(f"{name or 'lightning-subliminal'}: ")
    examples = lines.index("examples:")
    usage = next(place for place, line in enumerate(lines) if line.startswith("usage:"))
    assert examples < usage
    assert lines[examples + 1].startswith("  lightning-subliminal ")
    assert not any(line.startswith("  ") for line in lines[:examples])
    assert lines[-1].endswith(f"lightning-subliminal {name} --help=all".replace("  ", " "))


WORDLESS = [name for name in PAGES if name and " " not in name and not getattr(GROUPS.get(name), "default", "")]


@cases("name", WORDLESS)
def test_a_verb_without_its_words_is_no_success(name, capsys):
    page = shown(capsys, name, "--help")
    with pytest.raises(SystemExit) as stop:
        main([name])
    assert stop.value.code == 2
    reported = capsys.readouterr()
    assert reported.out == ""
    help_, _, line = reported.err.rstrip().rpartition("\n")
    assert help_.strip() == page.strip()
    assert line.startswith("error: ")
    assert f"expected `{name} " in line


@cases("name", COMMANDS)
def test_all_options_are_behind_one_word(name, capsys):
    text = shown(capsys, *name.split(), "--help=all")
    assert "\\u0" not in text  # how a control character is printed
    for key in COMMANDS[name].takes:
        assert f"--{key} " in text or f"--{key}+" in text or f"--{key}=" in text, key


@cases("name", GROUPS)
def test_all_options_of_all_commands(name, capsys):
    text = shown(capsys, name, "--help=all")
    assert all(f"All options of `{name} {key}`." in text for key in GROUPS[name].commands)


@cases("name", COMMANDS)
def test_each_option_of_a_page_exists_and_is_described(name):
    verb = COMMANDS[name]
    page = verb.help(name)
    for entry in (*verb.words, *verb.options):
        label = entry.partition(": ")[0]
        assert re.search(rf"^  {re.escape(label)} +\w", page, re.MULTILINE), label
    assert len(verb.words) <= len(verb.takes)
    for option in verb.options:
        assert parameter_of(verb.takes, option) in (*verb.takes, "config"), option


def test_each_example_is_spelled_right():
    seen = set()
    for entry in (*GROUPS.values(), *COMMANDS.values()):
        for example in entry.examples:
            name, *words = shlex.split(re.split(r" [|<]", example)[0], comments=True)
            if name in TRAINER_VERBS:
                continue
            verb = entry_of(name)
            if isinstance(verb, Group):
                name, verb, words = verb.choose(name, words)
            spell(verb.takes, len(verb.words), words, verb.usage(name), {})
            seen.add(name)
    assert seen == set(COMMANDS)


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert refused(capsys, "fitt") == "error: unknown command 'fitt': did you mean 'fit'?"
    line = refused(capsys, "xyzzy")
    assert line.startswith("error: unknown command 'xyzzy': expected one of fit, validate, test, predict, run, ")
    for name, group in GROUPS.items():
        for key in group.commands:
            wrong = f"{name} {key[:-1]}{key[-1]}x"
            line = refused(capsys, *wrong.split())
            assert line == f"error: unknown command {wrong!r}: did you mean '{name} {key}'?"


@cases("name", COMMANDS)
def test_an_unknown_option_is_answered_with_the_nearest(name, capsys):
    options = list(COMMANDS[name].takes)[len(COMMANDS[name].words) :]
    words = name.split()
    if options:
        option = f"--{options[0].strip('_').replace('_', '-')}"
        assert refused(capsys, *words, f"{option}x", "1") == (
            f"error: unknown option '{option}x': did you mean '{option}'?"
        )
    assert refused(capsys, *words, "--qqqq").startswith("error: unknown option '--qqqq': ")


@cases("verb", TRAINER_VERBS)
def test_an_unknown_option_of_the_trainer(verb, capsys):
    words = (verb, "--config", "owl_numbers", "--seed_every", "3")
    assert refused(capsys, *words) == "error: unknown option '--seed_every': did you mean '--seed_everything'?"


@cases("name", GROUPS)
def test_a_group_without_a_command(name, capsys):
    group = GROUPS[name]
    if group.default:
        assert group.choose(name, ["--all"])[0] == f"{name} {group.default}"
    else:
        assert refused(capsys, name, "--rows", "3") == (
            f"error: the command is missing: expected `{name} {'|'.join(group.commands)} ...`."
        )
