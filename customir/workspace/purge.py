"""Deleting documents at once, together with everything that may have been made from them."""

from collections.abc import Iterable, Sequence

from customir.workspace.database import Workspace
from customir.workspace.documents import DocumentHead, delete_documents
from customir.workspace.queries import SELF_SUPERVISED_STYLES

UNDER_WAY = 2  # the value of `removal` until a purge has finished; other removals write 1


def count_trained_documents(workspace: Workspace, keys: Sequence[str]) -> int:
    """Count the documents of `keys` with a passage that the adapter was trained on."""
    wanted = set(keys)
    rows = workspace.database.execute(
        "SELECT DISTINCT document FROM passage WHERE key IN "
        "(SELECT passage FROM query WHERE split = 'train' AND rejected IS NULL "
        "UNION SELECT passage FROM negative WHERE verdict = 'negative')"
    )
    return sum(document in wanted for (document,) in rows)


def purge_under_way(workspace: Workspace) -> bool:
    """Whether a purge was begun and has not finished."""
    row = workspace.database.execute(
        "SELECT 1 FROM removal WHERE pending = ?", (UNDER_WAY,)
    ).fetchone()
    return row is not None


def purge_documents(workspace: Workspace, documents: Sequence[DocumentHead]) -> None:
    """Delete documents and keep them out when their sources are read again, in one transaction.

    Self-supervised queries are deleted too, because the text of one message can be the query of
    another, and so are all embeddings and judgments, because nothing tells of which texts they were
    made. What the LLM wrote for other documents stays. Summaries of stages are deleted, because
    they contain samples of texts. Call `finish_purge` at the end.
    """
    styles = ", ".join(f"'{style}'" for style in sorted(SELF_SUPERVISED_STYLES))
    with workspace.transaction() as database:
        database.execute("INSERT OR IGNORE INTO removal VALUES (?)", (UNDER_WAY,))
        add_purged(workspace, (document.identity for document in documents))
        delete_documents(database, [document.key for document in documents])
        database.execute(f"DELETE FROM query WHERE style IN ({styles})")
        database.execute(
            "DELETE FROM result WHERE kind <> 'query' "
            "OR value NOT IN (SELECT CAST(text AS BLOB) FROM query)"
        )
        for table in ("negative", "skipped", "used", "work", "stage"):
            database.execute(f"DELETE FROM {table}")


def finish_purge(workspace: Workspace) -> bool:
    """Rewrite the file without what was deleted.

    Returns:
        Whether nothing is left; False if another process is reading the file just now.
    """
    finished = workspace.rewrite()
    if finished:
        workspace.end_removal()
    return finished


def add_purged(workspace: Workspace, identities: Iterable[str]) -> None:
    """Keep documents out by their identities."""
    workspace.database.executemany(
        "INSERT OR IGNORE INTO purged VALUES (?)", ((identity,) for identity in identities)
    )


def read_purged(workspace: Workspace) -> frozenset[str]:
    """Read the identities of purged documents."""
    return frozenset(
        identity for (identity,) in workspace.database.execute("SELECT identity FROM purged")
    )
