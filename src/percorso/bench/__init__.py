"""`percorso bench`: how fast this machine is, each figure a ratio to a limit taken in the same run.

Every server and load generator is a process of its own: `server` and `load` are run as programs. `load`, `events` and
`responses` import nothing but the standard library, so that a load starts fast.
"""
