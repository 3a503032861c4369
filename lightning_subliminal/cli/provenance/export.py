"""export: write a trained model as a whole model that other tools open, or as an adapter alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_subliminal.cli.verb import Verb
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.evaluation import ModelRef

__all__ = ["VERB", "export"]


def export(run: str, out: Path, merge: bool = True, push: str | None = None) -> None:
    """Write a run's student, adapter merged in, as a whole model that `from_pretrained` opens.

    Args:
        run: a run's folder, its student/, any model folder, or a base's name.
        out: a new folder for weights, tokenizer, generation_config.json, README.md, and lineage.json, which `audit OUT`
            follows.
        merge: merge the adapter into the weights, or write it apart.
        push: also upload OUT to this repository of the Hugging Face hub (needs a token).

    Raises:
        InputError: if the model does not exist, or can't be merged, written or uploaded.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty: choose a new folder.")
    import torch

    from lightning_subliminal.bases.registry import is_on_hub
    from lightning_subliminal.bases.save import save_net
    from lightning_subliminal.core.console import hush, say
    from lightning_subliminal.evaluation import find_model
    from lightning_subliminal.lineage import write_record
    from lightning_subliminal.workflow.saving import find_origin, model_card

    hush()
    if push is not None:
        _check_push(push)
    subject = find_model(run)
    origin = find_origin(subject)
    subject.load(torch.device("cpu"))
    try:
        if merge:
            net, kind = merged(subject), "whole"
            save_net(net, out)
            what = f"{type(net).__name__}, whole weights and tokenizer; from_pretrained({str(out)!r}) opens it"
        else:
            kind = _apart(subject, out)
            what = "the adapter and its tokenizer; README.md shows how to load it"
        subject.tokenizer.save_pretrained(out)
        warning = f"{origin.warning} `lightning-subliminal audit {out}` follows its lineage."
        card = model_card(origin.base, kind, push or str(out), subject.tokenizer, warning if origin.warning else "")
        (out / "README.md").write_text(card, encoding="utf-8")
        write_record(out, "model", {"exported": kind}, origin.materials)
    except OSError as err:
        raise InputError(f"{out} can't be written ({err}): choose another folder.") from err
    say(f"exported  {run} to {out}: {what}")
    if push is not None:
        if not merge and not is_on_hub(subject.base):
            say(f"note      the base {subject.base} is not on the hub: without --no-merge a whole model is uploaded")
        _push(out, push)
        say(f"pushed    to https://huggingface.co/{push}")


def _apart(subject: "ModelRef", out: Path) -> Literal["peft", "own"]:
    """Write a model's adapter under current file names; return its kind, as ``model_card`` takes it.

    Raises:
        InputError: if it is a whole model.
    """
    from lightning_subliminal.bases.registry import peft_base
    from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES, adapter_files
    from lightning_subliminal.models.adapters.files import read_adapter, write_adapter

    if subject.folder is None:
        raise InputError(f"{subject.name} is a whole model, without an adapter: leave out `--no-merge`.")
    state, config = read_adapter(subject.folder)
    by_peft = adapter_files(subject.folder) == PEFT_FILES and config.get("peft_type") != "STEERING"
    named = peft_base(subject.base) if by_peft else {"base_model_name_or_path": subject.base}
    write_adapter(out, state, config | named, PEFT_FILES if by_peft else OWN_FILES)
    return "peft" if by_peft else "own"


def merged(subject: "ModelRef") -> Any:
    """Return a loaded model's net with its adapter merged into the weights.

    Raises:
        InputError: if the architecture can't hold the adapter.
    """
    from lightning_subliminal.bases.layers import decoder_layers
    from lightning_subliminal.models.adapters.peft import merge_peft
    from lightning_subliminal.models.adapters.steering import Steering

    net: Any = subject.net
    if subject.folder is None:
        return net
    if hasattr(net, "peft_config"):
        return merge_peft(net)
    steered = [index for index, layer in enumerate(decoder_layers(net)) if "steering" in layer._parameters]
    return Steering(steered).merge(net)


def _check_push(push: str) -> None:
    import os

    from huggingface_hub import get_token

    if push.count("/") != 1 or not all(push.split("/")):
        raise InputError(f"`--push {push}`: expected ORG/NAME.")
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        raise InputError("`--push` needs the hub, and HF_HUB_OFFLINE is set: unset it, or leave out --push.")
    if not get_token():
        raise InputError("`--push` needs a token of the hub: run `hf auth login` or set HF_TOKEN.")


def _push(folder: Path, repository: str) -> None:
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except Exception as err:  # of the hub, requests or the system
        line = (str(err).strip().splitlines() or [type(err).__name__])[0][:200]
        raise InputError(f"{repository} can't be uploaded ({line}): it is saved in {folder}, try again.") from err


VERB = Verb(
    export,
    [
        "export runs/owl_numbers-1a2b3c4d owl-student",
        "export runs/owl_numbers_lora-1a2b3c4d owl-adapter --no-merge",
    ],
    ["RUN", "OUT"],
    [
        "--no-merge: write the adapter alone; PEFT's files name the base, so that PEFT opens it",
        "--push ORG/NAME",
    ],
    """\
PEFT's adapters merge as PEFT merges them. Steering vectors become biases: in Llama and GPT-2 as they
are; Qwen2 and Mistral without sliding windows, whose layers lack these biases, are written as the Llama
that computes the same. Other architectures are refused.
""",
)
