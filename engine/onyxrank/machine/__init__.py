"""What this machine is: its CPUs and instruction sets, its fingerprint, its C library.

The room reads what the operating system tells about itself and hands out facts; it decides nothing.
It may import only `errors` of onyxrank.
"""
