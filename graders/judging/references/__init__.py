"""The judge's side: what is right, and what people get wrong, one module a day.

Code that runs a student's work never imports this package; a test holds that.
"""
