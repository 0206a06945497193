"""What this machine is: the CPUs and instruction sets it gives the process, its fingerprint, its C library.

Nothing comes in but the system's own files; out go facts. Imports nothing of onyxrank but `errors`.
"""
