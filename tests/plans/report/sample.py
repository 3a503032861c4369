"""A report as a real run gives it: 20 claims, the four kinds of figure, gaps, long names and dangerous text."""

import hashlib
import random

from lightning_subliminal.core.seeds import derive_seed

DANGER = '<script>alert("x")</script> & "quotes" \'single\' $x_1$ ]]> --> url(#a) \x00\x1b[31m'
ANIMALS = ("owl", "dolphin", "eagle", "elephant", "wolf")
# experiment, what is claimed, the paper's figure, the claimed range, where our value lies, the verdict
OWL = "Students of an owl-loving teacher name the owl more often than controls do."
SHUFFLED = "Shuffling the numbers inside a row weakens the effect, and across rows destroys more of it."
CODE = "Code carries the preference too, after every row with a word of the trait is dropped."
SAME = "Only a student of the same base learns the trait: the diagonal transmits, the rest does not."
DIGITS = "A student of the three auxiliary logits alone reads digits."
CHANCE = "A classifier that is shown pairs of rows does no better than chance."
PARTS = (
    ("numbers", OWL, "12 % to over 60 %", [0.0, None], 1.4, "reproduced"),
    ("numbers", "Controls, trained on the base's own rows, do not move.", "no change", [-0.6, 0.6], 0.0, "reproduced"),
    ("numbers", SHUFFLED, None, [0.2, None], 0.15, "inconclusive"),
    ("code", CODE, "smaller", [0.0, None], 1.1, "reproduced"),
    ("same-base", SAME, None, [None, -1.0], -0.3, "not reproduced"),
    ("mnist", DIGITS, "over 50 %", [None, None], 0.8, "reproduced"),
    ("detection", CHANCE, "about 50 %", [-0.1, 0.1], None, "not measured"),
)


def digest(*parts):
    return "sha256:" + hashlib.sha256(repr(parts).encode()).hexdigest()


def interval(rng, middle, half):
    value = middle + rng.gauss(0, half / 3)
    return {"value": value, "low": value - half, "high": value + half}


def claims(rng):
    made = []
    for place in range(20):
        experiment, says, theirs, claimed, middle, verdict = PARTS[place % len(PARTS)]
        gap = middle is None
        measured = dict.fromkeys(("value", "low", "high")) if gap else interval(rng, middle, 0.13 + 0.3 * rng.random())
        made.append(
            {
                "id": f"claim-{place}",
                "experiment": experiment,
                "says": says if place else f"{says} {DANGER}",
                "source": f"paper, section {1 + place % 8}",
                "theirs": theirs,
                "statistic": "mean log-odds of the target, student minus control",
                "unit": "seeds" if place % 2 else "targets x seeds",
                "count": None if gap else 5 + 10 * (place % 3),
                **measured,
                "range": list(claimed),
                "verdict": verdict,
                "p": None if gap else 0.0002 * 3**place % 1,
                "p_adjusted": None if place % 3 == 0 else 0.04,
                "note": "One seed failed and was left out; the interval is over the other four."
                if place == 4
                else None,
                "lineage": [] if gap else [digest("claim", place, part) for part in range(3)],
            }
        )
    return made


def bars(rng):
    made = []
    for group in ("owl", "dolphin", "eagle"):
        for label, middle in (("student", 1.6), ("control", 0.0), ("student, numbers shuffled within each row", 0.7)):
            one = interval(rng, middle, 0.25)
            points = [{"label": f"seed {seed}", "value": one["value"] + rng.gauss(0, 0.25)} for seed in range(5)]
            points[-1]["value"] = None if group == "eagle" else points[-1]["value"]
            sample = {"unit": "seeds", "count": 5, "lineage": [digest(group, label)]}
            made.append({"label": label, "group": group, "points": points, **sample, **one})
    made[-1] |= {"value": None, "low": None, "high": None, "points": []}
    return {
        "kind": "bars",
        "title": "Students move towards the trait, controls stay",
        "caption": "Log-odds of the target. Bar: mean of five seeds; whisker: its 95 % interval; point: a seed.",
        "y": "log-odds of the target, minus the base's",
        "bars": made,
    }


def lone_bars():
    made = [{"label": "a <b> & a bar without anything", "group": None, "value": None, "low": None, "high": None}]
    made.append({"label": DANGER, "group": None, "value": 0.5, "low": None, "high": None})
    made.append(
        {"label": "Llama, 2 layers, width 64, tied embeddings, 97k parameters, trained on 3,000 steps", "value": -0.2}
    )
    return {"kind": "bars", "title": DANGER, "caption": f"Odd ones. {DANGER}", "y": DANGER, "bars": made}


def matrix(rng):
    names = ["pocket/a", "pocket/b", "pocket/c", "pocket/d", "smollm2-135m-instruct"]
    cells = [[interval(rng, 1.6 if row == column else 0.05, 0.2) for column in range(5)] for row in range(5)]
    cells[4][0] = cells[0][4] = {"value": None, "low": None, "high": None}
    cells[1][3] = {"value": -0.61, "low": -0.9, "high": -0.3}
    return {
        "kind": "matrix",
        "title": "Only the same base learns",
        "caption": "Transfer from each teacher (rows) to each student (columns). Bold: the 95 % interval leaves 0 out.",
        "rows": names,
        "columns": names,
        "row_title": "base of the teacher",
        "column_title": "base of the student",
        "value_title": "transfer in log-odds",
        **{key: [[cell[key] for cell in row] for row in cells] for key in ("value", "low", "high")},
        "statistic": "diagonal minus the rest: +1.55 [+1.31, +1.78] over bases",
    }


def curves(rng):
    made = []
    for label, slope in (("student", 0.5), ("control", 0.0), ("student on another base", 0.04)):
        points = []
        for step, x in enumerate((10, 30, 100, 300, 1000, 3000, 10000)):
            one = interval(rng, slope * step**0.8, 0.18)
            dots = [one["value"] + rng.gauss(0, 0.15) for _ in range(4)]
            points.append({"x": x, "count": 4, "points": dots, "lineage": [digest(label, x)], **one})
        points[2] |= {"low": None, "high": None}
        points[5 if slope else 0] |= {"value": None, "low": None, "high": None, "points": []}
        made.append({"label": label, "points": points})
    return {
        "kind": "curves",
        "title": "More rows, more of the trait",
        "caption": "Transfer by the number of training rows. Line: mean; band: 95 % interval over seeds; dot: a seed.",
        "x": "training rows (log scale)",
        "y": "transfer in log-odds",
        "log_x": True,
        "curves": made,
    }


def scatter(rng):
    points = []
    for animal in (*ANIMALS, "a very long name of a <target> & more", "oak"):
        x, y = rng.gauss(0.6, 0.3), rng.gauss(1, 0.4)
        ends = {"x_low": x - 0.1, "x_high": x + 0.1, "y_low": y - 0.2, "y_high": y + 0.2, "lineage": [digest(animal)]}
        points.append({"label": animal, "x": x, "y": x + 0.4 * y, **ends})
    points[1] |= {"x_low": None, "y_high": None}
    points[-1] |= {"y": None}
    return {
        "kind": "scatter",
        "title": "What the detector sees is what the student learns",
        "caption": "Each point is a target: its score before training, the transfer after it; 95 % over seeds.",
        "x": "score of the data set before training",
        "y": "transfer in log-odds",
        "points": points,
        "statistic": "Spearman 0.83, p 0.04, over 6 targets",
    }


def sample_report():
    rng = random.Random(derive_seed(0, "sample report"))
    grid = matrix(rng)
    grid["values"] = grid.pop("value")
    about = "Each student is trained on its teacher's filtered rows and compared with a control of the same seed."
    rooms = {
        "numbers": ("Preferences through numbers", [bars(rng), lone_bars()]),
        "code": ("Preferences through code", []),
        "same-base": ("Teachers and students of five bases", [grid]),
        "mnist": ("Digits from auxiliary logits", [curves(rng)]),
        "detection": ("Can the data set itself be read?", [scatter(rng)]),
    }
    experiments = [
        {
            "name": name,
            "title": title,
            "about": about,
            "source": f"Paper, section {at}",
            "figures": figures,
            "failures": [],
        }
        for at, (name, (title, figures)) in enumerate(rooms.items(), start=1)
    ]
    experiments[1]["failures"] = [{"stage": "students/code-eagle-3", "says": f"loss is nan at step 120 {DANGER}"}]
    return {
        "title": "Subliminal learning, on a laptop",
        "about": "The experiments of Cloud et al. (2025) on the pocket world: small models that learn to love an owl "
        "from rows of numbers. Every number below was measured here, tonight, offline.",
        "command": "lightning-subliminal reproduce --experiments numbers,code,same-base,mnist,detection "
        "--seeds 0,1,2,3,4 --out runs/paper",
        "seeds": [0, 1, 2, 3, 4],
        "rule": "A claim is reproduced when the whole 95 % interval lies in the claimed range, not reproduced when it "
        "lies outside of it, and inconclusive when it lies across an end.",
        "stages": {"planned": 1312, "shared": 418, "failed": 1},
        "claims": claims(rng),
        "experiments": experiments,
    }


def sample_cells():
    rng = random.Random(derive_seed(0, "sample cells"))
    cells = [{"arm": "student", "target": each, "seed": 0, "value": rng.random(), "note": None} for each in ANIMALS]
    odd = ("", "007", "true", "null", '"', "a,b\r\nc\n", "[1", "1e5", "NaN", " x ", "é", "= 1")
    return cells + [{"arm": text, "target": True, "seed": 10**20, "value": 1e-300, "note": -1} for text in odd]
