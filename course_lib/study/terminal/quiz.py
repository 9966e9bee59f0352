"""A notebook's quiz in the terminal: every kind of question, feedback at once, and what to look at again."""

from __future__ import annotations

from course_lib.study.material.grading import grade, shuffled_choices, shuffled_items
from course_lib.study.material.schema import Glossary, NumericQuestion, OrderingQuestion, OutputQuestion, Question, Quiz
from course_lib.study.memory.progress import Progress
from course_lib.study.terminal.console import Leave, Terminal


def quiz_in_terminal(
    terminal: Terminal, progress: Progress, quiz: Quiz, glossary: Glossary, *, missed_only: bool = False
) -> tuple[int, int]:
    """Ask the questions of a quiz, telling after each whether the answer was right, and why.

    Args:
        terminal: Where to ask.
        progress: Where answers go, each before the next question is asked.
        quiz: The questions.
        glossary: Names the concepts to look at again.
        missed_only: Leave out the questions whose last answer was right.

    Returns:
        How many were answered rightly, and how many were answered.
    """
    known = progress.summary().questions
    questions = [question for question in quiz.questions if not (missed_only and known.get(question.id))]
    terminal.console.print(f"[bold]{len(questions)} questions.[/bold] Enter sends an answer, q stops.")
    results: dict[str, bool] = {}
    try:
        for number, question in enumerate(questions, 1):
            terminal.console.print()
            terminal.console.rule(f"{number} of {len(questions)} · {question.level}", align="left", style="dim")
            _show(terminal, question)
            results[question.id] = _asked(terminal, progress, question)
    except (Leave, KeyboardInterrupt):
        terminal.console.print("\nStopped; every answer so far is recorded.")
    _result_line(terminal, questions, results, glossary)
    return sum(results.values()), len(results)


def _show(terminal: Terminal, question: Question) -> None:
    from rich.padding import Padding
    from rich.syntax import Syntax
    from rich.text import Text

    terminal.markdown(question.prompt)
    if isinstance(question, OutputQuestion):
        terminal.console.print(Padding(Syntax(question.code.strip(), "python", theme="ansi_dark", word_wrap=True), 1))
        for letter, choice in shuffled_choices(question).items():
            terminal.lettered(letter, Text(choice.text.strip()))
    elif isinstance(question, OrderingQuestion):
        for letter, item in shuffled_items(question).items():
            terminal.lettered(letter, item)
    elif not isinstance(question, NumericQuestion):
        for letter, choice in shuffled_choices(question).items():
            terminal.lettered(letter, choice.text)


def _asked(terminal: Terminal, progress: Progress, question: Question) -> bool:
    """Ask until the answer can be read; record it, and say whether it was right."""
    while True:
        answer = terminal.line(f"\n{_how_to_answer(question)}: ")
        try:
            verdict = grade(question, answer)
        except ValueError as error:
            terminal.console.print(f"This cannot be read: {error}", style="yellow", markup=False)
            continue
        progress.record_answer(question.id, verdict.right, answer)
        terminal.marked("green" if verdict.right else "red", verdict.feedback)
        return verdict.right


def _how_to_answer(question: Question) -> str:
    if isinstance(question, NumericQuestion):
        return f"A number, in {question.unit}" if question.unit else "A number"
    if isinstance(question, OrderingQuestion):
        return f"All {len(question.items)} letters, first to last"
    letters = list(shuffled_choices(question))
    span = f"{letters[0]} to {letters[-1]}"
    return f"Every right one of {span}" if question.kind == "multiple" else span


def _result_line(terminal: Terminal, questions: list[Question], results: dict[str, bool], glossary: Glossary) -> None:
    right = sum(results.values())
    terminal.console.print(
        f"\n[bold]{right} of {len(results)} right[/bold], {len(questions) - len(results)} not answered."
    )
    names = glossary.by_id()
    again = dict.fromkeys(
        concept for question in questions if results.get(question.id) is False for concept in question.concepts
    )
    if again:
        shown = ", ".join(f"{names[concept].name} (notebook {names[concept].home})" for concept in again)
        terminal.console.print(f"Look again at: {shown}.")
