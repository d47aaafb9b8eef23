"""What helps a reader keep a lecture: predictions, dialogue, summary, reading aloud, cards, quiz.

One file a day holds the texts (`days/dayNN.toml`), and a lecture shows each of them with one call:

    dialogue("day26")
    summary("day26")
    listen("day26")
    flashcards("day26")
    quiz("day26")
    predict("day26", "small-variance", measured)

Everything comes from this folder and from installed packages, nothing from the network. What is
stored in a notebook can be read without a kernel, and also where no script runs.
"""

from course.study.decks import flashcards, quiz
from course.study.listen import listen
from course.study.pages import dialogue, summary
from course.study.predict import predict
from course.study.texts import StudyError

__all__ = ["StudyError", "dialogue", "flashcards", "listen", "predict", "quiz", "summary"]
