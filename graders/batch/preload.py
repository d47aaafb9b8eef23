"""What every worker of a pool needs, imported once in the process that they are forked from."""

import typer  # noqa: F401  (the command line, which each of them looks at once)

import graders.batch.notebook  # noqa: F401
from graders import catalogue

for _name in catalogue.exercises():
    catalogue.answer_of(_name)
