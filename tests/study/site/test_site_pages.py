"""The website as a reader meets it: answering, turning cards, searching, on a desk and on a phone, offline."""

import json
import re

import pytest

from course_lib.study.material.deck import load_deck, load_quiz
from course_lib.study.material.grading import right_answer

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PAGES = [
    "index.html",
    "notebooks/05_training_loop.html",
    "practice/05.html",
    "review.html",
    "glossary.html",
    "concept-map.html",
    "results.html",
    "reference/losses.html",
    "search.html?q=gradient",
]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_quietly_and_fits_a_phone(visit, name):
    page = visit(**PHONE).open(name)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.querySelectorAll('article img:not([alt]), article img[alt=\"\"]').length") == 0


@pytest.mark.parametrize("name", ["notebooks/05_training_loop.html", "practice/05.html", "glossary.html"])
def test_maths_is_set_and_read_out(visit, name):
    page = visit().open(name)
    page.wait_for_selector("article mjx-container svg")
    assert page.locator("article mjx-container").count() == page.locator("article mjx-assistive-mml math").count()
    assert page.locator("article merror, article [data-mjx-error]").count() == 0
    texts = page.locator("article p").all_inner_texts()
    assert [text for text in texts if re.search(r"\$[^$]+\$", text)] == []


def test_a_wrong_answer_is_explained_and_a_right_one_kept(visit):
    reader = visit()
    page = reader.open("practice/05.html#05-q-norm")
    quiz = page.get_by_role("region", name="Quiz 05")
    quiz.get_by_label("Your answer").fill("3")
    page.keyboard.press("Enter")
    told = quiz.get_by_role("status")
    assert "Not quite. The answer is 1.6." in told.inner_text()
    assert told.get_by_role("link", name="Gradient norm").get_attribute("href").endswith("#concept-gradient-norm")
    quiz.get_by_role("button", name="Try again").click()
    quiz.get_by_label("Your answer").fill("1.6")
    quiz.get_by_role("button", name="Check").click()
    assert told.inner_text().startswith("Right.")
    page = reader.open("practice/05.html")
    quiz.get_by_role("button", name="Question 1, answered rightly").wait_for()
    events = json.loads(page.evaluate("courseProgress.exported()"))["events"]
    assert [(event["subject"], event["result"], event["answer"]) for event in events] == [
        ("05-q-norm", 0, "3"),
        ("05-q-norm", 1, "1.6"),
    ]


@pytest.mark.parametrize("kind", ["single", "multiple", "ordering", "output"])
def test_each_kind_of_question_can_be_answered_by_keyboard(visit, kind):
    question = next(question for question in load_quiz("05").questions if question.kind == kind)
    page = visit().open(f"practice/05.html#{question.id}")
    quiz = page.get_by_role("region", name="Quiz 05")
    for letter in right_answer(question).split():
        quiz.locator(f"label[data-letter={letter}] input, button[data-letter={letter}]").focus()
        page.keyboard.press("Space")
    quiz.get_by_role("button", name="Check", exact=True).focus()
    page.keyboard.press("Enter")
    assert quiz.get_by_role("status").inner_text().startswith("Right.")
    assert page.evaluate("document.activeElement.textContent") == "Next question"


def test_what_cannot_be_read_is_not_counted(visit):
    page = visit().open("practice/05.html#05-q-norm")
    quiz = page.get_by_role("region", name="Quiz 05")
    quiz.get_by_role("button", name="Check").click()
    assert quiz.get_by_role("status").inner_text() == "Not counted: type a number first."
    quiz.get_by_label("Your answer").fill("1,6")
    page.keyboard.press("Enter")
    assert "write a decimal point" in quiz.get_by_role("status").inner_text()
    assert page.evaluate("courseProgress.events()") == []


def test_the_end_of_a_quiz_says_what_to_look_at_again(visit):
    page = visit().open("practice/05.html")
    questions = load_quiz("05").questions
    for question in questions[1:]:
        page.evaluate("id => courseProgress.recordAnswer(id, true, '')", question.id)
    page.reload()
    quiz = page.get_by_role("region", name="Quiz 05")
    quiz.get_by_label("Your answer").fill("0")
    page.keyboard.press("Enter")
    told = quiz.get_by_role("status").inner_text()
    assert f"All {len(questions)} answered, {len(questions) - 1} right." in told


def test_a_card_is_turned_rated_and_comes_back(visit):
    reader = visit()
    page = reader.open("practice/05.html")
    cards = page.get_by_role("region", name="Cards 05")
    first = load_deck("05").cards[0]
    assert f"{len(load_deck('05').cards)} to go" in cards.inner_text()
    assert cards.get_by_role("button", name="Good").is_hidden()
    cards.get_by_role("button", name="Show answer").focus()
    page.keyboard.press("Enter")
    assert "What changes is the stream of batches" in cards.inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Good 10 min"
    page.keyboard.press("Enter")
    assert "That card returns in 10 min." in cards.inner_text()
    page.reload()
    assert f"{len(load_deck('05').cards) - 1} to go" in cards.inner_text()
    assert page.evaluate("[...courseProgress.cards().keys()]") == [first.id]


def test_the_review_mixes_decks_and_shows_and_takes_in_progress(visit, tmp_path):
    page = visit().open("review.html")
    review, standing = (page.get_by_role("region", name=name) for name in ("Review", "Your progress"))
    assert "20 to go" in review.inner_text()  # as many new cards as a day has
    review.get_by_role("button", name="Show answer").click()
    review.get_by_role("button", name="Easy").click()
    page.reload()
    assert "1 of" in standing.inner_text()
    assert "19 to go" in review.inner_text()
    with page.expect_download() as download:
        standing.get_by_role("button", name="Export progress").click()
    file = tmp_path / "progress.json"
    download.value.save_as(file)
    assert len(json.loads(file.read_text())["events"]) == 1
    page.evaluate("localStorage.clear()")
    page.reload()
    standing.get_by_label("Progress file to import").set_input_files(file)
    page.wait_for_selector("text=1 new events imported.")
    assert "1 of" in standing.inner_text()


def test_a_browser_that_keeps_nothing_is_told_and_goes_on(visit):
    reader = visit()
    full = "if (key.startsWith('how-ai')) throw new DOMException('', 'QuotaExceededError')"
    reader.context.add_init_script(f"Storage.prototype.setItem = function (key) {{ {full} }}")
    quiz = reader.open("notebooks/05_training_loop.html").get_by_role("region", name="Quiz 05")
    quiz.get_by_label("Your answer").fill("1.6")
    quiz.get_by_role("button", name="Check").click()
    told = quiz.get_by_role("status").inner_text()
    assert told.startswith("Right.")
    assert "Not kept: this browser stores nothing" in told


def test_without_scripts_questions_and_answers_are_there_to_read(visit):
    reader = visit(java_script_enabled=False)
    reader.page.goto(f"{reader.html.as_uri()}/practice/05.html")
    page = reader.page
    assert page.locator("[data-course=quiz] details").count() == len(load_quiz("05").questions)
    assert page.locator("[data-course=cards] details").count() == len(load_deck("05").cards)


def test_the_search_finds_a_term_of_the_glossary_and_a_function(visit):
    reader = visit()
    page = reader.open("search.html?q=gradient+clipping")
    term = page.get_by_role("link", name="Gradient clipping", exact=True)
    term.wait_for()
    assert term.get_attribute("href").split("#")[0].endswith("glossary.html")
    page = reader.open("search.html?q=focal")
    page.get_by_role("link", name="course_lib.losses.focal", exact=True).wait_for()


def test_the_map_shows_what_a_concept_needs_and_leads_to(visit):
    page = visit().open("concept-map.html")
    page.locator("#map-gradient-norm").focus()
    told = page.locator(".course-map-told").inner_text()
    assert told.startswith("Gradient norm: needs ")
    assert "Gradient clipping" in told.split("leads to")[1]
    assert "course-built" in page.locator("#map-gradient-clipping").get_attribute("class")
    page.locator("#map-gradient-norm").blur()
    assert page.locator(".course-lit").count() == 0


def test_the_glossary_leads_to_section_card_question_and_reference(visit):
    reader = visit()
    page = reader.open("glossary.html#concept-gradient-clipping")
    entry = page.locator("dd", has=page.locator("[id=concept-gradient-clipping]"))
    targets = entry.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert "notebooks/05_training_loop.html#gradient-norm-and-clipping" in targets
    assert "practice/05.html#05-q-norm" in targets
    page = reader.open("practice/05.html#05-c-clip")
    assert "Gradient clipping" in page.get_by_role("region", name="Cards 05").inner_text()
    page = reader.open("glossary.html")
    assert page.locator("a[href='reference/losses.html#course_lib.losses.focal']").count() == 0  # 03 is not built here


def test_every_control_has_a_name_that_is_read_out(visit):
    reader = visit()
    for name in ("practice/05.html", "review.html"):
        page = reader.open(name)
        nameless = page.evaluate(
            """[...document.querySelectorAll('.course-study :is(button, input, select)')].filter(control =>
                !(control.textContent.trim() || control.getAttribute('aria-label') || control.labels?.length)).length"""
        )
        assert nameless == 0
