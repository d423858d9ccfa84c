"""Migrations of the index from the formats of earlier releases. A released step is never edited."""

import apsw

OLDEST = 5  # of release 0.2.0
# From each format to the next one, for one generation of tables. New columns come last, in the order
# of the schema. Their values are filled in when the passages are next updated.
MIGRATIONS = {
    5: """
        ALTER TABLE passage_{number} ADD COLUMN ordinal INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE passage_{number} ADD COLUMN recipients TEXT NOT NULL DEFAULT '';
        ALTER TABLE passage_{number} ADD COLUMN attachments TEXT NOT NULL DEFAULT '';
        ALTER TABLE passage_{number} ADD COLUMN language TEXT NOT NULL DEFAULT '';
    """,
    6: """
        ALTER TABLE passage_{number} ADD COLUMN thin INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX passage_{number}_thin ON passage_{number} (id) WHERE thin;
    """,
}


def migrate(database: apsw.Connection, version: int, newest: int) -> None:
    """Bring an index from one format to another, in one transaction."""
    with database:
        numbers = [
            number for (number,) in database.execute("SELECT number FROM generation").fetchall()
        ]
        for step in range(version, newest):
            for number in numbers:
                database.execute(MIGRATIONS[step].format(number=number))
        database.execute(f"PRAGMA user_version = {newest}")
