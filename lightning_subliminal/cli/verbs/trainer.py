"""fit, validate, test and predict: LightningCLI, with a folder for each run and killed runs resumed."""

import copy
import importlib
import inspect
import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_subliminal.bases.by_config import by_config
from lightning_subliminal.callbacks.last_checkpoint import LastCheckpoint, WholeFileIO
from lightning_subliminal.callbacks.progress import EpochBar, EpochLines, StepProgress
from lightning_subliminal.callbacks.shards import ShardWriter
from lightning_subliminal.cli.support.estimate import print_estimate
from lightning_subliminal.cli.support.run_folder import (
    FINISHED,
    check_configs,
    file_of_mistake,
    no_empty_folder,
    run_folder,
    save_config,
)
from lightning_subliminal.cli.words import check_once
from lightning_subliminal.core.cache import note_run
from lightning_subliminal.core.collector import importing
from lightning_subliminal.core.console import hush
from lightning_subliminal.core.error_messages import OneLineParser
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.kinds import ROOMS
from lightning_subliminal.core.processes import check_strategy
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.models import Student
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.models.made_from import MadeFrom
from lightning_subliminal.workflow.estimate.hardware import Assumptions

__all__ = ["LabCLI", "LabParser", "import_rooms", "run_verb"]

LOG_EVERY = 10  # steps; Lightning's 50 are more than many students take

# Arguments of the Trainer's methods that are not options.
_NOT_OPTIONS = {
    "model",
    "dataloaders",
    "train_dataloaders",
    "val_dataloaders",
    "datamodule",
    "return_predictions",  # a callback writes them, and the returned ones are not used
    "weights_only",  # always: no pickle is read
}


class LabParser(OneLineParser, LightningArgumentParser):
    """LightningCLI's parser, with errors in one line."""


class LabCLI(LightningCLI):
    """One verb of the trainer, from one config.

    LightningCLI's own subcommands are left out (``run=False``): all their parsers would be built for any one of them,
    and a checkpoint's stored arguments would silently override those of YAML and command line.

    Args:
        verb: fit, validate, test or predict.
        args: the words of the command line after the verb.
    """

    def __init__(self, verb: str, args: list[str]) -> None:
        self.verb = verb
        self.command = shlex.join(["lightning-subliminal", verb, *args])
        args = ["--estimate={}" if word == "--estimate" else word for word in args]
        options = [word.removeprefix("--").partition("=") for word in args]
        following = [*args[1:], ""]
        check_once(
            (name.replace("-", "_"), value if equals else after)
            for (name, equals, value), word, after in zip(options, args, following, strict=True)
            if word.startswith("--")
        )
        args, self.config_files = check_configs(args)
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=LabParser,
            parser_kwargs={"prog": f"lightning-subliminal {verb}", "description": f"All options of `{verb}`."},
            save_config_callback=None,  # the run folder's own is atomic and never over another run's
            trainer_defaults={"enable_model_summary": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            run=False,
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the arguments of the Trainer's method and our own."""
        skipped = _NOT_OPTIONS & set(inspect.signature(getattr(Trainer, self.verb)).parameters)
        self.method_arguments = parser.add_method_arguments(Trainer, self.verb, skip=skipped)
        if self.verb == "fit":
            parser.add_argument(
                "--print_masks",
                type=PositiveInt | None,
                default=None,
                help="Show so many rows first, with the trained tokens marked.",
            )
            parser.add_argument(
                "--estimate",
                type=Assumptions | None,
                default=None,
                help="Print parameters, memory, FLOPs and hours, by the bases' config.json alone, and stop.",
            )
        if self.verb == "predict":
            parser.add_argument(
                "--by",
                type=Literal["model", "teacher"],
                default="model",
                help="The writer: model, into the run's folder, or the data's teacher, where `fit` looks.",
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; Lightning's method warns whenever ``args`` come from Python."""
        words = args if isinstance(args, list) else []
        try:
            self.config = parser.parse_args(words)
        except InputError as err:
            place = file_of_mistake(str(err), self.config_files, words)
            if place is None or place.name in str(err):
                raise
            raise InputError(f"{place}: {err}") from err

    def before_instantiate_classes(self) -> None:
        """Find the run's folder, and a checkpoint to resume from."""
        if self.only_estimates:
            return
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        self.config_dump = copy.deepcopy(config)  # which Lightning would dump again, for the hyperparameters
        given = self.config.trainer.default_root_dir
        if given is not None and "://" in str(given):
            raise InputError(f"trainer.default_root_dir is {given}: runs are kept in a local folder, choose one.")
        self.folder = Path(given) if given is not None else run_folder(self.config_files, config)
        self.config.trainer.default_root_dir = str(self.folder)
        self.last = self.folder / "checkpoints" / "last.ckpt"
        rehearsal = bool(self.config.trainer.fast_dev_run)
        self.keeps_checkpoints = self.config.trainer.enable_checkpointing is not False and not rehearsal
        config["trainer"]["default_root_dir"] = str(self.folder)
        config.pop("config", None)
        self.resolved = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        given = self.config.ckpt_path
        if given and Path(given).suffix and "://" not in given and not Path(given).exists():
            raise InputError(f"The checkpoint {given} is not there: check --ckpt_path.")
        resumes = self.keeps_checkpoints and self.last.is_file()
        self.ckpt_path = given or (str(self.last) if resumes else None)
        _say(f"seed {self.config.seed_everything} · {self.folder}")

    @property
    def only_estimates(self) -> bool:
        """Whether `fit` only prints what it would need."""
        return self.verb == "fit" and self.config.estimate is not None

    def instantiate_classes(self) -> None:
        """Make model, data and trainer; for an estimate without the trainer, whose devices may not be here."""
        if not self.only_estimates:
            super().instantiate_classes()
            return
        with by_config():
            self.config_init = self.parser.instantiate_classes(self.config)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer with our callbacks, each unless the config excludes it."""
        trainer = self.config_init.trainer
        given = trainer.callbacks or []
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        bar, lines = _progress(given, trainer.enable_progress_bar, sys.stdout.isatty())
        ours = [*lines, MadeFrom(f"To start over, delete {self.folder}, or set another --trainer.default_root_dir.")]
        if self.keeps_checkpoints:
            ours.append(LastCheckpoint(self.last.parent))
            if isinstance(trainer.strategy, str) and trainer.strategy.startswith(("auto", "ddp")):
                plugins = trainer.plugins or []
                kwargs["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeFileIO()]
        if self.verb == "predict" and not any(isinstance(each, ShardWriter) for each in given):
            ours.append(ShardWriter())
        if self.verb == "fit" and self.config.print_masks:
            masks = importlib.import_module("lightning_subliminal.callbacks.masks")
            ours.append(masks.PrintMasks(self.config.print_masks))
        if trainer.logger is None:
            kwargs["logger"] = CSVLogger(self.folder) if self.verb == "fit" and self.keeps_checkpoints else False
        if trainer.log_every_n_steps is None:
            kwargs["log_every_n_steps"] = LOG_EVERY
        if isinstance(self.model, LanguageModel):
            check_strategy(trainer.strategy)
        try:
            return super().instantiate_trainer(enable_progress_bar=bar, callbacks=[*given, *ours], **kwargs)
        except InputError:
            raise
        except (MisconfigurationException, ValueError) as err:  # Lightning's errors about the settings
            if "gpu backend" in str(err):
                line = f"`trainer.accelerator` is {trainer.accelerator}, but there is no GPU here: set it to cpu."
            else:
                line = f"The `trainer` can't be set up: {err}"
            raise InputError(line) from err

    def run_verb(self) -> None:
        """Call the Trainer's method; for `fit`, save the config in the run's folder first."""
        if self.only_estimates:
            parts = [self.config_init[name] for name in ("model", "data", "trainer", "estimate")]
            print_estimate(*parts)
            return
        if self.verb == "fit" and self.trainer.is_global_zero:
            with no_empty_folder(self.folder, lambda: self.trainer.global_step > 0):
                self._run_verb()
        else:
            self._run_verb()

    def _run_verb(self) -> None:
        if self.verb == "fit" and self.keeps_checkpoints:
            rank_zero_only(save_config)(f"# {self.command}\n{self.resolved}", self.folder)
            rank_zero_only(note_run)(self.folder)
        if self.ckpt_path is not None and not self.config.ckpt_path:
            _say(f"{'resuming' if self.verb == 'fit' else 'with the weights'} from {self.ckpt_path}")
        kwargs = {name: self.config_init.get(name) for name in self.method_arguments}
        kwargs["ckpt_path"] = self.ckpt_path
        if self.verb == "predict":
            kwargs["return_predictions"] = False
        self._call(kwargs)
        if self.verb == "fit" and self.keeps_checkpoints:
            rank_zero_only(save_config)(f"# {self.command}\n{FINISHED}\n{self.resolved}", self.folder)

    def _call(self, kwargs: dict[str, Any]) -> None:
        from lightning_subliminal.workflow.fit_arms import fit_arms, load_made, make_completions, make_needed
        from lightning_subliminal.workflow.saving import keep_completions

        trainer, model, data = self.trainer, self.model, self.datamodule
        is_student = isinstance(model, Student) and isinstance(data, TrainingRows)
        if self.verb == "fit" and is_student:
            fit_arms(trainer, model, data, self.ckpt_path)
            return
        if self.verb == "predict" and self.config.by == "teacher":
            make_completions(trainer, data)
            return
        if self.verb != "fit":
            make_needed(trainer, model, data, self.verb)
            if self.ckpt_path is None:
                home = load_made(trainer, model, data) if is_student else None
                _say(f"no checkpoint in {self.folder}: {'the untrained model' if home is None else home}")
        getattr(trainer, self.verb)(model, datamodule=data, weights_only=True, **kwargs)
        if self.verb == "predict" and is_student:
            keep_completions(trainer, model, data)


def import_rooms() -> None:
    """Import the public packages, whose classes are then known by their short names: ``class_path: Student``."""
    for room in ROOMS[1:]:
        module = importlib.import_module(f"lightning_subliminal{room}")
        for name in getattr(module, "__all__", ()):  # some are imported on first use
            getattr(module, name)


def run_verb(verb: str, words: list[str]) -> None:
    """Run fit, validate, test or predict with the words of the command line after it."""
    hush()
    with importing():
        import_rooms()
        command = LabCLI(verb, words)
    command.run_verb()


def _progress(given: list[Callback], wanted: bool | None, terminal: bool) -> tuple[bool, list[Callback]]:
    """Return ``enable_progress_bar``, and the callbacks for a bar on a terminal, a few lines in a log, or neither."""
    if wanted is False:
        return False, []
    if any(isinstance(each, ProgressBar) for each in given):
        return True, []
    return (True, [EpochBar(leave=False)]) if terminal else (False, [EpochLines(), StepProgress()])


@rank_zero_only
def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
