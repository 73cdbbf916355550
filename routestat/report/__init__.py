"""Reports: findings as records, figures, pages and terminal summaries; nothing is computed here.

``records``    results.json and CSV tables
``figures``    figures, drawn with matplotlib
``html``       pages
``terminal``   what the commands print
``sentences``  the memory in sentences
``cautions``   marks beside numbers that have a caution
``numbers``    numbers, intervals and counts as text
"""
