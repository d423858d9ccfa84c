import pytest

from customir.text.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The mail server was down this morning; the queue is being delivered now.", "en"),
        ("Der Server war heute morgen nicht erreichbar, die Post wird jetzt zugestellt.", "de"),
        ("Le serveur était en panne ce matin, les messages sont distribués maintenant.", "fr"),
        ("メールサーバーは今朝停止していましたが、現在は配信中です。", "ja"),
        ("Сервер утром не работал, почта доставляется сейчас.", "ru"),
        ("Thanks, Ann", ""),
        ("x <- lm(y ~ a + b); summary(x)", ""),
        ("17.5 18.2 19.1 20.0 21.7", ""),
        ("", ""),
    ],
)
def test_a_language_is_told_or_left_open(text: str, language: str) -> None:
    assert language_of(text) == language
