"""Mutated valid inputs of every untrusted format. Each module of this package is one format and has

NAME           the format's name in the table of outcomes
REGRESSIONS    {fault: function that writes a file with this fault to a folder and returns its path}
mutated(random, folder)
               writes a valid input with changes drawn from the `random.Random` and returns its path
read(path)     reads it as the program does and checks the result (an AssertionError is a finding);
               raises UserError for inputs that it rejects

`python tests/fuzz` tries thousands of each (see __main__.py); tests/test_hostile.py tries all regressions and some more.
"""
