"""What every worker of a pool needs, imported and looked up once in the process that they are forked from.

`graders.batch.judge_ahead` is the same for courses with checks of ours.
"""

from graders.batch.importing import much_is_imported

with much_is_imported():
    import typer  # noqa: F401  (the command line, which each of them looks at once)

    import graders.batch.notebook
    import graders.sandbox.box  # noqa: F401
    from graders.sandbox import jail

    jail.forbids_programs()
