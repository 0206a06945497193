"""Decides which call runs next, runs it on a few threads, and brings the answer to the caller in time.

In come calls as steps with needs and costs, out go their margins; `queue` has the policy and `scheduler` the threads.
`leases` lets a call keep its engine while another one takes over. The room does not know what a step computes.
It may import `architectures` and what is below it, but never the tokenizer's library.
"""
