"""The Anki package, imported with the real Anki: notes, maths, subdecks, and updates that do not double anything."""

import re

import pytest
import yaml
from anki.collection import Collection, ImportAnkiPackageOptions, ImportAnkiPackageRequest
from anki.import_export_pb2 import IMPORT_ANKI_PACKAGE_UPDATE_CONDITION_IF_NEWER

from course_lib.study.material.anki_export import anki_html, export_anki

EARLY, LATE = 1_770_000_000.0, 1_770_000_060.0


@pytest.fixture
def collection(tmp_path):
    collection = Collection(str(tmp_path / "collection.anki2"))
    yield collection
    collection.close()


def import_package(collection, path):
    """As Anki's dialogue does with its settings untouched."""
    options = ImportAnkiPackageOptions(
        merge_notetypes=False,
        update_notes=IMPORT_ANKI_PACKAGE_UPDATE_CONDITION_IF_NEWER,
        update_notetypes=IMPORT_ANKI_PACKAGE_UPDATE_CONDITION_IF_NEWER,
        with_scheduling=False,
        with_deck_configs=False,
    )
    return collection.import_anki_package(ImportAnkiPackageRequest(package_path=str(path), options=options)).log


def notes(collection):
    found = [collection.get_note(note_id) for note_id in collection.find_notes("")]
    return {note["Id"]: note for note in found}


def change_card(course, name, **changes):
    path = course / "flashcards" / "00_start_here.yaml"
    content = yaml.safe_load(path.read_text())
    for card in content["cards"]:
        if card["id"] == name:
            card |= changes
    path.write_text(yaml.safe_dump(content))


def test_importing_again_updates_notes_and_doubles_none(course, tmp_path, collection):
    assert export_anki(tmp_path / "deck.apkg", written_at=EARLY) == 4
    import_package(collection, tmp_path / "deck.apkg")
    before = notes(collection)
    card_ids = sorted(collection.find_cards(""))
    assert len(before) == len(card_ids) == 4

    due = collection.get_card(card_ids[0])
    due.ivl, due.type, due.queue = 30, 2, 2  # the learner has reviewed it
    collection.update_card(due)
    change_card(course, "00-c-baseline", back="A score that is *easily* had.", concepts=["training", "baseline"])
    export_anki(tmp_path / "deck.apkg", written_at=LATE)
    log = import_package(collection, tmp_path / "deck.apkg")

    after = notes(collection)
    assert (len(log.new), len(log.updated)) == (0, 4)
    assert {name: note.id for name, note in after.items()} == {name: note.id for name, note in before.items()}
    assert sorted(collection.find_cards("")) == card_ids
    assert after["00-c-baseline"]["Back"] == "<p>A score that is <em>easily</em> had.</p>"
    assert sorted(after["00-c-baseline"].tags) == ["baseline", "level::recall", "training"]
    assert after["00-c-training"].fields == before["00-c-training"].fields
    assert collection.get_card(card_ids[0]).ivl == 30  # and the schedule was kept


def test_each_notebook_has_its_subdeck(course, tmp_path, collection):
    export_anki(tmp_path / "deck.apkg", written_at=EARLY)
    import_package(collection, tmp_path / "deck.apkg")
    names = {deck.name for deck in collection.decks.all_names_and_ids()} - {"Default"}
    top = "How AI models are trained"
    assert names == {top, f"{top}::00 In one sitting", f"{top}::01 Average loss"}
    assert len(collection.find_cards(f'"deck:{top}::00 In one sitting"')) == 3
    assert len(collection.find_cards("tag:risk")) == 1


def test_anki_renders_maths_and_both_sides(course, tmp_path, collection):
    export_anki(tmp_path / "deck.apkg", written_at=EARLY)
    import_package(collection, tmp_path / "deck.apkg")
    (card_id,) = collection.find_cards("Id:00-c-training")
    shown = collection.get_card(card_id).answer()
    assert r"\(L(\theta)\)" in shown
    assert "<em>training</em>" in shown
    assert "00 In one sitting" in re.sub(r"<[^>]+>", "", shown)


def test_html_of_a_card_carries_no_script_and_no_dollars():
    assert anki_html("<script>alert(1)</script>") == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"
    assert anki_html("$$a < b$$") == r"\[a &lt; b\]"
    assert anki_html("a price of \\$5 and `$x$`") == "<p>a price of $5 and <code>$x$</code></p>"


def test_mistakes_are_named_and_leave_nothing_behind(course, tmp_path):
    with pytest.raises(ValueError, match=r"call it deck\.apkg"):
        export_anki(tmp_path / "deck.zip")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        export_anki(tmp_path / "nowhere" / "deck.apkg")
    for path in (course / "flashcards").glob("0*.yaml"):
        path.unlink()
    with pytest.raises(ValueError, match="no cards to export"):
        export_anki(tmp_path / "deck.apkg")
    assert not (tmp_path / "deck.apkg").exists()
