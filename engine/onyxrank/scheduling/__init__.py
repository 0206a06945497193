"""Who runs next: the queue's policy, its threads, deadlines, and which engine a call holds on to.

In come calls, each a few steps with needs and costs; out go their margins, in the order that is fair to all.
It knows nothing of what a step computes. Imports `architectures` for the steps.
"""
