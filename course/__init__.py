"""The lectures and what they are made of: experiments compute, figures draw, explorers interact."""
