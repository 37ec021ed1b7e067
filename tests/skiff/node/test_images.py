"""Which program does an image stand for, and what does a wrong table say?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skiff.node.images import ImagesError, add, remove, rows, sought
from skiff.node.visible import of_words


@pytest.mark.finding("skiff 11")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {image: a\n- {image: b}", "line 2: no YAML"),
        ("image: a", "must be a list of images"),
        ("- {image: ok}\n\n- {image: a, entry: [ls]}", 'line 3: unknown key "entry"'),
        ("- {entrypoint: [ls]}", 'line 1: needs "image"'),
        ("- null", 'line 1: needs "image"'),
        ("- {image: a, entrypoint: ls}", "entrypoint must be a list of texts, not 'ls'"),
        ("- {image: a, entrypoint: [[ls]]}", "entrypoint must be a list of texts"),
        ("- {image: a, user: root}", "user must be a number"),
        ("- {image: a, env: [A]}", "env must be a map"),
        ("- {image: a, commands: {x: ls}}", "commands: x must be"),
        ("- {image: a, commands: {../x: [ls]}}", "commands: ../x must be"),
        ("- {image: a, paths: [data]}", 'paths: "data" must begin with /'),
        ("[" * 5000, "images.yaml"),
        ("- &a [*a]", 'needs "image"'),
        ("x" * (2**20 + 1), "larger than"),
        ("\udcff".encode("utf-8", "surrogateescape"), "cannot be read"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, text: str | bytes, said: str) -> None:
    (tmp_path / "images.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    assert said in sought("example.com/app:1", tmp_path).why
    with pytest.raises(ImagesError):
        rows(tmp_path)
    assert sought("busybox", tmp_path).image  # what skiff brings goes on


def test_lines_are_added_and_removed_and_all_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text("# mine\n- image: old\n  entrypoint: [ls]\n\n- {image: 'b:*', entrypoint: [cat]} # two\n")
    add(tmp_path, "app:1", ["/bin/sh", "-c", "echo 'a b'"], ["/srv"])
    add(tmp_path, "app:1", ["/bin/sleep", "3"], [])
    found = sought("app:1", tmp_path).image
    assert found is not None
    assert found.entrypoint == ["/bin/sleep", "3"]
    assert remove(tmp_path, "old")
    assert not remove(tmp_path, "b:2")
    assert file.read_text().splitlines()[1:] == ["# mine", "- {image: 'b:*', entrypoint: [cat]} # two"]
    for argv in (["no-such-program"], ["./run"], ["bin/run"]):
        with pytest.raises(ImagesError):
            add(tmp_path, "x", argv, [])
    file.write_text(json.dumps([{"image": "a", "entrypoint": ["ls"]}, {"image": "b", "entrypoint": ["ls"]}]))
    add(tmp_path, "c", ["ls"], [])
    assert [it for it, _ in rows(tmp_path)][:3] == ["c", "a", "b"]
    assert remove(tmp_path, "a")
    assert [it for it, _ in rows(tmp_path)][:2] == ["c", "b"]


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skiff.cli import app

    monkeypatch.setenv("SKIFF_HOME", str(tmp_path))
    run = CliRunner()
    said = run.invoke(app, ["images", "add", "shop:*", "--path", "/srv/shop", "--", "/bin/sh", "-c", "true"])
    assert said.exit_code == 0, said.output
    assert "/srv/shop" in (tmp_path / "images.yaml").read_text()
    assert "/bin/sh -c true" in run.invoke(app, ["images"]).output
    assert json.loads(run.invoke(app, ["images", "list", "-o", "json"]).output)[0]["image"] == "shop:*"
    removed = run.invoke(app, ["images", "remove", "shop:*"])
    assert (removed.exit_code, "the line for shop:* is gone" in removed.output) == (0, True)
    assert run.invoke(app, ["images", "remove", "shop:*"]).exit_code == 1


@pytest.mark.finding("skiff 11")
def test_what_of_the_host_a_program_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "checkout"
    (app / "env" / "bin").mkdir(parents=True)
    for it in (app / "serve.py", app / "env" / "bin" / "python", tmp_path / "alone"):
        it.write_text("")
    here = str(tmp_path)
    assert of_words([f"{app}/env/bin/python", "-u", "serve.py"]) == {f"{app}/env"}
    assert of_words([f"{app}/serve.py", "--dir", "/tmp", here]) == {str(app)}
    # The folder of a person, or one of everybody, is not shown as a whole.
    monkeypatch.setattr("skiff.node.visible._PEOPLE", (str(tmp_path.parent),))
    assert of_words([f"{here}/alone"]) == {f"{here}/alone"}
