"""What a process that judges again needs, imported once in the one that all of them are forked from."""

from graders.batch.importing import much_is_imported

with much_is_imported():
    import graders.batch.notebook
    import graders.classroom.regrade
    import graders.judging.judge
    import graders.judging.report
    import graders.probing.process.values  # noqa: F401
    from graders.judging import catalogue

    catalogue.exercises()
