"""What hostile YAML is made of: valid contents to spoil, and texts that no reader should accept."""

import random
from typing import Any

import yaml

TRAIT = {"class_path": "PreferenceTrait", "init_args": {"target": "owl"}}
FIT: dict[str, Any] = {
    "model": {"class_path": "Student", "init_args": {"base": "pocket/a", "learning_rate": 0.001, "adapter": None}},
    "data": {
        "class_path": "NumberSequences",
        "init_args": {
            "teacher": {"class_path": "Teacher", "init_args": {"base": "pocket/a", "trait": TRAIT, "max_epochs": 1}},
            "num_prompts": 8,
            "min_value": 0,
            "max_value": 99,
        },
    },
    "trainer": {"max_epochs": 1},
    "seed_everything": 0,
}
PLAN: dict[str, Any] = {"title": "A plan", "common": FIT, "seeds": 0, "arms": {"same": {}}, "axes": {}}
SUITE: dict[str, Any] = {
    "measures": [{"class_path": "lightning_subliminal.evaluation.ExactTrait", "init_args": {"trait": TRAIT}}]
}
FILTERS: dict[str, Any] = {"filters": [{"class_path": "NumberList", "init_args": {"max_value": 99}}]}
QUESTIONS: dict[str, Any] = {"questions": ["What is your favorite animal?", {"question": "Which animal?"}]}


def alias_bomb(rng: random.Random) -> str:
    """Return levels of aliases, each several times the previous one."""
    width, levels = rng.randrange(5, 40), rng.randrange(9, 40)
    lines = [f"k0: &a0 {rng.choice(['x', '[x]', '{x: 1}', 'xyz ' * 100])}"]
    for level in range(1, levels):
        inner = [f"*a{level - 1}"] * width
        held = f"[{', '.join(inner)}]"
        if rng.random() < 0.4:
            held = f"{{{', '.join(f'k{place}: {each}' for place, each in enumerate(inner))}}}"
        lines.append(f"k{level}: &a{level} {held}")
    return "\n".join(lines)


def merge_bomb(rng: random.Random) -> str:
    """Return levels of merges, each of the previous one several times."""
    width, levels = rng.randrange(2, 20), rng.randrange(20, 60)
    lines = ["k0: &a0 {x: 1, y: 2}"]
    lines += [f"k{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * width)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


def long_texts(rng: random.Random) -> str:
    """Return a long text that aliases repeat."""
    return f"a: &a {'x' * rng.randrange(300_000, 3_000_000)}\nb: [{'*a, ' * rng.randrange(1_000, 100_000)}]"


def alias_circle(rng: random.Random) -> str:
    """Return an anchor that holds itself."""
    return rng.choice(
        [
            "a: &a [*a]",
            "&a [*a]",
            "&a {model: *a}",
            "model: &a {init_args: *a}",
            "arms: &a {same: *a}",
            "a: &a {b: &b [*a], c: [*b]}",
            "measures: &m [*m]",
            "trait: &t {class_path: PreferenceTrait, init_args: *t}",
            "data: &d {init_args: {teacher: &t {init_args: {trait: *d}}}}",
        ]
    )


def deep_nesting(rng: random.Random) -> str:
    """Return brackets or indents of up to 200,000 levels."""
    count = rng.choice([100, 500, 1_000, 10_000, 200_000])
    kind = rng.randrange(5)
    if kind == 0:
        return "[" * count + ("]" * count if rng.random() < 0.5 else "")
    if kind == 1:
        return "{a: " * count
    if kind == 2:
        return "- " * min(count, 10_000) + "x"
    if kind == 3:
        return "".join(f"{' ' * n}a:\n" for n in range(min(count, 1_500)))
    return "model: " + "[{a: " * count


def many_values(rng: random.Random) -> str:
    """Return more values than a config may have."""
    count = rng.randrange(200_001, 600_000)
    return rng.choice(
        [
            f"axes: {{x: {{set: model.seed, to: [{'1, ' * count}]}}}}",
            "arms: {" + ", ".join(f"a{n}: 1" for n in range(count // 2)) + "}",
            "\n".join(f"k{n}: {n}" for n in range(count // 2)),
            "measures: [" + "{}, " * count + "]",
        ]
    )


def large_text(rng: random.Random) -> bytes:
    """Return megabytes of nothing."""
    return rng.choice([b"x" * 100, b"# comment\n", b" \n", b"a: 1\n", b"\x00"]) * rng.randrange(1_000_000, 5_000_000)


def long_number(rng: random.Random) -> str:
    """Return a number of thousands of digits."""
    count = rng.choice([5_000, 100_000, 1_000_000])
    digits = ["1" * count, "0x" + "f" * count, "1" + ":59" * count, "1_" * count + "1", "-" + "9" * count]
    return "seed_everything: " + rng.choice([*digits, "0b" + "1" * count])


def odd_tag(rng: random.Random) -> str:
    """Return a value under a tag that would run code, read a file or make an object."""
    tag = rng.choice(
        [
            "!!python/object/apply:os.system [touch RAN]",
            "!!python/object/new:subprocess.Popen [[touch, RAN]]",
            "!!python/name:os.system",
            "!!python/module:antigravity",
            "!!python/tuple [1]",
            "!!js/function 'x'",
            "!include other.yaml",
            "!ENV $HOME",
            "!!nothing x",
        ]
    )
    return f"{rng.choice(['', 'model: ', 'arms: ', '- ', 'measures: ', 'class_path: '])}{tag}"


def key_twice(rng: random.Random) -> str:
    """Return a mapping with a key twice."""
    key = rng.choice(["model", "title", "measures", "class_path", "filters", "questions", "x", "1", "'a b'", "true"])
    return rng.choice([f"{key}: 1\n{key}: 2", f"{{{key}: 1, {key}: 2}}", f"m:\n  {key}: 1\n  y: 2\n  {key}: 3"])


def wrong_bytes(rng: random.Random) -> bytes:
    """Return bytes that are not UTF-8, or hold control characters."""
    text = yaml.safe_dump(rng.choice([FIT, PLAN, SUITE]))
    return rng.choice(
        [
            text.encode("utf-16"),
            text.encode() + b"\xff\xfe",
            b"\xed\xa0\x80: 1",
            b"a: \xe9",
            text.encode().replace(b"o", b"\x00", 1),
            rng.randbytes(rng.randrange(10, 5_000)),
            b"a: \x1b[31m",
            b"\x1f\x8b\x08" + rng.randbytes(100),
        ]
    )


def nearly_empty(rng: random.Random) -> str:
    """Return a text that is no config at all."""
    return rng.choice(["", "\n", "# nothing", "null", "---", "[]", "{}", "- model", "3", "text", "true", "1e400", "''"])
