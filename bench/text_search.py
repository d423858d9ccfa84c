"""Search by words in every script: the index's tokenizer beside FTS5's own `porter unicode61` and `trigram`.

Sixty Chinese notes are searched for the one word that distinguishes each; BEIR folders given as arguments are
ranked by BM25 alone. Each tokenizer gets the same texts. CustomIR splits queries by its own rules, the others
at white space and punctuation.

    python bench/text_search.py data/scifact
    python bench/text_search.py --quick
"""

import argparse
import csv
import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import apsw

from customir.runtime.fts_tokenizer import any_of, register, words_in

WORDS = (
    "合同", "发票", "预算", "机房", "服务器", "键盘", "显示器", "打印机", "会议室", "电梯", "停车场",
    "食堂", "咖啡", "茶叶", "报销", "签证", "护照", "机票", "酒店", "火车", "地铁", "自行车", "雨伞",
    "钥匙", "门禁", "监控", "防火墙", "路由器", "交换机", "光纤", "硬盘", "内存", "备份", "日志", "密码",
    "证书", "邮箱", "域名", "网站", "数据库", "索引", "缓存", "队列", "接口", "文档", "翻译", "培训",
    "面试", "简历", "工资", "奖金", "保险", "体检", "疫苗", "口罩", "灭火器", "窗帘", "沙发", "地毯", "花盆",
)  # fmt: skip
NOTES = (
    "请大家注意，{}的事情已经交给小王处理，下周之前会有结果，有问题请直接联系他。",
    "昨天下午我们讨论了{}，大家都同意先试用一个月，然后再决定下一步怎么做。",
    "关于{}，领导的意见是暂时不变，等到明年春天再看情况，谢谢各位的配合。",
)
ToExpression = Callable[[str], str]


def plain(query: str) -> str:
    """An FTS5 expression for any of the words between white space and punctuation."""
    words = dict.fromkeys(re.findall(r"\w+", query.lower()))
    return " OR ".join(f'"{word}"' for word in words)


def ours(query: str) -> str:
    """The FTS5 expression of `customir search`."""
    return any_of(words_in(query))


TOKENIZERS: dict[str, tuple[str, ToExpression]] = {
    "ours": ("customir", ours),
    "porter unicode61": ("porter unicode61", plain),
    "trigram": ("trigram", plain),
}


def ranked(
    tokenizer: str,
    to_expression: ToExpression,
    texts: Sequence[str],
    queries: Iterable[str],
    depth: int,
) -> tuple[list[list[int]], float]:
    """For each query the positions of the best texts by BM25; and texts indexed per second."""
    with closing(apsw.Connection(":memory:")) as database:
        register(database)
        database.execute(f"CREATE VIRTUAL TABLE words USING fts5(text, tokenize='{tokenizer}')")
        start = time.perf_counter()
        with database:
            database.executemany(
                "INSERT INTO words (rowid, text) VALUES (?, ?)", list(enumerate(texts))
            )
        speed = len(texts) / (time.perf_counter() - start)
        statement = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank, rowid LIMIT ?"
        rankings = []
        for query in queries:
            expression = to_expression(query)
            rows = database.execute(statement, (expression, depth)) if expression else ()
            rankings.append([row for (row,) in rows])
    return rankings, speed


def ndcg(ranking: Sequence[str], grades: dict[str, int]) -> float:
    """nDCG@10 of a ranking."""
    gains = [grades.get(name, 0) / math.log2(place + 2) for place, name in enumerate(ranking[:10])]
    best = sorted(grades.values(), reverse=True)[:10]
    return sum(gains) / sum(grade / math.log2(place + 2) for place, grade in enumerate(best))


def judged(folder: Path) -> dict[str, tuple[float, float]]:
    """nDCG@10 and texts indexed per second for each tokenizer on a BEIR folder."""
    corpus = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    names = [document["_id"] for document in corpus]
    texts = [f"{each.get('title', '')}\n{each['text']}" for each in corpus]
    queries = {
        each["_id"]: each["text"]
        for each in map(json.loads, (folder / "queries.jsonl").open(encoding="utf-8"))
    }
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for path in sorted((folder / "qrels").glob("*.tsv"))[-1:]:
        for row in csv.DictReader(path.open(encoding="utf-8"), delimiter="\t"):
            if int(row["score"]) > 0 and row["query-id"] in queries:
                grades[row["query-id"]][row["corpus-id"]] = int(row["score"])
    results = {}
    for name, (tokenizer, to_expression) in TOKENIZERS.items():
        rankings, speed = ranked(
            tokenizer, to_expression, texts, (queries[key] for key in grades), 10
        )
        scores = [
            ndcg([names[row] for row in rows], grades_of_query)
            for rows, grades_of_query in zip(rankings, grades.values(), strict=True)
        ]
        results[name] = sum(scores) / len(scores), speed
    return results


def main() -> None:
    """Print a table, and one JSON object as the last line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("sets", nargs="*", type=Path, help="BEIR folders")
    arguments.add_argument(
        "--quick", action="store_true", help="no difference: the whole takes seconds"
    )
    options = arguments.parse_args()
    notes = [NOTES[number % len(NOTES)].format(word) for number, word in enumerate(WORDS)]
    figures: dict[str, dict[str, float]] = {}
    for name, (tokenizer, to_expression) in TOKENIZERS.items():
        rankings, _ = ranked(tokenizer, to_expression, notes, WORDS, 1)
        correct = sum(rows == [number] for number, rows in enumerate(rankings))
        figures.setdefault("Chinese notes ranked first, of 60", {})[name] = correct
        print(f"{'60 Chinese notes':>24} {name:>18}: {correct} ranked first")
    for folder in options.sets:
        for name, (score, speed) in judged(folder).items():
            figures.setdefault(f"nDCG@10, {folder.name}", {})[name] = round(score, 4)
            print(f"{folder.name:>24} {name:>18}: nDCG@10 {score:.4f}, {speed:,.0f} texts/s")
    claims = [
        {
            "name": title,
            "ours": values["ours"],
            "peer": f"FTS5 {peer}",
            "peer_figure": values[peer],
            "ratio": round(values["ours"] / values[peer], 3) if values[peer] else None,
            "measured": "BM25 alone, SQLite FTS5 in memory",
        }
        for title, values in figures.items()
        for peer in ("porter unicode61", "trigram")
    ]
    print(json.dumps({"bench": "text_search", "claims": claims}, ensure_ascii=False))


if __name__ == "__main__":
    main()
