"""What each kind of model decides: one object per architecture.

In come token ids and open sessions; out go the steps of a call, what each costs, and the margins that they answer.
`registry` names the architectures there are. Imports `request` and `sessions`.
"""
