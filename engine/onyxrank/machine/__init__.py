"""What this machine is: its CPUs and instruction sets, its fingerprint, its C library, its optional packages.

The room reads what the system and the installation tell about themselves and hands out facts; it decides nothing.
It may import only `errors` of onyxrank.
"""
