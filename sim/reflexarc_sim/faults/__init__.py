"""Campaigns of faults on the compiled twin: does the interlock trip when it must, in time, and only then?"""
