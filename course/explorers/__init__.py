"""What the lectures let a student move: ES modules that compute and draw in the page.

A module an explorer (`dayNN_name.js`), and for each day the Python (`dayNN.py`) that hands over words,
controls and data, and holds the twin of what the page computes. `kit.js` is what all share, `explorer.py` its
Python side, `modules.py` puts the files of an explorer into one text, `pictures.py` takes the still pictures.
"""
