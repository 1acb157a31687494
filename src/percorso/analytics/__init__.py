"""Figures over many customers and long times: pure functions on arrays, without a database.

What happened is counted in *cells* (`cells.py`): one for an hour, a day or a month and for what it is counted by, such
as a touchpoint. Cells add up, those of distinct customers (`distinct.py`) and of response times (`histograms.py`) too,
so that any range is answered from few of them. What needs the order of events reads *steps* (`steps.py`): one for each
interaction.
"""
