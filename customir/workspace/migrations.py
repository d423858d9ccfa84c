"""The workspace's schema, as numbered steps. A step that has been released is never edited."""

import sqlite3

MIGRATIONS: tuple[str, ...] = (
    # 1: the stages' rows and the results of the units of work
    """
    CREATE TABLE stage (
        name TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,      -- of its input and settings; another one: stale
        finished INTEGER NOT NULL,      -- 0 while it is under way
        seconds REAL NOT NULL,          -- of work, over all runs, interruptions left out
        detail TEXT NOT NULL            -- JSON: what the report shows of it
    ) STRICT;

    CREATE TABLE work (                 -- how far a stage is with one kind of unit
        stage TEXT NOT NULL,
        kind TEXT NOT NULL,
        done INTEGER NOT NULL,
        total INTEGER NOT NULL,
        computed INTEGER NOT NULL,      -- of those done, what this stage itself computed,
        seconds REAL NOT NULL,          -- and how long that took
        PRIMARY KEY (stage, kind)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE result (               -- of a unit of work: never computed twice
        key TEXT PRIMARY KEY,
        kind TEXT NOT NULL,             -- query, judgment, embedding
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE document (
        key TEXT PRIMARY KEY,
        source TEXT NOT NULL,           -- the path as given to `ingest`
        identifier TEXT NOT NULL,       -- Message-ID, _id, or path below the source
        title TEXT NOT NULL,
        sender TEXT NOT NULL,
        date TEXT,                      -- ISO 8601, UTC
        thread TEXT NOT NULL,
        text TEXT NOT NULL              -- cleaned
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX document_thread ON document (thread);

    CREATE TABLE skipped (              -- read = kept + skipped
        source TEXT NOT NULL,
        identifier TEXT NOT NULL,       -- Message-ID, line number, or path below the source
        reason TEXT NOT NULL
    ) STRICT;

    CREATE TABLE passage (
        key TEXT PRIMARY KEY,
        document TEXT NOT NULL REFERENCES document (key) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,       -- position in the document, from 0
        text TEXT NOT NULL,             -- without the document's title
        duplicates TEXT NOT NULL        -- near-duplicate group: the smallest key in it
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX passage_document ON passage (document);

    CREATE TABLE query (
        key TEXT PRIMARY KEY,
        passage TEXT NOT NULL,          -- the passage that it was written for
        style TEXT NOT NULL,
        text TEXT NOT NULL,
        rejected TEXT,                  -- the filter that dropped it; NULL where kept
        split TEXT NOT NULL             -- train, dev or test, by thread
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE negative (             -- candidates, judged
        query TEXT NOT NULL REFERENCES query (key) ON DELETE CASCADE,
        passage TEXT NOT NULL,
        rank INTEGER NOT NULL,          -- from 0, hardest first
        score REAL,                     -- the judge's, in nats; NULL where not judged
        kept INTEGER NOT NULL,          -- 0: judged relevant, so masked instead of pushed away
        PRIMARY KEY (query, passage)
    ) STRICT, WITHOUT ROWID;
    """,
    # 2: what `show` shows, and what stands in front of a passage
    """
    ALTER TABLE document ADD COLUMN recipients TEXT NOT NULL DEFAULT '';
    CREATE INDEX document_identifier ON document (identifier);
    -- what stands above the text where it is embedded; NULL: the document's title
    ALTER TABLE passage ADD COLUMN header TEXT;

    CREATE TABLE original (
        document TEXT PRIMARY KEY REFERENCES document (key) ON DELETE CASCADE,
        text BLOB NOT NULL,             -- as the reader found it, UTF-8, deflated (zlib)
        refs TEXT NOT NULL,             -- Message-IDs that it answers, oldest first
        is_mail INTEGER NOT NULL        -- whether it was cleaned as mail
    ) STRICT, WITHOUT ROWID;
    """,
    # 3: what the judge is not sure of
    """
    ALTER TABLE negative ADD COLUMN verdict TEXT NOT NULL DEFAULT 'negative';
    UPDATE negative SET verdict = 'relevant' WHERE kept = 0;
    ALTER TABLE negative DROP COLUMN kept;
    """,
    # 4: what distillation learns
    """
    ALTER TABLE negative ADD COLUMN teacher REAL;  -- in units of its spread; NULL: no teacher
    """,
    # 5: the gate asks people's free queries too, so what it said before is to be said anew
    """
    DELETE FROM stage WHERE name IN ('evaluate', 'export', 'index');
    """,
    # 6: what was made of a document goes when the document has left the sources
    """
    CREATE TABLE removal (              -- one row from a removal until nothing of it is left
        pending INTEGER PRIMARY KEY
    ) STRICT;
    CREATE TABLE used (                 -- results that were asked for since then
        result TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;
    """,
    # 7: what has an attachment, and the language of each document; the sources are read again
    """
    -- names of the files that came with it, one on each line; or its own, where it is such a file
    ALTER TABLE document ADD COLUMN attachments TEXT NOT NULL DEFAULT '';
    ALTER TABLE document ADD COLUMN language TEXT NOT NULL DEFAULT '';  -- ISO 639-1; '': not known
    UPDATE stage SET fingerprint = '' WHERE name = 'ingest';
    """,
    # 8: distillation was removed
    """
    ALTER TABLE negative DROP COLUMN teacher;
    """,
    # 9: what was purged is not read again
    """
    CREATE TABLE purged (
        identity TEXT PRIMARY KEY       -- a hash; see DocumentHead.identity
    ) STRICT, WITHOUT ROWID;
    """,
)


def migrate(database: sqlite3.Connection) -> None:
    """Bring `database` to the newest schema, one transaction a step.

    Raises:
        ValueError: the file was written by a newer CustomIR.
    """
    version = version_of(database)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        database.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT")


def version_of(database: sqlite3.Connection) -> int:
    """The schema of `database`, 0 where it has none yet.

    Raises:
        ValueError: the file was written by a newer CustomIR.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ValueError(f"schema {version} is newer than this CustomIR's {len(MIGRATIONS)}")
    return int(version)
