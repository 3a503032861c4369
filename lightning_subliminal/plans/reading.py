"""A plan read from its YAML and checked before anything is run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_subliminal.analysis.claims import Claim, read_claim
from lightning_subliminal.analysis.figures import check_figure, figure_values
from lightning_subliminal.core.config.building import build, changed, known_name, read_yaml
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.bounds import MAX_ARMS
from lightning_subliminal.core.seeds import parse_seeds
from lightning_subliminal.evaluation import TraitProbe
from lightning_subliminal.plans.plan import ArmPlan, Axis, Experiment, Plan, as_list, say_left_out
from lightning_subliminal.workflow.trials import StudentTrial, Trial

__all__ = ["read_plan"]

_PLAN_KEYS = ("title", "about", "include", "seeds")
_KEYS = (
    *("title", "about", "source", "common", "change", "seeds", "axes", "arms", "trial", "figures", "claims"),
    "published",
)
_ARM_KEYS = ("change", "axes", "seeds", "common", "trial", "control", "taught_by", "seed_shift")


def read_plan(path: Path) -> Plan:
    """Read a plan: one experiment, or a YAML with ``include``: experiments in its folder, or shipped ones by name.

    Raises:
        InputError: naming the file and the key, if something is missing, unknown or can't be built.
    """
    config = read_yaml(path)
    if "include" not in config:
        one = _read_experiment(path, config)
        return Plan(path.stem, one.title, one.about, (one,))
    for key in config:
        known_name(key, _PLAN_KEYS, f"{path} takes no `{key}`")
    files = [find_config(str(name), folder=path.parent) for name in as_list(config["include"])]
    experiments = tuple(_read_experiment(file, read_yaml(file), config.get("seeds")) for file in files)
    if twice := _repeated([each.name for each in experiments]):
        raise InputError(f"{path}: `include` has {twice!r} twice: leave one out.")
    return Plan(path.stem, str(config.get("title", path.stem)), str(config.get("about", "")).strip(), experiments)


def _read_experiment(path: Path, config: Mapping[str, Any], seeds: Any = None) -> Experiment:
    config = {key: value for key, value in config.items() if not str(key).startswith("x-")}  # for anchors
    if {"model", "data"} <= set(config):
        raise InputError(f"{path} is a config of `fit`, not a plan: name it as `common` of a plan, or `fit` it.")
    for key in config:
        known_name(key, _KEYS, f"{path} takes no `{key}`")
    for key in ("title", "arms"):
        if not config.get(key):
            raise InputError(f"{path} lacks `{key}`: see configs/experiments/README.md.")
    try:
        common = changed(_common(config.get("common"), path), config.get("change") or {})
        axes = _axes(config.get("axes"))
        trial = _trial(config.get("trial"), None)
        named = _mapping(config["arms"], "arms")
        if len(named) > MAX_ARMS:
            raise InputError(f"`arms` has {len(named):,}: at most {MAX_ARMS:,}; make an axis of what differs.")
        arms = {str(name): _read_arm(str(name), each, common, axes, trial, path) for name, each in named.items()}
        for arm in arms.values():
            for key in ("control", "taught_by"):
                _check_chain(arm, arms, key)
        published = config.get("published", False)
        if not isinstance(published, bool):
            raise InputError(f"`published` is {published!r}: expected true where others made the claims, else false.")
        claims = tuple(read_claim(each, path.stem, arms, published) for each in as_list(config.get("claims") or []))
        figures = tuple(_mapping(each, "figures") for each in as_list(config.get("figures") or []))
        for each in figures:
            check_figure(each, list(arms))
        _check_values(claims, figures, arms)
        _check_places(claims, arms)
        chosen = parse_seeds(config.get("seeds", 0) if seeds is None else seeds)
    except InputError as err:
        raise InputError(f"{path}: {err}") from err
    about, source = " ".join(str(config.get("about", "")).split()), str(config.get("source", ""))
    return Experiment(path.stem, str(config["title"]), about, source, arms, chosen, figures, claims, str(path))


def _read_arm(
    name: str, fields: Any, common: dict[str, Any], axes: tuple[Axis, ...], trial: Trial | None, path: Path
) -> ArmPlan:
    fields = _mapping(fields or {}, f"arms.{name}")
    if not set(fields) & set(_ARM_KEYS):  # short form: only the changes
        fields = {"change": fields}
    for key in fields:
        known_name(key, _ARM_KEYS, f"arm {name!r} takes no `{key}`")
    start = _common(fields["common"], path) if "common" in fields else common
    own = {axis.name: axis for axis in (*axes, *_axes(fields.get("axes")))}
    config = changed(start, _mapping(fields.get("change") or {}, f"arms.{name}.change"))
    shift = fields.get("seed_shift", 0)
    if not isinstance(shift, int) or isinstance(shift, bool) or shift < 0:
        raise InputError(f"arm {name!r}: `seed_shift` is {shift!r}: expected a whole number of at least 0.")
    return ArmPlan(
        name,
        config,
        tuple(axis for axis in own.values() if axis.values),
        parse_seeds(fields["seeds"], f"arms.{name}.seeds") if "seeds" in fields else None,
        _with_evaluations(_trial(fields.get("trial"), trial), config),
        fields.get("control"),
        fields.get("taught_by"),
        shift,
    )


def _axes(fields: Any) -> tuple[Axis, ...]:
    """Read axes: ``name: {set: key or keys, to: values}``, or ``name: {to: {value: changes}}``; null leaves one out."""
    found = []
    for name, each in _mapping(fields or {}, "axes").items():
        if each is None:
            found.append(Axis(str(name), {}))
            continue
        each = _mapping(each, f"axes.{name}")
        for key in each:
            known_name(key, ("set", "to"), f"axis {name!r} takes no `{key}`")
        keys, to = [str(key) for key in as_list(each.get("set") or [])], each.get("to")
        if isinstance(to, list) and keys:
            to = {value: value for value in to}
        elif not isinstance(to, Mapping):
            raise InputError(f"axis {name!r}: expected `set`, a key or keys, and `to`, a list of values.")
        found.append(
            Axis(
                str(name),
                {
                    label: dict.fromkeys(keys, value) if keys else _mapping(value, f"axes.{name}")
                    for label, value in to.items()
                },
            )
        )
    return tuple(found)


def _common(value: Any, path: Path) -> dict[str, Any]:
    if isinstance(value, str):
        return read_yaml(find_config(value, folder=path.parent))
    return _mapping(value or {}, "common")


def _with_evaluations(trial: Trial | None, config: Mapping[str, Any]) -> Trial:
    """Return an arm's trial; where the plan names none, one with the evaluations of the config's TraitComparison."""
    found: list[Any] = []
    for each in as_list((config.get("trainer") or {}).get("callbacks") or []):
        if isinstance(each, Mapping) and str(each.get("class_path")).rpartition(".")[2] == "TraitComparison":
            found += (each.get("init_args") or {}).get("evaluations") or []
    asked = build(found, None, "trainer.callbacks.evaluations", list[TraitProbe])
    if trial is None:
        return StudentTrial(asked)
    known = {digest(each) for each in getattr(trial, "evaluations", None) or []}
    if left := [each.name for each in asked if digest(each) not in known]:
        say_left_out(f"evaluations of TraitComparison ({', '.join(left)}): the plan's `trial` lists the evaluations")
    return trial


def _trial(value: Any, default: Trial | None) -> Trial | None:
    if value is None:
        return default
    made: Trial = build(value if isinstance(value, Mapping) else {"class_path": str(value)}, None, "trial", Trial)
    return made


def _check_places(claims: Sequence[Claim], arms: Mapping[str, ArmPlan]) -> None:
    """Refuse claims with the same id, and values of axes that an arm does not have."""
    if twice := _repeated([claim.id for claim in claims]):
        raise InputError(f"two claims have the id {twice!r}: give each its own.")
    for claim in claims:
        less = [(claim.less.get("arm", claim.arm), claim.less.get("where", claim.where))] if claim.less else []
        for arm, where in [*((arm, claim.where) for arm in claim.of_arms), *less]:
            axes = {axis.name: axis.values for axis in arms[arm].axes}
            for axis, wanted in where.items():
                known_name(axis, axes, f"claim {claim.id!r}: arm {arm!r} has no axis `{axis}`")
                relation = wanted if isinstance(wanted, Mapping) else {"in": wanted}
                for value in as_list(relation.get("in", [])):
                    known_name(value, axes[axis], f"claim {claim.id!r}: axis `{axis}` has no `{value}`")
                for key in {"same_as", "other_than"} & set(relation):
                    named = relation[key]
                    known_name(named, axes, f"claim {claim.id!r}: `{key}` names an unknown axis `{named}`")


def _check_values(claims: Sequence[Claim], figures: Sequence[Mapping[str, Any]], arms: Mapping[str, ArmPlan]) -> None:
    """Refuse the name of a number that no trial measures."""
    measured = [arm.trial.names() for arm in arms.values()]
    if None in measured:  # a trial of the user's own, which need not list its numbers
        return
    known = list(dict.fromkeys(name for names in measured for name in names or ()))
    for claim in claims:
        for value in (claim.value, (claim.less or {}).get("value", claim.value), claim.beside or claim.value):
            known_name(value, known, f"claim {claim.id!r}: no trial measures `{value}`")
    for figure in figures:
        for value in figure_values(figure):
            known_name(value, known, f"figure {figure.get('title')!r}: no trial measures `{value}`")


def _check_chain(arm: ArmPlan, arms: Mapping[str, ArmPlan], key: str) -> None:
    """Refuse an unknown arm as control or teacher, and an arm that is its own, directly or through others."""
    seen = [arm.name]
    while (named := getattr(arms[seen[-1]], key)) is not None:
        known_name(named, arms, f"arm {seen[-1]!r}: `{key}` names an unknown arm {named!r}")
        if named in seen:
            circle = " -> ".join([*seen, named])
            raise InputError(f"arm {arm.name!r}: `{key}` forms a circle ({circle}): name an arm outside it.")
        seen.append(named)


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"`{name}` is {value!r}: expected a mapping.")
    return dict(value)
