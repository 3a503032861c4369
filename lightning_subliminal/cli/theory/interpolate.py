"""Models on straight lines from base to student and teacher and beyond, and averaged students.

Teacher, rows and students come from the cache, made by the stages that `run` uses; here they are interpolated and
evaluated. Students of different seeds share a teacher and differ in prompts, sampling, order and the adapter's start.
"""

import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.cli.theory.interpolation_results import (
    Interpolation,
    Merge,
    Point,
    csv_table,
    draw_interpolation,
    merge_table,
    point_table,
)
from lightning_subliminal.cli.theory.model_space import Answers, ModelSpace
from lightning_subliminal.cli.theory.saved import save_results
from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.console import hush, progress, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.metrics.functional import mean_interval, question_interval
from lightning_subliminal.models import Steering, Student, Teacher
from lightning_subliminal.plans.from_config import config_device, make_stages, read_setting
from lightning_subliminal.theory.alignment import alignment
from lightning_subliminal.theory.interpolation import State, between, displacement, mean_of
from lightning_subliminal.workflow.stages import RowsStage, StudentStage, source_stages, stage_materials
from lightning_subliminal.workflow.trials.base import Setting

__all__ = ["interpolate"]

HELD_OUT = 256  # prompts for the rows of the loss
MAX_SUBSETS = 20  # sets of one size; if there are more, so many are drawn
BEYOND_STUDENT, BEYOND_TEACHER, ACROSS = (-1.0, 3.0), (-1.0, 2.0), (0.0, 1.5)


def interpolate(config: Path, students: int = 3, points: int = 13, out: Path | None = None) -> Interpolation:
    """Measure lines between a config's base, teacher, students and controls, and their merges; save tables and picture.

    Models that the cache lacks are made first. All are held in memory: 2 * ``students`` + 2, as steering vectors if
    only those are trained, else as all weights. The arguments are those of the command (``theory.interpolate``); seeds
    count up from the config's, and the ends of each line are added to its points.

    Raises:
        InputError: if the config has no student of a fine-tuned teacher, or a number is too small.
    """
    if students < 1:
        raise InputError(f"`students` is {students}: expected at least 1.")
    if points < 2:
        raise InputError(f"`points` is {points}: expected at least 2.")
    hush()
    setting, teacher = _read(config)
    data: Any = setting.data
    device = config_device(config)
    held = data.fresh(
        seed=derive_seed(resolve_seed(data.seed), "held out") % 2**31,
        num_prompts=min(HELD_OUT, data.num_prompts),
        num_rows=None,
        val_rows=0,
    )
    arms: dict[str, list[StudentStage]] = {"student": [], "control": []}
    for number in range(students):
        for name, each in zip(arms, _pair(setting, number), strict=True):
            arms[name].append(each.student())
    trained = [stage for stages in arms.values() for stage in stages]
    folder = out or Path("runs") / f"{config.stem}-interpolation-{digest([[e.key for e in trained], points])[:8]}"
    writable_folder(cache_root(data.cache_dir))
    writable_folder(folder, keep=False)
    space, home = _spaces(setting, teacher, device)  # checks before any training that the trait can be measured
    make_stages([*source_stages(teacher), *trained, RowsStage(held)], device)
    seen = {_prompt(row) for stage in trained for row in stage.data.rows()}
    rows = [row for row in held.rows() if _prompt(row) not in seen]
    tokens = {each: each.hold_out(rows, data.max_length) for each in (space, home)}[space]
    say(f"held out  {len(rows)} rows of the teacher, {tokens} tokens, whose prompts no student saw")

    states = {name: [space.of(stage.load(device)) for stage in stages] for name, stages in arms.items()}
    taught = home.of(teacher.ready(device))
    teacher.release()
    lines = _lines(space, home, states, taught, points)
    sets = {(arm, len(each[0])): each for arm, each in _subsets(states)}
    found, merged = [], []
    with progress() as bar:
        task = bar.add_task("measuring", total=len(lines) + len(sets))
        for line in lines:
            found += _line(*line)
            bar.advance(task)
        direction = displacement(home.base, taught) if home is space else None
        for (arm, _), chosen in sets.items():
            merged.append(_merge(arm, space, chosen, direction))
            bar.advance(task)
    trait: Any = data.trait
    result = Interpolation(
        config=str(config),
        trait=trait.name,
        target=trait.target,
        students=students,
        space=space.kind,
        held_out=len(rows),
        points=tuple(found),
        merges=tuple(merged),
        made_from=tuple(stage.key for stage in trained),
        folder=str(folder),
    )
    say(point_table(result))
    say(merge_table(result))
    save_results(
        folder,
        "interpolation",
        result.as_json(),
        ("interpolation.csv", *csv_table(result)),
        ("interpolation.png", lambda path: draw_interpolation(result, path)),
        {"points": points, "students": students, "trait": describe(trait)},
        stage_materials([*source_stages(teacher), *trained, RowsStage(held)]),
    )
    return result


def _read(config: Path) -> tuple[Setting, Teacher]:
    """Return the setting of a config of `fit`, and its teacher.

    Raises:
        InputError: if there is no student, or no line to its teacher.
    """
    setting = read_setting(config)
    try:
        setting.student()
    except InputError as err:
        raise InputError(f"{config}: {err}") from err
    teacher = getattr(setting.data, "teacher", None)
    if not isinstance(setting.data, GeneratedRows) or not isinstance(teacher, Teacher):
        raise InputError(f"{config}: interpolation needs rows that a Teacher writes, such as NumberSequences.")
    if teacher.induction == "prompt":
        raise InputError(
            f"{config}: a prompted teacher has the base's weights, so no line leads to it: set its "
            "`induction: finetune`."
        )
    if teacher.induction == "none":
        raise InputError(f"{config}: the teacher has no trait: use the config with it, whose control is made too.")
    return setting, teacher


def _pair(setting: Setting, number: int) -> tuple[Setting, Setting]:
    """Return the settings of a student and its control with seeds raised by ``number``; the teacher stays the same."""
    model: Any = setting.model
    data: Any = setting.data
    student = replace(
        setting,
        model=model.fresh(seed=resolve_seed(model.seed) + number),
        data=data.fresh(seed=resolve_seed(data.seed) + number),
    )
    control: Any = student.control()  # generated rows always have one
    return student, control


def _spaces(setting: Setting, teacher: Teacher, device: torch.device) -> tuple[ModelSpace, ModelSpace]:
    """Return the spaces of the students and of the teacher, one space if both have one base."""
    student: Any = setting.model

    def space(*models: Student | Teacher) -> ModelSpace:
        vectors = all(type(each.adapter) is Steering for each in models)
        trait: Any = teacher.trait
        return ModelSpace(models[0].base, models[0].base_dtype, "vectors" if vectors else "weights", trait, device)

    same = bases.resolve(student.base).digest == bases.resolve(teacher.base).digest
    if same and student.base_dtype == teacher.base_dtype:
        shared = space(student, teacher)
        return shared, shared
    say(f"The teacher's base is {teacher.base}, the student's {student.base}: no line leads from one to the other.")
    return space(student), space(teacher)


Line = tuple[str, ModelSpace, list[tuple[State, State]], list[float]]


def _lines(
    space: ModelSpace, home: ModelSpace, states: dict[str, list[State]], taught: State, points: int
) -> list[Line]:
    """Return all lines: name, space, the two ends of each of several parallel lines, and the points on them."""
    lines: list[Line] = [
        (f"base to {arm}", space, [(space.base, state) for state in each], _grid(*BEYOND_STUDENT, points))
        for arm, each in states.items()
    ]
    lines.append(("base to teacher", home, [(home.base, taught)], _grid(*BEYOND_TEACHER, points)))
    if home is space:
        lines += [
            (f"{arm} to teacher", space, [(state, taught) for state in each], _grid(*ACROSS, points))
            for arm, each in states.items()
        ]
    return lines


def _grid(low: float, high: float, points: int) -> list[float]:
    """Return evenly spaced points, and both ends of the line, where models were trained."""
    even = {round(low + (high - low) * number / (points - 1), 6) for number in range(points)}
    return sorted(even | {0.0, 1.0})


def _line(name: str, space: ModelSpace, ends: list[tuple[State, State]], grid: list[float]) -> list[Point]:
    """Return the answers of the models along parallel lines."""
    points = []
    for t in grid:
        # the end that all lines share, such as the base, is one model, so there is no spread over students
        shared = t in (0.0, 1.0) and len({id(pair[int(t)]) for pair in ends}) == 1
        answers = [space.ask(between(start, end, t)) for start, end in (ends[:1] if shared else ends)]
        rates = torch.stack([each.chances.mean() for each in answers])
        several = len(answers) > 1
        over_questions = question_interval(answers[0].chances, answers[0].scores.stems)
        interval = (mean_interval(rates, "students") if several else over_questions).within(0.0, 1.0)
        points.append(
            Point(
                line=name,
                t=t,
                models=len(answers),
                rate=rates.mean().item(),
                low=interval.low,
                high=interval.high,
                unit=interval.unit,
                log_odds=_mean([each.odds.mean().item() for each in answers]),
                no_candidate=_mean([each.scores.no_candidate for each in answers]),
                loss=_mean([each.loss for each in answers]),
            )
        )
    return points


def _subsets(states: dict[str, list[State]]) -> list[tuple[str, list[list[State]]]]:
    """Return the sets to merge: all of each size of one arm, or a draw of them, and each student with its control."""
    found: list[tuple[str, list[list[State]]]] = []
    for arm, each in states.items():
        for size in range(1, len(each) + 1):
            chosen: list[tuple[int, ...]]
            if math.comb(len(each), size) <= MAX_SUBSETS:
                chosen = list(itertools.combinations(range(len(each)), size))
            else:
                rng = random.Random(derive_seed(0, "subsets", size))  # the same ones in both arms
                chosen = [tuple(sorted(rng.sample(range(len(each)), size))) for _ in range(MAX_SUBSETS)]
            found.append((arm, [[each[place] for place in places] for places in chosen]))
    pairs = [list(pair) for pair in zip(*states.values(), strict=True)]
    return [*found, ("student + control", pairs)]


def _merge(arm: str, space: ModelSpace, sets: list[list[State]], direction: State | None) -> Merge:
    """Return the answers of the mean of each set of models, and of its models one by one."""
    single: dict[int, Answers] = {}  # by identity: sets share their models
    for state in itertools.chain(*sets):
        if id(state) not in single:
            single[id(state)] = space.ask(state)
    means = [mean_of(each) for each in sets]
    merged = [space.ask(each) for each in means]
    chances = torch.stack([each.chances for each in merged]).mean(0)  # (questions,)
    alone = torch.stack([torch.stack([single[id(s)].odds for s in each]).mean(0) for each in sets]).mean(0)
    odds = torch.stack([each.odds for each in merged]).mean(0)
    stems = merged[0].scores.stems if len({each.scores.stems for each in merged}) == 1 else ()
    rate, gain = question_interval(chances, stems).within(0.0, 1.0), question_interval(odds - alone, stems)
    aligned = [alignment(displacement(space.base, each), direction) for each in means] if direction is not None else []
    return Merge(
        arm=arm,
        size=len(sets[0]),
        subsets=len(sets),
        rate=chances.mean().item(),
        low=rate.low,
        high=rate.high,
        log_odds=odds.mean().item(),
        single=alone.mean().item(),
        gain=(odds - alone).mean().item(),
        gain_low=gain.low,
        gain_high=gain.high,
        unit=rate.unit,
        no_candidate=_mean([each.scores.no_candidate for each in merged]),
        loss=_mean([each.loss for each in merged]),
        length=_mean([(each.student_norm / each.teacher_norm).item() for each in aligned]),
        cosine=_mean([each.cosine.item() for each in aligned]),
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _prompt(row: Any) -> str:
    return json.dumps([[message["role"], message["content"]] for message in row["prompt"]])
