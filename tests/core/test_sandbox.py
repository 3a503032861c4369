"""Chat templates that would never end or fill the memory are refused in a line; those of the field render the same."""

import time
from pathlib import Path

import pytest
import yaml
from cases import cases
from jinja2.exceptions import UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lightning_subliminal.core.chat.sandbox import BoundedEnvironment, bounded_rendering
from lightning_subliminal.core.errors import InputError

TABLE = yaml.safe_load(Path(__file__).parents[1].joinpath("chat_templates.yaml").read_text(encoding="utf-8"))
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "owl"}]
HOSTILE = {
    "one loop": "{% for i in range(10**9) %}{% endfor %}",
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "nested loops that know their length": (
        "{% set l = range(99999)|list %}{% for i in l %}{% if loop.length and -1 in l %}a{% endif %}{% endfor %}"
    ),
    "a loop's condition": "{% set l = range(99999)|list %}{% for i in l if -1 in l %}{{ i }}{% endfor %}",
    "a filter's test": "{% set l = range(99999)|list %}{{ l|reject('in', l)|list|length }}",
    "a macro in a macro": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(200) }}{{ f(40) }}"
    ),
    "a recursive loop": (
        "{% for i in range(9) recursive %}{% if loop.depth < 30 %}{{ loop(range(9)) }}{% endif %}{% endfor %}"
    ),
    "a long text": "{{ 'a' * 10**10 }}",
    "a long list": "{{ ([1] * 10**9)|length }}",
    "a large number": "{{ 10 ** (10 ** 8) }}",
    "squares": "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    "doubled by ~": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubled by +": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "doubled by replace": (
        "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x.replace('a', n.x) %}{% endfor %}"
    ),
    "joined by itself": (
        "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = (n.x|list)|join(n.x) %}{% endfor %}"
    ),
    "a wide column": "{{ 'a'|center(10**10) }}",
    "a wide number": "{{ '%99999999999d' % 1 }}",
    "a wide format": "{{ '{:99999999999}'.format(1) }}",
    "a width as argument": "{{ '{:{}}'.format(1, 99999999999) }}",
    "a wide method": "{{ 'a'.ljust(99999999999) }}",
    "an indent": "{{ [[1]]|tojson(indent=99999999999) }}",
    "shown over and over": ("{% set n = namespace(x='a' * 99999) %}{% for i in range(99999) %}{{ n.x }}{% endfor %}"),
    "text over and over": "{% for i in range(99999) %}" + "a" * 9999 + "{% endfor %}",
    "nested and shown": (
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"
    ),
    "nested and compared": (
        "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
        "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}"
    ),
    "nested and hashed": (
        "{% set n = namespace(x=(1,)) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}"
    ),
    "lists summed": "{{ ([range(999)|list] * 9999)|sum(start=[])|length }}",
    "a text that a generator joins": "{{ range(99999)|map('string')|join('a' * 99999) }}",
    "a text that a method joins": "{{ ('a' * 99999).join(range(99999)|map('string')) }}",
    "one attribute of many": ("{% set n = namespace(x='a' * 99999) %}{{ ([n] * 99999)|join(attribute='x')|length }}"),
    "many fields of one text": "{{ ('{0}' * 99999).format('a' * 99999) }}",
    "many keys of one text": "{{ ('%(a)s' * 99999) % {'a': 'a' * 99999} }}",
    "many widths": "{{ ('{0:99999}' * 9999).format(1) }}",
    "a width behind a per cent": "{{ '%5%%99999999999d' % 1 }}",
    "a width behind brackets": "{{ '%(a(b))99999999999d' % {'a(b)': 1} }}",
    "a width as a filter's argument": "{{ '%*d'|format(99999999999, 1) }}",
    "a precision": "{{ '%.99999999999d' % 1 }}",
    "a table": "{{ ('a' * 99999).translate({97: 'a' * 99999}) }}",
    "keywords in another order": "{{ ('a' * 99999)|replace(new='a' * 99999, old='a') }}",
    "letters at the end": "{{ ('a' * 9999999).rstrip('b' * 9999999 ~ 'a') }}",
    "a search from the end": "{{ ('a' * 9999999).rfind('b' ~ 'a' * 999999) }}",
    "many slices": "{{ [1]|slice(10**8)|list|length }}",
    "many digits": "{{ 1|round(10**8, 'floor') }}",
    "words of Latin": "{{ lipsum(n=99999) }}",
}


def render(environment, template, **arguments):
    environment.globals["raise_exception"] = lambda message: "refused"
    environment.globals["strftime_now"] = lambda form: "1 Jan"
    return environment.from_string(template).render(
        messages=TURNS, bos_token="<s>", eos_token="</s>", tools=None, documents=None, **arguments
    )


@cases("kind", HOSTILE)
def test_what_never_ends_or_is_too_large_is_refused_soon(kind):
    begin = time.thread_time()
    with bounded_rendering(), pytest.raises((InputError, UndefinedError, OverflowError, RecursionError)) as caught:
        render(BoundedEnvironment(), HOSTILE[kind])
    assert time.thread_time() - begin < 20
    assert "\n" not in str(caught.value)


@cases("name", TABLE)
def test_templates_of_the_field_render_the_same(name):
    how = {"trim_blocks": True, "lstrip_blocks": True, "extensions": ["jinja2.ext.loopcontrols"]}
    for asks in (True, False):
        said = []
        for made in (ImmutableSandboxedEnvironment(**how), BoundedEnvironment(**how)):
            try:
                with bounded_rendering():
                    said.append(render(made, TABLE[name]["template"], add_generation_prompt=asks))
            except Exception as err:  # a template may refuse these turns: both do
                said.append(repr(err))
        assert said[0] == said[1]


@cases(
    "template",
    [
        "{% for m in messages %}{{ loop.index ~ loop.last ~ (loop.previtem.role if loop.previtem) }}{% endfor %}",
        "{% for k, v in messages[0].items() if k != 'role' %}{{ k }}{{ v }}{% else %}none{% endfor %}",
        "{{ messages|map(attribute='role')|join(', ') }}{{ messages|length }}{{ 'a' in 'abc' }}{{ 3 > 2 > 1 }}",
        "{{ nothing }}{% for x in nothing %}a{% endfor %}{{ nothing is defined }}{{ [1, 2][-1] }}{{ 'ab'[::-1] }}",
        "{% macro f(x, y=2) %}[{{ x }}{{ y }}]{% endmacro %}{{ f(1) }}{{ f('a', y=3) }}{{ '%05.1f|%s' % (2.5, 'a') }}",
        "{% set n = namespace(a=1) %}{% for i in range(3) %}{% set n.a = n.a * 2 + i %}{% endfor %}{{ n.a ~ '-' * 9 }}",
        "{{ '{:>4}|{}'.format(1, 'b') }}{{ 'x y'.split(' ')|last|upper }}{{ {'a': [1, None]} }}{{ 2**10 }}{{ 7 // 2 }}",
        "{{ 'a'|center(9) }}|{{ [3, 1]|sort }}|{{ [1, 2]|sum }}|{{ messages|selectattr('role', 'eq', 'user')|list }}",
    ],
)
def test_what_templates_say_is_said_the_same(template):
    with bounded_rendering():
        assert render(BoundedEnvironment(), template) == render(ImmutableSandboxedEnvironment(), template)


LONG = ["word " * 3500, "other" * 3500]


@cases(
    "template",
    [
        "{% for m in longs %}{{ m.content.strip() }}{% endfor %}",
        "{% for m in longs %}{% set c = m.content %}{{ c.split('</think>')[-1].lstrip('\\n') }}{% endfor %}",
        "{% block b %}{% set content = longs[0].content %}{{ content.upper().startswith('W') }}{% endblock %}",
        "{% macro said(m) %}{{ m.content|trim }}{% endmacro %}{% for m in longs %}{{ said(m) }}{% endfor %}",
        "{% macro turn(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ turn(longs[0].content, b=longs[1].content) }}",
        "{% set n = namespace(a=longs[0].content, b=longs[1].content) %}{{ n.a ~ n.b }}",
        "{{ dict(a=longs[0].content, b=longs[1].content)|tojson }}{{ longs[0].content.find(longs[1].content) }}",
        "{{ longs[0].content.replace(longs[1].content, '') }}{{ longs[0].content|replace('other', longs[1].content) }}",
        "{{ longs[0].content.join([longs[1].content]) }}{{ longs|map(attribute='content')|join('\\n' * 99) }}",
        "{{ longs|join('-', attribute='content') }}{{ '-'.join(['a', 'b']) }}{{ 'abc'|join }}{{ nothing|join(',') }}",
        "{{ '{} {}'.format(longs[0].content, longs[1].content) }}{{ '%s%s' % (longs[0].content, longs[1].content) }}",
        "{{ longs[0].content == longs[1].content }}{{ longs[0].content in longs[1].content }}",
        "{{ [longs[0].content, longs[1].content]|default(longs[1].content) }}",
    ],
)
def test_long_messages_are_read_where_nothing_multiplies_them(template):
    longs = [{"role": "user", "content": each} for each in LONG]
    with bounded_rendering():
        said = render(BoundedEnvironment(), template, longs=longs)
    assert said == render(ImmutableSandboxedEnvironment(), template, longs=longs)


@cases(
    "template",
    [
        *("{{ '* {}'.format('a') }}", "{{ '**%s**'|format('a') }}", "{{ 'cutoff 202406: {}'.format('a') }}"),
        *("{{ '* %s' % 'a' }}", "{{ '%s 202406' % 'a' }}", "{{ '100%% 202406 %-5s|%.2f' % ('a', 1) }}"),
        *("{{ '{}'.format('* 202406 {') }}", "{{ '{{ {:>9} }}'.format('a') }}", "{{ '{x}: * 1234567'.format(x=1) }}"),
        *("{{ '%(note)s * 1234567'|format(note='a') }}", "{{ '{a} *'.format_map({'a': 1}) }}", "{{ '*' % () }}"),
    ],
)
def test_stars_and_numbers_beside_fields_are_text(template):
    with bounded_rendering():
        assert render(BoundedEnvironment(), template) == render(ImmutableSandboxedEnvironment(), template)


def test_transformers_renders_in_the_bounded_environment():
    from transformers.utils.chat_template_utils import _compile_jinja_template

    with bounded_rendering():
        assert isinstance(_compile_jinja_template("{{ 1 }}").environment, BoundedEnvironment)


def test_a_tokenizers_template_is_bounded():
    from lightning_subliminal import bases
    from lightning_subliminal.core.chat.frame import Frame

    tokenizer = bases.load("pocket/a")[1]
    tokenizer.chat_template = HOSTILE["nested loops"] + tokenizer.chat_template
    with pytest.raises(InputError, match=r"refuses a conversation .*\(it takes more than .*SUBLIMINAL_"):
        Frame.of(tokenizer)
