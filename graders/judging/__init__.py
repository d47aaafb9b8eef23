"""The judge's side: references, known mistakes, and what compares a candidate with them."""
