"""A person corrects a robot while it learns: actor, learner, and what passes between them."""
