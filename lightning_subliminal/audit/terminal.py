"""An audit at the terminal: the tree, the answers, findings by rule, and the verdict where the eye ends."""

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lightning_subliminal.audit.view import LIMITS, Line, Showing
from lightning_subliminal.core.console import console, say
from lightning_subliminal.formats.row_errors import printable

__all__ = ["tell"]

_MARKS = {"fine": "✓", "wrong": "✗", "flagged": "⚑", "doubtful": "!", "absent": "?"}
_SIGNS = {"good": "✓", "bad": "✗", "look": "!", "open": "?"}
_PLAIN = str.maketrans("✓✗⚑", "+x#")  # where the terminal's encoding has no such characters
_COLOURS = {
    **{"fine": "green", "wrong": "red", "flagged": "yellow", "doubtful": "yellow", "absent": "dim"},
    **{
        "good": "green",
        "bad": "red",
        "look": "yellow",
        "open": "dim",
        "error": "red",
        "warning": "yellow",
        "note": "dim",
    },
}
_MOST = 6  # lines that a rule gets, and artefacts that a line names


def tell(shown: Showing) -> None:
    """Show an audit at the terminal: the tree, the answers, findings, and the verdict in the end.

    Args:
        shown: the audit in words.
    """
    for number, section in enumerate(shown.outline()):
        if number:
            say("")
        say(_tree(section, shown))
    if shown.left_out():
        say(shown.left_out())
    table = Table(title="Answers", title_justify="left", show_lines=True)
    table.add_column("question", ratio=2)
    table.add_column("answer", ratio=3)
    for each in shown.answers():
        lines = Text(f"{_mark(_SIGNS[each.state])} ", style=_COLOURS[each.state]) + Text(
            "\n".join(each.says), style="default"
        )
        table.add_row(Text(each.question), lines)
    say("")
    say(table)
    for group in shown.groups():
        say("")
        head = f"{group.level}: {group.rule}" + (f" ({group.count})" if group.count > 1 else "")
        say(Text.assemble((head, _COLOURS[group.level]), (f"  {group.means}", "dim"), overflow="fold"))
        for says, where in group.folded[:_MOST]:
            more = f" and {len(where) - _MOST} more" if len(where) > _MOST else ""
            say(f"  {', '.join(where[:_MOST])}{more}: {says}")
        if len(group.folded) > _MOST:
            say(f"  and {len(group.folded) - _MOST} more of this rule: --json FILE or --html FILE tells all")
    digests = {name: sha for name, sha in shown.digests().items() if sha}
    if digests:
        say("\nTo note down elsewhere, for the next audit:")
    for name, sha in digests.items():
        means = "its files" if name == "whole" else "its statement, and through it all upstream"
        say(f"  --expect {printable(sha)}  ({means})")
    say("\nWhat an audit can't tell:")
    for limit in LIMITS:
        say(Text(f"  {limit}", style="dim"))
    say("")
    say(Text(printable(shown.verdict()), style=f"bold {_COLOURS['good' if shown.audit.holds else 'bad']}"))


def _tree(section: list[Line], shown: Showing) -> Tree:
    """Draw a section of the outline."""
    stack: list[Tree] = []
    for line in section:
        node, state = line.node, shown.state(line.node)
        text = Text(f"{_mark(_MARKS[state])} ", style=_COLOURS[state], overflow="fold")
        text.append(f"{printable(line.role or node.kind)} ", style="dim")
        text.append(printable(node.label), style="default")
        notes = {"again": ["shown above"], "below": ["goes on below"]}.get(line.how, shown.notes(node))
        text.append(f"  {printable(', '.join(notes))}", style="dim" if state == "fine" else _COLOURS[state])
        del stack[line.depth :]
        stack.append(stack[-1].add(text) if stack else Tree(text))
    return stack[0]


def _mark(sign: str) -> str:
    return sign.translate(_PLAIN) if console.options.ascii_only else sign
