"""The report: markdown for a terminal or a diff, HTML to look at."""
