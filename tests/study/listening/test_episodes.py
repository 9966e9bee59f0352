"""The scripts of episodes: how they are read, what is wrong with a bad one, and the course's own."""

import pytest

from course_lib.content import course_root, notebook_paths
from course_lib.study.checks.episodes import check_episodes
from course_lib.study.listening.episodes import (
    Episode,
    audio_path,
    faults,
    load_episode,
    load_episodes,
    parse_episode,
)

FOUR_HUNDRED = ("A short sentence that is easy to hear. " * 50).strip()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "episodes").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "05_loop.ipynb").write_text("{}")
    (tmp_path / "episodes" / "05_loop.md").write_text(f"# A loop\n\n{FOUR_HUNDRED}\n")
    return tmp_path


def test_a_script_has_a_title_and_paragraphs():
    episode = parse_episode("# A loop\n\nFirst line,\nsecond line.\n\n\nAnother paragraph.\n")
    assert episode == Episode("A loop", ("First line, second line.", "Another paragraph."))
    assert episode.text == "A loop.\n\nFirst line, second line.\n\nAnother paragraph."
    assert (episode.num_words, episode.minutes) == (6, 1)


@pytest.mark.parametrize("text", ["", "No title.\n\nText.", "# Only a title"])
def test_what_is_no_script_is_refused(text):
    with pytest.raises(ValueError, match="begins with '# ' and its title"):
        parse_episode(text)


@pytest.mark.parametrize(("num_words", "minutes"), [(150, 1), (151, 2), (450, 3)])
def test_minutes_are_rounded_up(num_words, minutes):
    assert Episode("A", ("word " * num_words,)).minutes == minutes


def test_a_good_script_has_no_fault():
    assert faults(Episode("A loop", (FOUR_HUNDRED,))) == []


@pytest.mark.parametrize(("num_words", "ok"), [(299, False), (300, True), (500, True), (501, False)])
def test_the_length_is_bounded(num_words, ok):
    sentences = "one two three four five six seven eight nine ten. " * 50
    text = " ".join((sentences + "end. " * 9).split()[:num_words])
    assert (faults(Episode("A", (text,))) == []) == ok


@pytest.mark.parametrize("mark", ["*", "_", "`", "$", "#", "=", "\\", "{", "https:", "/", "["])
def test_what_a_voice_cannot_say_is_named(mark):
    (fault,) = faults(Episode("A", (f"Here is {mark} in it. {FOUR_HUNDRED}",)))
    assert fault == f'what a voice cannot say: {mark} in "Here is {mark} in it."'


def test_a_sentence_that_is_too_long_is_named():
    (fault,) = faults(Episode("A", ("word " * 35 + "word. " + FOUR_HUNDRED,)))
    assert fault.startswith('a sentence of 36 words, more than 35: "word word')


def test_a_missing_episode_names_those_there_are(root):
    with pytest.raises(FileNotFoundError, match=r"notebook 07 has no episode to listen to\. There are: 05\."):
        load_episode("07", root)
    assert list(load_episodes(root)) == ["05"]


def test_a_faulty_file_is_named(root):
    (root / "episodes" / "05_loop.md").write_text("no title")
    with pytest.raises(ValueError, match=r"episodes/05_loop.md: a script begins"):
        load_episode("05", root)
    (complaint,) = check_episodes(root)
    assert complaint.where == "episodes/05_loop.md"


def test_a_recording_lies_beside_its_script(root):
    assert audio_path(root, "05_loop") is None
    (root / "episodes" / "05_loop.ogg").write_bytes(b"x")
    assert audio_path(root, "05_loop") == root / "episodes" / "05_loop.ogg"
    (root / "episodes" / "05_loop.mp3").write_bytes(b"x")
    assert audio_path(root, "05_loop").suffix == ".mp3"


def test_a_script_without_a_notebook_is_complained_about(root):
    assert list(check_episodes(root)) == []
    (root / "episodes" / "06_gone.md").write_text(f"# Gone\n\n{FOUR_HUNDRED}\n")
    (complaint,) = check_episodes(root)
    assert (complaint.where, complaint.what) == ("episodes/06_gone.md", "it belongs to no notebook")


def test_the_courses_own_scripts_are_good():
    episodes = load_episodes(course_root())
    assert set(episodes) <= set(notebook_paths())
    assert {number: faults(episode) for number, episode in episodes.items() if faults(episode)} == {}
    assert "00" in episodes
