"""Scripts around clients of SMSC that stand on PyPI: each in a process of its own, as users run it.

Their addresses are fixed; each is turned to the simulator by the one attribute that holds it.
"""
