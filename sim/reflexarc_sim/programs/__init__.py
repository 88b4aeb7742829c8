"""Campaign of random programs: does any string crash parser or checker, and does any that they accept trip the twin?"""
