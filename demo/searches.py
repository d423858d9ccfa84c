"""Print searches for mail of your own: held-out queries that adapting wrote and never trained on."""

import sqlite3
import sys
from pathlib import Path

SEARCHES = 3


def main() -> None:
    database = Path(sys.argv[1], "workspace.db")
    # Shortest first would pick the poorest; every n-th of them is a fair sample.
    with sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT text FROM query WHERE split = 'test' AND rejected IS NULL ORDER BY key"
        ).fetchall()
    if not rows:
        sys.exit(f"{database}: no held-out query. There was too little mail to hold any out.")
    for row in rows[:: max(1, len(rows) // SEARCHES)][:SEARCHES]:
        print(" ".join(row[0].split()))


if __name__ == "__main__":
    main()
