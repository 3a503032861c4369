"""Print an audit: the tree, the answers, findings by rule, and the verdict last."""

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lightning_subliminal.audit.views.view import ANSWER_MARKS, LIMITS, STATE_MARKS, AuditView, Line
from lightning_subliminal.core.console import console, say
from lightning_subliminal.formats.row_errors import printable

__all__ = ["print_audit"]

_PLAIN = str.maketrans("✓✗⚑", "+x#")  # for terminals without these characters
_COLOURS = {
    **{"fine": "green", "wrong": "red", "flagged": "yellow", "doubtful": "yellow", "absent": "dim"},
    **{"good": "green", "bad": "red", "look": "yellow", "open": "dim"},
    **{"error": "red", "warning": "yellow", "note": "dim"},
}
_STATES = {
    **{"fine": "as stated", "wrong": "wrong", "flagged": "flagged by a test or screen", "doubtful": "look at it"},
    "absent": "not found",
}
_MOST = 6  # lines per rule, and artefacts per line


def print_audit(view: AuditView) -> None:
    """Print an audit."""
    say("What it was made from, and what that was made from in turn")
    say(Text("  ".join(f"{_mark(sign)} {_STATES[state]}" for state, sign in STATE_MARKS.items()), style="dim"))
    for number, section in enumerate(view.outline()):
        if number:
            say("")
        say(_tree(section, view))
    if view.left_out():
        say(view.left_out())
    table = Table(title="Answers", title_justify="left", show_lines=True)
    table.add_column("question", ratio=2)
    table.add_column("answer", ratio=3)
    for each in view.answers():
        mark = Text(f"{_mark(ANSWER_MARKS[each.state])} ", style=_COLOURS[each.state])
        table.add_row(Text(each.question), mark + Text("\n".join(each.says), style="default"))
    say("")
    say(table)
    for group in view.groups():
        say("")
        head = f"{group.level}: {group.rule}" + (f" ({group.count})" if group.count > 1 else "")
        say(Text.assemble((head, _COLOURS[group.level]), (f"  {group.means}", "dim"), overflow="fold"))
        for message, where in group.folded[:_MOST]:
            more = f" and {len(where) - _MOST} more" if len(where) > _MOST else ""
            say(f"  {', '.join(where[:_MOST])}{more}: {message}")
        if len(group.folded) > _MOST:
            say(f"  and {len(group.folded) - _MOST} more of this rule: --json FILE or --html FILE has all")
    digests = {name: sha for name, sha in view.digests().items() if sha}
    if digests:
        say("\nNote elsewhere, for the next audit:")
    for name, sha in digests.items():
        covers = "its files" if name == "whole" else "its statement, and through it everything upstream"
        say(f"  --expect {printable(sha)}  ({covers})")
    say("\nLimits of an audit:")
    for limit in LIMITS:
        say(Text(f"  {limit}", style="dim"))
    say("")
    say(Text(printable(view.verdict()), style=f"bold {_COLOURS['good' if view.audit.holds else 'bad']}"))


def _tree(section: list[Line], view: AuditView) -> Tree:
    """Return a section of the outline as a tree."""
    stack: list[Tree] = []
    for line in section:
        node, state = line.node, view.state(line.node)
        text = Text(f"{_mark(STATE_MARKS[state])} ", style=_COLOURS[state], overflow="fold")
        text.append(f"{printable(line.role or node.kind)} ", style="dim")
        text.append(printable(node.label), style="default")
        notes = {"again": ["shown above"], "below": ["continued below"]}.get(line.how, view.notes(node))
        text.append(f"  {printable(', '.join(notes))}", style="dim" if state == "fine" else _COLOURS[state])
        del stack[line.depth :]
        stack.append(stack[-1].add(text) if stack else Tree(text))
    return stack[0]


def _mark(sign: str) -> str:
    return sign.translate(_PLAIN) if console.options.ascii_only else sign
