"""The process in which a submission runs: the warm one that forks, what a fork does, and what it says.

Nothing here knows the judge; `protocol` is what both sides of the wall speak.
"""
