"""Are the metrics worth anything? Clean clips are spoiled in graded ways, and each metric judged.

rows = [row for clip in clips for row in measure(clip, evaluator)]
report = summarise(rows)
"""
