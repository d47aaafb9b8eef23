"""The wall around a student's code, seen from outside: the jail, and the box that talks to what is in it.

What runs inside is `graders.probing.process`. Nothing here knows an exercise, let alone an answer.
"""
