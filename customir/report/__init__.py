"""The report, as Markdown for a terminal or a diff and as HTML for a browser."""
