"""What the lectures let a student move: ipywidgets around experiments and figures.

A module a day, and `shared` for the wiring, which is the same for every day: an explorer is put
together from a pure function (settings -> state), a drawing (state -> artists) and sliders.
"""
