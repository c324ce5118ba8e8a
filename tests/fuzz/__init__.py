"""Mutated valid inputs of every format that is read from others. Each module of this package is one format and has

NAME           the format's name in the table of outcomes
REGRESSIONS    {what is wrong with it: function of a folder that writes such a file and returns its path}
mutated(random, folder)
               writes a valid input with changes drawn from the `random.Random` and returns its path
read(path)     reads it as the program does and checks what it got (an AssertionError is a finding);
               raises UserError for what it refuses

`python tests/fuzz` tries thousands of each (see __main__.py); tests/test_hostile.py tries all regressions and some more.
"""
