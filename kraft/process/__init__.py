"""The process of one node: command line options, the order of start and stop, signals and fatal errors.

The only package that knows all others. `kraft.tap` is its door for twistd.
"""
