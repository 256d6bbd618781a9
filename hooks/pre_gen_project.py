"""Check the answers when nothing was asked, as in a replay: rendering this file does it."""
# {{ cookiecutter | require_valid_answers }}
