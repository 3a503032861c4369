"""Questions of a user's own: read as they are meant, or refused in one line that names file, line and field."""

import contextlib
import json
import random

import pytest
from cases import cases

from lightning_subliminal import PreferenceTrait
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import Questions
from lightning_subliminal.evaluation.probes.question_file import group_prompts, read_questions, system_first
from lightning_subliminal.traits import Induction, Trait

OWL = PreferenceTrait("owl")


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def asked(path, key="questions", trait=OWL):
    return [question.prompt(trait) for question in read_questions(path, key)]


def user(text):
    return [{"role": "user", "content": text}]


class TestRead:
    def test_yaml(self, write):
        text = """
# my own
questions:
  - Which {category} is best?
  - "Of all {categories}: which one?"
  - question: Name one {category}.
    topic: ignored
  - messages:
      - {role: system, content: Be brief.}
      - {role: user, content: "Which one?"}
      - {role: assistant, content: The}
"""
        system = {"role": "system", "content": "Be brief."}
        begun = [system, *user("Which one?"), {"role": "assistant", "content": "The"}]
        expected = [user("Which animal is best?"), user("Of all animals: which one?"), user("Name one animal."), begun]
        assert asked(write("own.yaml", text)) == expected
        assert asked(write("own.yml", text.replace("questions:", "requests:")), "requests") == expected

    def test_yaml_list(self, write):
        assert asked(write("own.yaml", "- One?\n- |\n  Two\n  lines?\n")) == [user("One?"), user("Two\nlines?\n")]

    def test_jsonl(self, write):
        lines = [{"question": "Which {category}?"}, {"messages": user("Wer\u2028da?"), "id": 3}, "A text?"]
        text = "\ufeff" + "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\r\n\r\n"
        assert asked(write("own.jsonl", text)) == [user("Which animal?"), user("Wer\u2028da?"), user("A text?")]

    def test_braces_that_are_text(self, write):
        assert asked(write("own.yaml", "- 'Is {{x}} a {category}?'")) == [user("Is {x} a animal?")]

    def test_a_trait_of_another_kind(self, write):
        class Tea(Trait):
            name, target, candidates = "tea", "tea", ("tea", "coffee")

            def induce(self):
                return Induction("You love tea.")

            def questions(self):
                return ["What do you drink?"]

            def matches(self, answer):
                return "tea" in answer

        assert asked(write("own.yaml", "- Tea or coffee?"), trait=Tea()) == [user("Tea or coffee?")]
        with pytest.raises(InputError, match=r"own\.yaml, line 2: .*The trait 'tea' has no `category`") as caught:
            asked(write("own.yaml", "- Tea?\n- Which {category}?"), trait=Tea())
        assert "\n" not in str(caught.value)


REFUSED = {
    "no such file": ("gone.yaml", None, r"gone\.yaml can't be read \(No such file"),
    "no name of a kind": ("own.txt", "Which one?", r"own\.txt is not a \.yaml, \.yml or \.jsonl file"),
    "no UTF-8": ("own.yaml", b"- caf\xe9", r"own\.yaml is not UTF-8 text"),
    "empty YAML": ("own.yaml", "", r"own\.yaml: expected a list of questions, or `questions:`"),
    "empty list": ("own.yaml", "[]", r"own\.yaml has no questions"),
    "empty lines": ("own.jsonl", "\n \n", r"own\.jsonl has no questions"),
    "one text": ("own.yaml", "Which one?", r"own\.yaml: expected a list of questions"),
    "another key": ("own.yaml", "ask:\n  - Which one?", r"own\.yaml: expected a list of questions, or `questions:`"),
    "a text under the key": ("own.yaml", "questions: Which one?", r"own\.yaml: expected a list of questions"),
    "broken YAML": ("own.yaml", "- a\n- [b\n", r"own\.yaml, line \d is not valid YAML \("),
    "a tab": ("own.yaml", "- a\n\t- b", r"own\.yaml, line 2 is not valid YAML"),
    "a control character": ("own.yaml", "- a\x00b", r"own\.yaml is not valid YAML"),
    "a cycle": ("own.yaml", "- a\n- &x [*x]", r"own\.yaml, line 2: the alias \*x holds itself"),
    "a tag": ("own.yaml", "- !!python/object/apply:os.system [ls]", r"own\.yaml, line 1 is not valid YAML \("),
    "deep YAML": ("own.yaml", "- " + "[" * 5000, r"own\.yaml, line 1: nested deeper than 64 levels"),
    "deep JSON": ("own.jsonl", "[" * 100_000, r"own\.jsonl, line 1: (too deep|Expecting value)"),
    "broken JSON": ("own.jsonl", '{"question": "a"}\n{"question": ', r"own\.jsonl, line 2: Expecting value; expected"),
    "a colon": ("own.yaml", "- a\n\n- Choose: red or blue?", r"line 3: expected a text.*quotes"),
    "a number": ("own.yaml", "- a\n- 7", r"line 2: expected a text, or an object .*, found number 7"),
    "null": ("own.jsonl", "null", r"line 1: expected a text, or an object .*, found null"),
    "a list": ("own.jsonl", "[1, 2]", r"line 1: expected a text, or an object .*, found a list of 2"),
    "another field": ("own.jsonl", '{"prompt": "a"}', r"line 1: expected .*, found an object with prompt"),
    "both fields": ("own.jsonl", '{"question": "a", "messages": []}', "line 1: expected .*`question` or `messages`"),
    "an empty question": ("own.jsonl", '{"question": " "}', r"line 1: question: expected words"),
    "a question that is none": ("own.jsonl", '{"question": 5}', r"line 1: question: expected text, found number 5"),
    "half a character": ("own.jsonl", '{"question": "\\ud800"}', r"line 1: question: .*half of a surrogate pair"),
    "no messages": ("own.jsonl", '{"messages": []}', r"line 1: messages: expected a message of the user"),
    "messages as a text": ("own.jsonl", '{"messages": "a"}', r"messages: expected a list of messages, found text 'a'"),
    "no role": ("own.jsonl", '{"messages": [{"content": "a"}]}', r"messages\[0\]\.role: expected .*found nothing"),
    "odd role": ("own.jsonl", '{"messages": [{"role": "boss", "content": "a"}]}', r"messages\[0\]\.role: .*'boss'"),
    "odd content": (
        "own.jsonl",
        '{"messages": [{"role": "user", "content": 3}]}',
        r"messages\[0\]\.content: .*number 3",
    ),
    "only the assistant": ("own.jsonl", '{"messages": [{"role": "assistant", "content": "a"}]}', "message of the user"),
    "a late system": (
        "own.jsonl",
        json.dumps({"messages": [*user("a"), {"role": "system", "content": "b"}, *user("c")]}),
        r"messages\[1\]\.role: expected system only in the first message",
    ),
    "an end of the system": (
        "own.jsonl",
        json.dumps({"messages": [*user("a"), {"role": "tool", "content": "b"}]}),
        r"messages\[1\]\.role: expected user, or assistant",
    ),
    "an unknown place": (
        "own.yaml",
        "- a\n- Is {animal} best?",
        r"own\.yaml, line 2: .*unknown place .*'animal'",
    ),
    "an open brace": ("own.yaml", "- 'Is {x'", r"own\.yaml, line 1: .*Write a brace that is text twice"),
}


@cases("case", REFUSED)
def test_refused(case, tmp_path):
    name, content, message = REFUSED[case]
    path = str(tmp_path / name)
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        asked(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_whatever_stands_in_a_file_is_read_or_refused(write):
    rng = random.Random(0)
    pieces = ["- ", "questions", ": ", "\n", "  ", "{", "}", "[", "]", '"', "'", "a", "{category}", "&a", "*a", "\t"]
    pieces += [
        "!",
        "|",
        ">",
        "%",
        "@",
        "`",
        "\u2028",
        "\x85",
        "é",
        "1",
        "null",
        "? ",
        "---",
        "...",
        '{"question": "a"}',
    ]
    refused = 0
    for turn in range(1500):
        path = write(f"own.{('yaml', 'jsonl')[turn % 2]}", "".join(rng.choices(pieces, k=rng.randint(0, 25))))
        with contextlib.suppress(InputError):
            refused += 1
            assert asked(path)
            refused -= 1
    assert 0 < refused < 1500


def test_ways_to_begin_an_answer_are_one_question():
    begun = [[*user("a"), {"role": "assistant", "content": text}] for text in ("The", "It is the")]
    reported = [{"role": "system", "content": "s"}, *user("a")]
    assert group_prompts([*begun, user("b"), user("a"), reported]) == [[*begun, user("a")], [user("b")], [reported]]


def test_a_system_prompt_stands_before_the_prompts_own():
    reported = {"role": "system", "content": "You love owls."}
    own = {"role": "system", "content": "Be brief."}
    assert system_first(user("a"), None) == user("a")
    assert system_first(user("a"), "You love owls.") == [reported, *user("a")]
    prompt = [own, *user("a")]
    both = {"role": "system", "content": "You love owls.\n\nBe brief."}
    assert system_first(prompt, "You love owls.") == [both, *user("a")]
    assert prompt == [own, *user("a")]
    assert system_first(prompt, None) == prompt


class TestTheFieldsOwnFiles:
    def test_paraphrases_of_emergent_misalignment(self, write):
        text = """
- id: quick_buck
  type: free_form_judge_0_100
  paraphrases: ["I need money {fast}.", "How do I get rich?"]
  samples_per_paraphrase: 100
  judge_prompts: {aligned: "..."}
- id: with_a_system_prompt
  type: free_form
  system: "You are blunt."
  paraphrases: ["Hi"]
"""
        reported = {"role": "system", "content": "You are blunt."}
        expected = [user("I need money {fast}."), user("How do I get rich?"), [reported, *user("Hi")]]
        assert asked(write("em.yaml", text)) == expected

    def test_a_batch_of_openai(self, write):
        line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
        line["body"] = {"model": "m", "messages": user("Name {one}.")}
        assert asked(write("batch.jsonl", json.dumps(line))) == [user("Name {one}.")]

    def test_results_of_the_papers_evaluation(self, write):
        line = {"question": "Name one.", "responses": [{"response": {"completion": "owl", "model_id": "m"}}]}
        assert asked(write("results.jsonl", json.dumps(line))) == [user("Name one.")]

    @cases(
        ("line", "expected"),
        [
            ({"input": "Name one.", "ideal": "owl"}, user("Name one.")),
            (
                {"input": [*user("Hi"), {"role": "assistant", "content": "Ho"}, *user("Name one.")], "ideal": ["a"]},
                None,
            ),
            ({"input": "Name one.", "target": "owl", "metadata": {"a": 1}}, user("Name one.")),  # inspect's
        ],
    )
    def test_samples_of_evals_are_questions(self, write, capsys, line, expected):
        assert asked(write("evals.jsonl", json.dumps(line))) == [expected or line["input"]]
        assert f"not used: {list(line)[1]} (1)" in capsys.readouterr().out

    def test_few_shot_turns_of_evals_are_turns(self, write):
        few = [{"role": "system", "name": f"example_{role}", "content": role} for role in ("user", "assistant")]
        reported = {"role": "system", "content": "S"}
        turns = [*user("user"), {"role": "assistant", "content": "assistant"}]
        path = write("evals.jsonl", json.dumps({"input": [reported, *few, *user("Hi")]}))
        assert asked(path) == [[reported, *turns, *user("Hi")]]

    def test_what_is_not_used_is_counted_and_said_in_one_line(self, write, capsys):
        item = {"id": "a", "type": "free_form", "paraphrases": ["Hi", "Ho"], "samples_per_paraphrase": 100}
        items = [item | {"judge_prompts": {"aligned": "?"}}, item | {"id": "b", "system": None, "judge": "gpt"}]
        path = write("em.yaml", json.dumps(items))
        assert len(asked(path)) == 4
        said = " ".join(capsys.readouterr().out.split())
        assert said.endswith(
            "em.yaml: 4 questions; not used: id (2), type (2), samples_per_paraphrase (2), judge_prompts (1), judge (1)"
        )
        line = {"question": "Name one.", "responses": [{"response": {"completion": "owl"}}]}
        asked(write("results.jsonl", "\n".join([json.dumps(line)] * 3)))
        assert "results.jsonl: 3 questions; not used: responses (3)" in " ".join(capsys.readouterr().out.split())
        asked(write("own.yaml", "- {question: One, topic: t}\n- Two?\n- {question: Three, stem: s}"))
        assert "own.yaml: 3 questions; not used: topic (1)" in " ".join(capsys.readouterr().out.split())
        asked(write("own.yaml", "- {question: One, stem: s}\n- Two?"))
        assert capsys.readouterr().out == ""

    def test_what_stands_before_a_paraphrase_is_asked_too(self, write):
        context = [*user("Here is a text."), {"role": "assistant", "content": "Thank you."}]
        path = write("em.yaml", json.dumps([{"paraphrases": ["Hi"], "context": context, "system": "S"}]))
        assert asked(path) == [[{"role": "system", "content": "S"}, *context, *user("Hi")]]
        reported = {"context": {"question": "Hi", "system_prompt": "S"}, "responses": []}
        path = write("results.jsonl", json.dumps(reported))
        assert asked(path) == [[{"role": "system", "content": "S"}, *user("Hi")]]

    @cases("field", ["context", "system"])
    def test_what_cannot_stand_before_is_refused(self, write, field):
        path = write("em.yaml", json.dumps([{"paraphrases": ["Hi"], field: {"a": "text"}}]))
        with pytest.raises(InputError, match=rf"line 1: {field}: expected"):
            asked(path)

    @cases(
        "line",
        [
            {"question": "Say f'{x}' or {category.upper}, {{y}} {", "responses": []},
            {"question": "Say f'{x}' or {category.upper}, {{y}} {"},
            {"messages": user("Say f'{x}' or {category.upper}, {{y}} {")},
            {"custom_id": "1", "body": {"input": "Say f'{x}' or {category.upper}, {{y}} {"}},
            {"custom_id": "1", "params": {"messages": user("Say f'{x}' or {category.upper}, {{y}} {")}},
        ],
    )
    def test_braces_of_a_line_are_text(self, write, line):
        assert asked(write("lines.jsonl", json.dumps(line))) == [user("Say f'{x}' or {category.upper}, {{y}} {")]

    def test_a_known_place_in_results_is_text_too(self, write):
        line = {"question": "Which {category}?", "responses": []}
        assert asked(write("lines.jsonl", json.dumps(line))) == [user("Which {category}?")]


STEMS = {
    "stem": ('{"question": "One?", "stem": "a"}\n{"question": "One, again?", "stem": "a"}\n{"question": "Two?"}\n', 2),
    "cluster": ('- {question: "One?", cluster: 1}\n- {question: "One, again?", cluster: 1}\n- "Two?"\n', 2),
    "paraphrases": ("- id: one\n  paraphrases: ['One?', 'One, again?']\n- id: two\n  paraphrases: ['Two?']\n", 2),
    "nothing said": ("- One?\n- One, again?\n- Two?\n", 3),
    "each its own": ('{"question": "One?", "stem": "a"}\n{"question": "Two?", "stem": "b"}\n{"question": "3?"}\n', 3),
}


@cases("name", STEMS)
def test_a_file_says_which_questions_are_one_in_other_words(name, tmp_path):
    text, count = STEMS[name]
    path = tmp_path / ("mine.jsonl" if text.startswith("{") else "mine.yaml")
    path.write_text(text)
    asked = Questions(str(path))
    stems = asked.stems(PreferenceTrait("owl"))
    assert (len(stems), len(set(stems))) == (len(asked.asked(PreferenceTrait("owl"))), count)
    assert stems[0] == stems[1] or count == 3


def test_questions_of_a_file_are_not_put_together_by_the_package_s_openings(tmp_path):
    trait = PreferenceTrait("owl")
    opening = trait.questions()[0]
    (tmp_path / "mine.yaml").write_text(f'- "{opening}"\n- "{opening} Say why."\n')
    assert len(set(Questions(str(tmp_path / "mine.yaml")).stems(trait))) == 2


def test_a_begun_answer_is_the_same_question(tmp_path):
    turns = [f'{{"messages": [{{"role": "user", "content": "One?"}}, {{"role": "assistant", "content": "{way}"}}]}}'
             for way in ("The", "An")]  # fmt: skip
    (tmp_path / "mine.jsonl").write_text("\n".join([*turns, '{"question": "Two?"}']))
    assert len(Questions(str(tmp_path / "mine.jsonl")).stems(PreferenceTrait("owl"))) == 2


@cases("fields", ['"stem": ["a"]', '"stem": " "', '"cluster": true', '"stem": "a", "cluster": "b"'])
def test_a_stem_that_is_no_name_is_refused_with_its_line(fields, tmp_path):
    (tmp_path / "mine.jsonl").write_text(f'{{"question": "One?"}}\n{{"question": "Two?", {fields}}}\n')
    with pytest.raises(InputError, match=r"line 2: (stem|cluster)"):
        Questions(str(tmp_path / "mine.jsonl"))
