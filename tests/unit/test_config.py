"""The config file: what is refused, and in which words."""

import json
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwire import Timestamp
from spanwire.config import Config, OutputConfig, load, parse, schema
from spanwire.config.choice import TableConfig
from spanwire.config.endpoints import only_this_machine
from spanwire.errors import ConfigError

MINIMAL = """
[source]
project = "p"
instance = "in"
database = "shop"
stream = "orders_stream"

[[output]]
kind = "pub"
bind = "tcp://127.0.0.1:5560"
"""


@pytest.fixture(autouse=True)
def _no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPANNER_EMULATOR_HOST", raising=False)


def written(folder: Path, text: str) -> Path:
    """A config file with this text."""
    path = folder / "relay.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    """What is said about a config file with this text."""
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_minimal_file_is_enough(tmp_path: Path) -> None:
    """What is not written has a default; one endpoint may be written without a list."""
    config = load(written(tmp_path, MINIMAL))
    assert config.source.heartbeat_ms == 0
    assert config.source.start_at is None
    assert config.source.end_at is None
    assert config.output[0].bind == ["tcp://127.0.0.1:5560"]
    assert config.output[0].options == {"ring_bytes": 64 << 20}
    assert config.store.kind == "sqlite"
    assert str(config.source.identity) == "projects/p/instances/in/databases/shop/changeStreams/orders_stream"


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Each line names the setting's path, what is wrong and what to write; also between sections."""
    found = problems(
        tmp_path,
        """
        [source]
        project = 5
        instance = "a/b"
        stream = "x y"
        hearbeat_ms = 5
        heartbeat_ms = 5
        priority = "hi"
        start = "yesterday"
        end = 2026-01-01
        topic = "a"
        [[output]]
        kind = "pubb"
        bind = "tcp:/x"
        queue_bytes = "5"
        [[output]]
        bind = []
        [[output]]
        kind = "push"
        bind = "tcp://0.0.0.0:5561"
        [store]
        kind = "sqllite"
        interval_ms = 1
        [sorce]
        """,
    )
    assert set(found) == {
        "source.project: must be a text in quotes, is 5",
        'source.instance: must be a plain id such as "my-database" without slashes, is "a/b"',
        'source.database: is missing; write database = "my-database"',
        'source.stream: must be a stream\'s name of letters, digits and "_", is "x y"',
        'source.hearbeat_ms: unknown setting; did you mean "heartbeat_ms"?',
        "source.heartbeat_ms: must be 0 or 1000 to 300000, is 5",
        'source.priority: must be "low", "medium" or "high", is "hi"; did you mean "high"?',
        'source.start: must be RFC 3339 in UTC, such as "2026-11-23T17:50:32.669475Z", is "yesterday"; '
        'or write "store" or "now"',
        "source.end: must be a text in quotes, is date",
        'source.topic: must end in "/", is "a": write "a/"',
        'output[0].kind: must be "pub", "push", "feed", "replay" or "group", is "pubb"; did you mean "pub"?',
        'output[0].bind: must look like "tcp://127.0.0.1:5560" or "ipc:///run/spanwire.sock", is "tcp:/x"',
        'output[0].queue_bytes: must be a whole number, is "5"; leave out the quotes',
        'output[1].kind: is missing; write "pub", "push", "feed", "replay" or "group"',
        'output[1].bind: needs at least one entry; write bind = "tcp://127.0.0.1:5560"',
        'output[2].bind: "tcp://0.0.0.0:5561" can be reached from other machines with security.mode "none"; '
        "bind to 127.0.0.1, or set security.insist = true",
        'store.kind: must be "memory" or "sqlite", is "sqllite"; did you mean "sqlite"?',
        "store.interval_ms: must be 50 to 60000, is 1",
        'sorce: unknown setting; did you mean "source"?',
    }


_MISTAKES = [
    ({"kind": "pubb"}, ["output[1].kind"]),
    ({"bind": ["tcp://0.0.0.0:1", "x", "tcp://127.0.0.1:5560"]}, ["output[1].bind"] * 3),
    ({"max_replays": 3}, ["output[1].max_replays"]),
    ({"connections": 0}, ["output[1].connections"] * 2),
    ({"name": "a b"}, ["output[1].name"] * 2),
    ({"slots": "4"}, ["output[1].slots"] * 2),
    ({"start": "2999-01-01T00:00:00Z"}, ["output[1].start"] * 2),
    ({"tables": ["a*b", ""]}, ["output[1].tables"] * 2),
    ({"mod_types": ["UPSERT"]}, ["output[1].mod_types"]),
    ({"buckets": 0}, ["output[1].buckets", "output[1].topic"]),
    ({"hash_key_file": 5}, ["output[1].hash_key_file"]),
    (
        {"table": [{"name": "t", "mask": ["a"], "truncate": {"A": -1}}]},
        ["output[1].table[0].truncate"] * 2,
    ),
    ({"colour": "red"}, ["output[1].colour"]),
]
"""Settings of a second output, and the paths of what is said about each of them alone."""


@given(st.sets(st.integers(min_value=0, max_value=len(_MISTAKES) - 1), min_size=1))
def test_no_mistake_hides_another(chosen: set[int]) -> None:
    """Whatever else is wrong in the same output, each is told, with its own setting's path."""
    settings = tomllib.loads(MINIMAL)
    output: dict[str, object] = {"kind": "pub", "bind": "tcp://127.0.0.1:*"}
    expected: Counter[str] = Counter()
    for number in chosen:
        wrong, paths = _MISTAKES[number]
        output |= wrong
        expected.update(paths)
    if "kind" in output and output["kind"] != "pub":  # then nothing is said of what goes with a kind
        for misplaced in {"connections", "name", "slots", "start"} & output.keys():
            expected[f"output[1].{misplaced}"] -= 1
        expected["output[1].max_replays"] = 0
    settings["output"].append(output)
    with pytest.raises(ConfigError) as caught:
        parse(settings)
    assert Counter(line.split(": ")[0] for line in caught.value.problems) == +expected


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_whatever_is_written_is_taken_or_refused_in_lines(data: st.DataObject) -> None:
    """Values of any type in any place of the file: never another error than ConfigError."""
    settings = tomllib.loads(MINIMAL + '[[output.table]]\nname = "t"\n[store]\n[security]\n[status]\n')
    sections = [settings, *(settings[name] for name in ("source", "store", "security", "status"))]
    sections += [settings["output"][0], settings["output"][0]["table"][0]]
    models = [Config, *(Config.model_fields[name].annotation for name in ("source", "store", "security"))]
    models += [Config.model_fields["status"].annotation, OutputConfig, TableConfig]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(sections) - 1))
        name = data.draw(st.sampled_from([*models[place].model_fields, "other"]))
        sections[place][name] = data.draw(_ANYTHING)
    try:
        parse(settings)
    except ConfigError as error:
        assert error.problems
        assert all(line and "\n" not in line for line in error.problems)


def test_an_empty_file_says_which_sections_to_write(tmp_path: Path) -> None:
    """The two sections without defaults are asked for."""
    assert problems(tmp_path, "") == [
        "source: is missing; write [source] with its settings",
        'output: is missing; write [[output]] with kind = "pub" and bind = "tcp://127.0.0.1:5560"',
    ]


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The path and what to do, no traceback."""
    with pytest.raises(ConfigError, match=r'gone\.toml: no such file; "spanwire init" writes one'):
        load(tmp_path / "gone.toml")


def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    """The parser's own place is kept."""
    [line] = problems(tmp_path, "[source]\nproject =\n")
    assert "relay.toml: is not TOML" in line
    assert "line 2" in line


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    """A binary file is not a config."""
    path = tmp_path / "relay.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(path)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://*:5560", "tcp://0.0.0.0:5560", "tcp://10.0.0.7:5560", "tcp://[::]:5560", "tcp://eth0:5560"],
)
def test_without_security_only_loopback_is_bound(tmp_path: Path, endpoint: str) -> None:
    """Other machines are kept out unless the config insists."""
    text = MINIMAL.replace("tcp://127.0.0.1:5560", endpoint)
    [line] = problems(tmp_path, text)
    assert line.startswith(f'output[0].bind: "{endpoint}" can be reached from other machines')
    insisting = text + "\n[security]\ninsist = true\n"
    assert load(written(tmp_path, insisting)).output[0].bind == [endpoint]


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:1", "tcp://127.9.9.9:*", "tcp://[::1]:5", "tcp://localhost:5", "ipc:///tmp/x"],
)
def test_loopback_and_files_stay_on_this_machine(endpoint: str) -> None:
    """All of 127/8, ::1, localhost and ipc need no insisting."""
    assert only_this_machine(endpoint)


def test_two_outputs_cannot_bind_one_port(tmp_path: Path) -> None:
    """Found before a socket fails on it."""
    again = '\n[[output]]\nkind = "push"\nbind = ["tcp://127.0.0.1:5560", "tcp://127.0.0.1:*"]\n'
    [line] = problems(tmp_path, MINIMAL + again)
    assert line == 'output[1].bind: "tcp://127.0.0.1:5560" is also bound by output[0]; use another port'


def test_two_groups_of_one_name_are_refused(tmp_path: Path) -> None:
    """Under its name the store keeps how far a group is; the later one is named by its place."""
    group = '\n[[output]]\nkind = "group"\nname = "mail"\nbind = "tcp://127.0.0.1:*"\n'
    [line] = problems(tmp_path, MINIMAL + group * 2)
    assert line == 'output[2].name: "mail" is also the name of output[1]; give each group its own'


@pytest.mark.parametrize("slots", ["0", "5000", '"4"', "true"])
def test_slots_that_cannot_be_are_told_of_slots(tmp_path: Path, slots: str) -> None:
    """And not of the buckets that they are to the core."""
    group = '\n[[output]]\nkind = "group"\nname = "mail"\nbind = "tcp://127.0.0.1:*"\n'
    [line] = problems(tmp_path, f"{MINIMAL}{group}slots = {slots}\n")
    assert line.startswith("output[1].slots: must be ")


def test_a_start_in_the_future_is_refused(tmp_path: Path) -> None:
    """Of source and group alike, in a line; clocks may differ by some minutes."""
    group = '\n[[output]]\nkind = "group"\nname = "mail"\nbind = "tcp://127.0.0.1:*"\nstart = "{}"\n'

    def with_start(seconds: int) -> str:
        start = Timestamp(Timestamp.now().seconds + seconds)
        return MINIMAL.replace("[source]", f'[source]\nstart = "{start}"') + group.format(start)

    assert [line.split("Z ")[1] for line in problems(tmp_path, with_start(600))] == [
        'lies in the future; write "store" or "now", or a time that has been',
        'lies in the future; write "now", or a time that has been',
    ]
    assert load(written(tmp_path, with_start(60))).source.start_at is not None


def test_toml_date_times_are_taken(tmp_path: Path) -> None:
    """A TOML date-time means the same as its text; without a time zone it is refused."""
    text = MINIMAL.replace(
        "[source]", "[source]\nstart = 2026-11-23T18:00:00.5+01:00\nend = 2026-11-23T17:00:01Z"
    )
    source = load(written(tmp_path, text)).source
    assert str(source.start_at) == "2026-11-23T17:00:00.500000000Z"
    assert str(source.end_at) == "2026-11-23T17:00:01.000000000Z"
    [line] = problems(tmp_path, MINIMAL.replace("[source]", "[source]\nstart = 2026-11-23T18:00:00"))
    assert line == 'source.start: needs a time zone: write "2026-11-23T18:00:00Z"'


def test_an_end_before_the_start_is_refused(tmp_path: Path) -> None:
    """Such a relay would have nothing to do."""
    text = MINIMAL.replace(
        "[source]", '[source]\nstart = "2026-11-23T17:00:00Z"\nend = "2026-11-23T16:00:00Z"'
    )
    [line] = problems(tmp_path, text)
    assert line.startswith("source.end: 2026-11-23T16:00:00Z is before start")


def test_an_emulator_takes_short_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By setting or by the variable that all Spanner clients know."""
    short = MINIMAL.replace("[source]", "[source]\nheartbeat_ms = 100")
    assert problems(tmp_path, short) == ["source.heartbeat_ms: must be 0 or 1000 to 300000, is 100"]
    by_setting = short.replace("[source]", '[source]\nemulator_host = "127.0.0.1:9010"')
    assert load(written(tmp_path, by_setting)).source.emulator == "127.0.0.1:9010"
    monkeypatch.setenv("SPANNER_EMULATOR_HOST", "127.0.0.1:9011")
    assert load(written(tmp_path, short)).source.emulator == "127.0.0.1:9011"


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("{database}/{tabel}/", '"{tabel}" is not known'),
        ("{table", 'must end in "/"'),
        ("{table/", '"{table/" is not known'),
        ("table}/", '"}" is not known'),
        ("{database}/all/", "must name {table}"),
    ],
)
def test_a_wrong_topic_is_refused(tmp_path: Path, topic: str, said: str) -> None:
    """The template's mistakes are found before anything connects."""
    [line] = problems(tmp_path, MINIMAL.replace("[source]", f'[source]\ntopic = "{topic}"'))
    assert said in line


def test_the_outputs_options_are_those_given(tmp_path: Path) -> None:
    """The core's defaults stay the core's: only what is written is handed on, and what a pub keeps."""
    config = load(written(tmp_path, MINIMAL + "queue_bytes = 1048576\nlinger_ms = 0\n"))
    given = {"queue_bytes": 1048576, "linger_ms": 0}
    assert config.output[0].options == given | {"ring_bytes": 64 << 20}


def test_the_schema_knows_every_setting_with_its_words() -> None:
    """Editors complete and explain from it."""
    document = schema()
    json.dumps(document)
    sections = 0
    for name, model in document["$defs"].items():
        sections += 1
        for setting, described in model["properties"].items():
            assert described.get("description"), f"{name}.{setting} says nothing about itself"
    assert sections == 6
    assert set(document["properties"]) == set(Config.model_fields)


def test_the_page_of_settings_is_complete() -> None:
    """docs/settings.md lists every setting in its section, in these words, with its bounds and default."""
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    checked = 0
    names = {name: f"{name.title()}Config" for name in Config.model_fields} | {"output.table": "TableConfig"}
    for section, model in ((name, schema()["$defs"][model]) for name, model in names.items()):
        [text] = [
            part for part in page.split("\n## ") if part.startswith((f"`[{section}]`", f"`[[{section}]]`"))
        ]
        rows = {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `")}
        assert set(rows) == set(model["properties"])
        for name, described in model["properties"].items():
            assert " ".join(described["description"].split()) in rows[name], f"{section}.{name}"
            for bound in ("minimum", "maximum"):
                one_of = described.get("anyOf", [described])[0]
                assert str(one_of.get(bound, "")) in rows[name], f"{section}.{name}"
            if described.get("default") is not None:
                assert f"| `{json.dumps(described['default'], ensure_ascii=False)}` |" in rows[name]
            checked += 1
    assert checked > 30


def test_what_an_output_chooses_is_checked_line_by_line(tmp_path: Path) -> None:
    """Every wrong name, condition, length and topic at once, each with what to write."""
    wrong = """
tables = ["sa*les"]
mod_types = ["UPSERT"]
topic = "{table}/{bucket}/"

[[output.table]]
name = ""
where = ["amount => 3", "a = null"]
truncate = { note = -1 }
"""
    found = problems(tmp_path, MINIMAL + wrong)
    assert found[:2] == [
        'output[0].tables: must be a table or the beginning of names and "*", such as "sales.*", is "sa*les"',
        'output[0].mod_types: must be "INSERT", "UPDATE" or "DELETE", is "UPSERT"',
    ]
    assert [line.split(": ")[0] for line in found[2:]] == [
        "output[0].table[0].name",
        "output[0].table[0].where",
        "output[0].table[0].where",
        "output[0].table[0].truncate",
        "output[0].topic",
    ]
    assert all("write a condition such as" in line for line in found if ".where" in line)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ('topic = "{table}/{bucket}/"', "output[0].topic: names {bucket}, and there are no buckets"),
        ("buckets = 4", 'output[0].topic: buckets needs one, such as "{database}'),
        ('buckets = 4\ntopic = "{table}/"', "output[0].topic: must name {bucket}"),
        ('buckets = 5000\ntopic = "{table}/{bucket}/"', "output[0].buckets: must be 1 to 4096, is 5000"),
        ('[[output.table]]\nname = "t"\nhash = ["a"]', "output[0].hash_key_file: hash needs a key"),
        ('[[output.table]]\nname = "t"\nmask = ["a"]\nexclude_columns = ["A"]', '"a" is in exclude_columns'),
        ('[[output.table]]\nname = "t"\ncolumns = ["b"]\nmask = ["a"]', '"a" is in mask and not in columns'),
        ('[[output.table]]\nname = "t"\nhide = ["a"]', "output[0].table[0].hide: unknown setting"),
    ],
)
def test_a_choice_that_cannot_work_is_refused(tmp_path: Path, choice: str, said: str) -> None:
    """In one line."""
    [problem] = problems(tmp_path, MINIMAL + choice)
    assert said in problem


def test_a_key_file_is_there_and_long_enough(tmp_path: Path) -> None:
    """The error names the file and never shows what is in it."""
    for content, said in [(None, "cannot be read"), ("hunter2", "a key of 7 bytes is guessed too easily")]:
        if content is not None:
            (tmp_path / "key").write_text(content)
        table = '[[output.table]]\nname = "t"\nhash = ["a"]'
        text = f'{MINIMAL}hash_key_file = "{tmp_path / "key"}"\n{table}'
        with pytest.raises(ConfigError, match=said) as caught:
            load(written(tmp_path, text)).output[0].choice()
        assert "hunter2" not in str(caught.value)


def test_a_name_or_a_value_never_breaks_the_line(tmp_path: Path) -> None:
    """What a line break or a terminal's control character is in is still told in one line each."""
    text = MINIMAL.replace('"p"', r'"p\nq"') + '"a\\nb" = 1\nmod_types = ["\\r", "\\u001b"]\n'
    assert [line.split("; ")[0] for line in problems(tmp_path, text)] == [
        r'source.project: must be a plain id such as "my-database" without slashes, is "p\nq"',
        r'output[0].mod_types: must be "INSERT", "UPDATE" or "DELETE", is "\r"',
        r'output[0].mod_types: must be "INSERT", "UPDATE" or "DELETE", is "\x1b"',
        r"output[0].a\nb: unknown setting",
    ]


def test_a_value_is_never_printed_at_length() -> None:
    """Whatever was pasted into a setting, the error stays a line."""
    with pytest.raises(ConfigError) as caught:
        parse({"source": {"project": "x" * 5000}, "output": []})
    assert all(len(line) < 250 for line in caught.value.problems)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            'kind = "replay"\nvalues = "json"',
            'output[1].values: does not go with kind = "replay", which has none',
        ),
        (
            'kind = "replay"\ntables = ["a"]',
            'output[1].tables: does not go with kind = "replay", which has none',
        ),
        ('kind = "replay"\nmax_replays = 20', "output[1].max_replays: must be 1 to 10, is 20"),
        ('kind = "push"\nmax_replays = 3', 'output[1].max_replays: goes with kind = "replay"'),
        ('kind = "push"\nring_bytes = 2', 'output[1].ring_bytes: goes with kind = "pub", "feed"'),
        ('kind = "feed"\non_full = "detach"', 'output[1].on_full: does not go with kind = "feed"'),
    ],
)
def test_a_setting_of_another_kind_of_output_is_refused(tmp_path: Path, output: str, said: str) -> None:
    """Instead of being ignored: each kind has settings that say nothing for others."""
    text = f'{MINIMAL}\n[[output]]\nbind = "tcp://127.0.0.1:5561"\n{output}\n'
    [problem] = problems(tmp_path, text)
    assert said in problem


def test_a_feed_and_a_replay_have_one_endpoint(tmp_path: Path) -> None:
    """Several would be several places to be asked, with nothing to say which is for whom."""
    for kind in ("feed", "replay"):
        text = f'{MINIMAL}\n[[output]]\nkind = "{kind}"\nbind = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]\n'
        [problem] = problems(tmp_path, text)
        assert problem.startswith(f'output[1].bind: kind = "{kind}" has one endpoint')


def test_outputs_are_numbered_without_those_that_only_answer(tmp_path: Path) -> None:
    """`Header.output` counts what changes go through; a relay needs one of them."""
    replay = '[[output]]\nkind = "replay"\nbind = "tcp://127.0.0.1:5570"\n'
    before, _, after = MINIMAL.partition("[[output]]")
    config = load(written(tmp_path, f"{before}{replay}[[output]]{after}"))
    assert [one.kind for one in config.lanes] == ["pub"]
    assert [one.kind for one in config.replays] == ["replay"]
    [problem] = problems(tmp_path, before + replay)
    assert problem.startswith('output: one of kind "replay" alone sends nothing; add a "pub"')
