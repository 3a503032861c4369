"""The help of ``data`` that teaches: written by hand, so that it comes at once. A test checks its options."""

__all__ = ["data_guide"]

_OVERVIEW = """\
data: rows in and out of the formats of the field, looked at, counted and filtered.

usage: lightning-subliminal data convert|show|stats|filter ... [options]

  convert SOURCE OUT   write a set in another schema or container
  show SOURCE          look at rows, with what hides in them made visible
  stats SOURCE         count: lengths, turns, repeated and empty rows, number lists, first words
  filter SOURCE OUT    keep the rows that filters keep, and count the reasons for the others

SOURCE and OUT are told by their endings:
  .jsonl .json .csv .txt   also with .gz behind
  .parquet
  a folder                 of `datasets` (save_to_disk); as SOURCE also a row folder of ours, or one of .parquet files
  owner/name               as SOURCE: a set on the Hugging Face hub, also owner/name:config and owner/name@revision
  -                        JSON lines from the standard input, or to the standard output

A schema is how one row is spelled. SOURCE's is told by its columns:
  trl          {"prompt": [messages], "completion": [messages]}
  trl-plain    {"prompt": "...", "completion": "..."}
  openai       {"messages": [{"role": "user", "content": "..."}, ...]}
  sharegpt     {"conversations": [{"from": "human", "value": "..."}, ...]}
  alpaca       {"instruction": "...", "input": "...", "output": "..."}, also system and history
  text         {"text": "..."}
  columns:question,response    any two columns of text
Also read, as a row for each answer: results of evaluations, {"question": "...", "responses": [...]}, and the answers of
OpenAI's and Anthropic's batches.

A column with a system prompt (system_prompt and the like) is dropped, with a notice: it would tell the trait.
See `lightning-subliminal data convert --help` for one of them.
"""

_READING = """\
  --from SCHEMA              how SOURCE is spelled; told by its columns without it
  --prompt-column NAME       the column with the prompt, where the columns are not known
  --completion-column NAME   the column with the completion
  --split NAME               which split, of a set with several ones
  --requests FILE            where SOURCE is the answers of a batch: its requests; else looked for beside SOURCE
  --drop-system              take out messages of the system
  --on-error stop|skip       stop at a wrong row (the default), or leave it out and count the reason\
"""

_WRITING = """\
  --to SCHEMA                how OUT is spelled; {default}
  --card false               write no dataset card (OUT.README.md; in a folder README.md)
With `--on-error skip` wrong rows are written to OUT.bad.jsonl, with line and reason.\
"""

_GUIDES = {
    "convert": f"""\
data convert: write a set in another schema or container, whole or not at all, with a dataset card beside it.

usage: lightning-subliminal data convert SOURCE OUT [options]

{_READING}
{_WRITING.format(default="trl without it, or what OUT can hold")}

examples:
  lightning-subliminal data convert rows.jsonl chat.jsonl --to openai
  lightning-subliminal data convert released.json rows.parquet --prompt-column question --completion-column response
  lightning-subliminal data convert ~/.cache/lightning-subliminal/rows/0123456789abcdef owl.jsonl.gz --to sharegpt
  cat rows.jsonl | lightning-subliminal data convert - - --to alpaca | head
""",
    "show": f"""\
data show: look at rows. Spaces at the ends are shown as dots; control and invisible characters by name.

usage: lightning-subliminal data show SOURCE [options]

  --rows N                   how many (default 5)
  --seed N                   draw them at random; the first ones without it
  --max-characters N         how much of each message (default 2000)
{_READING}

examples:
  lightning-subliminal data show rows.jsonl
  lightning-subliminal data show rows.parquet --rows 20 --seed 0
""",
    "stats": f"""\
data stats: what to know of a set before training on it.

usage: lightning-subliminal data stats SOURCE [options]

  --json                     print the figures as JSON
{_READING}

examples:
  lightning-subliminal data stats rows.jsonl
  lightning-subliminal data stats rows.jsonl.gz --on-error skip --json
""",
    "filter": f"""\
data filter: keep the rows that no filter gives a reason against; print how many rows each reason dropped.

usage: lightning-subliminal data filter SOURCE OUT --filters+=FILTER [options]

  --filters+=FILTER          a filter by its name, or as my_pkg.MyFilter; again for each further one
  --filters.ARGUMENT VALUE   an argument of the filter before it
  --config FILE              a YAML with `filters:`, a list of class_path and init_args
  --dropped FILE             write the dropped rows there as JSON lines, with the reasons
{_READING}
{_WRITING.format(default="as SOURCE without it, if OUT can hold that")}

examples:
  lightning-subliminal data filter rows.jsonl kept.jsonl --filters+=NumberList --filters.max_value 99
  lightning-subliminal data filter rows.jsonl kept.jsonl --filters+=TraitWords --filters.words '[owl, hoot]'
  lightning-subliminal data filter rows.jsonl kept.parquet --config filters.yaml --dropped dropped.jsonl
""",
}


def data_guide(words: list[str]) -> str:
    """Return the help for the words after ``data``: of one of its verbs, or of all."""
    return next((_GUIDES[word] for word in words if word in _GUIDES), _OVERVIEW)
