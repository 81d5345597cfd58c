"""Datasets of other projects, in and out: a module per format; `registry` leads between them."""
