"""Grades submissions of a whole class: what is read, run in the sandbox, judged and recorded."""
